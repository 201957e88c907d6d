"""``base:``: experiment fields taken over from another file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llem_sweep.config.draft import OWN_KEYS, Draft, read_draft
from llem_sweep.config.reading import merge_fields
from llem_sweep.config.yaml_source import read_yaml_file
from llem_sweep.errors import Problem


def inherit(draft: Draft, file: Path, problems: list[Problem]) -> Draft:
    """``draft``, which was read from ``file``, over the experiment fields of its base, and of that one's base.

    Only experiment fields are taken over; what else a base holds is named in a warning.
    """
    return _inherit(draft, file, (file.resolve(),), problems)


def _inherit(draft: Draft, file: Path, chain: tuple[Path, ...], problems: list[Problem]) -> Draft:
    node = draft.own.get("base")
    if node is None:
        return draft
    if not isinstance(node.value, str) or not node.value:
        problems.append(node.place.problem("must be the name of one file, relative to this one", "base"))
        return draft
    base_file = file.parent / node.value
    if base_file.resolve() in chain:
        names = " → ".join(path.name for path in (*chain, base_file))
        problems.append(node.place.problem(f"the files inherit from each other: {names}", "base"))
        return draft
    if not base_file.is_file():
        problems.append(node.place.problem(f"there is no file {base_file}", "base"))
        return draft
    root = read_yaml_file(base_file, problems)
    if root is None:
        return draft
    base = _inherit(read_draft(root, problems), base_file, (*chain, base_file.resolve()), problems)
    return replace(
        draft,
        shared=merge_fields(base.shared, draft.shared),
        warnings=[*base.warnings, *_left_behind(base), *draft.warnings],
    )


def _left_behind(base: Draft) -> list[str]:
    present = [key for key in OWN_KEYS if key in base.own and key not in ("name", "base")]
    if base.execution:
        present.append("execution")
    if not present:
        return []
    message = f"{', '.join(present)} of a base file aren't inherited, only its experiment fields"
    return [str(base.start._replace(line=None).problem(message))]

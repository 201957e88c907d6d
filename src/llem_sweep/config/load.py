"""From a YAML file to a checked :class:`SweepConfig`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llem_sweep.config.checks import check_draft
from llem_sweep.config.draft import Draft, read_draft
from llem_sweep.config.inherit import inherit
from llem_sweep.config.legacy import substitute_legacy
from llem_sweep.config.local_paths import digest_local_paths, resolve_local_paths
from llem_sweep.config.overrides import apply_overrides
from llem_sweep.config.reading import plain
from llem_sweep.config.sweep import ExecutionConfig, SweepConfig
from llem_sweep.config.yaml_source import read_yaml_file
from llem_sweep.errors import ConfigError, Problem


def load_sweep(path: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep in the file ``path``, with ``key=value`` ``overrides`` in force.

    Raises ConfigError with every problem of the file, of its bases and of the overrides, each with its file,
    line and dotted field. Values of a dimension are checked by :func:`llem_sweep.plan_sweep` instead, which
    leaves invalid points out and says why.
    """
    path = Path(path)
    problems: list[Problem] = []
    root = read_yaml_file(path, problems)
    if root is None:
        raise ConfigError(problems)
    draft = read_draft(root, problems)
    draft = inherit(draft, path, problems)
    draft = apply_overrides(draft, overrides, problems)
    draft = substitute_legacy(draft)
    draft = resolve_local_paths(draft)
    check_draft(draft, problems)
    contents = digest_local_paths(draft, problems)
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.file or "", problem.line or 0)))
    return _sweep(draft, path, contents, overrides)


def _sweep(draft: Draft, path: Path, contents: dict[str, str], overrides: Sequence[str]) -> SweepConfig:
    name = draft.own["name"].plain() if "name" in draft.own else None
    text = path.read_text(encoding="utf-8-sig")
    given = [f"# --set {' '.join(override.splitlines())}\n" for override in overrides]
    return SweepConfig(
        # A file's name may hold bytes that aren't text; names are never refused.
        name=path.stem.encode("utf-8", "replace").decode() if name is None else str(name),
        shared=plain(draft.shared),
        sweep={key: tuple(value.plain() for value in values) for key, values in draft.sweep.items()},
        zip={key: tuple(value.plain() for value in values) for key, values in draft.zip.items()},
        exclude=tuple(plain(point) for point in draft.exclude),
        experiments=tuple(plain(point) for point in draft.experiments),
        include=tuple(plain(point) for point in draft.include),
        execution=ExecutionConfig.model_validate(plain(draft.execution)),
        contents=contents,
        source=text if not given else f"{text.rstrip()}\n\n{''.join(given)}",
        warnings=tuple(draft.warnings),
    )

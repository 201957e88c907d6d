"""What sets the points of a plan apart, for names and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.values import compact, same, value_at


def varied_values(
    configs: Sequence[ExperimentConfig], given: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """For each of ``configs`` the dotted fields whose values differ between them, with its value.

    ``given`` holds for each configuration the fields that set it apart, as written: where one is written its
    spelling is kept (``0.5``, not what a preset made of it), otherwise the resolved value stands.
    """
    mentioned = dict.fromkeys(field for own in given for field in own)
    fields = [field for field in mentioned if not _within_another(field, mentioned)]
    columns = {field: [value_at(config, field) for config in configs] for field in fields}
    differing = [field for field, column in columns.items() if not all(same(column[0], v) for v in column)]
    return [
        {field: _told(own.get(field), columns[field][index], field in own) for field in differing}
        for index, own in enumerate(given)
    ]


def _told(written: Any, resolved: Any, is_written: bool) -> Any:
    """A mapping is told by what it resolved to: written empty, it still means something."""
    return compact(written if is_written and not isinstance(written, dict) else resolved)


def _within_another(field: str, fields: dict[str, None]) -> bool:
    sections = field.split(".")[:-1]
    return any(".".join(sections[:end]) in fields for end in range(1, len(sections) + 1))

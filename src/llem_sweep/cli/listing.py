"""Lists of what was left out, and how any output reaches the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.text import Text

from llem_sweep.cli.escape import outside
from llem_sweep.cli.wording import count
from llem_sweep.execution.tally import label
from llem_sweep.plan.values import point

if TYPE_CHECKING:
    from llem_sweep.plan.types import RefusedExperiment, SkippedPoint

REASONS_SHOWN = 10
NAMES_SHOWN = 3


def show(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print ``parts``; text is left for the terminal to wrap, so that a path copied from it is whole."""
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text))


def skipped_points(points: Sequence[SkippedPoint], *, verbose: bool) -> Iterator[Text]:
    """The points that are no valid configuration, under their reasons."""
    named = [(point(each.point), each.reason) for each in points]
    return _under_reasons("Skipped: no valid configuration", named, "point", verbose)


def refused_experiments(refused: Sequence[RefusedExperiment], *, verbose: bool) -> Iterator[Text]:
    """The experiments that can't run here, under their reasons."""
    named = [(label(each.experiment), f"{each.refusal}: {each.reason}") for each in refused]
    return _under_reasons("Refused: can't run here", named, "experiment", verbose)


def _under_reasons(title: str, points: Sequence[tuple[str, str]], noun: str, verbose: bool) -> Iterator[Text]:
    reasons: dict[str, list[str]] = {}
    for name, reason in points:
        reasons.setdefault(reason, []).append(name)
    if not reasons:
        return
    yield Text(f"\n{title}", "bold")
    shown = list(reasons.items()) if verbose else list(reasons.items())[:REASONS_SHOWN]
    for reason, names in shown:
        listed = names if verbose else names[:NAMES_SHOWN]
        more = f" and {len(names) - len(listed):,} more" if len(names) > len(listed) else ""
        yield outside(f"  {reason}")
        yield outside(f"    {count(len(names), noun)}: {'; '.join(listed)}{more}")
    if len(reasons) > len(shown):
        yield Text(f"  {count(len(reasons) - len(shown), 'more reason')}; -v shows them")

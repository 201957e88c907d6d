"""What verification found, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from llem_sweep.cli.colours import BAD, DOUBT, GOOD
from llem_sweep.cli.escape import outside
from llem_sweep.cli.wording import count

if TYPE_CHECKING:
    from llem_sweep.verify import Verified, VerifyReport

SHOWN = 10
"""Contradictions and reasons shown of one result, unless everything is asked for."""


def verify_report(report: VerifyReport, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Each result that doesn't hold or may not be published, and how many do; with ``verbose`` every result."""
    for each in report.results:
        doubtful = each.verification.problems or not each.verification.verdict.publishable
        if verbose or doubtful:
            yield from _result(each, verbose=verbose)
    recomputed = sum(1 for each in report.results if each.verification.recomputed)
    contradicted, unpublishable = len(report.contradicted), len(report.unpublishable)
    thinned = sum(
        1 for each in report.results if not each.verification.recomputed and not each.verification.problems
    )
    parts = [f"{recomputed:,} of {count(len(report.results), 'result')} computed again from the samples"]
    parts.append(f"{contradicted:,} contradicted by them" if contradicted else "no contradiction")
    if thinned:
        parts.append(f"{thinned:,} thinned, so that nothing can be computed again")
    parts.append(f"{len(report.results) - unpublishable:,} publishable")
    yield Text("\n" + "; ".join(parts), f"bold {BAD}" if contradicted else "bold")


def _result(each: Verified, *, verbose: bool) -> Iterator[RenderableType]:
    verification = each.verification
    yield outside(str(each.folder), "bold")
    yield from _listed("contradicted", verification.problems, BAD, verbose=verbose)
    if not verification.problems:
        agrees = "every number agrees" if verification.recomputed else "not computed again"
        yield Text(f"  {agrees}", GOOD if verification.recomputed else DOUBT)
        because = verification.verdict.because
        yield from _listed("not publishable", because, DOUBT, verbose=verbose)
        if verification.verdict.publishable:
            yield Text("  publishable", GOOD)


def _listed(heading: str, lines: tuple[str, ...], style: str, *, verbose: bool) -> Iterator[RenderableType]:
    shown = lines if verbose else lines[:SHOWN]
    for line in shown:
        yield outside(f"  {heading}: {line}", style)
    if len(lines) > len(shown):
        yield Text(f"  {len(lines) - len(shown):,} more; -v shows them")

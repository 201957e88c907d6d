"""What a page is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from llem_sweep.plan.types import SweepPlan
from llem_sweep.report.page.evidence import Evidence
from llem_sweep.report.points import Row
from llem_sweep.report.summary import BoardEnergy

MOST_TIMELINES = 200
"""Experiments whose timeline is in the page, unless more are asked for."""


class PageSource(NamedTuple):
    """A sweep as its page needs it: plain data, whoever keeps it."""

    plan: SweepPlan
    rows: Sequence[Row]
    """Of the summary table."""
    boards: Sequence[BoardEnergy]
    evidence: Evidence
    texts: Sequence[tuple[str, str]]
    """Name and content of each sweep file, the first as given and what it was extended with."""
    settings: Mapping[str, object]
    """How it ran: ``simulate_gpus``, ``inline``, ``address``."""
    place: str
    """What to call the sweep's folder."""
    sidecar: Callable[[str], bytes]
    """The samples of the experiment in a folder, by the folder's name. Raises LlemSweepError."""
    links: str | None = ""
    """What leads from the page to the sweep's folder, as a relative URL ending in a slash or empty; None where
    there is no such way."""
    most_timelines: int = MOST_TIMELINES

"""What a sweep will take on a cluster, as ranges."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.plan.board_power import design_power_w
from llem_sweep.plan.efficiency import Piece, lower_bound_s
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need, need_of, share_of
from llem_sweep.plan.types import ClusterShape, PlannedExperiment

LEAST_POWER_SHARE, USUAL_POWER_SHARE = 0.1, 0.5
"""Of its design power, what a board draws when it does next to nothing, and what inference usually takes."""


class Range(NamedTuple):
    """Something not known exactly."""

    low: float
    expected: float
    high: float


class Forecast(NamedTuple):
    """What a sweep will take, as far as can be said before it runs."""

    makespan_s: Range
    bound_s: float
    """No order ends sooner, with the times expected."""
    loads: int
    """How often a model is expected to be brought to a worker."""
    energy_j: Range | None
    """Of the boards while they load and run experiments; None where one of their kinds isn't known."""


def seats(need: Need, cluster: ClusterShape, execution: ExecutionConfig) -> list[str]:
    """The node of each worker with ``need`` that there is room for at a time."""
    found: list[str] = []
    for node in cluster.nodes:
        share = share_of(need, node, execution.cpu_workers or 1)
        if share is not None:
            found += [node.name] * (1 if execution.exclusive == "node" else int(1 / share))
    return found


def boards_at_work(needs: Collection[Need], cluster: ClusterShape, execution: ExecutionConfig) -> int:
    """Boards that experiments with ``needs`` can hold at the same time, whichever of them.

    CPU workers count as one each.
    """
    return max((max(1, need.boards) * len(seats(need, cluster, execution)) for need in needs), default=0)


def forecast(
    experiments: Sequence[PlannedExperiment],
    cluster: ClusterShape,
    execution: ExecutionConfig,
    estimates: Estimates,
    expected: Mapping[Need, tuple[float, int]],
) -> Forecast | None:
    """What ``experiments`` will take; None when there are none.

    ``expected`` is, for each need, the makespan in seconds and the loads of a rehearsal with the expected times.
    Needs follow each other on the same boards; CPU workers work beside them.
    """
    if not experiments:
        return None
    groups: dict[Need, list[PlannedExperiment]] = {}
    for experiment in experiments:
        groups.setdefault(need_of(experiment.config), []).append(experiment)
    parts = {need: _bounds_s(group, need, cluster, execution, estimates) for need, group in groups.items()}
    ranges = {
        # The order loses against the bound what it loses with the expected times.
        need: Range(
            bounds.low, max(bounds.expected, took_s), bounds.high * max(1.0, took_s / bounds.expected)
        )
        for need, bounds in parts.items()
        for took_s in [expected[need][0]]
    }
    return Forecast(
        makespan_s=_together(ranges),
        bound_s=_together(parts).expected,
        loads=sum(expected[need][1] for need in groups),
        energy_j=_energy_j(groups, cluster, estimates),
    )


def _bounds_s(
    group: Sequence[PlannedExperiment],
    need: Need,
    cluster: ClusterShape,
    execution: ExecutionConfig,
    estimates: Estimates,
) -> Range:
    """The lower bound of the experiments with one need, with the least, the expected and the longest times."""
    held = max(1, need.boards)
    boards = held * len(seats(need, cluster, execution))
    pieces = [_pieces(experiment, held, estimates) for experiment in group]
    return Range(*(lower_bound_s(column, boards) for column in zip(*pieces, strict=True)))


def _pieces(experiment: PlannedExperiment, held: int, estimates: Estimates) -> tuple[Piece, Piece, Piece]:
    prior, key, load_s = estimates.prior(experiment), estimates.key(experiment), estimates.load_s(experiment)
    return (
        Piece(key, held, prior.least_s, load_s / prior.off_by),
        Piece(key, held, estimates.duration_s(experiment), load_s),
        Piece(key, held, prior.most_s, load_s * prior.off_by),
    )


def _together(ranges: Mapping[Need, Range]) -> Range:
    """Needs for boards one after the other, those of CPU workers beside them."""
    on_boards = [each for need, each in ranges.items() if need.boards]
    beside = [each for need, each in ranges.items() if not need.boards]
    ends = zip(*(on_boards or beside), strict=True)
    in_turn = Range(*(math.fsum(end) for end in ends))
    return Range(*(max(ends) for ends in zip(in_turn, *beside, strict=True)))


def _energy_j(
    groups: Mapping[Need, Sequence[PlannedExperiment]], cluster: ClusterShape, estimates: Estimates
) -> Range | None:
    """Between next to nothing and the boards' design power all the time; None where that isn't known."""
    total = [0.0, 0.0, 0.0]
    on_boards = {need: group for need, group in groups.items() if need.boards}
    if cluster.simulated or not on_boards:
        return None
    for need, group in on_boards.items():
        powers_w = [design_power_w(node.board) for node in cluster.nodes if share_of(need, node)]
        known_w = [power_w for power_w in powers_w if power_w is not None]
        if not known_w or len(known_w) < len(powers_w):
            return None
        least_w, most_w = LEAST_POWER_SHARE * min(known_w), max(known_w)
        usual_w = USUAL_POWER_SHARE * sum(known_w) / len(known_w)
        pieces = [_pieces(experiment, need.boards, estimates) for experiment in group]
        for end, power_w in enumerate((least_w, usual_w, most_w)):
            column = [piece[end] for piece in pieces]
            loads_s = {piece.key: piece.load_s for piece in column}
            total[end] += (
                need.boards * power_w * (sum(piece.took_s for piece in column) + sum(loads_s.values()))
            )
    return Range(*total)

"""When a sweep will be over: the rest of its schedule, gone through in virtual time beside the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llem_sweep.clock import Clock
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.assignments import Assignments
from llem_sweep.execution.crew import Crew
from llem_sweep.execution.scheduling.rehearsal import Run
from llem_sweep.execution.scheduling.schedule import FixedView, Schedule, Task
from llem_sweep.plan.need import Need, is_kind
from llem_sweep.plan.types import NodeShape, PlannedExperiment

BUDGET_S = 0.002
"""Spent on it at each look, several of which are in a second: the driver has workers to serve."""
FIRST_BUDGET_S = 5 * BUDGET_S
"""Until there is an answer at all. Workers are still coming up then."""


class Outlook:
    """Time left by the schedule's own forecast: what waits, on the workers there are, with the times expected now.

    A forecast of thousands of tasks takes longer than the driver has: it is gone on with at each look, from how
    things stood when it was begun, and followed by the next. Wide and narrow workers are taken to follow each
    other on the same boards, as in the forecast of a dry run; CPU workers work beside them.
    """

    def __init__(
        self,
        schedule: Schedule,
        assignments: Assignments,
        crew: Crew,
        execution: ExecutionConfig,
        clock: Clock,
    ) -> None:
        self._schedule = schedule
        self._assignments = assignments
        self._crew = crew
        self._gap_s = execution.experiment_gap_seconds
        self._clock = clock
        self._under_way: Iterator[object] | None = None
        self._end_s: float | None = None

    def left_s(self) -> float | None:
        """Seconds until the last task ends; None while that isn't known, as where nobody is there to run it."""
        begun_s = self._clock.monotonic()
        until_s = begun_s + (FIRST_BUDGET_S if self._end_s is None else BUDGET_S)
        steps = self._under_way or self._forecast(begun_s)
        self._under_way = None
        for _ in steps:
            if self._clock.monotonic() >= until_s:
                self._under_way = steps
                break
        return None if self._end_s is None else max(0.0, self._end_s - begun_s)

    def _forecast(self, begun_s: float) -> Iterator[object]:
        waiting: dict[Need, list[Task]] = {}
        for need, tasks in self._assignments.to_come().items():
            waiting.setdefault(need._replace(accelerators=()), []).extend(tasks)
        ends_s: dict[Need, float | None] = {}
        for worker in self._assignments.flights:
            need = self._crew.fleet.posts[worker].seat.need
            ends_s[need] = max(ends_s.get(need) or 0.0, self._assignments.rest_s(worker))
        workers = {need: self._workers(need) for need in waiting}
        for need, tasks in waiting.items():
            estimates = self._schedule.estimates.copy()
            rest = self._schedule.again(estimates)
            for task in tasks:
                rest.put_back(task, front=False)
                yield None
            run = Run(rest, workers[need], estimates, self._took_s, self._schedule.estimates.load_s)
            yield from run.steps()
            ends_s[need] = None if run.left else max(ends_s.get(need) or 0.0, run.now_s)
        self._end_s = _together(begun_s, ends_s)

    def _took_s(self, experiment: PlannedExperiment) -> float:
        return self._schedule.estimates.duration_s(experiment) + self._gap_s

    def _workers(self, need: Need) -> list[FixedView]:
        """The workers there are for ``need`` and, idle, those for whom there is room when nobody else is there."""
        fleet, fits = self._crew.fleet, _Fits(need)
        found = []
        for node in fleet.nodes:
            here = [post for post in fleet.on(node.name) if post.seat.need == need]
            for post in here:
                name = post.seat.worker
                loaded, rest_s = self._assignments.loaded(name), self._assignments.rest_s(name)
                found.append(FixedView(name, fits.on(node), loaded, rest_s))
            for number in range(self._crew.seats(node.name, need) - len(here)):
                found.append(FixedView(f"{node.name}/free{number}", fits.on(node), None))
        return found


class _Fits:
    """What workers with a need can run, by the kind of their node: the same object for nodes that are alike."""

    def __init__(self, need: Need) -> None:
        self._need = need
        self._of_kind: dict[tuple[str | None, str | None], Callable[[Need], bool]] = {}

    def on(self, node: NodeShape) -> Callable[[Need], bool]:
        def fits(need: Need) -> bool:
            return need._replace(accelerators=()) == self._need and is_kind(need, node)

        return self._of_kind.setdefault((node.accelerator, node.board), fits)


def _together(begun_s: float, ends_s: dict[Need, float | None]) -> float | None:
    """When all are over; None where that of any isn't known."""
    known = [end_s for end_s in ends_s.values() if end_s is not None]
    if len(known) < len(ends_s):
        return None
    beside = [end_s for need, end_s in ends_s.items() if end_s is not None and not need.boards]
    in_turn = sum(end_s for need, end_s in ends_s.items() if end_s is not None and need.boards)
    return begun_s + max(in_turn, *beside, 0.0)

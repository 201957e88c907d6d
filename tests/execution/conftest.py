"""A driver over scripted workers, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from factories import make_result
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.driver import Driver, Orders
from llem_sweep.execution.interrupts import Interrupts
from llem_sweep.execution.ledger import Ending
from llem_sweep.execution.pool import Event
from llem_sweep.execution.progress import FailureNote, Progress
from llem_sweep.execution.scheduling.schedule import Schedule, Task
from llem_sweep.execution.tally import Tally
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.types import Attempt, ClusterShape, NodeShape, PlannedExperiment
from llem_sweep.results.outcome import Completed, FailureKind, Outcome
from virtual.pool import Act, VirtualPool


def planned(name: str, cycle: int = 1) -> PlannedExperiment:
    return PlannedExperiment(f"{name}-{cycle}", name, ExperimentConfig(model=name), cycle, {})


class Kept(NamedTuple):
    experiment: str
    attempt: int
    outcome: Outcome
    final: bool


class ListSink:
    def __init__(self, save: Callable[[Outcome], Outcome] = lambda outcome: outcome) -> None:
        self.kept: list[Kept] = []
        self.events: list[str] = []
        self._save = save

    def commit(
        self, experiment: PlannedExperiment, attempt: int, outcome: Outcome, *, final: bool, worker: str
    ) -> Outcome:
        saved = self._save(outcome)
        self.kept.append(Kept(experiment.experiment_id, attempt, saved, final))
        return saved

    def commit_all(self, completed: Sequence[tuple[Attempt, Completed]]) -> list[Outcome]:
        return [
            self.commit(each.experiment, each.number, outcome, final=True, worker=each.worker)
            for each, outcome in completed
        ]

    def tried(self) -> Mapping[str, Mapping[FailureKind, int]]:
        return {}

    def journal(self, event: str, **fields: object) -> None:
        self.events.append(event)

    def mention(self, event: str, **fields: object) -> None:
        self.events.append(event)


class Script(NamedTuple):
    """What a scripted worker does with an experiment."""

    take_s: float = 1.0
    outcome: Outcome | None = None
    """None completes it."""
    lose: FailureKind | None = None
    hang: bool = False
    load_s: float = 0.0
    unheard_s: float = 0.0
    """From its end until the driver hears of it."""


class LastView:
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.failures: list[FailureNote] = []
        self.progress: Progress | None = None
        self.seen: list[Progress] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def failed(self, note: FailureNote) -> None:
        self.failures.append(note)

    def update(self, progress: Progress) -> None:
        self.progress = progress
        self.seen.append(progress)

    def close(self) -> None:
        pass


class Bench(NamedTuple):
    pool: VirtualPool
    sink: ListSink
    view: LastView
    clock: SimulatedClock
    ending: Ending
    tally: Tally
    estimates: Estimates

    @property
    def finished(self) -> bool:
        return self.ending is Ending.FINISHED

    @property
    def settled(self) -> list[tuple[str, int]]:
        return [(kept.experiment, kept.attempt) for kept in self.sink.kept if kept.final]


Drive = Callable[..., Bench]
ONE, TWO = NodeShape("n0", 1, 1.0, "Board"), NodeShape("n0", 2, 2.0, "Board")


@pytest.fixture
def drive() -> Drive:
    def run(
        experiments: list[PlannedExperiment],
        *,
        execution: ExecutionConfig | None = None,
        script: Mapping[tuple[str, int], Script] | None = None,
        nodes: tuple[NodeShape, ...] = (TWO,),
        startable: tuple[NodeShape, ...] = (),
        grows: bool = False,
        events: tuple[tuple[float, Event], ...] = (),
        sink: ListSink | None = None,
        interrupt_at_s: tuple[float, ...] = (),
        require_publishable: bool = False,
        fetches: bool = False,
        watched: bool = False,
        **pool_options: Any,
    ) -> Bench:
        clock, completed = SimulatedClock(start_s=0.0), make_result(neighbours=())

        def play(worker: str, experiment: PlannedExperiment, attempt: int) -> Act:
            told = (script or {}).get((experiment.experiment_id, attempt), Script())
            outcome = told.outcome or Completed(completed, b"")
            return Act(outcome, told.take_s, told.load_s, told.lose, told.hang, told.unheard_s)

        pool = VirtualPool(clock, play, **pool_options)
        for at_s, event in events:
            pool.later(at_s, event)
        sink, view, interrupts = sink or ListSink(), LastView(), Interrupts(clock)
        for at_s in interrupt_at_s:
            _at(clock, at_s, interrupts.interrupt)
        tally = Tally(len(experiments), 0, 0, clock, view)
        # The order of dispatch is fixed unless a test says otherwise.
        settings = execution or ExecutionConfig(cycle_order="interleaved")
        tasks = [Task(experiment, 1) for experiment in experiments]
        fetch_key = (lambda config: config.model) if fetches else None
        orders = Orders(
            settings, require_publishable=require_publishable, fetch_key=fetch_key, watched=watched
        )
        shape = ClusterShape(nodes, startable=startable, grows=grows)
        estimates = Estimates(lambda config: config.model)
        schedule = Schedule(tasks, settings, estimates)
        ending = Driver(schedule, shape, pool, sink, orders, clock, tally, interrupts).run()
        return Bench(pool, sink, view, clock, ending, tally, estimates)

    return run


def _at(clock: SimulatedClock, at_s: float, call: Callable[[], None]) -> None:
    """Call once, at ``at_s``: the ticker's first call comes at once and is let pass."""
    calls = iter((lambda: None, call))
    clock.every(at_s, lambda: next(calls, lambda: None)())

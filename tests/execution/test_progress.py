"""Which of a worker's states are told."""

from __future__ import annotations

from llem_sweep.execution.progress import News, WorkerState
from llem_sweep.phases import Phase


def state(experiment: str | None, phase: Phase = Phase.IDLE, steps: int = 0) -> WorkerState:
    return WorkerState("node/worker0", "GPU", experiment=experiment, phase=phase, steps=steps)


def told(*states: WorkerState) -> list[bool]:
    news = News()
    return [news.is_in(each) for each in states]


def test_an_experiment_that_stays_is_told_at_every_look_but_the_first() -> None:
    looks = [state("a", Phase.DECODE, steps) for steps in range(4)]
    assert told(*looks) == [False, True, True, True]


def test_experiments_that_are_over_before_the_next_look_are_not_told() -> None:
    assert told(*[state(name, Phase.DECODE) for name in "abcd"]) == [False] * 4
    assert told(state(None), state("a"), state(None), state("b"), state(None)) == [True, *[False] * 4]


def test_a_worker_that_does_nothing_says_so_once_and_again_after_what_it_told_of() -> None:
    assert told(state(None), state(None), state("a"), state("a"), state(None), state(None)) == [
        True,
        False,
        False,
        True,
        True,
        False,
    ]


def test_a_worker_coming_up_tells_its_phases() -> None:
    assert told(state(None), state(None, Phase.BASELINE), state(None, Phase.BASELINE), state(None)) == [
        True,
        True,
        False,
        True,
    ]

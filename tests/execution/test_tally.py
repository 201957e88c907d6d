"""What a watcher is told of the workers and of the energy so far."""

from __future__ import annotations

from typing import Any

import pytest

from execution.conftest import LastView, planned
from factories import make_failed, make_result
from llem_sweep.clock import SimulatedClock
from llem_sweep.execution.progress import Progress, WorkerState
from llem_sweep.execution.tally import Tally
from llem_sweep.results.outcome import Completed


def shown(
    tally: Tally, view: LastView, *, varied: dict[str, object] | None = None, cycle: int = 1
) -> Progress:
    running = planned("org/m", cycle)._replace(varied=varied or {})
    tally.show({"w": WorkerState("w", "Board")}, {"w": running}, False, boards=lambda: 1)
    assert view.progress is not None
    return view.progress


@pytest.mark.parametrize(
    ("varied", "cycle", "words"),
    [
        ({"model": "org/m", "precision": "bf16", "synthetic.fail_at": None}, 2, "precision=bf16 cycle=2"),
        ({"model": "org/m"}, 3, "cycle=3"),
        ({"model": "org/m"}, 1, "model=org/m"),
        ({"decoder.preset": None}, 1, "preset=null"),
        ({}, 1, "org/m"),
    ],
)
def test_a_worker_is_at_what_distinguishes_its_experiment(
    varied: dict[str, object], cycle: int, words: str
) -> None:
    view = LastView()
    (worker,) = shown(Tally(4, 0, 0, SimulatedClock(), view), view, varied=varied, cycle=cycle).workers
    assert (worker.model, worker.experiment) == ("org/m", words)


def test_the_energy_counts_the_windows_of_which_it_is_known() -> None:
    view = LastView()
    tally = Tally(4, 0, 0, SimulatedClock(), view)
    names = ("total_energy_j", "energy_uncertainty_j", "avg_energy_per_token_j", "energy_adjusted_j")
    unknown: dict[str, Any] = {**dict.fromkeys(names), "energy_per_device_j": (None, None)}
    tally.settled(planned("a"), Completed(make_result(**unknown), b""))
    tally.settled(planned("b"), make_failed())
    assert shown(tally, view).energy_j is None
    for _ in range(2):
        tally.settled(planned("c"), Completed(make_result(), b""))
    energy = make_result().total_energy_j
    assert energy is not None
    told = shown(tally, view)
    assert (told.energy_j, told.energy_windows, told.energy_simulated) == (2 * energy, 2, False)
    tally.settled(planned("d"), Completed(make_result(simulated=True, measured_on="simulated"), b""))
    assert shown(tally, view).energy_simulated

"""Ray Tune trials that do nothing."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from ray import tune

from per_experiment.cost import Cost


class NoOp(tune.Trainable):
    """A trial that is done at once."""

    def step(self) -> dict[str, Any]:
        return {"done": True, "value": 1}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


class Stamps(tune.Callback):
    """When each trial was completed."""

    def __init__(self) -> None:
        self.completed_s: list[float] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.completed_s.append(time.perf_counter())


def time_tune(what: str, gpus: int, trials: int, *, reuse_actors: bool, output: Path) -> Cost:
    """Run ``trials`` that do nothing on the Ray that this process is connected to, and silence Tune."""
    stamps = Stamps()
    tuner = tune.Tuner(
        tune.with_resources(NoOp, {"cpu": 1, "gpu": 1}),
        param_space={"number": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(reuse_actors=reuse_actors),
        run_config=tune.RunConfig(
            storage_path=str(output),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[stamps],
        ),
    )
    begun_s = time.perf_counter()
    # Even at verbosity 0 it prints a box per trial.
    with (
        Path(os.devnull).open("w") as null,
        contextlib.redirect_stdout(null),
        contextlib.redirect_stderr(null),
    ):
        results = tuner.fit()
    ended_s = time.perf_counter()
    if results.num_errors or len(stamps.completed_s) != trials:
        raise RuntimeError(f"{len(stamps.completed_s)} of {trials} Tune trials completed: {results.errors}")
    steady_s = stamps.completed_s[gpus - 1]
    return Cost(what, stamps.completed_s, steady_s, steady_s - begun_s, ended_s - stamps.completed_s[-1])

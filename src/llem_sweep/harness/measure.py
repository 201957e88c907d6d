"""The life of one experiment. Read :func:`measure` first."""

from __future__ import annotations

from llem_sweep.harness.assembly import Evidence, Measured, assemble
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.warmup import settle, warm_up
from llem_sweep.harness.window import cool, run_window
from llem_sweep.plan.types import PlannedExperiment


def measure(experiment: PlannedExperiment, rig: Rig, *, attempt: int = 1) -> Measured:
    """Measure one experiment on ``rig``, whose boards are open and proven to be the assigned ones.

    The order is the method: idle power before the model comes, the proof that it computes on the metered boards
    before anything is measured, the run's own batches as warm-up, and sampling that goes on after the window
    until the energy at its end is resolved. The model stays loaded for the next experiment.

    Raises DeviceError or BackendError; ``rig.phases`` then tells how far it got. Releasing the model after a
    failure is the caller's part.
    """
    config = experiment.config
    baseline = rig.idle_power(config)
    model = rig.load(config, attempt)
    identity = rig.confirm_boards(model)
    workload = model.prepare(config)
    with rig.sampling(config) as sampler:
        warm = warm_up(workload, model, config.warmup, rig)
        warm = settle(workload, model, config.warmup, rig, warm)
        window = run_window(workload, model, rig, sampler)
        recording = cool(sampler, window, rig)
    evidence = Evidence(identity, baseline, warm, window, recording)
    return assemble(experiment, rig, model, evidence)

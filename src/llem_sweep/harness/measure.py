"""The life of one experiment. Read :func:`measure` first."""

from __future__ import annotations

from collections.abc import Callable

from llem_sweep.harness.assembly import Measured, assemble
from llem_sweep.harness.beginning import Beginning
from llem_sweep.harness.derived import look_at
from llem_sweep.harness.evidence import Seen, evidence, has_drifted, why_not_idle
from llem_sweep.harness.outputs import encoded_outputs
from llem_sweep.harness.prefill import prefill_alone
from llem_sweep.harness.requests import encoded_requests, read_times, request_log
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.warmup import settle, warm_up
from llem_sweep.harness.window import cool, narrowed, run_window
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import OUTPUTS, REQUESTS

Keep = Callable[[str, bytes], object]


def measure(
    experiment: PlannedExperiment, rig: Rig, *, attempt: int = 1, keep: Keep | None = None
) -> Measured:
    """Measure one experiment on ``rig``, whose boards are open and proven to be the assigned ones.

    The order is the method: idle power before the model comes and again with it resident, the proof that it
    computes on the metered boards before anything is measured, the run's own batches as warm-up, the run and the
    part of it that counts, sampling that goes on until the energy at the run's end is resolved, a last look at
    idle power and, where it is asked for, prefill by itself. The model stays loaded for the next experiment.
    ``keep`` is called with the name and content of whatever else is to be stored beside the result.

    Raises DeviceError, BackendError or WindowError; ``rig.phases`` then tells how far it got. Releasing the model
    after a failure is the caller's part.
    """
    config = experiment.config
    cold = rig.idle_power(config)
    model = rig.load(config, attempt)
    identity = rig.confirm_boards(model)
    workload = model.prepare(config)
    context = rig.context_power(config)
    with rig.sampling(config) as sampler:
        warm = warm_up(workload, model, config.warmup, rig)
        warm = settle(workload, model, config.warmup, rig, warm, sampler)
        model.reset_peak_memory()
        least_s = config.measurement.min_duration_seconds
        beginning = Beginning(config, sampler.recording)
        run = run_window(workload, model, rig, sampler, experiment.cycle, least_s, beginning)
        window = narrowed(run, config.measurement, sampler, rig)
        recording, after = cool(sampler, run, rig, config.baseline.after_seconds if context else 0.0)
    wanted = config.measurement.prefill_window
    prefill = prefill_alone(workload, model, rig, config, experiment.cycle) if wanted else None
    if keep is not None and config.save_outputs:
        keep(OUTPUTS, encoded_outputs(window.tallies))
    seen = Seen(identity, cold, context, warm, window, recording, after, read_times(window), prefill)
    samples = look_at(evidence(rig, seen), config.baseline.subtract)
    if has_drifted(samples.account, "context") or why_not_idle(samples.evidence, "context"):
        rig.forget_context_power()
    log = request_log(seen.times, window.start_s)
    measured = assemble(experiment, rig, model, seen, samples, log)
    if keep is not None and log is not None:
        keep(REQUESTS, encoded_requests(log, measured.result))
    return measured

"""Prefill by itself: the run's batches up to their first token alone, in a window of its own after the run."""

from __future__ import annotations

from typing import NamedTuple

from llem_sweep.backends.protocol import LoadedModel, Workload
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.measurement import PREFILL_LEAD_S, PREFILL_WINDOW_S
from llem_sweep.errors import BackendError
from llem_sweep.harness.requests import batch_marks, read_times
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.window import cool, run_window, tick_s
from llem_sweep.phases import Phase
from llem_sweep.sampling.account import PREFILL, PrefillRun, Span
from llem_sweep.sampling.recording import Recording

_PAUSE_TICKS = 2.5
"""Enough for a whole tick between what ran before the window and the one in which it begins."""


class PrefillSeen(NamedTuple):
    """What was seen of prefill by itself."""

    run: PrefillRun
    recording: Recording


class _Prefill:
    """The batches of a workload up to their first token."""

    def __init__(self, workload: Workload) -> None:
        self.batches = workload.batches
        self.run_batch = workload.run_prefill


def prefill_alone(
    workload: Workload, model: LoadedModel, rig: Rig, config: ExperimentConfig, cycle: int
) -> PrefillSeen:
    """Run all batches up to their first token, again and again until a window of their own is long enough.

    It comes last and has a recording of its own, so that nothing of the run and its idle power depends on it, and
    the boards have the run's heat. What is run before the window brings the clocks up again after the idle time,
    for as long as readings before a window may matter to its energy; longer, and the boards would go on to the
    temperature of prefill. Raises BackendError where the backend stamps no step.
    """
    prefill = _Prefill(workload)
    # Of several processes none is under load while another's run or idle power is still measured.
    rig.clock.sleep(rig.gang.meet("prefill") - rig.clock.monotonic())
    with rig.sampling(config) as sampler:
        begun_s, index = rig.clock.monotonic(), 0
        while not rig.gang.agree(rig.clock.monotonic() >= begun_s + PREFILL_LEAD_S):
            prefill.run_batch(index % prefill.batches, rig.phases.mark)
            # As in the window: work that takes no time would starve the sampler.
            rig.clock.sleep(0.001)
            rig.steps += 1
            index += 1
        # Power that was another both before and after this pause, all within one tick, couldn't be told apart.
        rig.phases.mark(Phase.COOL)
        rig.clock.sleep(_PAUSE_TICKS * tick_s(rig))
        window = run_window(prefill, model, rig, sampler, cycle, PREFILL_WINDOW_S, tokens_count=False)
        recording, _ = cool(sampler, window, rig, 0.0)
    marks = batch_marks(read_times(window))
    if not marks:
        raise BackendError("measurement.prefill_window: the backend doesn't say when prefill ends")
    span = Span("prefill", "after", PREFILL, window.start_s, window.end_s)
    return PrefillSeen(PrefillRun(span, window.iterations, marks), recording)

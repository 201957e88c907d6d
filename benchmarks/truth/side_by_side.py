"""Zeus and this package around the same work; ``against_zeus`` runs this in a process of its own.

    python -m truth.side_by_side SEED WINDOWS     (the stand-in NVML library first on LD_LIBRARY_PATH)

The window is the product's own, ``run_window`` and ``cool`` of the harness on a real clock: the sampler runs in
its thread, the window opens just after a tick of the counter. Its only batch is Zeus's window with the load
inside.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from contextlib import closing
from pathlib import Path

from zeus.monitor import ZeusMonitor

from llem_sweep.backends.protocol import BatchTally, LoadContext, MarkPhase
from llem_sweep.backends.synthetic import SyntheticModel
from llem_sweep.clock import SystemClock
from llem_sweep.device.nvml import NvmlGpu
from llem_sweep.device.traces import Constant, Trace, Within, square
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.window import cool, run_window
from llem_sweep.phases import Phase
from llem_sweep.sampling.energy import device_energy
from llem_sweep.sampling.sampler import Sampler
from standin.truth import StandIn
from truth.against_zeus import HIGH_W, IDLE_W, LENGTHS_S, LOW_W, PERIOD_S, Both

ONE_BOARD = LoadContext(gpus=1, simulated=True, attempt=1)
BEFORE_S = 2.0
"""Sampled before each window; in a measurement the warm-up is."""
BASELINE_S = 5.0
_LEAD_S = 0.001
"""A load that follows a window is announced this long before it begins."""
_KEY = "window"


class LoadInZeus:
    """A batch that is Zeus's window, with the load inside it."""

    batches = 1

    def __init__(self, zeus: ZeusMonitor, length_s: float, wave: Trace, follows: bool) -> None:
        self._zeus = zeus
        self._length_s = length_s
        self._follows = follows
        self.trace = wave
        """What the board draws."""
        self.energy_j = 0.0
        """What Zeus says."""
        self.ends_s = (0.0, 0.0)
        """Zeus's window: the middles of the two calls."""
        draw(Constant(IDLE_W) if follows else wave)

    def run_batch(self, index: int, mark: MarkPhase) -> BatchTally:
        """Zeus's window around ``length_s`` of load."""
        mark(Phase.DECODE)
        called_s = time.monotonic()
        self._zeus.begin_window(_KEY, sync_execution=False)
        begin_s = (called_s + time.monotonic()) / 2
        if self._follows:
            loaded_s = time.monotonic() + _LEAD_S
            self.trace = Within(self.trace, IDLE_W, loaded_s, loaded_s + self._length_s)
            draw(self.trace)
            time.sleep(_LEAD_S)
        time.sleep(self._length_s)
        called_s = time.monotonic()
        found = self._zeus.end_window(_KEY, sync_execution=False)
        self.ends_s = (begin_s, (called_s + time.monotonic()) / 2)
        self.energy_j = found.gpu_energy[0]
        return BatchTally(requests=1, input_tokens=1, output_tokens=1, padded_tokens=0)


def draw(trace: Trace) -> None:
    """Let the board draw ``trace`` from now on, and as if it always had."""
    os.environ["STANDIN_TRACES"] = StandIn(traces=(trace,)).environ(Path())["STANDIN_TRACES"]


def measure_both(rig: Rig, zeus: ZeusMonitor, dice: random.Random, follows: bool, cycle: int) -> Both:
    """One window of random length over a wave of random phase; ``cycle`` says where in a tick it opens."""
    wave = square(LOW_W, HIGH_W, PERIOD_S, offset_s=dice.uniform(0, PERIOD_S))
    work = LoadInZeus(zeus, dice.uniform(*LENGTHS_S), wave, follows)
    with Sampler(rig.gpus, rig.clock, rig.phases) as sampler:
        rig.clock.sleep(BEFORE_S + dice.uniform(0, 0.1))
        window = run_window(work, SyntheticModel(rig.clock, ONE_BOARD), rig, sampler, cycle)
        recording, _ = cool(sampler, window, rig, 0.0)
    found = device_energy(recording.samples, window.start_s, window.end_s, recording.period_s, rig.sensors[0])
    begin_s, end_s = work.ends_s
    return Both(
        follows,
        cycle == 1,
        window.duration_s,
        found.energy_j,
        found.uncertainty_j,
        work.trace.energy_j(window.end_s) - work.trace.energy_j(window.start_s),
        work.energy_j,
        work.trace.energy_j(end_s) - work.trace.energy_j(begin_s),
    )


def main() -> None:
    """Print all windows as JSON."""
    seed, windows = map(int, sys.argv[1:])
    dice = random.Random(seed)
    with closing(Rig((NvmlGpu.open(StandIn().uuid(0)),), SystemClock(), node="here")) as rig:
        draw(Constant(IDLE_W))
        rig.take_cold_baseline(BASELINE_S)
        zeus = ZeusMonitor(gpu_indices=[0])
        measured = [
            measure_both(rig, zeus, dice, bool(number % 2), cycle=1 if number % 4 < 2 else 2 + number // 4)
            for number in range(windows)
        ]
    print(json.dumps(measured))


if __name__ == "__main__":
    main()

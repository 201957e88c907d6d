"""A sampler on the stand-in library's boards for a while; ``cost`` runs this in a process of its own.

python -m truth.sampling SECONDS     (the stand-in NVML library first on LD_LIBRARY_PATH)
"""

from __future__ import annotations

import json
import sys
import time
from typing import NamedTuple

from llem_sweep.clock import SystemClock
from llem_sweep.device.nvml import NvmlGpu, list_boards
from llem_sweep.phases import PhaseStream
from llem_sweep.sampling.sampler import Sampler


class Spent(NamedTuple):
    """What sampling took, in seconds."""

    wall_s: float
    readings_cpu_s: float
    """As the recording states it: CPU time of the thread while it reads."""
    process_cpu_s: float
    """CPU time of the whole process, which does nothing else."""
    samples: int

    @property
    def share(self) -> float:
        """CPU time of the process as a share of one core."""
        return self.process_cpu_s / self.wall_s


def main() -> None:
    """Print what was spent as JSON."""
    seconds = float(sys.argv[1])
    clock = SystemClock()
    gpus = [NvmlGpu.open(board.uuid) for board in list_boards()]
    sampler = Sampler(gpus, clock, PhaseStream(clock))
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    with sampler:
        clock.sleep(seconds)
        recording = sampler.stop()
    ended_s, ended_cpu_s = time.monotonic(), time.process_time()
    for gpu in gpus:
        gpu.close()
    spent = Spent(
        ended_s - began_s, recording.cpu_time_s or 0.0, ended_cpu_s - began_cpu_s, len(recording.samples)
    )
    print(json.dumps(spent))


if __name__ == "__main__":
    main()

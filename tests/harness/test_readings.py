"""What somebody who watches a rig may read, and when boards are read for him."""

from __future__ import annotations

from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.protocol import Reading
from llem_sweep.device.simulated import SensorProfile, SimulatedGpu
from llem_sweep.harness.rig import Rig

CONFIG = ExperimentConfig(model="acme/m", backend="synthetic")


class CountingGpu(SimulatedGpu):
    reads = 0

    def read(self, *, slow: bool = True) -> Reading:
        self.reads += 1
        return super().read(slow=slow)


def test_boards_are_read_only_while_no_sampler_reads_them() -> None:
    clock = SimulatedClock()
    gpu = CountingGpu(0, clock)
    rig = Rig((gpu,), clock, node="here")
    (idle,) = rig.readings()
    assert idle is not None
    assert (idle.power_mw, gpu.reads) != (None, 0)
    with rig.sampling(CONFIG) as sampler:
        clock.sleep(1.0)
        before = gpu.reads
        assert rig.readings() == sampler.latest()
        assert gpu.reads == before
        clock.sleep(1.0)
    ended = gpu.reads
    clock.sleep(1.0)
    (after,) = rig.readings()
    assert after is not None
    assert gpu.reads == ended + 1, "the last sample says nothing about now"


def test_a_board_that_does_not_answer_has_no_reading() -> None:
    clock = SimulatedClock()
    lost = SimulatedGpu(0, clock, sensor=SensorProfile(lost_at_s=clock.monotonic() + 1.0))
    rig = Rig((lost, SimulatedGpu(1, clock)), clock, node="here")
    clock.sleep(2.0)
    gone, there = rig.readings()
    assert gone is None
    assert there is not None

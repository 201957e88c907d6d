from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.host_energy import HostMeter, HostReading
from llem_sweep.device.traces import Constant, Trace, square
from llem_sweep.results.parts import HostEnergy
from llem_sweep.sampling.host import HostRecording, host_energy
from powercap_tree import RANGE_UJ, PowercapTree

TICK_S = 0.001


def recording(*points: tuple[float, float | None], dram: float | None = None) -> HostRecording:
    """Readings of the packages at these times, each taking no time."""
    return HostRecording(tuple(HostReading(at_s, package_j, dram) for at_s, package_j in points))


STEADY = recording(*((float(second), 100.0 * second) for second in range(11)))


def test_the_counter_is_interpolated_between_the_readings_around_each_end() -> None:
    found = host_energy(STEADY, 2.25, 7.5)
    assert found.package_j == pytest.approx(100.0 * 5.25)
    # least: 700 - 300 J, most: 800 - 200 J, and 100 W for a tick.
    assert found.package_uncertainty_j == pytest.approx(525.0 - 400.0 + 100.0 * TICK_S)


def test_between_two_readings_nothing_is_known_but_their_difference() -> None:
    found = host_energy(STEADY, 2.2, 2.6)
    assert found.package_j == pytest.approx(40.0)
    assert found.package_uncertainty_j == pytest.approx(60.0 + 100.0 * TICK_S)


def test_at_the_readings_themselves_only_the_counters_tick_is_uncertain() -> None:
    found = host_energy(STEADY, 0.0, 10.0)
    assert found.package_j == 1000.0
    assert found.package_uncertainty_j == pytest.approx(100.0 * TICK_S)


def test_a_reading_that_took_long_makes_the_energy_less_certain() -> None:
    slow = HostRecording((HostReading(0.0, 0.0, None, 0.05), HostReading(10.0, 1000.0, None, 0.01)))
    assert host_energy(slow, 0.0, 10.0).package_uncertainty_j == pytest.approx(100.0 * (TICK_S + 0.05))


@pytest.mark.parametrize(
    ("start_s", "end_s", "reason"),
    [
        (-0.1, 5.0, "CPU: not read before the start of the window"),
        (5.0, 10.1, "CPU: not read after the end of the window"),
        (11.0, 12.0, "CPU: not read before the start"),
        (-2.0, -1.0, "CPU: not read before the start"),
        (5.0, 5.0, "CPU: the window lasts 0 s"),
        (5.0, 4.0, "CPU: the window lasts -1 s"),
    ],
)
def test_a_window_that_readings_do_not_enclose_has_no_energy(
    start_s: float, end_s: float, reason: str
) -> None:
    found = host_energy(STEADY, start_s, end_s)
    assert found.package_j is found.package_uncertainty_j is None
    assert reason in str(found.reason)


def test_no_readings_are_no_energy_and_the_meter_says_why() -> None:
    why = "only root may read this"
    found = host_energy(HostRecording((), (), why, why), 0.0, 1.0)
    assert found == HostEnergy(
        package_j=None,
        package_uncertainty_j=None,
        dram_j=None,
        dram_uncertainty_j=None,
        reason=f"CPU: no counter was read ({why}); memory: no counter was read ({why})",
    )


def test_packages_and_memory_are_independent_of_each_other() -> None:
    readings = tuple(HostReading(float(at), None if at > 5 else 10.0 * at, 3.0 * at) for at in range(11))
    known = HostRecording(readings, ("package-0", "package-0/dram"), "package-0: the counter jumped")
    early, late = host_energy(known, 1.0, 5.0), host_energy(known, 4.0, 8.0)
    assert (early.package_j, early.dram_j, early.reason) == (40.0, 12.0, None)
    assert (late.package_j, late.dram_j) == (None, 12.0)
    assert late.dram_uncertainty_j == pytest.approx(3.0 * TICK_S)
    assert late.reason == "CPU: not read after the end of the window (package-0: the counter jumped)"
    assert late.domains == ("package-0", "package-0/dram")


def test_a_reading_that_failed_is_bridged_by_those_around_it() -> None:
    found = host_energy(recording((0.0, 0.0), (1.0, None), (2.0, 200.0), (3.0, 300.0)), 1.0, 3.0)
    assert found.package_j == pytest.approx(200.0)
    assert found.package_uncertainty_j == pytest.approx(100.0 + 100.0 * TICK_S)


def test_a_counter_that_stands_still_is_none_and_not_zero() -> None:
    found = host_energy(recording((0.0, 7.0), (5.0, 7.0)), 1.0, 4.0)
    assert found.package_j is None
    assert "CPU: the counter stood still" in str(found.reason)


def test_two_readings_at_one_moment_are_both_heeded() -> None:
    found = host_energy(recording((0.0, 0.0), (1.0, 90.0), (1.0, 110.0), (2.0, 200.0)), 0.0, 1.0)
    assert found.package_j is not None
    assert found.package_uncertainty_j is not None
    assert found.package_j - found.package_uncertainty_j <= 90.0
    assert found.package_j + found.package_uncertainty_j >= 110.0


@pytest.mark.parametrize(
    "trace",
    [Constant(300.0), square(80.0, 420.0, 0.7), square(0.0, 500.0, 0.019)],
    ids=["steady", "slow", "fast"],
)
@pytest.mark.parametrize("period_s", [0.0957, 0.997])
def test_the_truth_always_lies_within_the_bound(tmp_path: Path, trace: Trace, period_s: float) -> None:
    """A counter of ticks and units like a real one's, which goes round meanwhile, against its trace's integral."""
    clock = SimulatedClock(start_s=500.0)
    tree = PowercapTree(tmp_path)
    tree.add("intel-rapl:0", "package-0")
    offset_uj = RANGE_UJ - 3_000_000_000

    def counter(file: int, length: int, offset: int) -> bytes:
        ticked_s = math.floor(clock.monotonic() / TICK_S) * TICK_S
        energy_uj = offset_uj + 61 * (1e6 * (trace.energy_j(ticked_s) - trace.energy_j(500.0)) // 61)
        clock.sleep(20e-6)
        return b"%d\n" % (energy_uj % RANGE_UJ)

    readings = []
    with HostMeter(clock, tree.root, counter) as meter:
        while clock.monotonic() < 530.0:
            readings.append(meter.read())
            clock.sleep(period_s)
        known = HostRecording.of(meter, readings)
    rng = random.Random(7)
    for _ in range(300):
        start_s = rng.uniform(500.1, 515.0)
        end_s = start_s + rng.uniform(0.05, 10.0)
        found = host_energy(known, start_s, end_s)
        assert found.package_j is not None
        assert found.package_uncertainty_j is not None
        error_j = abs(found.package_j - (trace.energy_j(end_s) - trace.energy_j(start_s)))
        assert error_j <= found.package_uncertainty_j
        assert found.package_uncertainty_j <= 2 * 500.0 * (period_s + 0.01)

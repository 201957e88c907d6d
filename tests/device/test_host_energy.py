from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.host_energy import HostMeter, HostReading
from powercap_tree import DRAM_RANGE_UJ, RANGE_UJ, PowercapTree, two_sockets

NO_DEVICE = OSError(errno.ENODEV, os.strerror(errno.ENODEV))
FORBIDDEN = PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class Reader:
    """``os.pread``, until it is told to fail."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.calls = 0

    def __call__(self, file: int, length: int, offset: int) -> bytes:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return os.pread(file, length, offset)


class Host:
    """One package and its memory, a meter of them, and the clock that it reads."""

    def __init__(self, root: Path, package_uj: int = 0, dram_uj: int = 0) -> None:
        self.tree = PowercapTree(root)
        self.tree.add("intel-rapl:0", "package-0", package_uj)
        self.tree.add("intel-rapl:0:0", "dram", dram_uj, DRAM_RANGE_UJ)
        self.clock, self.reader = SimulatedClock(), Reader()
        self.meter = HostMeter(self.clock, self.tree.root, self.reader)

    def after(self, seconds: float, package: int | str, dram: int | str = 0) -> HostReading:
        """What is read ``seconds`` later, when the counters show these."""
        self.clock.sleep(seconds)
        self.tree.show("intel-rapl:0", package)
        self.tree.show("intel-rapl:0:0", dram)
        return self.meter.read()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path, package_uj=5_000_000, dram_uj=700_000)
    with made.meter:
        yield made


def test_readings_count_from_when_the_meter_was_made(host: Host) -> None:
    assert host.meter.read() == HostReading(1000.0, 0.0, 0.0, 0.0)
    assert host.after(1.0, 105_000_001, 20_700_000) == HostReading(1001.0, 100.000001, 20.0, 0.0)
    assert host.after(0.5, 155_000_001, 30_700_000) == HostReading(1001.5, 150.000001, 30.0, 0.0)
    assert host.meter.domains == ("package-0", "package-0/dram")
    assert host.meter.package_problem is host.meter.dram_problem is None


def test_packages_are_added_and_so_is_their_memory_but_nothing_else(tmp_path: Path) -> None:
    tree, clock = two_sockets(tmp_path), SimulatedClock()
    with HostMeter(clock, tree.root) as meter:
        clock.sleep(1.0)
        for number, zone in enumerate(sorted(path.name for path in tree.root.glob("*:*"))):
            tree.show(zone, 1_000_000 * 2**number)
        shown = {"intel-rapl:0": 1, "intel-rapl:0:2": 8, "intel-rapl:1": 16, "intel-rapl:1:2": 128}
        reading = meter.read()
        assert reading.package_j == shown["intel-rapl:0"] + shown["intel-rapl:1"]
        assert reading.dram_j == shown["intel-rapl:0:2"] + shown["intel-rapl:1:2"]
        assert meter.domains == ("package-1", "package-0", "package-1/dram", "package-0/dram")


def test_a_counter_that_goes_round_goes_on(tmp_path: Path) -> None:
    host = Host(tmp_path, RANGE_UJ - 30_000_000, DRAM_RANGE_UJ - 1)
    assert host.after(1.0, 20_000_000, 9_999_999) == HostReading(1001.0, 50.0, 10.0, 0.0)
    assert host.after(1.0, 120_000_000, 19_999_999) == HostReading(1002.0, 150.0, 20.0, 0.0)


def test_it_goes_round_as_often_as_it_likes(tmp_path: Path) -> None:
    host = Host(tmp_path)
    step_uj, steps = 900_000_000 * 30, 25
    for step in range(1, steps + 1):
        reading = host.after(30.0, step * step_uj % RANGE_UJ)
    assert steps * step_uj > 2 * RANGE_UJ
    assert reading.package_j == pytest.approx(steps * step_uj / 1e6)


def test_a_counter_set_back_is_unknown_from_there_on(host: Host) -> None:
    assert host.after(1.0, 105_000_000, 700_000).package_j == 100.0
    back = host.after(1.0, 40, 1_700_000)
    assert (back.package_j, back.dram_j) == (None, 1.0)
    assert host.after(1.0, 100_000_040, 2_700_000)[1:3] == (None, 2.0)
    assert "package-0: the counter jumped by 262038 J within 1.000 s" in str(host.meter.package_problem)
    assert "measure again" in str(host.meter.package_problem)
    assert host.meter.dram_problem is None
    assert host.meter.domains == ("package-0", "package-0/dram")


@pytest.mark.parametrize(
    ("added_j", "known"), [(2_199, True), (2_201, False)], ids=["within 2 kW", "beyond it"]
)
def test_a_jump_is_what_no_package_could_draw(host: Host, added_j: int, known: bool) -> None:
    assert (host.after(1.0, 5_000_000 + added_j * 1_000_000).package_j is not None) is known


@pytest.mark.parametrize(
    ("seconds", "package", "dram"), [(32.5, True, True), (33.0, True, False), (131.0, False, False)]
)
def test_a_counter_that_may_have_gone_round_twice_is_unknown_from_there_on(
    host: Host, seconds: float, package: bool, dram: bool
) -> None:
    reading = host.after(seconds, 6_000_000, 1_700_000)
    assert (reading.package_j is not None, reading.dram_j is not None) == (package, dram)
    after = host.after(1.0, 7_000_000, 2_700_000)
    assert (after.package_j is not None, after.dram_j is not None) == (package, dram)
    if not dram:
        assert "may have gone round more than once" in str(host.meter.dram_problem)


def test_two_readings_at_once_may_fall_on_either_side_of_an_update(host: Host) -> None:
    assert host.after(0.0, 5_400_000, 700_000).package_j == 0.4


@pytest.mark.parametrize("content", ["", "much", "-5", "1_0", "1.5", str(RANGE_UJ + 1), "9" * 70, "\0"])
def test_content_that_is_no_reading_is_unknown_and_what_follows_is_not(host: Host, content: str) -> None:
    assert host.after(1.0, content, 1_700_000)[1:3] == (None, 1.0)
    assert "intel-rapl:0/energy_uj" in str(host.meter.package_problem)
    assert host.after(1.0, 25_000_000, 2_700_000)[1:3] == (20.0, 2.0)
    assert host.meter.package_problem is None


def test_a_domain_that_vanishes_is_unknown_and_raises_nothing(host: Host) -> None:
    host.reader.error = NO_DEVICE
    assert host.after(1.0, 0)[1:3] == (None, None)
    assert "energy_uj: No such device" in str(host.meter.package_problem)
    assert "energy_uj: No such device" in str(host.meter.dram_problem)


def test_one_package_that_vanishes_makes_the_sum_unknown(tmp_path: Path) -> None:
    tree = two_sockets(tmp_path)
    meter = HostMeter(SimulatedClock(), tree.root)
    (tree.root / "intel-rapl:1" / "energy_uj").write_text("")
    reading = meter.read()
    assert (reading.package_j, reading.dram_j) == (None, 0.0)
    assert "intel-rapl:1/energy_uj" in str(meter.package_problem)
    assert "intel-rapl:0/energy_uj" not in str(meter.package_problem)


def test_counters_that_root_alone_may_read_say_so_once(tmp_path: Path) -> None:
    tree, reader = two_sockets(tmp_path), Reader()
    reader.error = FORBIDDEN
    meter = HostMeter(SimulatedClock(), tree.root, reader)
    assert meter.read()[1:3] == (None, None)
    assert meter.domains == ()
    assert str(meter.package_problem).startswith("only root may read this machine's CPU energy: run as root")
    assert str(meter.package_problem).count("sudo chmod a+r /sys/class/powercap/*/energy_uj") == 1
    assert meter.dram_problem == meter.package_problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_root_alone_may_open_say_the_same(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    (tree.add("intel-rapl:0", "package-0") / "energy_uj").chmod(0)
    meter = HostMeter(SimulatedClock(), tree.root)
    assert meter.read().package_j is None
    assert str(meter.package_problem).startswith("only root may read this machine's CPU energy")


@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj"])
@pytest.mark.parametrize("replaced_by", ["nothing", "folder", "garbage"])
def test_a_counter_without_value_or_range_is_unknown(tmp_path: Path, file: str, replaced_by: str) -> None:
    tree = PowercapTree(tmp_path)
    path = tree.add("intel-rapl:0", "package-0") / file
    path.unlink()
    if replaced_by == "folder":
        path.mkdir()
    elif replaced_by == "garbage":
        path.write_text("unknown")
    meter = HostMeter(SimulatedClock(), tree.root)
    assert meter.read()[1:3] == (None, None)
    assert f"intel-rapl:0/{file}: " in str(meter.package_problem)
    assert meter.domains == ()
    meter.close()


def test_a_machine_without_the_tree_has_no_energy_and_costs_nothing(tmp_path: Path) -> None:
    reader = Reader()
    meter = HostMeter(SimulatedClock(), tmp_path / "none", reader)
    assert meter.read() == HostReading(1000.0, None, None, 0.0)
    assert "intel_rapl_msr" in str(meter.package_problem)
    assert meter.domains == ()
    assert reader.calls == 0


def test_no_memory_is_no_problem_of_the_packages(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    tree.add("intel-rapl:0", "package-0")
    meter = HostMeter(SimulatedClock(), tree.root)
    assert meter.read()[1:3] == (0.0, None)
    assert meter.package_problem is None
    assert "no counter of its memory" in str(meter.dram_problem)


def test_a_reading_is_stamped_in_its_middle_and_says_how_long_it_took(tmp_path: Path) -> None:
    clock = SimulatedClock(start_s=10.0)
    tree = PowercapTree(tmp_path)
    tree.add("intel-rapl:0", "package-0")

    def slow(file: int, length: int, offset: int) -> bytes:
        clock.sleep(0.25)
        return os.pread(file, length, offset)

    meter = HostMeter(clock, tree.root, slow)
    assert meter.read() == HostReading(10.375, 0.0, None, 0.25)


def test_a_counter_is_opened_once_and_each_reading_is_one_call_for_each(host: Host) -> None:
    for _ in range(10):
        host.meter.read()
    assert host.reader.calls == 2 * 11


def test_closing_keeps_what_was_known_and_lets_the_files_go(host: Host) -> None:
    before = len(os.listdir("/proc/self/fd"))
    host.meter.close()
    host.meter.close()
    assert len(os.listdir("/proc/self/fd")) == before - 2
    assert host.meter.package_problem is None
    assert host.meter.domains == ("package-0", "package-0/dram")
    assert host.meter.read()[1:3] == (None, None)
    assert "closed" in str(host.meter.package_problem)

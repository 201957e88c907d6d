from __future__ import annotations

from pathlib import Path

import pytest

from llem_sweep.device.powercap import find_zones
from powercap_tree import PowercapTree, two_sockets


def names(root: Path) -> tuple[list[str], list[str]]:
    zones = find_zones(root)
    return [zone.name for zone in zones.packages], [zone.name for zone in zones.drams]


def test_packages_and_their_memory_are_found_and_nothing_that_overlaps_them(tmp_path: Path) -> None:
    zones = find_zones(two_sockets(tmp_path).root)
    assert [(zone.name, zone.folder.name) for zone in zones.packages] == [
        ("package-1", "intel-rapl:0"),
        ("package-0", "intel-rapl:1"),
    ]
    assert [(zone.name, zone.folder.name) for zone in zones.drams] == [
        ("package-1/dram", "intel-rapl:0:2"),
        ("package-0/dram", "intel-rapl:1:2"),
    ]
    assert zones.package_problem is zones.dram_problem is None


def test_every_die_is_a_package_and_tens_of_them_stay_in_order(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    for number in range(12):
        tree.add(f"intel-rapl:{number}", f"package-{number // 2}-die-{number % 2}")
    assert names(tree.root)[0] == [f"package-{number // 2}-die-{number % 2}" for number in range(12)]


@pytest.mark.parametrize("mmio_first", [True, False])
def test_packages_shown_a_second_time_are_left_out(tmp_path: Path, mmio_first: bool) -> None:
    tree = PowercapTree(tmp_path)
    for control in ("intel-rapl-mmio", "intel-rapl") if mmio_first else ("intel-rapl", "intel-rapl-mmio"):
        tree.add(f"{control}:0", "package-0")
    tree.add("intel-rapl-mmio:0:0", "dram")
    zones = find_zones(tree.root)
    assert [zone.folder.name for zone in zones.packages] == ["intel-rapl:0"]
    assert not zones.drams


def test_packages_shown_by_another_control_alone_are_found(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    tree.add("intel-rapl:0", "psys")
    tree.add("intel-rapl-mmio:0", "package-0")
    assert names(tree.root) == (["package-0"], [])


def test_the_control_folder_alone_will_do_as_a_container_may_be_given_it(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    expected = (["package-1", "package-0"], ["package-1/dram", "package-0/dram"])
    assert names(tmp_path / "devices") == names(tmp_path / "devices" / "intel-rapl") == expected


def test_zones_that_lie_beside_each_other_alone_are_found_as_well(tmp_path: Path) -> None:
    for zone, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "dram"),
        ("intel-rapl:10:0", "dram"),
    ):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text(name)
    assert names(tmp_path) == (["package-0"], ["package-0/dram"])


def test_a_cpu_that_tells_nothing_of_its_memory_says_so(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "core")
    zones = find_zones(tree.root)
    assert zones.package_problem is None
    assert zones.dram_problem == "this CPU offers no counter of its memory's energy"


def test_a_missing_tree_says_what_to_load(tmp_path: Path) -> None:
    zones = find_zones(tmp_path / "powercap")
    assert zones.packages == zones.drams == ()
    assert zones.package_problem == zones.dram_problem
    assert f"{tmp_path / 'powercap'}: No such file" in str(zones.package_problem)
    assert "load the kernel module intel_rapl_msr" in str(zones.package_problem)
    (tmp_path / "file").touch()
    assert "Not a directory" in str(find_zones(tmp_path / "file").package_problem)


def test_a_tree_without_packages_says_what_to_load(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    for zone, name in (("intel-rapl:0", "psys"), ("intel-rapl:1", "package-x"), ("dtpm:0", "package-0")):
        tree.add(zone, name)
    zones = find_zones(tree.root)
    assert not zones.packages
    assert "shows no CPU package: load the kernel module" in str(zones.package_problem)


def test_a_tree_masked_in_a_container_says_how_to_be_shown_it(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").symlink_to(tmp_path / "masked")
    zones = find_zones(tmp_path)
    assert not zones.packages
    assert "systempaths=unconfined" in str(zones.package_problem)


def test_packages_are_all_found_or_none(tmp_path: Path) -> None:
    tree = two_sockets(tmp_path)
    unknown = tree.root / "intel-rapl:1" / "name"
    unknown.unlink()
    unknown.mkdir()
    zones = find_zones(tree.root)
    assert not zones.packages
    assert f"{unknown}: Is a directory" in str(zones.package_problem)


def test_so_is_their_memory(tmp_path: Path) -> None:
    tree = two_sockets(tmp_path)
    (tree.root / "intel-rapl:1:2" / "name").unlink()
    zones = find_zones(tree.root)
    assert len(zones.packages) == 2
    assert zones.package_problem is None
    assert not zones.drams
    assert "intel-rapl:1:2/name: No such file" in str(zones.dram_problem)


def test_a_name_that_is_no_text_is_no_package(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    (tree.add("intel-rapl:0", "") / "name").write_bytes(b"\xff\xfe\x00package-0")
    assert not find_zones(tree.root).packages

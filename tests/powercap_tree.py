"""A powercap tree of plain files, to stand in for the machine's own."""

from __future__ import annotations

from pathlib import Path

RANGE_UJ = 262_143_328_850
"""Of a package on Intel's CPUs."""
DRAM_RANGE_UJ = 65_712_999_613


class PowercapTree:
    """Zones as Linux shows them: each below its parent, and by a link beside all others."""

    def __init__(self, root: Path) -> None:
        self.root = root / "class"
        self._devices = root / "devices"
        self.root.mkdir()
        self._devices.mkdir()

    def add(self, zone: str, name: str, energy_uj: int = 0, range_uj: int = RANGE_UJ) -> Path:
        """The folder of a new zone such as ``intel-rapl:0`` or, within that one, ``intel-rapl:0:1``."""
        control, *numbers = zone.split(":")
        parents = [":".join([control, *numbers[:count]]) for count in range(len(numbers))]
        folder = self._devices.joinpath(*parents, zone)
        folder.mkdir(parents=True)
        (self.root / zone).symlink_to(folder)
        if not (self.root / control).is_symlink():
            (self.root / control).symlink_to(self._devices / control)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{energy_uj}\n")
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        return folder

    def show(self, zone: str, content: int | str) -> None:
        """Let the zone's counter show ``content``."""
        (self.root / zone / "energy_uj").write_text(f"{content}\n")


def two_sockets(root: Path) -> PowercapTree:
    """A server of two packages, numbered the other way round, with all that Intel's servers show."""
    tree = PowercapTree(root)
    for zone, package in (("intel-rapl:0", "package-1"), ("intel-rapl:1", "package-0")):
        tree.add(zone, package)
        tree.add(f"{zone}:0", "core")
        tree.add(f"{zone}:1", "uncore")
        tree.add(f"{zone}:2", "dram", range_uj=DRAM_RANGE_UJ)
    tree.add("intel-rapl:2", "psys")
    return tree

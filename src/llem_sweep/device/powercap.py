"""Which energy counters Linux' powercap tree shows of this machine's CPUs and their memory.

Intel and AMD share the tree: a zone ``intel-rapl:0`` named ``package-0`` (``package-0-die-1`` where a package has
several dies), and zones within it named ``dram``, ``core`` or ``uncore``. ``core`` and ``uncore`` are parts of
their package and ``psys`` holds the packages, so none of them may be added. ``intel-rapl-mmio`` shows the same
packages a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

POWERCAP = Path("/sys/class/powercap")

_CONTROL = re.compile(r"[a-z]+-rapl(-[a-z]+)?")
_ZONE = re.compile(rf"(?P<control>{_CONTROL.pattern}):(?P<number>\d+)")
_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")
_FIRST_CHOICE = "intel-rapl"


class Zone(NamedTuple):
    """One domain with a counter of its own."""

    name: str
    """``package-0``, or ``package-0/dram``."""
    folder: Path


class Zones(NamedTuple):
    """The domains that may be added up."""

    packages: tuple[Zone, ...]
    drams: tuple[Zone, ...]
    package_problem: str | None
    """Why there is no package."""
    dram_problem: str | None


def find_zones(root: Path = POWERCAP) -> Zones:
    """Every CPU package below ``root``, each once, and the memory of each. Never raises.

    ``root`` holds the zones themselves, or the folder of their control type, as a container may be given it. When
    a zone can't be identified, none is returned: the others might not be all.
    """
    try:
        controls = _controls(root)
    except OSError as error:
        return _none(f"{root}: {error.strerror}: {_NO_TREE}")
    for folders in controls:
        found: dict[str, Path] = {}
        for folder in folders:
            try:
                name = _text(folder / "name")
            except OSError as error:
                return _none(f"{folder / 'name'}: {error.strerror}: {_MASKED}")
            if _PACKAGE.fullmatch(name):
                found.setdefault(name, folder)
        if found:
            return _with_memory(tuple(Zone(name, folder) for name, folder in found.items()), root)
    return _none(f"{root} shows no CPU package: {_NO_TREE}")


_NO_TREE = (
    "load the kernel module intel_rapl_msr (it serves AMD's CPUs too);"
    " few virtual machines are shown their host's counters"
)
_MASKED = "a container is shown it only if asked, as by `docker run --security-opt systempaths=unconfined`"


def _controls(root: Path) -> list[list[Path]]:
    """The top-level zones of each control type, the one to be trusted first. Raises OSError."""
    entries = list(root.iterdir())
    for control in [entry for entry in entries if _CONTROL.fullmatch(entry.name)]:
        entries.extend(control.iterdir())
    found: dict[str, list[tuple[int, Path]]] = {}
    for entry in entries:
        if zone := _ZONE.fullmatch(entry.name):
            found.setdefault(zone["control"], []).append((int(zone["number"]), entry))
    ordered = sorted(found, key=lambda control: (control != _FIRST_CHOICE, control))
    return [[entry for _, entry in sorted(found[control], key=lambda zone: zone[0])] for control in ordered]


def _with_memory(packages: tuple[Zone, ...], root: Path) -> Zones:
    try:
        drams = tuple(dram for package in packages for dram in _drams(package, root))
    except OSError as error:
        return Zones(packages, (), None, f"{error.filename}: {error.strerror}: {_MASKED}")
    return Zones(
        packages, drams, None, None if drams else "this CPU offers no counter of its memory's energy"
    )


def _drams(package: Zone, root: Path) -> Iterator[Zone]:
    """The memory's zone of one package, if it has one. Raises OSError.

    Linux shows each zone within its package's and again beside it.
    """
    inside = f"{package.folder.name}:*"
    for folder in (*sorted(package.folder.glob(inside)), *sorted(root.glob(inside))):
        if _text(folder / "name") == "dram":
            yield Zone(f"{package.name}/dram", folder)
            return


def _none(problem: str) -> Zones:
    return Zones((), (), problem, problem)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace").strip()

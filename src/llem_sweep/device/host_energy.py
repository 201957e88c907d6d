"""Energy of this machine's CPU packages and their memory (RAPL), where Linux lets this process read it.

The energy is the whole machine's, whoever computes on it. Each counter goes round: at its range, 65 kJ on AMD's
CPUs and for memory, 262 kJ on Intel's, it begins again at 0. No package draws 2 kW, so a counter that is read
again within range / 2 kW, half a minute at the least, has gone round once at most.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from llem_sweep.clock import Clock
from llem_sweep.device.powercap import POWERCAP, Zone, find_zones

COUNTER_TICK_S = 0.001
"""Age of a counter's value at most (Intel SDM 3B, MSR_PKG_ENERGY_STATUS: updated about every millisecond)."""

ReadAt = Callable[[int, int, int], bytes]
"""``os.pread``: of an open file, so many bytes, from there on."""

_MOST_W = 2_000.0
"""More than any one package or its memory draws."""
_UNEVEN_S = 0.1
"""How much later than usual a counter may be updated."""
_LONGEST = 64


class HostReading(NamedTuple):
    """What the machine has used since its meter was made; None for what isn't offered or couldn't be read now."""

    at_s: float
    """Monotonic time in the middle of the reading."""
    package_j: float | None
    """All CPU packages together."""
    dram_j: float | None
    """The memory of all packages together."""
    took_s: float = 0.0


class HostMeter:
    """Reads the counters for as long as it is open; from one thread at a time.

    Absent or forbidden counters raise nothing: their energy is None and a problem says what to do. To be read at
    least once a second, so that a counter that was set back, as by a suspended machine, shows as a jump beyond any
    power (one set back just before going round can't be told from one that did). A counter that jumped, or wasn't
    read for so long that it may have gone round twice, is unknown from there on.
    """

    def __init__(self, clock: Clock, root: Path = POWERCAP, read: ReadAt = os.pread) -> None:
        self._clock = clock
        zones = find_zones(root)
        self._zone_problems = zones.package_problem, zones.dram_problem
        self._packages = tuple(_Counter(zone, read) for zone in zones.packages)
        self._drams = tuple(_Counter(zone, read) for zone in zones.drams)
        self.read()

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the counters that were read at least once, as in ``package-0`` and ``package-0/dram``."""
        return tuple(counter.name for counter in (*self._packages, *self._drams) if counter.was_read)

    @property
    def package_problem(self) -> str | None:
        """Why the newest reading has no energy of the packages, and what to do about it."""
        return self._zone_problems[0] or _problems(self._packages)

    @property
    def dram_problem(self) -> str | None:
        """The same for their memory."""
        return self._zone_problems[1] or _problems(self._drams)

    def read(self) -> HostReading:
        """Read every counter now. Energy between two readings is exact to the counters' tick at either."""
        before_s = self._clock.monotonic()
        package_j = _total_j([counter.read_uj(before_s) for counter in self._packages])
        dram_j = _total_j([counter.read_uj(before_s) for counter in self._drams])
        after_s = self._clock.monotonic()
        return HostReading((before_s + after_s) / 2, package_j, dram_j, after_s - before_s)

    def close(self) -> None:
        """Close the counters' files; what is known by then stays. Safe to call twice."""
        for counter in (*self._packages, *self._drams):
            counter.close()

    def __enter__(self) -> HostMeter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Counter:
    """One domain's counter, kept open: a read is then one system call."""

    def __init__(self, zone: Zone, read: ReadAt) -> None:
        self.name = zone.name
        self.problem: str | None = None
        self._path = zone.folder / "energy_uj"
        self._read = read
        self._range_uj = 0
        self._file: int | None = None
        self._last: tuple[float, int] | None = None
        self._total_uj = 0
        file = zone.folder / "max_energy_range_uj"
        try:
            self._range_uj = _number(file.read_bytes())
            file = self._path
            self._file = os.open(file, os.O_RDONLY)
        except (OSError, ValueError) as error:
            self.problem = _why(file, error)

    @property
    def was_read(self) -> bool:
        return self._last is not None

    def read_uj(self, at_s: float) -> int | None:
        """Energy in µJ since the first read; None when it can't be told, now or any more."""
        if self._file is None:
            self.problem = self.problem or f"{self.name}: read after the meter was closed"
            return None
        try:
            value = _number(self._read(self._file, _LONGEST, 0))
            if value > self._range_uj:
                raise ValueError(f"{value} is beyond the counter's range of {self._range_uj}")
        except (OSError, ValueError) as error:
            self.problem = _why(self._path, error)
            return None
        last_s, last_uj = self._last or (at_s, value)
        added_uj = value - last_uj if value >= last_uj else value - last_uj + self._range_uj
        if unsafe := self._unsafe(added_uj, at_s - last_s):
            self.close()
            self.problem = f"{self.name}: {unsafe}"
            return None
        self._last, self.problem = (at_s, value), None
        self._total_uj += added_uj
        return self._total_uj

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _unsafe(self, added_uj: int, elapsed_s: float) -> str | None:
        most_uj = 1e6 * _MOST_W * (elapsed_s + _UNEVEN_S)
        if most_uj >= self._range_uj:
            return (
                f"the counter, of a range of {self._range_uj / 1e6:.0f} J, may have gone round more than once in"
                f" the {elapsed_s:.1f} s for which it wasn't read"
            )
        if added_uj > most_uj:
            return (
                f"the counter jumped by {added_uj / 1e6:.0f} J within {elapsed_s:.3f} s, as it does where it is"
                " set back while the machine is suspended; measure again"
            )
        return None


def _number(content: bytes) -> int:
    """A counter's content. Raises ValueError when it is no number."""
    if not content.strip().isdigit():
        raise ValueError(f"holds no number but {content[:20]!r}")
    return int(content)


def _why(file: Path, error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return (
            "only root may read this machine's CPU energy: run as root, or let everybody read it until the next"
            f" start with `sudo chmod a+r {POWERCAP}/*/energy_uj` (others could then tell secrets from it:"
            " CVE-2020-8694)"
        )
    return f"{file}: {error.strerror if isinstance(error, OSError) else error}"


def _problems(counters: tuple[_Counter, ...]) -> str | None:
    return "; ".join(dict.fromkeys(each.problem for each in counters if each.problem)) or None


def _total_j(values_uj: list[int | None]) -> float | None:
    """None when there is nothing to add, or a part is unknown."""
    known = [value for value in values_uj if value is not None]
    return sum(known) / 1e6 if known and len(known) == len(values_uj) else None

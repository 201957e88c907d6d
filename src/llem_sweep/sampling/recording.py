"""What a sampler recorded."""

from __future__ import annotations

from typing import NamedTuple

from llem_sweep.device.host_energy import HostReading
from llem_sweep.device.protocol import Health, Reading
from llem_sweep.phases import Phase
from llem_sweep.sampling.host import HostRecording


class Sample(NamedTuple):
    """One reading of one board."""

    at_s: float
    """Monotonic time in seconds at the middle of the reading."""
    device: int
    """Position of the board in the worker's device order."""
    phase: Phase
    reading: Reading
    health: Health | None = None
    """What could spoil a measurement: asked with the first sample, about once a second, and with the last."""
    host: HostReading | None = None
    """The node's own counters, read beside the first board some ten times a second."""


class Recording(NamedTuple):
    """All samples of one recording, in the order taken."""

    samples: tuple[Sample, ...]
    period_s: float
    cpu_time_s: float | None
    """CPU time spent reading."""
    host: HostRecording | None = None
    """The readings of the node's own counters; None where they weren't to be read."""

    def of_device(self, device: int) -> tuple[Sample, ...]:
        """The samples of one board."""
        return tuple(sample for sample in self.samples if sample.device == device)

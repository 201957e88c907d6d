"""The sampler: reads every board of a worker at a steady pace and keeps what it read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from llem_sweep.clock import Clock, SystemClock, Ticker
from llem_sweep.device.host_energy import HostMeter
from llem_sweep.device.protocol import Gpu, Reading
from llem_sweep.errors import DeviceError
from llem_sweep.phases import PhaseStream
from llem_sweep.sampling.host import HostRecording
from llem_sweep.sampling.recording import Recording, Sample

SAMPLE_PERIOD_S = 0.01594
"""Six samples for each 100 ms tick. No whole number of periods makes a published tick (20, 100, 500 ms): samples
then fall at ever other points of the ticks, and many ticks together tell their times better than one sample."""
SLOW_EVERY = 6
"""Temperature, memory, utilisation, clocks and their reasons are read with every so many samples."""
HEALTH_PERIOD_S = 1.0
"""How often a board is asked for what can spoil a measurement."""


class Sampler:
    """One recording over all boards of a worker; used once.

    Readings come from the clock's ticker (a thread, on a real clock). A board's failure there is kept, and raised
    in the caller's thread by :meth:`check` and :meth:`stop`. Over no boards, nothing is started.
    """

    def __init__(
        self,
        gpus: Sequence[Gpu],
        clock: Clock,
        phases: PhaseStream,
        period_s: float = SAMPLE_PERIOD_S,
        host: HostMeter | None = None,
    ) -> None:
        """``host`` is read beside the first board, and closed at the end."""
        self.period_s = period_s
        self._gpus = tuple(gpus)
        self._clock = clock
        self._phases = phases
        self._host = host
        self._samples: list[Sample] = []
        self._health_due_s = clock.monotonic()
        self._ticks = 0
        self._latest: list[Reading | None] = [None] * len(self._gpus)
        self._cpu_time_s: float | None = 0.0 if gpus and isinstance(clock, SystemClock) else None
        self._error: DeviceError | None = None
        self._ticker: Ticker | None = None

    def start(self) -> None:
        """Begin to sample; the first samples are under way at once."""
        if self._gpus:
            self._ticker = self._clock.every(self.period_s, self._tick)

    def stop(self) -> Recording:
        """End the recording with a last sample of everything, and return it.

        Raises the DeviceError (BoardLostError) that ended it early, if any.
        """
        self._end()
        self.check()
        for device, gpu in enumerate(self._gpus):
            self._sample(device, gpu, slow=True, asked=True)
        return self.recording()

    @property
    def at_work(self) -> bool:
        """Whether it is reading the boards now."""
        return self._ticker is not None and self._error is None

    def check(self) -> None:
        """Raise the DeviceError that ended the recording early, if any."""
        if self._error is not None:
            raise self._error

    def recording(self) -> Recording:
        """All samples so far."""
        samples = tuple(self._samples)
        readings = [sample.host for sample in samples if sample.host is not None]
        host = HostRecording.of(self._host, readings) if self._host is not None else None
        return Recording(samples, self.period_s, self._cpu_time_s, host)

    def latest(self) -> tuple[Reading | None, ...]:
        """The newest of every reading of each board; None for a board that none was taken of yet."""
        return tuple(self._latest)

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if self._host is not None:
            self._host.close()

    def _end(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def _tick(self) -> None:
        if self._error is not None:
            return
        began_s = time.thread_time()
        asked = self._clock.monotonic() >= self._health_due_s
        slow = asked or self._ticks % SLOW_EVERY == 0
        try:
            for device, gpu in enumerate(self._gpus):
                self._sample(device, gpu, slow=slow, asked=asked)
        except DeviceError as error:
            self._error = error
        self._ticks += 1
        if asked:
            self._health_due_s = self._clock.monotonic() + HEALTH_PERIOD_S
        if self._cpu_time_s is not None:
            self._cpu_time_s += time.thread_time() - began_s

    def _sample(self, device: int, gpu: Gpu, *, slow: bool, asked: bool) -> None:
        before_s = self._clock.monotonic()
        phase = self._phases.current.phase
        reading = gpu.read(slow=slow)
        at_s = (before_s + self._clock.monotonic()) / 2
        health = gpu.health() if asked else None
        host = self._host.read() if self._host is not None and slow and device == 0 else None
        self._samples.append(Sample(at_s, device, phase, reading, health, host))
        known = self._latest[device]
        if not slow and known is not None:
            reading = known._replace(
                energy_mj=reading.energy_mj, power_mw=reading.power_mw, instant_mw=reading.instant_mw
            )
        self._latest[device] = reading

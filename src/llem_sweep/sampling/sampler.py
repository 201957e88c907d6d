"""The sampler: reads every board of a worker at a steady pace and keeps what it read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from llem_sweep.clock import Clock, SystemClock, Ticker
from llem_sweep.device.protocol import Gpu, Reading
from llem_sweep.errors import DeviceError
from llem_sweep.phases import PhaseStream
from llem_sweep.sampling.recording import Recording, Sample

SAMPLE_PERIOD_S = 0.02
"""Five samples for each tick of the counters seen so far, so that a tick's time is known to 10 ms."""


class Sampler:
    """One recording over all boards of a worker; used once.

    Readings come from the clock's ticker (a thread, on a real clock). A board's failure there is kept, and raised
    in the caller's thread by :meth:`check` and :meth:`stop`. Over no boards, nothing is started.
    """

    def __init__(
        self, gpus: Sequence[Gpu], clock: Clock, phases: PhaseStream, period_s: float = SAMPLE_PERIOD_S
    ) -> None:
        self.period_s = period_s
        self._gpus = tuple(gpus)
        self._clock = clock
        self._phases = phases
        self._samples: list[Sample] = []
        self._latest: list[Reading | None] = [None] * len(self._gpus)
        self._cpu_time_s: float | None = 0.0 if gpus and isinstance(clock, SystemClock) else None
        self._error: DeviceError | None = None
        self._ticker: Ticker | None = None

    def start(self) -> None:
        """Begin to sample; the first samples are under way at once."""
        if self._gpus:
            self._ticker = self._clock.every(self.period_s, self._tick)

    def stop(self) -> Recording:
        """End the recording and return it. Raises the DeviceError (BoardLostError) that ended it early, if any."""
        self._end()
        self.check()
        return self.recording()

    def check(self) -> None:
        """Raise the DeviceError that ended the recording early, if any."""
        if self._error is not None:
            raise self._error

    def recording(self) -> Recording:
        """All samples so far."""
        return Recording(tuple(self._samples), self.period_s, self._cpu_time_s)

    def latest(self) -> tuple[Reading | None, ...]:
        """The newest reading of each board; None for a board that none was taken of yet."""
        return tuple(self._latest)

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()

    def _tick(self) -> None:
        if self._error is not None:
            return
        began_s = time.thread_time()
        try:
            for device, gpu in enumerate(self._gpus):
                self._sample(device, gpu)
        except DeviceError as error:
            self._error = error
        if self._cpu_time_s is not None:
            self._cpu_time_s += time.thread_time() - began_s

    def _sample(self, device: int, gpu: Gpu) -> None:
        before_s = self._clock.monotonic()
        phase = self._phases.current.phase
        reading = gpu.read()
        at_s = (before_s + self._clock.monotonic()) / 2
        self._samples.append(Sample(at_s, device, phase, reading))
        self._latest[device] = reading

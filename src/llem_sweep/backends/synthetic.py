"""A backend that waits instead of computing, for rehearsing schedules and faults without torch."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Sequence
from typing import Any

from llem_sweep.backends.protocol import (
    BatchTally,
    BatchTimes,
    DeviceMemory,
    Fetched,
    LoadContext,
    LoadedModel,
    MarkPhase,
    Operands,
    RequestTimes,
    Workload,
)
from llem_sweep.clock import Clock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import SyntheticOptions
from llem_sweep.errors import BackendError, GpuMemoryError, ModelLoadError
from llem_sweep.phases import Phase
from llem_sweep.plan.architecture import Uncounted
from llem_sweep.plan.types import ModelFacts

MAX_BATCHES = 8
PREFILL_SHARE = 0.1
"""Part of each batch's time that is marked as prefill."""


class SyntheticBackend:
    """Waits on its clock as long as ``synthetic`` says and reports the tokens that were asked for.

    An experiment's requests, or this process's part of them, are spread evenly over up to ``MAX_BATCHES`` batches.
    Fetching waits for ``synthetic.fetch_seconds``; loading doesn't. ``synthetic.fail_at`` makes fetching
    (``fetch``), loading (``load``) or every batch, those of the warm-up included (``run``, ``oom``, ``hang``,
    ``die``), fail.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loads = itertools.count()
        self._fetched: set[str | None] = set()

    @property
    def version(self) -> str:
        return "synthetic 1"

    @property
    def synthetic(self) -> bool:
        return True

    def describe(self, config: ExperimentConfig) -> ModelFacts:
        return ModelFacts()

    def unsupported(self, config: ExperimentConfig) -> str | None:
        if config.save_outputs:
            return "save_outputs: the synthetic backend generates no text"
        given = ", ".join(config.passthrough_kwargs)
        return f"passthrough_kwargs: the synthetic backend passes nothing on: {given}" if given else None

    def fetch_key(self, config: ExperimentConfig) -> str | None:
        options = config.synthetic
        return json.dumps([config.model, options.fetch_seconds]) if _needs_fetching(options) else None

    def fetch(self, config: ExperimentConfig) -> Fetched:
        options = config.synthetic
        if not _needs_fetching(options) or self.fetch_key(config) in self._fetched:
            return Fetched(0, 0.0, already_there=True)
        self._clock.sleep(options.fetch_seconds)
        if options.fail_at == "fetch":
            raise ModelLoadError("synthetic failure: fail_at is fetch")
        self._fetched.add(self.fetch_key(config))
        return Fetched(0, options.fetch_seconds, already_there=False)

    def load_key(self, config: ExperimentConfig) -> str:
        options = config.synthetic
        # Whether a fault still strikes depends on the attempt, which is told at loading alone.
        fresh = next(self._loads) if options.fail_at else None
        return json.dumps([config.model, config.gpus, options.load_seconds, options.fail_at, fresh])

    def load(self, config: ExperimentConfig, context: LoadContext) -> LoadedModel:
        self._clock.sleep(config.synthetic.load_seconds)
        model = SyntheticModel(self._clock, context)
        if (fault := model.failure(config)) in ("fetch", "load"):
            raise ModelLoadError(f"synthetic failure: fail_at is {fault}")
        return model


class SyntheticModel:
    """Nothing, loaded."""

    def __init__(self, clock: Clock, context: LoadContext) -> None:
        self._clock = clock
        self._context = context

    @property
    def device_uuids(self) -> tuple[str, ...]:
        return ()

    @property
    def off_board(self) -> bool:
        return False

    @property
    def architecture(self) -> Uncounted:
        return Uncounted("the synthetic backend computes nothing")

    @property
    def operands(self) -> Operands:
        return Operands(None, None, None, self.architecture.reason)

    @property
    def compiled(self) -> None:
        return None

    def failure(self, config: ExperimentConfig) -> str | None:
        """The fault that strikes this attempt."""
        limit = config.synthetic.fail_times
        return config.synthetic.fail_at if limit is None or self._context.attempt <= limit else None

    def effective(self, config: ExperimentConfig) -> dict[str, Any]:
        batches = len(self._sizes(config))
        return {"engine": "synthetic", "batches": batches} | config.synthetic.model_dump(mode="json")

    def prepare(self, config: ExperimentConfig) -> Workload:
        numbers = self._context.requests_of(config.n)
        return SyntheticWorkload(
            self._clock, config, batch_sizes(len(numbers)), numbers, self.failure(config)
        )

    def _sizes(self, config: ExperimentConfig) -> tuple[int, ...]:
        return batch_sizes(len(self._context.requests_of(config.n)))

    def synchronize(self) -> None:
        pass

    def reset_peak_memory(self) -> None:
        pass

    def memory(self) -> tuple[DeviceMemory, ...]:
        return ()

    def close(self) -> None:
        pass


class SyntheticWorkload:
    """Batches that take their share of ``synthetic.run_seconds``, with tokens at even times after the first."""

    def __init__(
        self,
        clock: Clock,
        config: ExperimentConfig,
        sizes: tuple[int, ...],
        numbers: Sequence[int],
        failure: str | None,
    ) -> None:
        self._clock = clock
        self._config = config
        self._failure = failure
        self._sizes = sizes
        self._numbers = numbers
        self._output_tokens = config.synthetic.output_tokens or config.max_output_tokens

    @property
    def batches(self) -> int:
        return len(self._sizes)

    def run_batch(self, index: int, mark: MarkPhase) -> BatchTally:
        return self._run(index, mark, self._output_tokens, 1 - PREFILL_SHARE)

    def run_prefill(self, index: int, mark: MarkPhase) -> BatchTally:
        return self._run(index, mark, 1, 0.0)

    def _run(self, index: int, mark: MarkPhase, output_tokens: int, decode_share: float) -> BatchTally:
        """A batch whose requests have so many tokens, decoded in that share of the time that it takes as a
        whole."""
        config, requests = self._config, self._sizes[index]
        batch_s = config.synthetic.run_seconds / len(self._sizes)
        mark(Phase.PREFILL)
        start_s = self._clock.monotonic()
        self._clock.sleep(batch_s * PREFILL_SHARE)
        _strike(self._failure)
        mark(Phase.DECODE)
        first_s = self._clock.monotonic()
        self._clock.sleep(batch_s * decode_share)
        last_s = self._clock.monotonic()
        return BatchTally(
            requests=requests,
            input_tokens=requests * config.max_input_tokens,
            output_tokens=requests * output_tokens,
            padded_tokens=0,
            times=lambda: self._times(index, output_tokens, start_s, first_s, last_s),
        )

    def _times(
        self, index: int, output_tokens: int, start_s: float, first_s: float, last_s: float
    ) -> BatchTimes:
        steps = max(output_tokens - 1, 1)
        tokens_s = tuple(first_s + (last_s - first_s) * step / steps for step in range(output_tokens))
        before = sum(self._sizes[:index])
        numbers = self._numbers[before : before + self._sizes[index]]
        return BatchTimes(
            start_s,
            tuple(
                RequestTimes(number, self._config.max_input_tokens, start_s, tokens_s) for number in numbers
            ),
            0.0,
        )


def batch_sizes(requests: int) -> tuple[int, ...]:
    """``requests`` spread over up to MAX_BATCHES batches whose sizes differ by at most one."""
    batches = min(requests, MAX_BATCHES)
    size, larger = divmod(requests, batches)
    return tuple(size + (index < larger) for index in range(batches))


def _needs_fetching(options: SyntheticOptions) -> bool:
    return options.fetch_seconds > 0 or options.fail_at == "fetch"


def _strike(failure: str | None) -> None:
    if failure == "run":
        raise BackendError("synthetic failure: fail_at is run")
    if failure == "oom":
        raise GpuMemoryError("synthetic failure: fail_at is oom")
    if failure == "hang":
        threading.Event().wait()
    if failure == "die":
        os._exit(1)

"""A plug-in backend that notes what is done with it, installed by its entry point as a user's would be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llem_sweep.backends.protocol import (
    BatchTally,
    Compiled,
    DeviceMemory,
    Fetched,
    LoadContext,
    LoadedModel,
    MarkPhase,
    Operands,
    Workload,
)
from llem_sweep.clock import Clock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError
from llem_sweep.phases import Phase
from llem_sweep.plan.architecture import Uncounted
from llem_sweep.plan.types import ModelFacts

REQUESTS_PER_BATCH = 4


@dataclass
class Probe:
    """What the backend was asked to do, and how it is to behave."""

    loads: list[str] = field(default_factory=list)
    """Models loaded, in order."""
    closed: list[str] = field(default_factory=list)
    batches: list[tuple[str, int]] = field(default_factory=list)
    """Precision of the experiment and index of every batch run, warm-up included."""
    batch_s: float = 0.0
    queued_s: float = 0.0
    """Time that a batch goes on computing after ``run_batch`` has returned, as a GPU's queue does."""
    close_s: float = 0.0
    """How long letting a model go takes."""
    fails: frozenset[str] = frozenset()
    """Precisions whose batches fail."""
    remark: str = ""
    """Said in every result, under ``effective_config.backend``."""


_probe = Probe()


class ProbeBackend:
    """Loads a model of nothing, whose batches have four requests each."""

    version = "probe 1"
    synthetic = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._probe = _probe

    def describe(self, config: ExperimentConfig) -> ModelFacts:
        return ModelFacts()

    def unsupported(self, config: ExperimentConfig) -> str | None:
        return None

    def load_key(self, config: ExperimentConfig) -> str:
        return config.model

    def fetch_key(self, config: ExperimentConfig) -> str | None:
        return None

    def fetch(self, config: ExperimentConfig) -> Fetched:
        return Fetched(0, 0.0, already_there=True)

    def load(self, config: ExperimentConfig, context: LoadContext) -> LoadedModel:
        self._probe.loads.append(config.model)
        return _Model(config.model, self._clock, self._probe)


class _Model:
    device_uuids: tuple[str, ...] = ()
    off_board = False
    architecture = Uncounted("the probe computes nothing")
    operands = Operands(None, None, None, "the probe computes nothing")
    compiled: Compiled | None = None

    def __init__(self, name: str, clock: Clock, probe: Probe) -> None:
        self._name = name
        self._clock = clock
        self.probe = probe
        self.due_s = 0.0

    def effective(self, config: ExperimentConfig) -> dict[str, Any]:
        return {"engine": "probe", "remark": self.probe.remark}

    def prepare(self, config: ExperimentConfig) -> Workload:
        return _Workload(self, config, self._clock)

    def synchronize(self) -> None:
        self._clock.sleep(self.due_s - self._clock.monotonic())

    def reset_peak_memory(self) -> None:
        pass

    def memory(self) -> tuple[DeviceMemory, ...]:
        return ()

    def close(self) -> None:
        self._clock.sleep(self.probe.close_s)
        self.probe.closed.append(self._name)


class _Workload:
    def __init__(self, model: _Model, config: ExperimentConfig, clock: Clock) -> None:
        self._model = model
        self._config = config
        self._clock = clock

    @property
    def batches(self) -> int:
        return -(-self._config.n // REQUESTS_PER_BATCH)

    def run_batch(self, index: int, mark: MarkPhase) -> BatchTally:
        probe = self._model.probe
        probe.batches.append((self._config.precision, index))
        mark(Phase.PREFILL)
        if self._config.precision in probe.fails:
            raise BackendError("this batch was to fail")
        mark(Phase.DECODE)
        self._clock.sleep(probe.batch_s)
        self._model.due_s = max(self._model.due_s, self._clock.monotonic()) + probe.queued_s
        requests = min(REQUESTS_PER_BATCH, self._config.n - REQUESTS_PER_BATCH * index)
        return BatchTally(requests, 10 * requests, 5 * requests, 0)

    def run_prefill(self, index: int, mark: MarkPhase) -> BatchTally:
        return self.run_batch(index, mark)


def install_probe(site: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Install the backend ``probe`` for one test, by metadata in the empty folder ``site``."""
    global _probe
    metadata = site / "probe_backend-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: probe-backend\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[llem_sweep.backends]\nprobe = probe_backend:ProbeBackend\n")
    monkeypatch.syspath_prepend(site)
    _probe = Probe()
    return _probe

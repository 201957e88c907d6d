"""All that one worker measures with, kept from one experiment to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from llem_sweep.backends.protocol import Backend, LoadContext, LoadedModel
from llem_sweep.backends.registry import create_backend
from llem_sweep.clock import Clock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.assigned import confirm_identity
from llem_sweep.device.host_energy import HostMeter
from llem_sweep.device.protocol import Gpu, Reading
from llem_sweep.errors import DeviceError
from llem_sweep.harness.gang import Alone, Gang
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.sensors import BoardSensors
from llem_sweep.sampling.baseline import Baseline, measure_baseline
from llem_sweep.sampling.calibration import refined
from llem_sweep.sampling.sampler import SAMPLE_PERIOD_S, Sampler


class Rig:
    """Boards, clock, phase stream, idle power, and the model that is loaded.

    One rig belongs to one worker and runs one experiment at a time. The boards hear of every phase; nothing else
    here depends on whether they are simulated.
    """

    def __init__(
        self,
        gpus: tuple[Gpu, ...],
        clock: Clock,
        *,
        node: str,
        nvml_library: str | None = None,
        sensors: tuple[BoardSensors, ...] | None = None,
        host: Callable[[], HostMeter] | None = None,
        gang: Gang | None = None,
    ) -> None:
        """``sensors`` are known of these boards themselves; without them, what is published for their kind.
        ``host`` opens the node's own counters for one recording; without it they aren't read. ``gang`` are the
        processes that measure together with this one."""
        self.gpus = gpus
        self.sensors = sensors or tuple(gpu.sensors for gpu in gpus)
        """How each board's readings follow its power, in device order."""
        self.clock = clock
        self.node = node
        self.gang = gang or Alone(clock)
        self.nvml_library = nvml_library
        self._open_host = host
        self.phases = PhaseStream(clock)
        self.steps = 0
        """Batches run in the experiment under way."""
        self.run_tokens, self.run_s = 0, 0.0
        """Output tokens in its run so far, and how long that had gone on when the last of its batches ended."""
        self.loads = 0
        """Models loaded so far."""
        self._cold: Baseline | None = None
        self._context: Baseline | None = None
        self._sampler: Sampler | None = None
        self._backends: dict[str, Backend] = {}
        self._loaded: tuple[str, str, LoadedModel] | None = None
        for gpu in gpus:
            self.phases.subscribe(gpu.on_phase)

    @property
    def boards(self) -> tuple[BoardInfo, ...]:
        """The boards in device order."""
        return tuple(gpu.info for gpu in self.gpus)

    @property
    def simulated(self) -> bool:
        """Whether any board is simulated."""
        return any(board.simulated for board in self.boards)

    def backend(self, name: str) -> Backend:
        """The backend called ``name``, made once."""
        if name not in self._backends:
            self._backends[name] = create_backend(name, self.clock)
        return self._backends[name]

    def take_cold_baseline(self, duration_s: float) -> Baseline:
        """Measure idle power before anything of ours is on the boards; their sensors' ticks show there as well."""
        self._cold = cold = measure_baseline(self.gpus, self.clock, self.phases, duration_s)
        self.sensors = tuple(
            refined(cold.recording.of_device(device), known, self.clock.now())
            for device, known in enumerate(self.sensors)
        )
        self.phases.mark(Phase.IDLE)
        return cold

    def idle_power(self, config: ExperimentConfig) -> Baseline | None:
        """The cold baseline, if ``config`` wants one; taken now when it hasn't been and nothing was loaded yet."""
        if not self.gpus or not config.baseline.enabled or config.energy.backend == "null":
            return None
        if self._cold is None and self._loaded is None:
            self.take_cold_baseline(config.baseline.duration_seconds)
        return self._cold

    def context_power(self, config: ExperimentConfig) -> Baseline | None:
        """Idle power with the model of ``config`` resident, if it wants a baseline.

        Taken once for each loaded model, and again when it is older than ``baseline.max_age_seconds`` or what was
        seen after a window contradicted it.
        """
        if not self.gpus or not config.baseline.enabled or config.energy.backend == "null":
            return None
        oldest_s = self.clock.monotonic() - config.baseline.max_age_seconds
        if self._context is None or self._context.span.end_s < oldest_s:
            self._context = measure_baseline(
                self.gpus, self.clock, self.phases, config.baseline.duration_seconds, "context"
            )
        return self._context

    def forget_context_power(self) -> None:
        """Have idle power with the model resident taken again before the next experiment."""
        self._context = None

    def load(self, config: ExperimentConfig, attempt: int) -> LoadedModel:
        """The model of ``config``: the one already loaded when it serves, else loaded in its place.

        Of several processes, returns when all of them have theirs.
        """
        if config.backend not in self._backends:
            # The first use imports the engine, which takes seconds: part of loading, not of the experiment.
            self.phases.mark(Phase.LOAD)
        backend = self.backend(config.backend)
        key = backend.load_key(config)
        held = self._loaded if self._loaded and self._loaded[:2] == (config.backend, key) else None
        # A model divided over processes is loaded by all of them or by none.
        if self.gang.agree(held is not None) and held is not None:
            model = held[2]
        else:
            model = self._load(config, backend, key, attempt)
        if self.gang.size > 1:
            # Within the phase that may take long, as another's loading does.
            self.phases.mark(Phase.LOAD)
            self.gang.meet("loaded")
        return model

    def _load(self, config: ExperimentConfig, backend: Backend, key: str, attempt: int) -> LoadedModel:
        self.release_model()
        self.phases.mark(Phase.LOAD)
        gang = self.gang
        context = LoadContext(
            len(self.gpus), self.simulated, attempt, gang.rank, gang.size, gang.parallelism, gang.share
        )
        model = backend.load(config, context)
        self.loads += 1
        self._loaded = (config.backend, key, model)
        return model

    def confirm_boards(self, model: LoadedModel) -> Literal["assigned", "confirmed", "none"]:
        """Prove that ``model`` computes on the boards metered here; raises IdentityError when it doesn't."""
        return confirm_identity([board.uuid for board in self.boards], model.device_uuids)

    def sampling(self, config: ExperimentConfig) -> Sampler:
        """A sampler for this experiment, to be entered; over no board when energy is switched off."""
        gpus = () if config.energy.backend == "null" else self.gpus
        host = self._open_host() if gpus and self._open_host is not None else None
        self._sampler = Sampler(gpus, self.clock, self.phases, SAMPLE_PERIOD_S, host)
        return self._sampler

    def latest(self) -> tuple[Reading | None, ...]:
        """The newest sample of each board, from the sampler under way or the last one."""
        return self._sampler.latest() if self._sampler is not None else ()

    def readings(self) -> tuple[Reading | None, ...]:
        """Each board now, for whoever watches: the newest sample where a sampler is at work, else read for this.

        None for a board that doesn't answer: what measures on it says so.
        """
        sampler = self._sampler
        if sampler is not None and sampler.at_work:
            return sampler.latest()
        return tuple(map(_reading, self.gpus))

    def release_model(self) -> None:
        """Free the loaded model's memory."""
        self._context = None
        if self._loaded is not None:
            loaded, self._loaded = self._loaded, None
            loaded[2].close()

    def close(self) -> None:
        """Free the model and let the boards go."""
        self.release_model()
        for gpu in self.gpus:
            gpu.close()


def _reading(gpu: Gpu) -> Reading | None:
    try:
        return gpu.read()
    except DeviceError:
        return None

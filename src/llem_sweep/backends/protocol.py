"""What ``measure()`` needs of an inference engine, and the types they exchange.

A backend is made once per worker by calling its class with the worker's :class:`~llem_sweep.clock.Clock`. It
translates every vendor exception into a :class:`~llem_sweep.errors.BackendError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import Parallelism
from llem_sweep.phases import Phase
from llem_sweep.plan.architecture import Architecture, Uncounted
from llem_sweep.plan.flops import Passes, RequestLength
from llem_sweep.plan.types import ModelFacts

MarkPhase = Callable[[Phase], object]
"""Called with PREFILL when a batch starts and with DECODE at its first token."""


Share = Callable[[str | None], str]


def _own(value: str | None) -> str:
    return value or ""


class LoadContext(NamedTuple):
    """What a worker tells a backend that is to load a model."""

    gpus: int
    """Boards assigned to this worker; 0 on a CPU worker."""
    simulated: bool
    """True on a worker that may not touch real GPUs: ``device: auto`` then means the CPU."""
    attempt: int
    """From 1; grows when a lost worker's experiment is tried again."""
    rank: int = 0
    """This process's number among those that run the experiment together."""
    size: int = 1
    parallelism: Parallelism = "data"
    """How they share the work."""
    share: Share = _own
    """Tells all of them what the first one says, for forming a group: called by each the same number of times."""

    def requests_of(self, n: int) -> range:
        """Numbers of those of ``n`` requests that this process runs: in data mode every ``size``-th from ``rank``
        on, so that each gets some of every kind."""
        return range(self.rank, n, self.size) if self.parallelism == "data" else range(n)

    def batch_number(self, index: int) -> int:
        """Number of this process's batch ``index`` among all batches, no two alike, for its random state."""
        return index * self.size + self.rank if self.parallelism == "data" else index


class RequestTimes(NamedTuple):
    """When one request of a batch had its tokens; times are the clock's ``monotonic``."""

    number: int
    """Among all requests of the experiment, from 0."""
    input_tokens: int
    start_s: float
    """When work on it began: that earlier batches had to end first isn't in it."""
    tokens_s: tuple[float, ...]
    """When each of its output tokens was computed, up to and including its first end of sequence."""


class BatchTimes(NamedTuple):
    """When what happened in one batch."""

    start_s: float
    requests: tuple[RequestTimes, ...]
    error_s: float
    """How far any of these times may be from the clock's own, either way; 0 where the clock itself was read."""
    in_step: bool = True
    """Whether all requests go through prefill together, so that the first token parts prefill from decoding."""


class Output(NamedTuple):
    """What one request generated."""

    request: int
    """Its number among all requests of the experiment, from 0."""
    input_tokens: int
    output_tokens: int
    text: str
    """Without special tokens."""


class BatchTally(NamedTuple):
    """What one batch did. Tokens are counted without padding."""

    requests: int
    input_tokens: int
    output_tokens: int
    """Up to and including the first end-of-sequence of each request."""
    padded_tokens: int
    """Positions of the input that are padding."""
    batches: int = 1
    """Passes over the requests that this consisted of, where they come and go within it."""
    places: int | None = None
    """Requests counted once for every such pass that they were in; None where all were in all."""
    outputs: Callable[[], tuple[Output, ...]] | None = None
    """Called once the window is over, since making text takes time; None unless ``save_outputs`` is set."""
    times: Callable[[], BatchTimes] | None = None
    """Called once the window is over, since what a device stamped takes time to read; None where nothing was
    stamped."""
    lengths: tuple[RequestLength, ...] = ()
    """Of each request; empty where they aren't known."""
    passes: Passes | None = None
    """The forward passes run, where they are one over the prompts and one for each further token."""
    cache_bytes: int | None = None
    """Keys and values held at its end, on this process's devices."""


class Operands(NamedTuple):
    """What the products of a model take, of this process's part where the model is divided. Unknown is None."""

    product_type: str | None
    """Type of the factors: fp32, fp16, bf16, fp8."""
    weight_bytes: int | None
    """Weights that each forward pass reads."""
    cache_value_bytes: float | None
    """Of one number in the cache; of a divided cache, this process's share of it."""
    reason: str | None = None
    """Why bytes are None."""


class Compiled(NamedTuple):
    """What an engine compiled for a workload."""

    graphs: int
    """Made up to now."""
    seconds: float
    """Before its first batch: making them, with the passes that it takes to have them made."""


class DeviceMemory(NamedTuple):
    """What one device holds for a model."""

    device: str
    """The engine's name for it, for example ``cuda:0``."""
    model_bytes: int
    """Once the model is loaded, before anything has run."""
    peak_bytes: int | None
    """The most at any time since :meth:`LoadedModel.reset_peak_memory`; None where the device doesn't tell."""


class Batches(Protocol):
    """Batches that are ready to run any number of times."""

    @property
    def batches(self) -> int:
        """Number of batches of this process, at least 1."""

    def run_batch(self, index: int, mark: MarkPhase) -> BatchTally:
        """Run batch ``index`` (from 0) to its end, so that its outputs are on the host.

        Equal seeds give equal outputs: the batch's random state depends on ``random_seed``, ``index`` and the
        process alone.
        """


class Workload(Batches, Protocol):
    """An experiment's requests, tokenised and batched."""

    def run_prefill(self, index: int, mark: MarkPhase) -> BatchTally:
        """Run batch ``index`` as :meth:`run_batch` does, but only up to one token of each request.

        Called for ``measurement.prefill_window``; what it draws changes no output of :meth:`run_batch`.
        """


class LoadedModel(Protocol):
    """A model in memory."""

    @property
    def device_uuids(self) -> tuple[str, ...]:
        """UUIDs (``GPU-…``) of the CUDA boards computed on; empty off CUDA."""

    @property
    def off_board(self) -> bool:
        """True when computing happens off the boards that are metered."""

    @property
    def architecture(self) -> Architecture | Uncounted:
        """What the model's work follows from, of the whole model where it is divided; or why that isn't known."""

    @property
    def operands(self) -> Operands:
        """What its products take and a pass reads."""

    @property
    def compiled(self) -> Compiled | None:
        """For the workload that was prepared last; None where nothing is compiled."""

    def effective(self, config: ExperimentConfig) -> dict[str, Any]:
        """What was made of ``config``: JSON-ready arguments as passed, device, data type, threads."""

    def prepare(self, config: ExperimentConfig) -> Workload:
        """Tokenise and batch the requests of ``config``, or this process's part of them: in data mode of ``size``
        processes, every ``size``-th from ``rank`` on."""

    def synchronize(self) -> None:
        """Wait until every device used has finished."""

    def reset_peak_memory(self) -> None:
        """Have :meth:`memory` tell the largest use from now on."""

    def memory(self) -> tuple[DeviceMemory, ...]:
        """What every device used holds; empty where that isn't known."""

    def close(self) -> None:
        """Free the memory. Safe to call twice."""


class Fetched(NamedTuple):
    """A model whose files are on this node."""

    bytes: int
    """Downloaded for it."""
    seconds: float
    """Waiting for another process's download included."""
    already_there: bool
    """True when nothing had to be downloaded."""


class Backend(Protocol):
    """An inference engine."""

    @property
    def version(self) -> str:
        """Version of the engine, for example ``transformers 5.23.0, torch 2.13.0``."""

    @property
    def synthetic(self) -> bool:
        """True when it only pretends to compute."""

    def describe(self, config: ExperimentConfig) -> ModelFacts:
        """What is known of the model without loading it; needs no GPU."""

    def unsupported(self, config: ExperimentConfig) -> str | None:
        """Why this installation can't run ``config`` whatever the model; needs no GPU."""

    def fetch_key(self, config: ExperimentConfig) -> str | None:
        """Equal keys need the same files on a node; None where there is nothing to fetch."""

    def fetch(self, config: ExperimentConfig) -> Fetched:
        """Bring what loading ``config`` reads onto this node, whole; loading does so too where it wasn't done.

        Processes that fetch the same on one node wait for each other. Raises ModelLoadError.
        """

    def load_key(self, config: ExperimentConfig) -> str:
        """Equal keys can share one loaded model."""

    def load(self, config: ExperimentConfig, context: LoadContext) -> LoadedModel:
        """Load the model and tokenizer of ``config``, its device synchronised.

        Raises ModelLoadError, GpuMemoryError or DeviceFaultError.
        """

"""One experiment's configuration: a model, a workload, and how both are run and measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from llem_sweep.config.base import BackendOptions, ConfigModel, Unhashed
from llem_sweep.config.contents import is_local
from llem_sweep.config.datasets import BUILTIN_DATASET, Dataset, FileDataset, HubDataset, asked_by_lengths
from llem_sweep.config.fp8 import excluded_by_fp8
from llem_sweep.config.lora import LoraConfig
from llem_sweep.config.measurement import MeasurementConfig
from llem_sweep.config.options import GangOptions, PyTorchOptions, SyntheticOptions, plugin_options
from llem_sweep.config.placing import misplaced
from llem_sweep.redaction import holds_credential

Precision = Literal["fp32", "fp16", "bf16", "fp8"]

DECODER_PRESETS: dict[str, dict[str, Any]] = {
    "deterministic": {"temperature": 0.0, "do_sample": False},
    "standard": {"temperature": 1.0, "top_p": 0.95, "do_sample": True},
    "creative": {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.1, "do_sample": True},
    "factual": {"temperature": 0.3, "do_sample": True},
}
"""What each ``decoder.preset`` stands for; keys given beside a preset win."""


class DecoderConfig(ConfigModel):
    """How the next token is chosen. With sampling off (or temperature 0) sampling arguments are not passed."""

    preset: Annotated[Literal["deterministic", "standard", "creative", "factual"] | None, Unhashed()] = None
    """A named set of the fields below; keys given beside it win."""
    temperature: float = Field(default=1.0, ge=0.0, le=2.0)
    """What logits are divided by before sampling; 0 is greedy decoding."""
    do_sample: bool = True
    """False is greedy decoding (or plain beam search); temperature 0 implies it."""
    top_k: int = Field(default=50, ge=0)
    """0 switches it off."""
    top_p: float = Field(default=1.0, ge=0.0, le=1.0)
    """Sample among the likeliest tokens that have this much probability together; 1 switches it off."""
    repetition_penalty: float = Field(default=1.0, ge=0.1, le=10.0)
    """Above 1 makes tokens that were there less likely; 1 switches it off."""
    min_p: float | None = Field(default=None, ge=0.0, le=1.0)
    """Leave out tokens less likely than this share of the likeliest one's probability."""
    min_new_tokens: int | None = Field(default=None, ge=1)
    """Fewest tokens of an answer."""

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = given.get("preset")
        resolved = dict(DECODER_PRESETS.get(preset, {})) if isinstance(preset, str) else {}
        resolved |= given
        if resolved.get("temperature") == 0:
            if given.get("do_sample") is True:
                raise ValueError("do_sample: true needs a temperature above 0")
            resolved["do_sample"] = False
        return resolved


class WarmupConfig(ConfigModel):
    """Passes before the measured window, in the shapes and settings of the run."""

    enabled: bool = True
    """Whether anything is run before the window; without it results carry a warning."""
    n_warmup: int = Field(default=5, ge=0)
    """Batches run before measuring."""
    thermal_floor_seconds: float = Field(default=60.0, ge=0.0, le=3600.0)
    """Least time under load before the window opens; below 30 s results carry a warning. 0 also waits for
    nothing to settle."""
    settle_limit_seconds: float = Field(default=240.0, ge=0.0, le=3600.0)
    """Longest further time under load to wait until temperature and power have settled; also how long a run of
    ``measurement.window: steady_state`` that is repeated goes on without being steady, warm-up or not."""
    convergence_detection: bool = False
    """Go on until the latency's coefficient of variation falls below ``cv_threshold``."""
    cv_threshold: float = Field(default=0.05, gt=0.0, le=1.0)
    """Of the latest ``window_size`` latencies."""
    max_prompts: int = Field(default=20, ge=1)
    """Most warm-up batches with convergence detection."""
    window_size: int = Field(default=5, ge=2)
    """Latest batches whose variation is judged."""
    min_prompts: int = Field(default=5, ge=1)
    """Fewest warm-up batches with convergence detection."""


class BaselineConfig(ConfigModel):
    """Idle power of the board."""

    enabled: bool = True
    """Whether idle power is taken; without it there is no energy above idle."""
    duration_seconds: float = Field(default=30.0, ge=0.5, le=600.0)
    """Below 10 s results carry a warning."""
    subtract: Literal["context", "cold"] = "context"
    """Idle power to subtract: with the model resident and nothing running, or before anything of ours is on the
    board, which charges the context's own power to the run."""
    after_seconds: float = Field(default=3.0, ge=0.0, le=600.0)
    """Idle time measured again after the window, to see drift; 0 leaves it out."""
    max_age_seconds: float = Field(default=900.0, ge=0.0)
    """Idle power older than this is taken again before the next experiment."""


class EnergyConfig(ConfigModel):
    """Where energy comes from."""

    backend: Literal["auto", "nvml", "null"] = "auto"
    """auto and nvml read the board; null measures no energy and starts no sampler."""

    @model_validator(mode="before")
    @classmethod
    def _yaml_null(cls, given: Any) -> Any:
        # YAML's bare null is the natural spelling of "no energy backend".
        if isinstance(given, dict) and "backend" in given and given["backend"] is None:
            return given | {"backend": "null"}
        return given


class SamplingConfig(ConfigModel):
    """What is kept of the samples; the boards are sampled at the same rate whatever it says."""

    sidecar_hz: Annotated[Literal[1] | None, Unhashed()] = None
    """1 keeps the first sample of each started second and device; the energy can't be computed from the file
    again then, and the result isn't publishable. By default every sample is kept."""


class ExperimentConfig(ConfigModel):
    """One point of a sweep, complete: two equal configurations do the same work.

    A section of an installed plug-in backend is accepted under the backend's name and validated by the model
    that the plug-in registers in the entry-point group ``llem_sweep.backend_options``.
    """

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1)
    """Hub id, or a local folder starting with ``./``, ``../`` or ``/`` (relative to the YAML file)."""
    backend: str = "pytorch"
    """What computes: pytorch, synthetic (which computes nothing), or that of a plug-in."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """random builds the architecture from its config alone, with ``random_seed``."""
    gpus: int = Field(default=1, ge=0, le=64)
    """GPUs of one node for this experiment, or for each of its processes where a backend's ``num_processes`` is
    above 1; 0 runs on CPU workers without GPU energy."""
    accelerator: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """Kind of board: Ray's name for it (``H100``) or words of NVML's (``RTX 4090``); of a list, any will do."""
    n: int = Field(default=100, ge=1)
    """Requests of the workload, which is run once unless ``measurement.min_duration_seconds`` repeats it."""
    dataset: Dataset = BUILTIN_DATASET
    """``builtin``, a ``.jsonl`` or ``.txt`` file (starting with ``./``, ``../`` or ``/``), a Hub name, a mapping
    with ``name`` or ``path`` for what can be said of these, or one with ``n``, ``input_len``, ``output_len`` and
    ``seed`` for requests of exact length."""
    dataset_order: Literal["interleaved", "grouped", "shuffled"] = "interleaved"
    """The file's own order, sorted by each record's ``source``, or shuffled with ``random_seed``."""
    precision: Precision = "bf16"
    """Of weights and of what is computed. ``fp8`` quantises linear layers but the last while loading (E4M3, a
    scale for each block of 128 × 128), the rest is bf16; needs boards of compute capability 8.9 or more, the
    package kernels, and ``--allow-remote-code``."""
    random_seed: int = Field(default=42, ge=0, le=2**64 - 1)
    """Seed of random weights, of sampling, and of the order ``shuffled``."""
    max_input_tokens: int = Field(default=512, ge=1)
    """Longest prompt; a longer one is cut."""
    max_output_tokens: int = Field(default=128, ge=1)
    """Most tokens of an answer."""
    decoder: DecoderConfig = DecoderConfig()
    warmup: WarmupConfig = WarmupConfig()
    baseline: BaselineConfig = BaselineConfig()
    measurement: MeasurementConfig = MeasurementConfig()
    energy: EnergyConfig = EnergyConfig()
    sampling: SamplingConfig = SamplingConfig()
    save_outputs: Annotated[bool, Unhashed()] = False
    """Keep what each request of the window generated, as text, in ``outputs.parquet`` beside the result."""
    pytorch: PyTorchOptions = PyTorchOptions()
    synthetic: SyntheticOptions = SyntheticOptions()
    lora: LoraConfig | None = None
    passthrough_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of transformers' GenerationConfig, by their own names."""

    @model_validator(mode="before")
    @classmethod
    def _no_credentials(cls, given: Any) -> Any:
        """A configuration is stored and published with its results."""
        if holds_credential(given):
            raise ValueError(
                "a value looks like a credential, and would be published with the results: remove it, and give "
                "the token in the environment (HF_TOKEN) or by `hf auth login`"
            )
        return given

    @model_validator(mode="before")
    @classmethod
    def _plugin_sections(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        sections = plugin_options().keys() & given.keys()
        return given | {name: _plugin_section(name, given[name]) for name in sections} if sections else given

    @model_validator(mode="before")
    @classmethod
    def _workload_size(cls, given: Any) -> Any:
        return given | asked_by_lengths(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        least = self.decoder.min_new_tokens
        if least is not None and least > self.max_output_tokens:
            raise ValueError(
                f"decoder.min_new_tokens is {least}, more than the {self.max_output_tokens} of max_output_tokens"
            )
        return self

    @model_validator(mode="after")
    def _processes_fit(self) -> Self:
        """Several processes have a board each at most, and in data mode a request each at least."""
        options = gang_options(self)
        if options is None:
            return self
        processes, tensor = options.num_processes, options.parallelism == "tensor"
        if processes == 1:
            if tensor:
                raise ValueError(
                    f"{self.backend}.parallelism: tensor divides the model over several processes: set"
                    f" {self.backend}.num_processes to 2 or more"
                )
            return self
        if self.measurement.window != "total":
            raise ValueError(
                f"measurement.window: {self.measurement.window} is for one process: the {processes} of"
                f" {self.backend}.num_processes end their batches at times of their own, so that no window"
                " holds whole batches of all of them; leave it at total"
            )
        if self.gpus > 1:
            raise ValueError(
                f"gpus is {self.gpus}, but with {self.backend}.num_processes: {processes} it counts the GPUs of"
                " each process, which has 1 (or 0, on CPU workers): set gpus to 1"
            )
        if not tensor and self.n < processes:
            raise ValueError(
                f"n is {self.n}, fewer requests than the {processes} processes of"
                f" {self.backend}.num_processes that share them"
            )
        return self

    @model_validator(mode="after")
    def _prefill_by_itself_is_the_runs(self) -> Self:
        """Cut short at its first token, a batch must do what the run does up to there."""
        if not self.measurement.prefill_window or self.backend != "pytorch":
            return self
        options = self.pytorch
        if options.batching == "continuous":
            raise ValueError(
                "measurement.prefill_window needs batches that go through prefill together:"
                " pytorch.batching: continuous has no phases"
            )
        guesses = {
            "prompt_lookup_num_tokens": options.prompt_lookup_num_tokens,
            "assistant_model": options.assistant_model,
        }
        for name, given in guesses.items():
            if given is not None:
                raise ValueError(
                    f"measurement.prefill_window with pytorch.{name}: the first pass of the run checks guesses as"
                    " well, and where one token is wanted nothing is guessed"
                )
        return self

    @model_validator(mode="after")
    def _placed_on_its_boards(self) -> Self:
        if self.backend != "pytorch":
            return self
        options = self.pytorch
        off_board = options.device == "cpu"
        if problem := misplaced(options.device_map, options.max_memory, 0 if off_board else self.gpus):
            given = "pytorch.device is cpu" if off_board else f"gpus is {self.gpus}"
            raise ValueError(f"pytorch.{problem} ({given})")
        return self

    @model_validator(mode="after")
    def _adapter_fits(self) -> Self:
        if self.lora is not None and self.backend == "pytorch" and self.pytorch.parallelism == "tensor":
            raise ValueError(
                "lora with pytorch.parallelism: tensor: adapters can't be divided over processes yet"
            )
        return self

    @model_validator(mode="after")
    def _fp8_is_alone(self) -> Self:
        if self.precision != "fp8" or self.backend != "pytorch":
            return self
        if wrong := [*excluded_by_fp8(self.pytorch, self.lora)]:
            raise ValueError("; ".join(f"precision: fp8 with {each}" for each in wrong))
        return self

    @model_validator(mode="after")
    def _no_unknown_sections(self) -> Self:
        unknown = set(self.__pydantic_extra__ or {}) - set(plugin_options())
        if unknown:
            raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
        return self


def in_chat(config: ExperimentConfig) -> bool:
    """Whether prompts are put into the chat template of the tokenizer."""
    return isinstance(config.dataset, FileDataset | HubDataset) and config.dataset.chat_template


def local_names(config: ExperimentConfig) -> tuple[str, ...]:
    """Those of model, assistant, adapter and dataset that are paths."""
    dataset = config.dataset.path if isinstance(config.dataset, FileDataset) else config.dataset
    adapter = config.lora.adapter_path if config.lora else None
    names = (config.model, config.pytorch.assistant_model, adapter, dataset)
    return tuple(name for name in names if isinstance(name, str) and is_local(name))


def gang_options(config: ExperimentConfig) -> GangOptions | None:
    """The section that says how many processes run ``config``; None for a backend that knows of one alone."""
    options = getattr(config, config.backend, None)
    return options if isinstance(options, GangOptions) else None


def _plugin_section(name: str, given: Any) -> BackendOptions:
    try:
        return plugin_options()[name].model_validate(given)
    except ValidationError as error:
        found = (
            f"{'.'.join(map(str, (name, *detail['loc'])))}: {detail['msg']}" for detail in error.errors()
        )
        raise ValueError("; ".join(found)) from error

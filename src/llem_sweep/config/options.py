"""Backends' own sections: the two built in, and those that plug-ins register."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from llem_sweep.config.base import BackendOptions
from llem_sweep.config.placing import DeviceMap, board_limits, placed

OPTIONS_GROUP = "llem_sweep.backend_options"
INDUCTOR = "inductor"
"""The compiler that torch.compile() takes by itself."""
_FOUR_BIT = ("bnb_4bit_compute_dtype", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant")


Parallelism = Literal["data", "tensor"]
CacheImplementation = Literal["static", "offloaded", "offloaded_static", "quantized"]
STATIC_CACHES: tuple[CacheImplementation, ...] = ("static", "offloaded_static")
OFFLOADED_CACHES: tuple[CacheImplementation, ...] = ("offloaded", "offloaded_static")
CacheType = Literal["fp8", "int4", "int2"]


class GangOptions(BackendOptions):
    """Options of a backend that several processes may run together."""

    num_processes: int = Field(default=1, ge=1, le=64)
    """Processes that measure together on one node, each with ``gpus`` boards of its own (0 or 1)."""
    parallelism: Parallelism = "data"
    """How several processes share the work: ``data`` gives each the whole model and its part of the requests;
    ``tensor`` divides the model over them, by its own plan in transformers, and each runs all requests."""


class PyTorchOptions(GangOptions):
    """Options of the PyTorch/transformers backend."""

    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto is the assigned GPU (an error where torch can't see it); cpu computes on the CPU while the assigned
    GPU is still metered, with a warning."""
    batch_size: int = Field(default=1, ge=1)
    """Requests in a batch."""
    batching: Literal["static", "sorted", "continuous"] = "static"
    """How requests are put into batches: ``static`` in their order; ``sorted`` by the length of their prompts, the
    longest first, so that less is padded; ``continuous`` all at once, each joining the passes as others end."""
    max_batch_tokens: int = Field(default=2048, ge=1)
    """Most tokens of one pass with ``batching: continuous``."""
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3"] | None = None
    """None leaves the choice to transformers."""
    torch_compile: bool = False
    """Compile the pass that generate() makes for each token, before anything is measured. Takes a static cache."""
    torch_compile_mode: (
        Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] | None
    ) = None
    """None leaves transformers' default, reduce-overhead."""
    torch_compile_backend: str | None = Field(default=None, min_length=1)
    """None is inductor."""
    load_in_4bit: bool = False
    """Linear layers but the last are quantised while loading, by bitsandbytes (the ``bitsandbytes`` extra); what
    stays as it is has the type of ``precision``."""
    load_in_8bit: bool = False
    """The same with 8 bits (LLM.int8())."""
    bnb_4bit_compute_dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Type that 4-bit weights are computed with; None leaves transformers' default, float32."""
    bnb_4bit_quant_type: Literal["fp4", "nf4"] | None = None
    """None leaves transformers' default, fp4."""
    bnb_4bit_use_double_quant: bool = False
    """Quantise the scales of 4-bit weights as well."""
    use_cache: bool = True
    """Whether keys and values are kept from pass to pass."""
    cache_implementation: CacheImplementation | None = None
    """The key-value cache, by transformers' name for it. None grows with the answer; ``static`` has room for the
    longest prompt and answer from the start; ``offloaded`` and ``offloaded_static`` keep all layers but the one
    computed in host memory; ``quantized`` is for what ``passthrough_kwargs.cache_config`` says, else
    ``cache_dtype`` asks for it."""
    cache_dtype: CacheType | None = None
    """Type that keys and values are kept in; None is that of ``precision``. ``fp8`` is E4M3 with one scale for a
    layer's keys and one for its values, found in the prompts; ``int4`` and ``int2`` have a scale and an offset for
    64 values each (the ``quanto`` extra), and the latest tokens of an answer, up to 127, stay as they are."""
    num_beams: int = Field(default=1, ge=1)
    """Beams of a beam search; 1 is none."""
    early_stopping: bool = False
    """End a beam search when there are as many answers as beams."""
    length_penalty: float = 1.0
    """Above 0 favours longer answers of a beam search, below 0 shorter ones."""
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    """Length of sequences of tokens that may occur only once; 0 switches it off."""
    prompt_lookup_num_tokens: int | None = Field(default=None, ge=1)
    """Tokens guessed at a time from the prompt's own text, which one pass of the model then checks (prompt-lookup
    decoding); needs ``batch_size`` 1 and a cache that can be shortened."""
    assistant_model: str | None = Field(default=None, min_length=1)
    """A smaller model that guesses tokens, which one pass of the model then checks (speculative decoding): a Hub
    id or a local folder, loaded in the same precision. Needs ``batch_size`` 1 and the same tokens."""
    device_map: str | Annotated[DeviceMap, Field(min_length=1)] | None = None
    """How layers are spread over the boards of a process (``auto``, ``balanced``, ``balanced_low_0``,
    ``sequential``), or the board, from 0, of each part by its name. None is all on one board, or ``auto`` over
    several."""
    max_memory: Annotated[dict[str, int | str], Field(min_length=1)] | None = None
    """Most that weights may take of each board, by its number from 0: bytes, or text as ``20GiB``."""
    revision: str | None = None
    """Branch, tag or commit on the Hub, for weights and tokenizer alike."""
    trust_remote_code: bool = False
    """Also needs ``--allow-remote-code`` on the command line."""
    use_safetensors: bool = True
    """false admits pickled weights; also needs ``--allow-remote-code`` on the command line."""

    @model_validator(mode="after")
    def _beam_options_need_beams(self) -> Self:
        if self.num_beams == 1 and (self.early_stopping or self.length_penalty != 1.0):
            raise ValueError("early_stopping and length_penalty act on beams only: set num_beams above 1")
        return self

    @model_validator(mode="after")
    def _compilable(self) -> Self:
        if not self.torch_compile:
            if self.torch_compile_mode is not None or self.torch_compile_backend is not None:
                raise ValueError(
                    "torch_compile_mode and torch_compile_backend act with torch_compile: set it"
                )
            return self
        if self.torch_compile_mode is not None and self.torch_compile_backend not in (None, INDUCTOR):
            raise ValueError(f"torch_compile_mode is one of {INDUCTOR}'s: leave torch_compile_backend out")
        if not self.use_cache or self.cache_implementation not in (None, "static") or self.cache_dtype:
            raise ValueError(
                "torch_compile takes a static cache: leave use_cache, cache_implementation and cache_dtype out"
            )
        if (
            self.num_beams > 1
            or self.prompt_lookup_num_tokens is not None
            or self.assistant_model is not None
        ):
            raise ValueError(
                "torch_compile: transformers compiles neither beams nor prompt lookup nor guesses"
            )
        if self.batching == "continuous":
            raise ValueError("torch_compile with batching: continuous isn't built yet")
        if self.bits is not None:
            raise ValueError(
                f"torch_compile: transformers doesn't compile what load_in_{self.bits}bit quantises"
            )
        if self.parallelism == "tensor":
            raise ValueError("torch_compile with parallelism: tensor isn't built yet")
        return self

    @field_validator("device_map")
    @classmethod
    def _places(cls, given: str | DeviceMap | None) -> str | DeviceMap | None:
        return None if given is None else placed(given)

    @field_validator("max_memory")
    @classmethod
    def _sizes(cls, given: dict[str, int | str] | None) -> dict[str, int | str] | None:
        return None if given is None else {**board_limits(given)}

    @model_validator(mode="after")
    def _placed_or_divided(self) -> Self:
        if self.parallelism == "tensor" and (self.device_map is not None or self.max_memory is not None):
            raise ValueError(
                "device_map and max_memory exclude parallelism: tensor, which puts a part of every layer on the"
                " device of each process"
            )
        return self

    @model_validator(mode="after")
    def _continuous_batching_is_plain(self) -> Self:
        """Continuous batching has a cache of its own, and knows neither beams nor guesses."""
        default = type(self).model_fields["max_batch_tokens"].default
        if self.batching != "continuous":
            if self.max_batch_tokens != default:
                raise ValueError("max_batch_tokens acts with batching: continuous alone")
            return self
        wrong = [
            *(["batch_size 1, since max_batch_tokens limits a pass"] if self.batch_size > 1 else []),
            *(["num_beams 1"] if self.num_beams > 1 else []),
            *(["use_cache: true"] if not self.use_cache else []),
            *(["no cache_implementation"] if self.cache_implementation else []),
            *(["no cache_dtype"] if self.cache_dtype else []),
            *(["no prompt_lookup_num_tokens"] if self.prompt_lookup_num_tokens else []),
            *(["no assistant_model"] if self.assistant_model else []),
            *(["no_repeat_ngram_size 0"] if self.no_repeat_ngram_size else []),
            *(["parallelism: data"] if self.parallelism != "data" else []),
        ]
        if wrong:
            raise ValueError(f"batching: continuous needs {' and '.join(wrong)}")
        return self

    @model_validator(mode="after")
    def _caches_are_used(self) -> Self:
        for name in ("cache_implementation", "cache_dtype"):
            if (value := getattr(self, name)) and not self.use_cache:
                raise ValueError(f"{name}: {value} without a cache: remove use_cache: false")
        if self.cache_dtype and self.cache_implementation:
            raise ValueError(
                f"cache_dtype: {self.cache_dtype} makes a cache of its own: leave cache_implementation:"
                f" {self.cache_implementation} out"
            )
        return self

    @model_validator(mode="after")
    def _guesses_can_be_checked(self) -> Self:
        """What transformers' assisted generation asks for."""
        named = {name: getattr(self, name) for name in ("prompt_lookup_num_tokens", "assistant_model")}
        guessing = [name for name, value in named.items() if value is not None]
        if not guessing:
            return self
        if len(guessing) > 1:
            raise ValueError(
                "assistant_model and prompt_lookup_num_tokens both guess tokens: give one of them"
            )
        wrong = [
            *(["batch_size 1"] if self.batch_size > 1 else []),
            *(["num_beams 1"] if self.num_beams > 1 else []),
            *(["use_cache: true"] if not self.use_cache else []),
            *(["a cache that can be shortened"] if self._cache_stays_long else []),
            *(["parallelism: data"] if self.assistant_model and self.parallelism != "data" else []),
        ]
        if wrong:
            raise ValueError(f"{guessing[0]} needs {' and '.join(wrong)}")
        return self

    @model_validator(mode="after")
    def _one_quantisation(self) -> Self:
        if self.load_in_4bit and self.load_in_8bit:
            raise ValueError("load_in_4bit and load_in_8bit exclude each other: set one of them")
        four_bit = [name for name in _FOUR_BIT if getattr(self, name) not in (None, False)]
        if four_bit and not self.load_in_4bit:
            raise ValueError(f"{' and '.join(four_bit)} act on 4-bit weights only: set load_in_4bit")
        if self.bits is not None and self.parallelism == "tensor":
            raise ValueError(
                f"load_in_{self.bits}bit with parallelism: tensor: quantised layers can't be divided over"
                " processes yet"
            )
        return self

    @property
    def quantises_cache(self) -> bool:
        """Whether keys and values are kept in another type than they are computed in."""
        return self.cache_dtype is not None or self.cache_implementation == "quantized"

    @property
    def _cache_stays_long(self) -> bool:
        return self.quantises_cache or self.cache_implementation in STATIC_CACHES

    @property
    def bits(self) -> int | None:
        """Bits that weights are quantised to while loading; None where they aren't."""
        return 4 if self.load_in_4bit else 8 if self.load_in_8bit else None


class SyntheticOptions(GangOptions):
    """Options of the synthetic backend: it waits instead of computing."""

    fetch_seconds: float = Field(default=0.0, ge=0.0)
    """Length of a fetch of the model onto a node, where the sweep fetches ahead of need."""
    load_seconds: float = Field(default=0.0, ge=0.0)
    """Length of loading a model."""
    run_seconds: float = Field(default=0.0, ge=0.0)
    """Length of the whole measured run, shared evenly by its batches; of several processes, each one's."""
    output_tokens: int | None = Field(default=None, ge=1)
    """Output tokens per request; by default ``max_output_tokens``."""
    fail_at: Literal["fetch", "load", "run", "oom", "hang", "die"] | None = None
    """Where an attempt fails: by an error while fetching, loading or running, for want of memory (oom),
    by never returning (hang), or by ending its process (die)."""
    fail_times: int | None = Field(default=None, ge=1)
    """Fail only this many attempts, then succeed; by default every attempt."""


@cache
def plugin_options() -> Mapping[str, type[BackendOptions]]:
    """Options models of installed plug-ins by section name (the plug-in's backend name)."""
    builtin = {"pytorch", "synthetic"}
    return {
        point.name: point.load() for point in entry_points(group=OPTIONS_GROUP) if point.name not in builtin
    }

"""Decoding compiled by torch: the pass that generate() makes for each token, before anything is measured.

transformers compiles a model's forward pass for decoding where it has a static cache, and leaves the pass over the
prompts as it is. What torch compiles is good for one number of rows and one length of the cache, so that the cache
has one length in all batches of an experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from transformers import CompileConfig, GenerationConfig, PreTrainedModel

from llem_sweep.backends.protocol import BatchTally, Compiled, MarkPhase, Workload
from llem_sweep.backends.pytorch.requests import Batch
from llem_sweep.backends.pytorch.stamps import Now
from llem_sweep.config.options import INDUCTOR, PyTorchOptions
from llem_sweep.errors import BackendError

_DEFAULT_MODE = "reduce-overhead"
"""transformers' own, which records CUDA graphs."""


def compile_arguments(options: PyTorchOptions, cache_length: int) -> dict[str, Any]:
    """What generate() is told so that it compiles its decoding, with a cache of ``cache_length`` positions;
    nothing where ``options`` don't ask for it."""
    if not options.torch_compile:
        return {}
    backend = options.torch_compile_backend or INDUCTOR
    mode = options.torch_compile_mode or (_DEFAULT_MODE if backend == INDUCTOR else None)
    # One graph for each shape, made in whatever order: left to itself, torch makes the second one of any shape.
    chosen: dict[str, Any] = {"backend": backend, "mode": mode, "dynamic": False}
    told = CompileConfig(**chosen)
    # Without this transformers compiles on GPUs alone.
    told._compile_all_devices = True  # type: ignore[assignment]
    return {
        "cache_implementation": options.cache_implementation or "static",
        "max_cache_len": cache_length,
        "compile_config": told,
    }


def unknown_compiler(options: PyTorchOptions) -> str | None:
    """Why the installed torch can't compile as ``options`` say; None where it can."""
    name = options.torch_compile_backend
    if name is None or name == INDUCTOR:
        return None
    from torch._dynamo import list_backends

    if name in list_backends(exclude_tags=()):
        return None
    return f"pytorch.torch_compile_backend: torch knows no {name} here; it has {', '.join(list_backends())}"


class CompiledWorkload:
    """A workload whose decoding is compiled: to compile anything more is an error, not a part of a window."""

    def __init__(self, workload: Workload, arguments: dict[str, Any], before: int) -> None:
        """``before`` is the number of graphs that had been compiled when it began."""
        self._workload = workload
        self._told: CompileConfig = arguments["compile_config"]
        self._cache_length: int = arguments["max_cache_len"]
        self._before = before
        self.seconds = 0.0
        """That making its graphs took."""

    @property
    def compiled(self) -> Compiled:
        """What was compiled for it, up to now."""
        return Compiled(_graphs() - self._before, self.seconds)

    @property
    def batches(self) -> int:
        return self._workload.batches

    def run_batch(self, index: int, mark: MarkPhase) -> BatchTally:
        with torch.compiler.set_stance("fail_on_recompile"):
            return self._workload.run_batch(index, mark)

    def run_prefill(self, index: int, mark: MarkPhase) -> BatchTally:
        with torch.compiler.set_stance("fail_on_recompile"):
            return self._workload.run_prefill(index, mark)

    def effective(self) -> dict[str, Any]:
        """How it is compiled, JSON-ready."""
        return self._told.to_dict() | {"max_cache_len": self._cache_length}


def compiled_ahead(
    workload: Workload,
    model: PreTrainedModel,
    batches: Sequence[Batch],
    arguments: dict[str, Any],
    now: Now,
) -> CompiledWorkload:
    """``workload`` of ``batches`` with all compiled that generate() needs for them, with the same ``arguments``.

    Runs those of the batches that may need something compiled of their own, at full length; ``now`` is in
    monotonic seconds. Raises BackendError where transformers compiles nothing for this model.
    """
    begun_s = now()
    # What another model of this class has compiled would serve this one as well, by chance.
    torch.compiler.reset()
    compiled = CompiledWorkload(workload, arguments, _graphs())
    length = {"min_new_tokens": arguments["max_new_tokens"]}
    generation = GenerationConfig.from_dict(arguments | length)
    generate = cast("Callable[..., torch.Tensor]", model.generate)
    for batch in _every_shape(batches):
        with torch.inference_mode():
            generate(
                input_ids=batch.input_ids.to(model.device),
                attention_mask=batch.attention_mask.to(model.device),
                generation_config=generation,
            )
    compiled.seconds = now() - begun_s
    if not compiled.compiled.graphs:
        raise BackendError(
            f"pytorch.torch_compile: transformers compiled nothing of {type(model).__name__}: its answers have one"
            " token alone, or its cache or architecture can't be compiled"
        )
    return compiled


def forget_compiled(model: PreTrainedModel) -> None:
    """Let go of everything compiled in this process, of its memory, and of what ``model`` knows of it: what an
    experiment compiles mustn't depend on what ran before."""
    known = vars(model)
    compiled = known.pop("_compiled_call", None)
    for name in ("_last_compile_config", "_previous_max_cache_length"):
        known.pop(name, None)
    if compiled is not None:
        torch.compiler.reset()


def _every_shape(batches: Sequence[Batch]) -> list[Batch]:
    """Of each number of rows the batches with the shortest and the longest prompts: a cache with a sliding window
    may be compiled once for before it is full, and once for after."""
    chosen: dict[tuple[int, int], Batch] = {}
    for rows in {batch.input_ids.shape[0] for batch in batches}:
        of_rows = sorted(
            (batch for batch in batches if batch.input_ids.shape[0] == rows),
            key=lambda batch: batch.input_ids.shape[1],
        )
        for batch in (of_rows[0], of_rows[-1]):
            chosen[rows, batch.input_ids.shape[1]] = batch
    return [chosen[shape] for shape in sorted(chosen)]


def _graphs() -> int:
    """Graphs that this process has compiled so far."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]

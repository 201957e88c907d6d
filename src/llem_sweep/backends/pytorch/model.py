"""A causal language model in memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from llem_sweep.backends.protocol import Compiled, DeviceMemory, LoadContext, Operands, Workload
from llem_sweep.backends.pytorch.architecture import architecture_of_loaded
from llem_sweep.backends.pytorch.assistant import effective_assistant, tell_assistant
from llem_sweep.backends.pytorch.compilation import (
    CompiledWorkload,
    compile_arguments,
    compiled_ahead,
    forget_compiled,
)
from llem_sweep.backends.pytorch.continuous import ContinuousWorkload, continuous_arguments
from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.backends.pytorch.generation import batch_seed, cache_size, generation_arguments
from llem_sweep.backends.pytorch.loading import Parts
from llem_sweep.backends.pytorch.memory import Resident
from llem_sweep.backends.pytorch.operands import beside_cache, operands_of
from llem_sweep.backends.pytorch.placement import Placement, board_uuid
from llem_sweep.backends.pytorch.quantisation import effective_quantisation, forget_scales
from llem_sweep.backends.pytorch.requests import check_positions, in_order, make_batches, request_ids
from llem_sweep.backends.pytorch.stamps import Now
from llem_sweep.backends.pytorch.support import fixed_cache, unsupported_generation
from llem_sweep.backends.pytorch.tensor import empty, leave_group
from llem_sweep.backends.pytorch.workload import TorchWorkload
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError
from llem_sweep.plan.architecture import Architecture, Uncounted


class TorchModel:
    """A loaded model with its tokenizer and the devices that hold its weights."""

    def __init__(
        self,
        parts: Parts,
        placement: Placement,
        context: LoadContext,
        assistant: Parts | None = None,
        *,
        before: Mapping[torch.device, int] | None = None,
        now: Now = time.monotonic,
    ) -> None:
        """``before`` is what was allocated on each board before loading; ``now`` is in monotonic seconds."""
        self._now = now
        self._parts: Parts | None = parts
        self._assistant = assistant
        self._placement = placement
        self._context = context
        models = (parts.model, *([assistant.model] if assistant else []))
        devices = {parameter.device for model in models for parameter in model.parameters()}
        self._devices = sorted((d for d in devices if d.type == "cuda"), key=lambda device: device.index)
        self._compiled: CompiledWorkload | None = None
        """What was prepared last, where it is compiled."""
        self._device_uuids = tuple(board_uuid(device) for device in self._devices)
        self._resident = Resident(parts.model, self._devices, before or {})
        self._architecture = architecture_of_loaded(parts.model)
        self._operands = operands_of(parts.model, self._architecture, placement.processes)
        self._continuous: ContinuousWorkload | None = None
        self._told: tuple[ExperimentConfig, dict[str, Any]] | None = None
        """What was prepared last, and the arguments of its generate()."""

    @property
    def device_uuids(self) -> tuple[str, ...]:
        return self._device_uuids

    @property
    def off_board(self) -> bool:
        return self._placement.off_board

    @property
    def architecture(self) -> Architecture | Uncounted:
        return self._architecture

    @property
    def operands(self) -> Operands:
        if self._told is None:
            return self._operands
        config, _ = self._told
        return beside_cache(self._operands, config.pytorch, self._placement.processes)

    @property
    def compiled(self) -> Compiled | None:
        return self._compiled.compiled if self._compiled else None

    def effective(self, config: ExperimentConfig) -> dict[str, Any]:
        parts = self._open()
        layout = getattr(parts.model, "hf_device_map", None)
        return {
            "engine": "transformers",
            "commit": parts.commit,
            "model_class": type(parts.model).__name__,
            "device": str(parts.model.device),
            "devices": [str(device) for device in self._devices],
            "device_map": {part: str(device) for part, device in layout.items()} if layout else None,
            "dtype": str(parts.model.dtype).removeprefix("torch."),
            "quantization": effective_quantisation(parts.model),
            "compile": self._compiled.effective()
            if self._compiled and config.pytorch.torch_compile
            else None,
            "adapter": parts.adapter,
            "attention": parts.model.config._attn_implementation,
            "cuda_available": bool(self._devices),
            "cuda_version": torch.version.cuda,
            "cpu_threads": torch.get_num_threads(),
            "batch_size": config.pytorch.batch_size,
            "batches": self._batches(config),
            "continuous_batching": self._continuous.effective() if self._continuous else None,
            "generate": self._arguments(config, parts),
            "assistant": effective_assistant(self._assistant, config) if self._assistant else None,
        }

    def prepare(self, config: ExperimentConfig) -> Workload:
        self._end_continuous()
        model, tokenizer, special, *_ = self._open()
        forget_compiled(model)
        self._compiled = None
        if problems := list(unsupported_generation(config)):
            raise BackendError("; ".join(problems))
        if config.pytorch.quantises_cache and (fixed := fixed_cache(model)):
            raise BackendError(f"the cache of {config.model} can't be quantised: {fixed}")
        with Translated(f"preparing the requests of {config.model}"):
            every = request_ids(config, model, tokenizer, special)
        own = in_order(self._context.requests_of(len(every)), every, config)
        requests = [every[number] for number in own]
        longest = max(map(len, requests))
        check_positions(longest, config, model)
        arguments = generation_arguments(config, special) | cache_size(config, longest)
        decode = partial(_text, tokenizer) if config.save_outputs else None
        seeds = partial(self._seed, config)
        if config.pytorch.batching == "continuous":
            arguments = continuous_arguments(arguments, config)
            self._told = (config, arguments)
            limit = config.pytorch.max_batch_tokens
            self._continuous = ContinuousWorkload(
                model, requests, own, arguments, limit, seeds(0), self._now, decode
            )
            return self._continuous
        self._told = (config, arguments)
        with Translated(f"preparing the requests of {config.model}"):
            batches = make_batches(requests, config.pytorch.batch_size, special.pad, model.device)
        batches = [batch._replace(numbers=tuple(own[at] for at in batch.numbers)) for batch in batches]
        if self._assistant is not None:
            tell_assistant(self._assistant, config)
        guesses = self._assistant.model if self._assistant else None
        # The last token generated is never read, so it isn't cached.
        arguments = arguments | compile_arguments(config.pytorch, longest + config.max_output_tokens - 1)
        each = [*map(seeds, range(len(batches)))]
        workload = TorchWorkload(model, batches, arguments, each, self._now, decode, guesses)
        if not config.pytorch.torch_compile:
            return workload
        with Translated(f"compiling {config.model}"):
            self._compiled = compiled_ahead(workload, model, batches, arguments, self._now)
        return self._compiled

    def _seed(self, config: ExperimentConfig, index: int) -> int:
        return batch_seed(config.random_seed, self._context.batch_number(index))

    def _end_continuous(self) -> None:
        if self._continuous is not None:
            self._continuous.close()
        self._continuous = None

    def _batches(self, config: ExperimentConfig) -> int:
        if config.pytorch.batching == "continuous":
            return ContinuousWorkload.batches
        return -(-len(self._context.requests_of(config.n)) // config.pytorch.batch_size)

    def _arguments(self, config: ExperimentConfig, parts: Parts) -> dict[str, Any]:
        if self._told is not None and self._told[0] == config:
            return self._told[1]
        return generation_arguments(config, parts.special)

    def synchronize(self) -> None:
        with Translated("waiting for the device"):
            for device in self._devices:
                torch.cuda.synchronize(device)

    def reset_peak_memory(self) -> None:
        self._resident.reset_peak()

    def memory(self) -> tuple[DeviceMemory, ...]:
        return self._resident.devices()

    def close(self) -> None:
        if self._parts is None:
            return
        self._end_continuous()
        # The weights go even while a workload or an error's traceback still refers to the model.
        for parts in filter(None, (self._parts, self._assistant)):
            for tensor in (*parts.model.parameters(), *parts.model.buffers()):
                empty(tensor)
            forget_scales(parts.model)
            forget_compiled(parts.model)
        self._compiled = None
        self._parts = self._assistant = None
        if self._context.parallelism == "tensor":
            leave_group()
        gc.collect()
        torch.cuda.empty_cache()

    def _open(self) -> Parts:
        if self._parts is None:
            raise BackendError("the model has been closed: load it again")
        return self._parts


def _text(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=True))

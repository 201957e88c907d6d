"""An experiment's batches, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteriaList

from llem_sweep.backends.protocol import BatchTally, BatchTimes, MarkPhase, Output, RequestTimes
from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.backends.pytorch.generation import output_lengths
from llem_sweep.backends.pytorch.memory import seen_cache
from llem_sweep.backends.pytorch.requests import Batch
from llem_sweep.backends.pytorch.stamps import Now, StepStamps, stamper
from llem_sweep.errors import BackendError
from llem_sweep.phases import Phase
from llem_sweep.plan.flops import Passes, RequestLength


class Ran(NamedTuple):
    """What is known of a batch when it is over."""

    batch: Batch
    start_s: float
    lengths: list[int]
    """Output tokens of each request."""
    stamps: StepStamps

    def times(self) -> BatchTimes:
        """When each request had its tokens."""
        steps = self.stamps.read()
        rows = zip(self.batch.numbers, input_lengths(self.batch), self.lengths, strict=True)
        requests = (
            RequestTimes(number, input_tokens, self.start_s, steps.tokens_s[:length])
            for number, input_tokens, length in rows
        )
        return BatchTimes(self.start_s, tuple(requests), steps.error_s)


class Answers(NamedTuple):
    """What a batch generated."""

    batch: Batch
    generated: torch.Tensor
    """Token ids, on the host."""
    lengths: list[int]
    decode: Callable[[list[int]], str]

    def outputs(self) -> tuple[Output, ...]:
        """The answers as text."""
        rows = zip(self.batch.numbers, input_lengths(self.batch), self.lengths, self.generated, strict=True)
        return tuple(
            Output(number, input_tokens, length, self.decode(row[:length].tolist()))
            for number, input_tokens, length, row in rows
        )


def input_lengths(batch: Batch) -> list[int]:
    """Tokens of each prompt, padding not counted."""
    lengths: list[int] = batch.attention_mask.sum(dim=1).tolist()
    return lengths


class TorchWorkload:
    """Tokenised, padded batches, each with its seed, and the arguments of generate() that run them."""

    def __init__(
        self,
        model: PreTrainedModel,
        batches: list[Batch],
        arguments: dict[str, Any],
        seeds: Sequence[int],
        now: Now,
        decode: Callable[[list[int]], str] | None = None,
        assistant: PreTrainedModel | None = None,
    ) -> None:
        """``now`` is the clock that steps are stamped by; ``decode`` makes text of an answer's token ids, where
        wanted; ``assistant`` guesses ahead.
        """
        if not model.can_generate():
            raise BackendError(f"{type(model).__name__} can't generate text: choose a causal language model")
        self._model = model
        self._generate = cast("Callable[..., torch.Tensor]", model.generate)
        # transformers never makes a static cache shorter than the model's last one: ours have their own length.
        vars(model).pop("_previous_max_cache_length", None)
        self._batches = batches
        self._generation = GenerationConfig.from_dict(arguments)
        self._eos: tuple[int, ...] = tuple(arguments["eos_token_id"] or ())
        self._seeds = seeds
        self._now = now
        self._never = torch.zeros(1, dtype=torch.bool, device=model.device)
        self._prompts = list(map(input_lengths, batches))
        self._one_pass_a_token = assistant is None and _one_pass_a_token(arguments)
        self._decode = decode
        self._further = {} if assistant is None else {"assistant_model": assistant}

    @property
    def batches(self) -> int:
        return len(self._batches)

    def run_batch(self, index: int, mark: MarkPhase) -> BatchTally:
        batch = self._batches[index]
        device = self._model.device
        mark(Phase.PREFILL)
        start_s = self._now()
        torch.manual_seed(self._seeds[index])
        width = batch.input_ids.shape[1]
        with Translated(f"batch {index + 1} of {len(self._batches)}"):
            stamps = StepStamps(stamper(device, self._now), self._never, width, mark)
            with seen_cache(self._model) as cache, torch.inference_mode():
                sequences = self._generate(
                    input_ids=batch.input_ids.to(device),
                    attention_mask=batch.attention_mask.to(device),
                    generation_config=self._generation,
                    stopping_criteria=StoppingCriteriaList([stamps]),
                    **self._further,
                )
            generated = sequences[:, width:].cpu()
            stamps.finish()
        lengths = output_lengths(generated, self._eos)
        return BatchTally(
            requests=batch.input_ids.shape[0],
            input_tokens=batch.input_tokens,
            output_tokens=sum(lengths),
            padded_tokens=batch.input_ids.numel() - batch.input_tokens,
            times=Ran(batch, start_s, lengths, stamps).times,
            lengths=tuple(map(RequestLength, self._prompts[index], lengths)),
            passes=self._passes(batch, generated) if self._one_pass_a_token else None,
            cache_bytes=cache.bytes if self._generation.use_cache else 0,
            outputs=Answers(batch, generated, lengths, self._decode).outputs if self._decode else None,
        )

    def _passes(self, batch: Batch, generated: torch.Tensor) -> Passes:
        rows, width = batch.input_ids.shape
        return Passes(rows, width, generated.shape[1] - 1, cached=bool(self._generation.use_cache))


def _one_pass_a_token(arguments: Mapping[str, Any]) -> bool:
    """Whether generate() is to make one pass for each position of its longest answer, over keys that are there."""
    guessing = bool(arguments.get("prompt_lookup_num_tokens"))
    grows = arguments.get("cache_implementation") in (None, "dynamic", "quantized")
    return arguments.get("num_beams", 1) == 1 and grows and not guessing

"""All requests of an experiment at once, by transformers' continuous batching."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any, NamedTuple, cast

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel
from transformers.generation.continuous_batching import ContinuousBatchingManager

from llem_sweep.backends.protocol import BatchTally, BatchTimes, MarkPhase, Output, RequestTimes
from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.backends.pytorch.stamps import Now
from llem_sweep.config.datasets import SyntheticDataset
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError
from llem_sweep.phases import Phase
from llem_sweep.plan.flops import RequestLength

PAGE_TOKENS = 256
"""Tokens of one request whose keys and values lie together."""
_NO_END = -1
"""What stands for a model without an end of sequence there."""
_PATIENCE_S = 1.0


class Answer(NamedTuple):
    """What one request generated."""

    tokens: list[int]
    told_s: list[float]
    """When each of them was told of, by ``time.perf_counter``."""


class ContinuousWorkload:
    """Requests that join and leave the model's passes as others end, up to ``max_batch_tokens`` in a pass.

    The passes are made by a thread of transformers' own, which waits between the runs until :meth:`close`. The
    requests of a run are handed to it while it is held, so that which of them share a pass doesn't depend on time.
    Nothing is kept of a prompt: the same one in a later run is computed anew.
    """

    batches = 1

    def __init__(
        self,
        model: PreTrainedModel,
        requests: Sequence[list[int]],
        numbers: Sequence[int],
        arguments: Mapping[str, Any],
        max_batch_tokens: int,
        seed: int,
        now: Now,
        decode: Callable[[list[int]], str] | None = None,
    ) -> None:
        """``numbers`` are those of the ``requests`` in the experiment; ``now`` is the clock that their tokens are
        stamped by; ``decode`` makes text of an answer."""
        self._now = now
        self._requests = requests
        self._numbers = numbers
        self._seed = seed
        self._decode = decode
        init = cast("Callable[..., ContinuousBatchingManager]", model.init_continuous_batching)
        with Translated("preparing continuous batching"):
            self._manager = init(
                generation_config=GenerationConfig.from_dict(dict(arguments)),
                continuous_batching_config=_settings(requests, arguments["max_new_tokens"], max_batch_tokens),
            )
            # Before the window: this makes the cache and, where it uses them, captures CUDA graphs.
            self._manager.warmup()
            self._manager.start()

    def run_batch(self, index: int, mark: MarkPhase) -> BatchTally:
        manager = self._manager
        mark(Phase.PREFILL)
        start_s = self._now()
        # What transformers stamps tokens by has another beginning than the clock.
        ahead_s = start_s - time.perf_counter()
        with Translated("continuous batching"):
            with manager.pause():
                before = manager.current_batch
                torch.manual_seed(self._seed)
                for number, ids in enumerate(self._requests):
                    # The first one is told of as it grows, for the time of the first token.
                    manager.add_request(
                        ids, request_id=str(number), streaming=number == 0, record_timestamps=True
                    )
            answers = self._answers(mark)
            passes = manager.current_batch - before
        lengths = [len(answer.tokens) for answer in answers]
        return BatchTally(
            requests=len(answers),
            input_tokens=sum(map(len, self._requests)),
            output_tokens=sum(lengths),
            padded_tokens=0,
            lengths=tuple(map(RequestLength, map(len, self._requests), lengths)),
            outputs=partial(self._outputs, answers, self._decode) if self._decode else None,
            batches=passes,
            places=sum(lengths),
            times=partial(self._times, answers, start_s, ahead_s),
        )

    def run_prefill(self, index: int, mark: MarkPhase) -> BatchTally:
        # The configuration refuses to ask for it.
        raise BackendError("requests that join and leave each other's passes have no prefill of their own")

    def _times(self, answers: Sequence[Answer], start_s: float, ahead_s: float) -> BatchTimes:
        """When this process was told of each token: another thread makes the passes."""
        rows = zip(self._numbers, self._requests, answers, strict=True)
        requests = (
            RequestTimes(number, len(ids), start_s, tuple(at_s + ahead_s for at_s in answer.told_s))
            for number, ids, answer in rows
        )
        return BatchTimes(start_s, tuple(requests), 0.0, in_step=False)

    def _answers(self, mark: MarkPhase) -> list[Answer]:
        """Every answer, up to and including its end."""
        answers: dict[int, Answer] = {}
        begun = False
        while len(answers) < len(self._requests):
            told = self._manager.get_result(timeout=_PATIENCE_S)
            if told is None:
                if not self._manager.is_running():
                    raise self._fault("the thread that makes the passes ended")
                continue
            if told.error is not None:
                raise self._fault(f"request {told.request_id}: {told.error}")
            if not begun and told.generated_tokens:
                begun = True
                mark(Phase.DECODE)
            if told.is_finished():
                tokens = told.generated_tokens
                answers[int(told.request_id)] = Answer(tokens, (told.timestamps or [])[: len(tokens)])
        return [answers[number] for number in range(len(self._requests))]

    def _fault(self, otherwise: str) -> Exception:
        """What ended the passes, as torch raised it."""
        fault: Exception | None = self._manager.background_thread_status.fatal_error
        return fault or RuntimeError(otherwise)

    def _outputs(self, answers: Sequence[Answer], decode: Callable[[list[int]], str]) -> tuple[Output, ...]:
        rows = zip(self._numbers, self._requests, answers, strict=True)
        return tuple(
            Output(number, len(ids), len(answer.tokens), decode(answer.tokens))
            for number, ids, answer in rows
        )

    def effective(self) -> dict[str, Any]:
        """What transformers made of the settings, JSON-ready."""
        settings = self._manager.continuous_batching_config
        names = ("max_batch_tokens", "num_blocks", "page_size", "max_requests_per_batch", "scheduler_type")
        chosen = {name: getattr(settings, name) for name in names}
        graphs = [bool(graph) for graph in settings.cuda_graph_booleans]
        return chosen | {"cuda_graphs": graphs, "asynchronous": bool(settings.use_async_batching)}

    def close(self) -> None:
        """End the thread, free the cache, and give the model its attention back."""
        self._manager.stop(block=True, hard_stop=True)
        self._manager.destroy()


def continuous_arguments(arguments: Mapping[str, Any], config: ExperimentConfig) -> dict[str, Any]:
    """``arguments`` of generate() as continuous batching takes them.

    Where the data set fixes the length of every answer there is no end of sequence: it can't keep one from being
    chosen.
    """
    known = {name: value for name, value in arguments.items() if name not in ("min_new_tokens", "num_beams")}
    if isinstance(config.dataset, SyntheticDataset) or known["eos_token_id"] is None:
        known["eos_token_id"] = _NO_END
    return known


def _settings(
    requests: Sequence[list[int]], max_new_tokens: int, max_batch_tokens: int
) -> ContinuousBatchingConfig:
    """Room for every request that can be under way at once: as many as there may be tokens in a pass."""
    longest_first = sorted(map(len, requests), reverse=True)[:max_batch_tokens]
    blocks = sum(ceil((length + max_new_tokens) / PAGE_TOKENS) for length in longest_first)
    return ContinuousBatchingConfig(
        page_size=PAGE_TOKENS,
        num_blocks=blocks,
        max_batch_tokens=max_batch_tokens,
        max_requests_per_batch=len(longest_first),
        # A prompt that was run before, as every one is in the warm-up, would else cost nothing in the window.
        allow_block_sharing=False,
        # Attention is what attn_implementation says.
        auto_switch_to_flash=False,
    )

"""Bytes that a model and its cache take: by the allocator on boards, by the tensors themselves elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from llem_sweep.backends.protocol import DeviceMemory
from llem_sweep.backends.pytorch.tensor import local_part


def allocated(boards: int) -> dict[torch.device, int]:
    """Bytes allocated on each of the first ``boards`` boards, as workspaces are that libraries keep."""
    devices = (torch.device("cuda", index) for index in range(boards))
    return {device: torch.cuda.memory_allocated(device) for device in devices}


class Resident:
    """The memory of one loaded model, on the boards and elsewhere."""

    def __init__(
        self, model: PreTrainedModel, boards: Sequence[torch.device], before: Mapping[torch.device, int]
    ) -> None:
        """To be made once ``model`` is loaded and before it runs: it is what was allocated since ``before``."""
        self._boards = {board: torch.cuda.memory_allocated(board) - before.get(board, 0) for board in boards}
        self._elsewhere = _bytes_elsewhere(model)

    def reset_peak(self) -> None:
        """Forget the largest use so far."""
        for board in self._boards:
            torch.cuda.reset_peak_memory_stats(board)

    def devices(self) -> tuple[DeviceMemory, ...]:
        """What each device holds of the model, and boards have held at most since the last reset."""
        on_boards = (
            DeviceMemory(str(board), held, torch.cuda.max_memory_allocated(board))
            for board, held in self._boards.items()
        )
        return (*on_boards, *(DeviceMemory(kind, held, None) for kind, held in self._elsewhere.items()))


def _bytes_elsewhere(model: PreTrainedModel) -> dict[str, int]:
    """Parameters and buffers that are on no board, by the kind of device; shared ones once."""
    tensors = {id(tensor): local_part(tensor) for tensor in (*model.parameters(), *model.buffers())}
    held: dict[str, int] = {}
    for tensor in tensors.values():
        if tensor.device.type != "cuda":
            held[tensor.device.type] = held.get(tensor.device.type, 0) + tensor.nbytes
    return held


class SeenCache:
    """The cache that a call of generate() works with."""

    def __init__(self) -> None:
        self._cache: Any = None

    def see(self, cache: Any) -> None:
        """Keep hold of ``cache``, which the passes fill."""
        self._cache = cache

    @property
    def bytes(self) -> int | None:
        """Of all tensors that it holds now; None where no cache was seen."""
        if self._cache is None:
            return None
        return sum(_size(tensor) for layer in self._cache.layers for tensor in _tensors(vars(layer)))


@contextmanager
def seen_cache(model: PreTrainedModel) -> Iterator[SeenCache]:
    """The cache that the first pass of ``model`` is handed, by a hook that is gone before the second."""
    seen = SeenCache()

    def look(_: object, __: object, given: Mapping[str, Any]) -> None:
        hook.remove()
        seen.see(given.get("past_key_values"))

    hook = model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


def _size(tensor: torch.Tensor) -> int:
    """Bytes of ``tensor``, of one that stands for others (values packed, their scales) the bytes of these."""
    taken_apart: Callable[[], tuple[list[str], Any]] | None = getattr(tensor, "__tensor_flatten__", None)
    if taken_apart is None:
        return tensor.nbytes
    parts, _ = taken_apart()
    return sum(_size(getattr(tensor, part)) for part in parts)


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)

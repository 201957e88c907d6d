"""Types around the small real models that ``backends/conftest.py`` makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import Cache, GenerationConfig, PreTrainedModel

from llem_sweep.backends.protocol import LoadContext
from llem_sweep.backends.pytorch.model import TorchModel
from llem_sweep.config.experiment import ExperimentConfig

SHIPPED = Path(__file__).parents[1] / "sweeps" / "models" / "tiny-llama"
ON_CPU = LoadContext(gpus=0, simulated=False, attempt=1)

MakeFolder = Callable[..., Path]
MakeConfig = Callable[..., ExperimentConfig]


class Call(NamedTuple):
    """One call of generate(), with what it returned."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    told: GenerationConfig
    sequences: torch.Tensor

    @property
    def answers(self) -> list[list[int]]:
        """What was generated for each row, whatever comes after its end included."""
        rows: list[list[int]] = self.sequences[:, self.input_ids.shape[1] :].tolist()
        return rows


class Watched(NamedTuple):
    """A loaded model whose calls of generate() are kept."""

    model: TorchModel
    calls: list[Call]

    def run(self, config: ExperimentConfig) -> list[Call]:
        """Run every batch of ``config`` and return the calls made."""
        self.calls.clear()
        workload = self.model.prepare(config)
        for index in range(workload.batches):
            workload.run_batch(index, lambda phase: None)
        return list(self.calls)


@contextmanager
def caches_of(watched: Watched) -> Iterator[list[Cache]]:
    """The cache that each pass of the model is given."""
    seen: list[Cache] = []

    def keep(_: object, __: object, named: dict[str, Any]) -> None:
        seen.append(named["past_key_values"])

    hook = watched.model._open().model.register_forward_pre_hook(keep, with_kwargs=True)
    yield seen
    hook.remove()


def zeroed(outline: PreTrainedModel) -> PreTrainedModel:
    """A model on the meta device brought to the CPU, all of it zero: what it costs is what any weights would, and
    drawing them takes seconds."""
    model: PreTrainedModel = outline.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model


Load = Callable[[ExperimentConfig], Watched]

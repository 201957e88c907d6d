"""Where a model goes: the assigned boards, or the CPU."""

from __future__ import annotations

from typing import NamedTuple

import torch

from llem_sweep.backends.protocol import LoadContext
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import ModelLoadError


class Placement(NamedTuple):
    """Where to compute."""

    device: torch.device
    """Of the inputs and, on one device, of the whole model."""
    boards: int
    """CUDA boards the layers are spread over; 0 on the CPU."""
    off_board: bool
    """Computing happens on the CPU while assigned boards are metered."""
    processes: int = 1
    """Processes that the model is divided over."""


def place(config: ExperimentConfig, context: LoadContext) -> Placement:
    """Choose the device. Raises ModelLoadError where the configuration can't be honoured here."""
    processes = context.size if context.parallelism == "tensor" else 1
    return _one_process(config, context)._replace(processes=processes)


def _one_process(config: ExperimentConfig, context: LoadContext) -> Placement:
    wanted = config.pytorch.device
    if wanted == "cuda" and context.simulated:
        raise ModelLoadError("pytorch.device is cuda but the GPUs are simulated: set it to auto")
    if wanted == "cuda" and context.gpus == 0:
        raise ModelLoadError("pytorch.device is cuda but gpus is 0: set gpus to 1 or more, or device to auto")
    if wanted == "cpu" or context.simulated or context.gpus == 0:
        off_board = wanted == "cpu" and context.gpus > 0 and not context.simulated
        if off_board and context.parallelism == "tensor":
            # transformers divides a model over the boards that torch sees, whatever device it is told.
            raise ModelLoadError(
                "pytorch.device is cpu, which a divided model beside boards can't be: set gpus to 0"
            )
        return Placement(torch.device("cpu"), 0, off_board)
    return _on_boards(context.gpus)


def _on_boards(gpus: int) -> Placement:
    if not torch.cuda.is_available():
        raise ModelLoadError(
            f"{gpus} GPU(s) are assigned but torch {torch.__version__} can't see any: install a CUDA build of "
            "torch that fits the driver, or set pytorch.device to cpu to compute off the board"
        )
    visible = torch.cuda.device_count()
    if visible < gpus:
        raise ModelLoadError(f"{gpus} GPUs are assigned but torch sees {visible}: check CUDA_VISIBLE_DEVICES")
    return Placement(torch.device("cuda", 0), gpus, False)


def board_uuid(device: torch.device) -> str:
    """The UUID of a CUDA device, ``GPU-…``, as NVML spells it."""
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"

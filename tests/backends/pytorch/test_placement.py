from __future__ import annotations

import pytest
import torch

from llem_sweep.backends.protocol import LoadContext
from llem_sweep.backends.pytorch.placement import Placement, place
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import ModelLoadError

CPU = torch.device("cpu")


def make(device: str) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "m", "pytorch": {"device": device}})


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """As many boards as torch is to see."""
    count = int(request.param)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


@pytest.mark.parametrize(
    ("device", "gpus", "simulated", "off_board"),
    [
        ("auto", 0, False, False),
        ("auto", 1, True, False),
        ("auto", 2, True, False),
        ("cpu", 0, False, False),
        ("cpu", 1, False, True),
        ("cpu", 1, True, False),
    ],
)
@pytest.mark.parametrize("boards", [0, 2], indirect=True)
def test_the_cpu_is_taken(boards: int, device: str, gpus: int, simulated: bool, off_board: bool) -> None:
    assert place(make(device), LoadContext(gpus, simulated, 1)) == Placement(CPU, 0, off_board)


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize("boards", [2], indirect=True)
def test_assigned_boards_are_taken(boards: int, device: str, gpus: int) -> None:
    assert place(make(device), LoadContext(gpus, False, 1)) == Placement(torch.device("cuda", 0), gpus, False)


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize("boards", [0], indirect=True)
def test_an_assigned_board_that_torch_cant_see_is_an_error(boards: int, device: str) -> None:
    with pytest.raises(
        ModelLoadError, match=r"install a CUDA build of torch .* or set pytorch\.device to cpu"
    ):
        place(make(device), LoadContext(1, False, 1))


@pytest.mark.parametrize("boards", [1], indirect=True)
def test_fewer_boards_than_assigned_are_an_error(boards: int) -> None:
    with pytest.raises(ModelLoadError, match="2 GPUs are assigned but torch sees 1"):
        place(make("auto"), LoadContext(2, False, 1))


@pytest.mark.parametrize(
    ("context", "said"),
    [(LoadContext(1, True, 1), "the GPUs are simulated"), (LoadContext(0, False, 1), "gpus is 0")],
)
def test_cuda_where_there_is_none_is_an_error(context: LoadContext, said: str) -> None:
    with pytest.raises(ModelLoadError, match=said):
        place(make("cuda"), context)

"""The PyTorch backend on a real board: identity, memory, phases, energy, throughput. Needs no Ray."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import StoppingCriteriaList
from transformers.utils.import_utils import is_kernels_available

from llem_sweep.backends.protocol import BatchTimes, LoadContext
from llem_sweep.backends.pytorch import PyTorchBackend
from llem_sweep.backends.pytorch.fp8 import LEAST_CAPABILITY
from llem_sweep.backends.pytorch.stamps import StepStamps, stamper
from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.nvml import NvmlGpu
from llem_sweep.errors import GpuMemoryError, ModelLoadError
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.phases import Phase
from llem_sweep.plan.memory import memory_estimate
from llem_sweep.plan.types import PlannedExperiment

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
ONE_BOARD = LoadContext(gpus=1, simulated=False, attempt=1)


def make(**fields: Any) -> ExperimentConfig:
    known: dict[str, Any] = {
        "model": str(ROOT / "sweeps" / "models" / "tiny-llama"),
        "weights": "random",
        "dataset": {"n": 8, "input_len": 64, "output_len": 32},
        "decoder": {"preset": "deterministic"},
        "pytorch": {"device": "cuda", "batch_size": 8},
    }
    return ExperimentConfig.model_validate(known | fields)


@pytest.fixture
def backend() -> PyTorchBackend:
    assert torch.cuda.is_available(), "torch sees no GPU: install a CUDA build of torch"
    return PyTorchBackend(SystemClock())


@pytest.fixture
def board(backend: PyTorchBackend) -> Iterator[NvmlGpu]:
    """The board behind CUDA's first device, opened by UUID."""
    model = backend.load(make(), ONE_BOARD)
    (uuid,) = model.device_uuids
    model.close()
    gpu = NvmlGpu.open(uuid)
    yield gpu
    gpu.close()


def test_cuda_and_nvml_spell_a_boards_uuid_alike(board: NvmlGpu) -> None:
    assert board.info.uuid == f"GPU-{torch.cuda.get_device_properties(0).uuid}"


def test_closing_gives_the_boards_memory_back(backend: PyTorchBackend) -> None:
    before = torch.cuda.memory_allocated()
    model = backend.load(make(), ONE_BOARD)
    workload = model.prepare(make())
    workload.run_batch(0, lambda phase: None)
    assert torch.cuda.memory_allocated() > before
    model.close()
    del workload
    torch.cuda.synchronize()
    # The library workspaces of the first matrix product stay; the weights (6.5 MB) may not.
    weights = backend.describe(make()).weight_bytes
    assert weights is not None
    kept = torch.cuda.memory_allocated() - before
    model = backend.load(make(), ONE_BOARD)
    held = torch.cuda.memory_allocated() - before - kept
    model.close()
    assert held >= weights
    assert torch.cuda.memory_allocated() - before <= kept


@pytest.mark.parametrize("name", ["dense-0.1b", "dense-1b"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_memory_by_the_allocator_is_within_a_fifth_of_what_admission_expects(
    backend: PyTorchBackend, name: str, attention: str
) -> None:
    config = make(
        model=str(ROOT / "sweeps" / "models" / name),
        dataset={"n": 16, "input_len": 512, "output_len": 64},
        pytorch={"device": "cuda", "batch_size": 16, "attn_implementation": attention},
    )
    expected = memory_estimate(config, backend.describe(config))
    assert expected is not None
    model = backend.load(config, ONE_BOARD)
    workload = model.prepare(config)
    workload.run_batch(0, lambda phase: None)
    model.reset_peak_memory()
    tally = workload.run_batch(0, lambda phase: None)
    (held,) = model.memory()
    model.close()
    assert held.model_bytes == pytest.approx(expected.weights, rel=0.2)
    assert tally.cache_bytes == pytest.approx(expected.cache, rel=0.2)
    assert held.peak_bytes == pytest.approx(expected.total, rel=0.2)


def test_the_next_experiment_runs_after_the_boards_memory_didnt_suffice(backend: PyTorchBackend) -> None:
    model = backend.load(make(), ONE_BOARD)
    workload = model.prepare(make())
    free, _ = torch.cuda.mem_get_info()
    hook = model._open().model.register_forward_hook(  # type: ignore[attr-defined]
        lambda *_: torch.empty(2 * free, dtype=torch.uint8, device="cuda")
    )
    with pytest.raises(GpuMemoryError):
        workload.run_batch(0, lambda phase: None)
    hook.remove()
    assert workload.run_batch(0, lambda phase: None).output_tokens == 8 * 32
    model.close()


def test_the_first_token_is_stamped_when_the_prompt_has_been_computed(backend: PyTorchBackend) -> None:
    lengths = {"n": 16, "input_len": 1024, "output_len": 16}
    config = make(dataset=lengths, pytorch={"device": "cuda", "batch_size": 16})
    model = backend.load(config, ONE_BOARD)
    workload = model.prepare(config)

    def run() -> tuple[BatchTimes, list[tuple[Phase, float]]]:
        marks: list[tuple[Phase, float]] = []
        tally = workload.run_batch(0, lambda phase: marks.append((phase, time.monotonic())))
        assert tally.times is not None
        return tally.times(), marks

    def prefill_s() -> float:
        times, marks = run()
        assert [phase for phase, _ in marks] == [Phase.PREFILL, Phase.DECODE]
        first_s, last_s = times.requests[0].tokens_s[0], times.requests[0].tokens_s[-1]
        assert first_s - times.error_s < marks[1][1] < last_s + times.error_s
        assert 0 < times.error_s < 0.001
        return first_s - times.start_s

    def synchronised_s() -> float:
        model.synchronize()
        begun_s = time.perf_counter()
        assert workload.run_prefill(0, lambda phase: None).output_tokens == 16
        model.synchronize()
        return time.perf_counter() - begun_s

    prefill_s(), synchronised_s()
    stamped, true = (min(clock() for _ in range(5)) for clock in (prefill_s, synchronised_s))
    model.close()
    assert 0.5 * true < stamped < 1.5 * true


def test_a_stamp_takes_less_than_a_hundredth_of_a_decoding_step(backend: PyTorchBackend) -> None:
    """Judged by its own time on the host, which queues the step; of a model with more layers than the smallest."""
    config = make(model=str(ROOT / "sweeps" / "models" / "tiny-llama-deep"))
    model = backend.load(config, ONE_BOARD)
    workload = model.prepare(config)
    workload.run_batch(0, lambda phase: None)
    tally = workload.run_batch(0, lambda phase: None)
    assert tally.times is not None
    tokens_s = tally.times().requests[0].tokens_s
    step_s = statistics.median(after - before for before, after in pairwise(tokens_s))
    device = torch.device("cuda:0")
    sequence = torch.zeros((8, 65), dtype=torch.long, device=device)
    never = torch.zeros(1, dtype=torch.bool, device=device)

    def call_s(criteria: StoppingCriteriaList) -> float:
        begun_s = time.perf_counter()
        for _ in range(100):
            criteria(sequence, None)
        return (time.perf_counter() - begun_s) / 100

    def own_s() -> float:
        stamps = StepStamps(stamper(device, time.monotonic), never, 64, lambda phase: None)
        return call_s(StoppingCriteriaList([stamps])) - call_s(StoppingCriteriaList())

    own = statistics.median(own_s() for _ in range(20))
    model.close()
    assert own <= 0.01 * step_s, f"{1e6 * own:.1f} µs of {1e6 * step_s:.0f} µs"


@pytest.mark.parametrize("mode", [None, "default"])
def test_decoding_is_compiled_before_the_first_batch_and_not_after(
    backend: PyTorchBackend, mode: str | None
) -> None:
    options = {"device": "cuda", "batch_size": 8, "torch_compile": True, "torch_compile_mode": mode}
    config = make(pytorch=options)
    model = backend.load(config, ONE_BOARD)
    workload = model.prepare(config)
    before = model.compiled
    assert before is not None
    assert before.seconds > 0
    for _ in range(3):
        assert workload.run_batch(0, lambda phase: None).output_tokens == 8 * 32
    assert model.compiled == before
    assert before.graphs == 1
    model.close()


@pytest.mark.parametrize(
    "options", [{"device_map": {"": 0}}, {"device_map": "auto"}, {"max_memory": {"0": "1GiB"}}]
)
def test_layers_are_on_the_board_that_a_map_names(backend: PyTorchBackend, options: dict[str, Any]) -> None:
    config = make(pytorch={"device": "cuda", "batch_size": 8} | options)
    model = backend.load(config, ONE_BOARD)
    assert model.effective(config)["device"] == "cuda:0"
    assert model.prepare(config).run_batch(0, lambda phase: None).output_tokens == 8 * 32
    model.close()


def test_a_measured_run_has_the_energy_of_the_board_that_computed(board: NvmlGpu) -> None:
    config = make(
        dataset={"n": 64, "input_len": 128, "output_len": 256},
        baseline={"duration_seconds": 1.0},
        warmup={"n_warmup": 1, "thermal_floor_seconds": 0.0},
    )
    rig = Rig((board,), SystemClock(), node="here")
    result, *_ = measure(PlannedExperiment("0" * 16, "1" * 16, config, 1, {}), rig)
    rig.release_model()
    assert result.measured_on == "board"
    assert result.environment_snapshot.identity == "confirmed"
    assert result.output_tokens == 64 * 256
    assert result.total_energy_j is not None
    mean_w = result.total_energy_j / result.total_inference_time_sec
    assert 10 < mean_w < 1500


def test_the_backend_is_as_fast_as_a_bare_generate_loop() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "throughput.py"), "--cuda"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    not is_kernels_available(), reason="the package kernels isn't there in a version that transformers takes"
)
def test_weights_in_fp8_are_on_the_board_and_multiply(backend: PyTorchBackend) -> None:
    config = make(precision="fp8")
    if torch.cuda.get_device_capability() < LEAST_CAPABILITY:
        with pytest.raises(ModelLoadError, match="needs boards of compute capability"):
            backend.load(config, ONE_BOARD)
        return
    model = backend.load(config, ONE_BOARD)
    (held,) = model.memory()
    expected = backend.describe(config).weight_bytes
    assert expected is not None
    # The allocator rounds each tensor up.
    assert expected <= held.model_bytes < 1.1 * expected
    tally = model.prepare(config).run_batch(0, lambda phase: None)
    assert tally.output_tokens == 8 * 32
    model.close()


def test_a_cache_in_fp8_is_half_of_what_it_is_in_bf16(backend: PyTorchBackend) -> None:
    plain, fp8 = make(), make(pytorch={"device": "cuda", "batch_size": 8, "cache_dtype": "fp8"})
    model = backend.load(plain, ONE_BOARD)
    whole, half = (model.prepare(each).run_batch(0, lambda phase: None) for each in (plain, fp8))
    assert whole.cache_bytes is not None
    # Four layers, each with a scale of 4 bytes for its keys and one for its values.
    assert half.cache_bytes == whole.cache_bytes // 2 + 4 * 2 * 4
    assert half.output_tokens == whole.output_tokens
    model.close()

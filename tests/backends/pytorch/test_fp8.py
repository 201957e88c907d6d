"""Weights in fp8. No board is here: boards are stood in for, and products are made as their kernels make them."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    FineGrainedFP8Config,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.integrations import finegrained_fp8
from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer
from transformers.utils.import_utils import KERNELS_MAX_VERSION, KERNELS_MIN_VERSION

from llem_sweep.backends.protocol import Operands
from llem_sweep.backends.pytorch import PyTorchBackend, extras, fp8, loading
from llem_sweep.backends.pytorch.fp8 import require_fp8_boards
from llem_sweep.backends.pytorch.loading import from_config
from llem_sweep.backends.pytorch.placement import Placement
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import ModelLoadError
from tiny_models import ON_CPU, Load, MakeConfig, MakeFolder

BLOCKS = {"hidden_size": 256, "intermediate_size": 384, "num_attention_heads": 8, "num_key_value_heads": 4}
"""Sides of layers that are whole blocks: 256, 128 for keys and values, 384."""
LINEAR = 2 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 384)
"""Weights of linear layers in two layers of such a model."""
PARTS = {
    "mixture": {
        "model_type": "qwen3_moe",
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 128,
        "head_dim": 32,
    },
    "biases": {"model_type": "qwen2", "attention_bias": True},
    "partly": {"intermediate_size": 320},
    "plain": {},
}
REAL_LINEAR = finegrained_fp8.fp8_linear


class Board(NamedTuple):
    """A stand-in for boards with products in fp8."""

    told: list[dict[str, Any]]
    """What from_pretrained() of a model is told."""


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """As if the CPU could multiply in fp8: by weights brought back, with inputs that aren't rounded as well."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(extras, "is_kernels_available", lambda: True)
    monkeypatch.setattr(loading, "require_fp8_boards", lambda placement: None)
    monkeypatch.setattr(FineGrainedFP8HfQuantizer, "validate_environment", lambda *_, **__: None)

    def product(*given: Any, **named: Any) -> torch.Tensor:
        asked = inspect.signature(REAL_LINEAR).bind(*given, **named).arguments
        weight: torch.Tensor = finegrained_fp8._dequantize_fp8_weight(
            asked["weight"], asked["weight_scale_inv"], asked["block_size"], asked["input"].dtype
        )
        return torch.nn.functional.linear(asked["input"], weight, asked["bias"])

    monkeypatch.setattr(finegrained_fp8, "fp8_linear", product)
    for kind in (AutoModelForCausalLM, LlamaForCausalLM):
        original: Callable[..., PreTrainedModel] = kind.from_pretrained

        def recorded(
            *names: Any, original: Callable[..., PreTrainedModel] = original, **arguments: Any
        ) -> PreTrainedModel:
            told.append(arguments)
            return original(*names, **arguments)

        monkeypatch.setattr(kind, "from_pretrained", recorded)
    return Board(told)


@pytest.fixture(scope="session")
def folders(shape_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Models in bf16 of two layers whose linear layers are blocks of 128 × 128, or nearly all."""
    made: dict[str, str] = {}
    for name, fields in PARTS.items():
        folder = tmp_path_factory.mktemp("blocks") / name
        shutil.copytree(shape_folder, folder)
        shape = (
            json.loads((folder / "config.json").read_text()) | BLOCKS | fields | {"initializer_range": 0.05}
        )
        (folder / "config.json").write_text(json.dumps(shape))
        torch.manual_seed(7)
        from_config(AutoConfig.from_pretrained(str(folder)), dtype=torch.bfloat16).save_pretrained(folder)
        made[name] = str(folder)
    return made


@pytest.fixture
def fp8_config(small: MakeConfig, folders: dict[str, str]) -> MakeConfig:
    def make(folder: str = "plain", **fields: Any) -> ExperimentConfig:
        return small(**{"model": folders.get(folder, folder), "precision": "fp8"} | fields)

    return make


@pytest.fixture
def backend() -> PyTorchBackend:
    return PyTorchBackend(SimulatedClock())


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_precision_reaches_from_pretrained(
    load: Load, board: Board, fp8_config: MakeConfig, weights: str
) -> None:
    if weights == "pretrained":
        for precision, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
            load(fp8_config(precision=precision))
            assert board.told[0]["dtype"] == dtype
            assert "quantization_config" not in board.told[0]
            board.told.clear()
    model = load(fp8_config(weights=weights)).model._open().model
    (told,) = board.told[:1]
    assert told["dtype"] == torch.bfloat16
    assert told["quantization_config"].to_dict() == FineGrainedFP8Config().to_dict()
    kinds: dict[torch.dtype, int] = {}
    for weight in model.parameters():
        kinds[weight.dtype] = kinds.get(weight.dtype, 0) + weight.numel()
    # A scale for each block; embedding, which is the last layer too, and norms.
    rest = {torch.float32: LINEAR // 128**2, torch.bfloat16: 384 * 256 + 5 * 256}
    assert kinds == {torch.float8_e4m3fn: LINEAR, **rest}


@pytest.mark.parametrize("weights", ["pretrained", "random"])
@pytest.mark.parametrize("folder", PARTS)
def test_weights_take_what_admission_expects_and_keep_their_number(
    load: Load, board: Board, backend: PyTorchBackend, fp8_config: MakeConfig, folder: str, weights: str
) -> None:
    config = fp8_config(folder, weights=weights)
    facts, plain = backend.describe(config), backend.describe(fp8_config(folder, precision="bf16"))
    assert facts.problem is None
    loaded = load(config).model
    taken = sum(weight.nbytes for weight in loaded._open().model.parameters())
    assert facts.weight_bytes == taken
    assert plain.weight_bytes is not None
    assert taken < plain.weight_bytes
    assert facts.parameters == plain.parameters == getattr(loaded.architecture, "parameters", None)
    assert facts.cache == plain.cache


def test_layers_that_arent_whole_blocks_are_named(load: Load, board: Board, fp8_config: MakeConfig) -> None:
    config = fp8_config("partly")
    watched = load(config)
    told = watched.model.effective(config)["quantization"]
    mlp = [f"model.layers.{layer}.mlp.{part}_proj" for layer in (0, 1) for part in ("down", "gate", "up")]
    assert set(mlp) < set(told["modules_to_not_convert"])
    assert "lm_head" in told["modules_to_not_convert"]
    assert told["fp8_weights"] == 2 * (2 * 256 * 256 + 2 * 256 * 128)


def test_a_checkpoint_in_fp8_is_loaded_as_it_is(
    load: Load, board: Board, backend: PyTorchBackend, fp8_config: MakeConfig, variant_of: MakeFolder
) -> None:
    config = fp8_config("partly")
    first = load(config)
    folder = variant_of(Path(config.model))
    first.model._open().model.save_pretrained(folder)
    kept = json.loads((folder / "config.json").read_text())["quantization_config"]
    assert kept["quant_method"] == "fp8"
    ready = fp8_config(str(folder))
    board.told.clear()
    watched = load(ready)
    # What it is told would take the place of the layers that its own config.json leaves out.
    assert "quantization_config" not in board.told[0]
    for one, other in zip(
        first.model._open().model.parameters(), watched.model._open().model.parameters(), strict=True
    ):
        assert one.dtype == other.dtype
        assert torch.equal(one.float(), other.float())
    taken = sum(weight.nbytes for weight in watched.model._open().model.parameters())
    assert backend.describe(ready).weight_bytes == taken
    for precision in ("bf16", "fp32"):
        problem = backend.describe(fp8_config(str(folder), precision=precision)).problem
        assert f"its weights are fp8, and precision is {precision}: set it to fp8" in (problem or "")
        with pytest.raises(ModelLoadError, match="set it to fp8"):
            load(fp8_config(str(folder), precision=precision))
    problem = backend.describe(fp8_config(str(folder), weights="random")).problem
    assert "quantised already (fp8): leave precision: fp8 out" in (problem or "")


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        ({"quant_method": "gptq", "bits": 4}, r"quantised already \(gptq\): leave precision: fp8 out"),
        ({"quant_method": "fp8", "dequantize": True}, "brought back to bf16: remove dequantize there"),
    ],
)
def test_other_checkpoints_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    load: Load,
    board: Board,
    backend: PyTorchBackend,
    fp8_config: MakeConfig,
    folders: dict[str, str],
    variant_of: MakeFolder,
    kept: dict[str, Any],
    reason: str,
) -> None:
    folder = str(variant_of(Path(folders["plain"]), config={"quantization_config": kept}))
    problem = backend.describe(fp8_config(folder)).problem
    with pytest.raises(ModelLoadError, match=reason) as raised:
        load(fp8_config(folder))
    assert str(raised.value).partition(": ")[2] in (problem or "")


def test_a_checkpoint_whose_part_for_text_is_in_fp8_is_one(
    backend: PyTorchBackend, fp8_config: MakeConfig, folders: dict[str, str], variant_of: MakeFolder
) -> None:
    text = {"text_config": {"quantization_config": {"quant_method": "fp8"}}}
    folder = str(variant_of(Path(folders["plain"]), config=text))
    problem = backend.describe(fp8_config(folder, precision="bf16")).problem
    assert "its weights are fp8, and precision is bf16" in (problem or "")
    shape = AutoConfig.for_model("gemma3", text_config={"quantization_config": {"quant_method": "fp8"}})
    assert fp8.is_fp8(shape)
    assert not fp8.is_fp8(AutoConfig.for_model("gemma3"))


def test_a_model_without_a_whole_block_is_refused(
    load: Load, board: Board, backend: PyTorchBackend, small: MakeConfig
) -> None:
    reason = "precision: fp8 takes blocks of 128 × 128 weights, which no linear layer of it has"
    assert (backend.describe(small(precision="fp8")).problem or "").endswith(reason)
    with pytest.raises(ModelLoadError, match=reason):
        load(small(precision="fp8"))


def test_its_answers_are_those_of_the_model_but_for_rounding(
    load: Load, board: Board, fp8_config: MakeConfig
) -> None:
    exact, config = fp8_config(precision="bf16"), fp8_config()
    ids = torch.tensor([[1, 5, 6, 7, 8]])
    with torch.inference_mode():
        one, other = (load(each).model._open().model(ids).logits.float() for each in (exact, config))
    assert 0 < (one - other).std() / one.std() < 0.15
    watched = load(config)
    workload = watched.model.prepare(config)
    tally = workload.run_batch(0, lambda phase: None)
    (answer,) = watched.calls[0].answers
    assert tally.output_tokens == len(answer) == 8
    effective = watched.model.effective(config)
    assert effective["dtype"] == "bfloat16"
    assert effective["quantization"] == {
        **json.loads(json.dumps(FineGrainedFP8Config().to_dict())),
        "fp8_weights": LINEAR,
        "deepgemm": False,
    }


def test_products_are_of_fp8_and_weights_are_read_with_their_scales(
    load: Load, board: Board, fp8_config: MakeConfig
) -> None:
    model = load(fp8_config()).model
    assert model.operands == Operands("fp8", LINEAR + 4 * LINEAR // 128**2 + 2 * (384 * 256 + 5 * 256), 2.0)
    experts = load(fp8_config("mixture")).model.operands
    assert (experts.product_type, experts.weight_bytes) == ("fp8", None)
    assert "experts" in (experts.reason or "")
    # Of two types, there is no peak to hold products against.
    assert load(fp8_config("partly")).model.operands.product_type is None


def test_without_its_kernels_it_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, backend: PyTorchBackend, fp8_config: MakeConfig
) -> None:
    monkeypatch.setattr(extras, "is_kernels_available", lambda: False)
    absent = backend.describe(fp8_config()).absent
    assert absent is not None
    assert "precision: fp8 needs the package kernels" in absent
    assert f"pip install 'kernels>={KERNELS_MIN_VERSION},<{KERNELS_MAX_VERSION}'" in absent
    with pytest.raises(ModelLoadError, match="needs the package kernels"):
        backend.load(fp8_config(), ON_CPU)
    assert backend.describe(fp8_config(precision="bf16")).absent is None


@pytest.mark.parametrize(
    ("capabilities", "reason"),
    [
        ([(9, 0), (8, 9)], None),
        ([(12, 0)], None),
        ([(8, 0)], "board 0 has 8.0: transformers would compute in bf16"),
        ([(9, 0), (8, 6)], "board 1 has 8.6"),
        ([(7, 5)], "compute capability 8.9 or more"),
        ([], "needs GPUs"),
    ],
)
def test_a_worker_asks_its_boards_once_more(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, int]], reason: str | None
) -> None:
    kernels: list[str] = []
    monkeypatch.setattr(fp8, "_load_kernels", lambda: kernels.append("loaded"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", capabilities.__getitem__)
    monkeypatch.setattr(torch.cuda, "get_device_name", "board {}".format)
    placement = Placement(torch.device("cuda", 0), len(capabilities), False)
    if reason is None:
        require_fp8_boards(placement)
        assert kernels == ["loaded"]
        return
    with pytest.raises(ModelLoadError, match=reason):
        require_fp8_boards(placement)
    assert kernels == []


def test_kernels_that_cant_be_had_fail_the_load(
    monkeypatch: pytest.MonkeyPatch, backend: PyTorchBackend, fp8_config: MakeConfig
) -> None:
    """transformers itself would say so in the first product."""
    monkeypatch.setattr(extras, "is_kernels_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda board: (9, 0))
    placement = Placement(torch.device("cuda", 0), 1, False)
    with pytest.raises(ModelLoadError, match=r"loading .*: .*kernel.*"):
        loading.load_parts(fp8_config(), placement)


def test_what_transformers_brings_back_to_bf16_is_never_measured(
    monkeypatch: pytest.MonkeyPatch, load: Load, board: Board, fp8_config: MakeConfig, variant_of: MakeFolder
) -> None:
    """As transformers does with a checkpoint in fp8 where it finds no board for it."""
    config = fp8_config()
    folder = variant_of(Path(config.model))
    load(config).model._open().model.save_pretrained(folder)

    def without_a_word(quantizer: FineGrainedFP8HfQuantizer, **_: Any) -> None:
        quantizer.quantization_config.dequantize = True

    monkeypatch.setattr(FineGrainedFP8HfQuantizer, "validate_environment", without_a_word)
    with pytest.raises(ModelLoadError, match="without any weight in fp8"):
        load(fp8_config(str(folder)))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"pytorch": {"load_in_4bit": True}}, "precision: fp8 with pytorch.load_in_4bit"),
        ({"pytorch": {"load_in_8bit": True}}, "precision: fp8 with pytorch.load_in_8bit"),
        ({"pytorch": {"torch_compile": True}}, "compiling products in fp8 isn't built yet"),
        ({"pytorch": {"num_processes": 2, "parallelism": "tensor"}}, "can't be divided over processes yet"),
        ({"lora": {"adapter_id": "a/b"}}, "adapters on weights in fp8 aren't built yet"),
    ],
)
def test_what_cant_be_meant_is_refused(small: MakeConfig, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        small(precision="fp8", **fields)
    small(precision="bf16", **fields)

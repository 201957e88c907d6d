from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch._dynamo import register_backend
from torch._dynamo.backends.registry import _BACKENDS

from llem_sweep import run_experiment
from llem_sweep.backends.protocol import Compiled, LoadedModel
from llem_sweep.backends.pytorch import PyTorchBackend
from llem_sweep.backends.pytorch.compilation import CompiledWorkload
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError, ModelLoadError
from llem_sweep.harness.verification import verify
from llem_sweep.phases import Phase
from llem_sweep.results.flatten import flat_row
from tiny_models import ON_CPU, Load, MakeConfig

EAGER = {"torch_compile": True, "torch_compile_backend": "eager"}
RAGGED = {"n": 5, "max_output_tokens": 6}


def graphs(model: LoadedModel) -> int:
    """How many were compiled for what was prepared last."""
    assert model.compiled is not None
    return model.compiled.graphs


@pytest.fixture
def passes() -> Iterator[list[int]]:
    """Rows of every pass through a graph that the backend ``counting`` has compiled."""
    seen: list[int] = []

    def compile_(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            ids = [each for each in arguments if isinstance(each, torch.Tensor) and each.dtype == torch.long]
            seen.append(max(each.shape[0] for each in ids if each.ndim == 2 and each.shape[1] == 1))
            return graph.forward(*arguments)

        return run

    register_backend(compile_, name="counting")
    yield seen
    _BACKENDS.pop("counting")


def test_generate_decodes_by_the_compiled_pass(load: Load, small: MakeConfig, passes: list[int]) -> None:
    options = {"batch_size": 2, "torch_compile": True, "torch_compile_backend": "counting"}
    config = small(**RAGGED, pytorch=options)
    workload = load(config).model.prepare(config)
    passes.clear()
    marked: list[tuple[Phase, int]] = []
    for index in range(workload.batches):
        workload.run_batch(index, lambda phase: marked.append((phase, len(passes))))
    # The first token of each answer comes from the pass over the prompts.
    assert passes == [2] * 5 + [2] * 5 + [1] * 5
    assert marked == [(phase, at) for at in (0, 5, 10) for phase in (Phase.PREFILL, Phase.DECODE)]


def test_answers_are_those_of_the_model_uncompiled(load: Load, small: MakeConfig) -> None:
    plain = small(**RAGGED, pytorch={"batch_size": 2})
    compiled = small(**RAGGED, pytorch=EAGER | {"batch_size": 2})
    watched = load(compiled)
    expected = [call.answers for call in watched.run(plain)]
    calls = watched.run(compiled)
    assert [call.answers for call in calls[-3:]] == expected
    effective = watched.model.effective(compiled)
    assert graphs(watched.model) == 2
    longest = max(call.input_ids.shape[1] for call in calls)
    assert effective["compile"]["max_cache_len"] == longest + RAGGED["max_output_tokens"] - 1
    assert {call.told.max_cache_len for call in calls} == {effective["compile"]["max_cache_len"]}
    assert watched.model.effective(plain)["compile"] is None
    watched.model.prepare(plain)
    assert watched.model.compiled is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"backend": "inductor", "mode": "reduce-overhead"}),
        ({"torch_compile_mode": "max-autotune"}, {"backend": "inductor", "mode": "max-autotune"}),
        ({"torch_compile_backend": "eager"}, {"backend": "eager", "mode": None}),
    ],
)
def test_mode_and_backend_reach_torch_compile(
    monkeypatch: pytest.MonkeyPatch,
    load: Load,
    small: MakeConfig,
    options: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    told: list[dict[str, Any]] = []
    original = torch.compile

    def recorded(forward: Any, **arguments: Any) -> Any:
        told.append(arguments)
        return original(forward, backend="eager", dynamic=False)

    monkeypatch.setattr(torch, "compile", recorded)
    config = small(n=1, max_output_tokens=2, pytorch={"torch_compile": True} | options)
    watched = load(config)
    watched.run(config)
    assert [{name: each[name] for name in ("backend", "mode", "dynamic")} for each in told] == [
        expected | {"dynamic": False}
    ]
    effective = watched.model.effective(config)["compile"]
    assert effective == told[0] | {"max_cache_len": effective["max_cache_len"]}
    assert graphs(watched.model) == 1


def test_compiling_anything_more_is_an_error(load: Load, small: MakeConfig) -> None:
    config = small(n=2, pytorch=EAGER | {"batch_size": 2})
    model = load(config).model
    workload = model.prepare(config)
    assert isinstance(workload, CompiledWorkload)
    inner: Any = workload._workload
    more = inner._batches[0]
    more = more._replace(input_ids=more.input_ids[:1], attention_mask=more.attention_mask[:1])
    inner._batches, inner._seeds = [*inner._batches, more], [1, 2]
    workload.run_batch(0, lambda phase: None)
    with pytest.raises(BackendError, match="fail_on_recompile"):
        workload.run_batch(1, lambda phase: None)
    assert graphs(model) == 1


def test_what_ran_before_changes_nothing(load: Load, small: MakeConfig) -> None:
    short = small(n=2, max_output_tokens=3, pytorch=EAGER | {"batch_size": 2})
    watched = load(short)
    watched.run(short)
    first, made = watched.model.effective(short)["compile"], graphs(watched.model)
    watched.run(small(n=1, max_output_tokens=9, pytorch=EAGER))
    watched.run(short)
    assert watched.model.effective(short)["compile"] == first
    assert graphs(watched.model) == made
    held = watched.model._open().model
    # The length of the last static cache, which transformers else never makes shorter again.
    assert vars(held)["_previous_max_cache_length"] == first["max_cache_len"]
    assert "_compiled_call" in vars(held)
    watched.model.prepare(small())
    assert "_compiled_call" not in vars(held)
    watched.run(short)
    watched.model.close()
    assert "_compiled_call" not in vars(held)


def test_a_model_of_which_nothing_is_compiled_is_an_error(load: Load, small: MakeConfig) -> None:
    config = small(max_output_tokens=1, pytorch=EAGER)
    with pytest.raises(BackendError, match="compiled nothing of LlamaForCausalLM"):
        load(config).model.prepare(config)


def test_the_result_tells_what_was_compiled_even_without_a_warm_up(small: MakeConfig) -> None:
    config = small(**RAGGED, warmup={"enabled": False}, pytorch=EAGER | {"batch_size": 2})
    result, sidecar = run_experiment(config)
    assert result.output_tokens == 5 * RAGGED["max_output_tokens"]
    told = result.effective_config.backend["compile"]
    assert isinstance(told, dict)
    assert told["backend"] == "eager"
    row = flat_row(result)
    assert row["extended_metrics.compilation.graphs"] == 2
    assert result.extended_metrics is not None
    assert result.extended_metrics.compilation is not None
    assert row["extended_metrics.compilation.seconds"] == result.extended_metrics.compilation.seconds > 0
    assert verify(result, sidecar).problems == ()


def test_the_time_of_compiling_is_all_that_goes_by_until_the_first_batch(
    monkeypatch: pytest.MonkeyPatch, load: Load, small: MakeConfig
) -> None:
    """On a clock that the compiler puts forward by a minute for each graph."""
    minutes = [0]

    def compile_(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        minutes[0] += 1
        return graph.forward

    register_backend(compile_, name="slow")
    config = small(
        **RAGGED, pytorch={"batch_size": 2, "torch_compile": True, "torch_compile_backend": "slow"}
    )
    model = load(config).model
    monkeypatch.setattr(model, "_now", lambda: 60.0 * minutes[0])
    try:
        workload = model.prepare(config)
        assert model.compiled == Compiled(graphs=2, seconds=120.0)
        minutes[0] += 1
        workload.run_batch(0, lambda phase: None)
        assert model.compiled == Compiled(graphs=2, seconds=120.0)
    finally:
        _BACKENDS.pop("slow")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"torch_compile_mode": "default"}, "act with torch_compile"),
        ({"torch_compile_backend": "eager"}, "act with torch_compile"),
        (EAGER | {"torch_compile_mode": "default"}, "one of inductor's"),
        (EAGER | {"use_cache": False}, "takes a static cache"),
        (EAGER | {"cache_implementation": "offloaded"}, "takes a static cache"),
        (EAGER | {"num_beams": 2}, "neither beams nor prompt lookup"),
        (EAGER | {"prompt_lookup_num_tokens": 2}, "neither beams nor prompt lookup"),
        (EAGER | {"assistant_model": "acme/a"}, "nor guesses"),
        (EAGER | {"batching": "continuous"}, "continuous isn't built"),
        (EAGER | {"load_in_8bit": True}, "doesn't compile what load_in_8bit quantises"),
        (EAGER | {"num_processes": 2, "parallelism": "tensor"}, "isn't built yet"),
        ({"torch_compile": True, "torch_compile_mode": "fast"}, "max-autotune"),
    ],
)
def test_what_transformers_wouldnt_compile_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ExperimentConfig.model_validate({"model": "m", "pytorch": options})


def test_a_compiler_that_isnt_there_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, small: MakeConfig
) -> None:
    backend = PyTorchBackend(SimulatedClock())
    unknown = small(pytorch=EAGER | {"torch_compile_backend": "tvm2"})
    assert "torch knows no tvm2 here; it has" in (backend.describe(unknown).problem or "")
    assert backend.describe(small(pytorch=EAGER)).problem is None
    inductor = small(pytorch={"torch_compile": True})
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "needs the C++ compiler" in (PyTorchBackend(SimulatedClock()).describe(inductor).absent or "")
    with pytest.raises(ModelLoadError, match=r"needs the C\+\+ compiler"):
        backend.load(inductor, ON_CPU)
    assert backend.describe(small(pytorch=EAGER | {"batch_size": 2})).absent is None

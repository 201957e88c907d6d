from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.plan.admission import admit
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.types import Admission, CacheLayers, ClusterShape, ModelFacts, NodeShape, Refusal

BOARD_MB = 1000.0
NODES = (NodeShape("big", 4, 8.0, "H100", BOARD_MB), NodeShape("small", 1, 8.0, "L4", BOARD_MB))
CLUSTER = ClusterShape(NODES)
UNKNOWN = ModelFacts()
WHOLE_BOARD = int(BOARD_MB * 1e6)


def admission(
    *points: dict[str, Any],
    cluster: ClusterShape = CLUSTER,
    facts: ModelFacts = UNKNOWN,
    allow_remote_code: bool = False,
    backends: Sequence[str] = ("pytorch", "synthetic"),
) -> Admission:
    sweep = SweepConfig.model_validate({"shared": {"model": "x"}, "include": [*points]})
    return admit(
        plan_sweep(sweep),
        cluster,
        lambda config: facts,
        allow_remote_code=allow_remote_code,
        backends=backends,
    )


def refusal(point: dict[str, Any], **given: Any) -> tuple[Refusal, str] | None:
    judged = admission(point, **given)
    assert len(judged.admitted) + len(judged.refused) == 1
    return (judged.refused[0].refusal, judged.refused[0].reason) if judged.refused else None


def test_plain_experiments_are_admitted_in_order() -> None:
    judged = admission({"n": 3}, {"gpus": 9}, {"n": 2})
    assert [experiment.config.n for experiment in judged.admitted] == [3, 2]
    assert [refused.experiment.config.gpus for refused in judged.refused] == [9]


def test_an_unknown_backend_is_refused_and_the_installed_ones_named() -> None:
    refused = refusal({"backend": "vllm"})
    assert refused == (Refusal.UNSUPPORTED, "no backend is called vllm; installed: pytorch, synthetic")


@pytest.mark.parametrize("options", [{"trust_remote_code": True}, {"use_safetensors": False}])
def test_remote_code_and_pickles_need_the_flag_as_well(options: dict[str, Any]) -> None:
    refused = refusal({"pytorch": options})
    assert refused is not None
    assert "--allow-remote-code" in refused[1]
    assert refusal({"pytorch": options}, allow_remote_code=True) is None


@pytest.mark.parametrize("fault", ["hang", "die"])
def test_faults_that_take_the_process_need_one_of_their_own(fault: str) -> None:
    point = {"backend": "synthetic", "synthetic": {"fail_at": fault}}
    inline = CLUSTER._replace(inline=True)
    refused = refusal(point, cluster=inline)
    assert refused is not None
    assert "--inline" in refused[1]
    assert refusal(point) is None
    assert refusal({"backend": "synthetic", "synthetic": {"fail_at": "oom"}}, cluster=inline) is None


@pytest.mark.parametrize("cache", ["offloaded", "offloaded_static"])
def test_an_offloaded_cache_needs_a_gpu_to_be_moved_off(cache: str) -> None:
    options = {"cache_implementation": cache}
    assert refusal({"pytorch": options}) is None
    for elsewhere in ({"gpus": 0, "pytorch": options}, {"pytorch": options | {"device": "cpu"}}):
        refused = refusal(elsewhere)
        assert refused is not None
        assert f"pytorch.cache_implementation: {cache} moves the cache off a GPU" in refused[1]
    assert refusal({"pytorch": options}, cluster=CLUSTER._replace(simulated=True)) is not None
    assert refusal({"gpus": 0, "pytorch": {"cache_implementation": "static"}}) is None


FP8: dict[str, Any] = {"precision": "fp8"}


def test_fp8_needs_the_flag_for_code_from_the_hub_and_boards_that_compute() -> None:
    refused = refusal(FP8)
    assert refused is not None
    assert refused[0] is Refusal.UNSUPPORTED
    assert "precision: fp8 computes by code that transformers takes from the Hub" in refused[1]
    assert "--allow-remote-code" in refused[1]
    assert refusal(FP8, allow_remote_code=True) is None
    for elsewhere in ({"gpus": 0}, {"pytorch": {"device": "cpu"}}):
        refused = refusal(FP8 | elsewhere, allow_remote_code=True)
        assert refused == (
            Refusal.UNSUPPORTED,
            "precision: fp8 is for GPUs, and this computes on the CPU",
        )
    simulated = CLUSTER._replace(simulated=True)
    assert refusal(FP8, allow_remote_code=True, cluster=simulated) is not None
    assert refusal(FP8 | {"backend": "synthetic"}, cluster=simulated) is None


@pytest.mark.parametrize(
    ("shape", "older"),
    [
        ({"generations": frozenset({"ampere"})}, True),
        ({"generations": frozenset({"ga100"})}, True),
        ({"generations": frozenset({"turing", "hopper"})}, True),
        ({"generations": frozenset({"ada"}), "accelerator": "A100"}, False),
        ({"generations": frozenset({"hopper", "blackwell"})}, False),
        ({"accelerator": "A100-80G"}, True),
        ({"accelerator": "A10G"}, True),
        ({"accelerator": "T4"}, True),
        ({"accelerator": "L4"}, False),
        ({"accelerator": "H100"}, False),
        ({}, False),
    ],
)
def test_fp8_isnt_given_to_boards_that_are_known_to_lack_it(shape: dict[str, Any], older: bool) -> None:
    node = NodeShape("new", 2, 8.0, "NVIDIA board", **shape)
    reason = (
        "precision: fp8 needs boards of compute capability 8.9 or more (Ada, Hopper and later), but new has 2"
        f" of {node.accelerator or node.board}: set accelerator to a kind of board that has it"
    )
    expected = (Refusal.UNSUPPORTED, reason) if older else None
    beside = ClusterShape((*NODES, node))
    assert refusal(FP8, allow_remote_code=True, cluster=beside) == expected
    startable = CLUSTER._replace(startable=(node,))
    assert refusal(FP8, allow_remote_code=True, cluster=startable) == expected
    assert refusal(FP8 | {"accelerator": "L4"}, allow_remote_code=True, cluster=ClusterShape(NODES)) is None
    # Boards that it can't come onto don't matter, and neither do those for other precisions.
    assert refusal(FP8 | {"gpus": 4}, allow_remote_code=True, cluster=beside) is None
    assert refusal({}, cluster=beside) is None


def test_a_cache_that_cant_be_quantised_is_refused_where_that_is_known() -> None:
    facts = ModelFacts(fixed_cache="its cache has layers of SlidingWindows")
    for options, asked in (
        ({"cache_dtype": "fp8"}, "cache_dtype: fp8"),
        ({"cache_implementation": "quantized"}, "cache_implementation: quantized"),
    ):
        reason = f"pytorch.{asked}: x: its cache has layers of SlidingWindows"
        assert refusal({"pytorch": options}, facts=facts) == (Refusal.UNSUPPORTED, reason)
        assert refusal({"pytorch": options}, facts=ModelFacts()) is None
        assert refusal({"backend": "synthetic", "pytorch": options}, facts=facts) is None
    assert refusal({"pytorch": {"cache_implementation": "static"}}, facts=facts) is None


def test_processes_are_counted_against_the_boards_of_one_node() -> None:
    assert refusal({"pytorch": {"num_processes": 4}}) is None
    assert refusal({"pytorch": {"num_processes": 5}}) == (
        Refusal.NO_SUCH_GPU,
        "gpus: 1 × pytorch.num_processes: 5 takes 5 GPUs on one node, but big has 4 of H100; small has 1 of L4",
    )
    assert refusal({"gpus": 0, "pytorch": {"num_processes": 5}}) is None
    assert refusal({"backend": "synthetic", "pytorch": {"num_processes": 5}}) is None


def test_processes_need_processes_of_their_own() -> None:
    refused = refusal(
        {"backend": "synthetic", "synthetic": {"num_processes": 2}}, cluster=CLUSTER._replace(inline=True)
    )
    assert refused is not None
    assert "synthetic.num_processes: 2" in refused[1]
    assert "--inline" in refused[1]


def test_a_model_without_a_plan_to_divide_it_is_refused_where_that_is_known() -> None:
    tensor = {"pytorch": {"num_processes": 2, "parallelism": "tensor"}}
    refused = refusal(tensor, facts=ModelFacts(tensor_plan=False))
    assert refused is not None
    assert "no plan by which to divide it" in refused[1]
    assert refusal(tensor, facts=ModelFacts(tensor_plan=True, divided_heads=4)) is None
    refused = refusal(tensor, facts=ModelFacts(tensor_plan=True, divided_heads=3))
    assert refused is not None
    assert "can't share the 3 key-value heads" in refused[1]
    assert refusal(tensor, facts=UNKNOWN) is None
    assert refusal({"pytorch": {"num_processes": 2}}, facts=ModelFacts(tensor_plan=False)) is None


@pytest.mark.parametrize("has_one", [True, False, None])
def test_a_tokenizer_known_to_have_no_chat_template_is_refused_where_one_is_asked_for(
    has_one: bool | None,
) -> None:
    facts = ModelFacts(chat_template=has_one)
    chat = {"dataset": {"name": "builtin", "chat_template": True}}
    refused = refusal(chat, facts=facts)
    if has_one is False:
        assert refused is not None
        assert refused[0] is Refusal.UNSUPPORTED
        assert refused[1].startswith("dataset.chat_template: the tokenizer of x has no chat template")
    else:
        assert refused is None
    assert refusal({}, facts=facts) is None


def test_weights_fit_one_board_in_data_mode_and_all_boards_in_tensor_mode() -> None:
    facts = ModelFacts(weight_bytes=2 * WHOLE_BOARD)
    assert refusal({"pytorch": {"num_processes": 2, "parallelism": "tensor"}}, facts=facts) is None
    refused = refusal({"pytorch": {"num_processes": 2}}, facts=facts)
    assert refused is not None
    assert refused[0] is Refusal.TOO_LARGE
    assert "1 of the largest boards" in refused[1]


def test_one_process_serves_boards_of_one_width() -> None:
    plan = plan_sweep(
        SweepConfig(shared={"model": "acme/m", "backend": "synthetic"}, sweep={"gpus": (1, 2, 0)})
    )
    here = ClusterShape((NodeShape("here", 4, 8.0),), inline=True)
    admission = admit(
        plan, here, lambda config: ModelFacts(), allow_remote_code=False, backends=["synthetic"]
    )
    assert [planned.config.gpus for planned in admission.admitted] == [1]
    assert all("--inline" in refused.reason for refused in admission.refused)
    simulated = here._replace(simulated=True)
    admission = admit(
        plan, simulated, lambda config: ModelFacts(), allow_remote_code=False, backends=["synthetic"]
    )
    assert admission.refused == ()


def test_cuda_is_refused_where_there_is_none_to_use() -> None:
    point = {"pytorch": {"device": "cuda"}}
    assert refusal(point) is None
    simulated = refusal(point, cluster=CLUSTER._replace(simulated=True))
    assert simulated is not None
    assert "simulated" in simulated[1]
    without = refusal(point | {"gpus": 0})
    assert without is not None
    assert "gpus is 0" in without[1]


def test_more_gpus_than_a_node_has_are_refused_and_what_there_is_is_named() -> None:
    assert refusal({"gpus": 4}) is None
    assert refusal({"gpus": 5}) == (
        Refusal.NO_SUCH_GPU,
        "gpus: 5 on one node, but big has 4 of H100; small has 1 of L4",
    )
    assert refusal({"gpus": 0}, cluster=ClusterShape((NodeShape("head", 0, 2.0),))) is None
    assert refusal({}, cluster=ClusterShape((NodeShape("head", 0, 2.0),))) is not None


@pytest.mark.parametrize(
    ("point", "weight_bytes", "refused"),
    [
        ({}, WHOLE_BOARD, False),
        ({}, WHOLE_BOARD + 1, True),
        ({"gpus": 2}, 2 * WHOLE_BOARD, False),
        ({"gpus": 2}, 2 * WHOLE_BOARD + 1, True),
        ({"gpus": 0}, 9 * WHOLE_BOARD, False),
        ({"pytorch": {"device": "cpu"}}, 9 * WHOLE_BOARD, False),
        ({"backend": "synthetic"}, 9 * WHOLE_BOARD, False),
        ({}, None, False),
    ],
)
def test_weights_beyond_the_boards_memory_are_too_large(
    point: dict[str, Any], weight_bytes: int | None, refused: bool
) -> None:
    judged = refusal(point, facts=ModelFacts(weight_bytes=weight_bytes))
    assert (judged is not None) == refused
    if judged:
        assert judged[0] is Refusal.TOO_LARGE
        assert " MB" in judged[1]


def test_what_a_batch_needs_beside_the_weights_counts_and_is_told() -> None:
    token = WHOLE_BOARD // 1000
    facts = ModelFacts(weight_bytes=WHOLE_BOARD // 2, cache=(CacheLayers(token),))
    fits = {"dataset": {"n": 8, "input_len": 100, "output_len": 26}, "pytorch": {"batch_size": 4}}
    assert refusal(fits, facts=facts) is None
    refused = refusal(fits | {"dataset": {"n": 8, "input_len": 100, "output_len": 27}}, facts=facts)
    assert refused == (
        Refusal.TOO_LARGE,
        "it needs 1,004 MB at least (weights 500, cache 504), but 1 of the largest boards hold 1,000 MB",
    )
    # Requests whose length nobody knows may be short.
    assert refusal({"max_input_tokens": 100, "pytorch": {"batch_size": 4}}, facts=facts) is None
    # Two boards hold more, and so do processes that divide the model; those that share the requests hold it each.
    longer = {"dataset": {"n": 8, "input_len": 200, "output_len": 27}}
    for shared, admitted in (
        ({"gpus": 2, "pytorch": {"batch_size": 4}}, True),
        ({"pytorch": {"batch_size": 4, "num_processes": 2, "parallelism": "tensor"}}, True),
        ({"pytorch": {"batch_size": 4, "num_processes": 2}}, False),
    ):
        assert (refusal(longer | shared, facts=facts) is None) is admitted


def test_where_memory_is_unknown_or_the_hosts_nothing_is_too_large() -> None:
    facts = ModelFacts(weight_bytes=9 * WHOLE_BOARD)
    assert refusal({}, facts=facts, cluster=CLUSTER._replace(simulated=True)) is None
    unknown = ClusterShape((*NODES, NodeShape("new", 4, 8.0)))
    assert refusal({}, facts=facts, cluster=unknown) is None


def test_the_largest_fitting_board_counts() -> None:
    facts = ModelFacts(weight_bytes=2 * WHOLE_BOARD)
    larger = ClusterShape((*NODES, NodeShape("new", 1, 8.0, "H200", 3 * BOARD_MB)))
    assert refusal({}, facts=facts, cluster=larger) is None
    assert refusal({"gpus": 2}, facts=ModelFacts(weight_bytes=3 * WHOLE_BOARD), cluster=larger) is not None


def test_a_model_that_cannot_be_used_is_refused_with_the_backends_reason() -> None:
    assert refusal({}, facts=ModelFacts(problem="no config.json")) == (Refusal.UNSUPPORTED, "no config.json")


def test_a_model_that_a_node_cant_have_may_be_on_another() -> None:
    absent = ModelFacts(absent="no Hub", absent_on=frozenset({"big"}))
    assert refusal({}, facts=absent) is None
    nowhere = absent._replace(absent_on=frozenset({"big", "small", "elsewhere"}))
    assert refusal({}, facts=nowhere) == (Refusal.UNSUPPORTED, "no Hub")
    growing = CLUSTER._replace(startable=(NodeShape("kind", 8, 8.0),))
    assert refusal({}, facts=nowhere, cluster=growing) is None


def test_facts_are_asked_once_a_point_and_only_where_they_matter() -> None:
    asked: list[str] = []

    def facts(config: ExperimentConfig) -> ModelFacts:
        asked.append(config.model)
        return ModelFacts()

    sweep = SweepConfig.model_validate(
        {
            "shared": {},
            "include": [{"model": "a"}, {"model": "b", "gpus": 9}, {"model": "c", "backend": "none"}],
            "execution": {"n_cycles": 3, "cycle_order": "interleaved"},
        }
    )
    judged = admit(plan_sweep(sweep), CLUSTER, facts, allow_remote_code=False, backends=["pytorch"])
    assert asked == ["a"]
    assert (len(judged.admitted), len(judged.refused)) == (3, 6)


@pytest.mark.parametrize("kinds", ["H100", "h100", ["A100", "H100"], "L4"])
def test_a_kind_of_board_that_is_there_is_admitted(kinds: object) -> None:
    assert refusal({"accelerator": kinds}) is None


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"accelerator": "A100"}, ["accelerator: A100", "big has 4 of H100", "small has 1 of L4"]),
        ({"accelerator": ["A100", "H200"]}, ["accelerator: A100 or H200"]),
        ({"accelerator": "L4", "gpus": 2}, ["gpus: 2 on one node, accelerator: L4"]),
    ],
)
def test_a_kind_of_board_that_is_not_there_is_refused_with_what_there_is(
    point: dict[str, Any], words: list[str]
) -> None:
    found = refusal(point)
    assert found is not None
    assert found[0] is Refusal.NO_SUCH_GPU
    assert all(word in found[1] for word in words)


def test_what_an_autoscaler_can_add_counts_as_there() -> None:
    growing = CLUSTER._replace(startable=(NodeShape("p5", 8, 192.0, accelerator="H200"),))
    assert refusal({"accelerator": "H200", "gpus": 8}, cluster=growing) is None
    assert refusal({"accelerator": "H200", "gpus": 9}, cluster=growing) is not None


def test_memory_is_held_against_the_kind_of_board_asked_for() -> None:
    mixed = ClusterShape((NODES[0], NODES[1]._replace(board_memory_mb=2 * BOARD_MB)))
    facts = ModelFacts(weight_bytes=2 * WHOLE_BOARD)
    assert refusal({}, cluster=mixed, facts=facts) is None
    found = refusal({"accelerator": "H100"}, cluster=mixed, facts=facts)
    assert found is not None
    assert found[0] is Refusal.TOO_LARGE


def test_where_nodes_of_unknown_kinds_may_be_added_nothing_is_refused_for_what_it_needs() -> None:
    growing = CLUSTER._replace(grows=True)
    for need in ({"gpus": 64}, {"accelerator": "B200"}):
        assert refusal(need) is not None
        assert refusal(need, cluster=growing) is None
    assert refusal({"gpus": 64}, facts=ModelFacts(weight_bytes=10**15), cluster=growing) is None
    absent = ModelFacts(absent="no Hub", absent_on=frozenset({"big", "small", "elsewhere"}))
    assert refusal({}, facts=absent, cluster=growing) is None


def test_weights_that_exceed_the_memory_allowed_are_refused_before_a_board_is_held() -> None:
    half = {"gpus": 1, "pytorch": {"max_memory": {"0": "500MB"}}}
    facts = ModelFacts(weight_bytes=500_000_001)
    refused = refusal(half, facts=facts)
    assert refused == (
        Refusal.TOO_LARGE,
        "the weights take 500 MB, but pytorch.max_memory allows 500 MB",
    )
    assert refusal(half, facts=ModelFacts(weight_bytes=500_000_000)) is None
    assert refusal({"gpus": 1}, facts=facts) is None

from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.forecast import Forecast, forecast, seats
from llem_sweep.plan.need import Need, need_of
from llem_sweep.plan.priors import OFF_BY
from llem_sweep.plan.types import ClusterShape, ModelFacts, NodeShape, PlannedExperiment

H100 = "NVIDIA H100 80GB HBM3"
CLUSTER = ClusterShape((NodeShape("n1", 4, 16.0, H100), NodeShape("n2", 2, 16.0, H100)))
KNOWN = ModelFacts(8 * 10**9, 16 * 10**9)
BARE: dict[str, Any] = {"warmup": {"enabled": False}, "baseline": {"enabled": False}}


def planned(name: str, **fields: Any) -> PlannedExperiment:
    config = ExperimentConfig.model_validate({"model": "x"} | fields)
    return PlannedExperiment(name, name, config, 1, {})


def made(
    experiments: list[PlannedExperiment],
    cluster: ClusterShape = CLUSTER,
    expected: tuple[float, int] = (0.0, 1),
    facts: ModelFacts = KNOWN,
    **execution: Any,
) -> Forecast:
    estimates = Estimates(lambda config: f"{config.model} {config.gpus}", lambda config: facts)
    needs = {need_of(each.config): expected for each in experiments}
    found = forecast(experiments, cluster, ExecutionConfig(**execution), estimates, needs)
    assert found is not None
    return found


def test_nothing_to_run_has_no_forecast() -> None:
    estimates = Estimates(lambda config: config.model)
    assert forecast([], CLUSTER, ExecutionConfig(), estimates, {}) is None


def test_the_bound_is_that_of_the_expected_times_on_all_boards() -> None:
    told = {"backend": "synthetic", "energy": {"backend": "null"}, "warmup": {"enabled": False}}
    experiments = [
        planned(str(n), synthetic={"run_seconds": 60, "load_seconds": 30}, **told) for n in range(12)
    ]
    found = made(experiments)
    assert found.bound_s == pytest.approx((12 * 60 + 30) / 6, abs=0.1)
    assert found.makespan_s == (found.bound_s,) * 3, "all of it is told"


def test_the_range_takes_in_what_may_be_wrong_and_the_order_that_was_rehearsed() -> None:
    experiments = [planned(str(n), **BARE) for n in range(60)]
    bound_s = made(experiments).bound_s
    found = made(experiments, expected=(1.2 * bound_s, 8))
    assert found.makespan_s.expected == pytest.approx(1.2 * bound_s)
    assert found.makespan_s.low == pytest.approx(bound_s / OFF_BY, rel=0.05)
    assert found.makespan_s.high == pytest.approx(1.2 * OFF_BY * bound_s, rel=0.05)
    assert (found.bound_s, found.loads) == (bound_s, 8)


def test_widths_follow_each_other_and_cpu_workers_work_beside_them() -> None:
    one, two, cpu = (planned(f"g{gpus}", gpus=gpus, **BARE) for gpus in (1, 2, 0))
    alone_s = [made([each]).makespan_s.expected for each in (one, two, cpu)]
    assert made([one, two]).makespan_s.expected == pytest.approx(alone_s[0] + alone_s[1])
    assert alone_s[2] > alone_s[0]
    assert made([one, cpu]).makespan_s.expected == pytest.approx(alone_s[2])
    assert made([one, two, cpu], expected=(0.0, 2)).loads == 6


def test_energy_is_between_idling_and_the_design_power() -> None:
    experiments = [planned(str(n), gpus=2, **BARE) for n in range(10)]
    found = made(experiments)
    estimates = Estimates(lambda config: config.model, lambda config: KNOWN)
    board_s = 2 * (10 * estimates.duration_s(experiments[0]) + estimates.load_s(experiments[0]))
    assert found.energy_j is not None
    assert found.energy_j.expected == pytest.approx(board_s * 350)
    assert found.energy_j.low == pytest.approx(board_s * 70 / OFF_BY, rel=0.05)
    assert found.energy_j.high == pytest.approx(board_s * 700 * OFF_BY, rel=0.05)


@pytest.mark.parametrize(
    "cluster",
    [
        ClusterShape((NodeShape("n", 4, 8.0, H100),), simulated=True),
        ClusterShape((NodeShape("n", 4, 8.0, H100), NodeShape("m", 4, 8.0, "Something new"))),
        ClusterShape((NodeShape("n", 4, 8.0),)),
    ],
)
def test_energy_is_unknown_where_a_kind_of_board_is(cluster: ClusterShape) -> None:
    assert made([planned("x", **BARE)], cluster).energy_j is None


def test_cpu_workers_use_no_energy_that_is_known() -> None:
    assert made([planned("x", gpus=0, **BARE)]).energy_j is None
    beside = made([planned("x", gpus=0, **BARE), planned("y", **BARE)])
    assert beside.energy_j == made([planned("y", **BARE)]).energy_j


def test_only_nodes_that_can_run_it_have_seats() -> None:
    mixed = ClusterShape((NodeShape("a", 4, 8.0, H100), NodeShape("b", 8, 8.0, "NVIDIA L4")))
    assert seats(Need(1, accelerators=("H100",)), mixed, ExecutionConfig()) == ["a"] * 4
    assert seats(Need(8), mixed, ExecutionConfig()) == ["b"]
    assert seats(Need(0), mixed, ExecutionConfig()) == ["a", "b"]


@pytest.mark.parametrize(
    ("need", "execution", "number"),
    [
        (Need(1), {}, 4),
        (Need(2), {}, 2),
        (Need(3), {}, 1),
        (Need(1, processes=2), {}, 2),
        (Need(1), {"exclusive": "node"}, 1),
        (Need(0), {}, 1),
        (Need(0), {"cpu_workers": 3}, 3),
    ],
)
def test_a_node_has_room_for_so_many_workers(need: Need, execution: dict[str, Any], number: int) -> None:
    cluster = ClusterShape(CLUSTER.nodes[:1])
    assert len(seats(need, cluster, ExecutionConfig(**execution))) == number
    alone = ClusterShape((CLUSTER.nodes[0]._replace(workers=1),), inline=True)
    assert len(seats(need, alone, ExecutionConfig(**execution))) == 1

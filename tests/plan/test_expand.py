from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llem_sweep.config.load import load_sweep
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import ConfigError
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.types import SweepPlan


def sweep(**parts: Any) -> SweepConfig:
    in_order = {"cycle_order": "sequential"}
    return SweepConfig.model_validate({"shared": {"model": "x"}, "execution": in_order} | parts)


def plan(**parts: Any) -> SweepPlan:
    return plan_sweep(sweep(**parts))


def varied(planned: SweepPlan) -> list[dict[str, Any]]:
    return [experiment.varied for experiment in planned.experiments]


def test_a_sweep_without_dimensions_is_one_point() -> None:
    planned = plan()
    assert [(e.config.model, e.cycle, e.varied) for e in planned.experiments] == [("x", 1, {})]


def test_the_product_goes_in_declared_order_with_the_last_key_fastest() -> None:
    assert varied(plan(sweep={"n": [1, 2], "decoder.top_k": [5, 6]})) == [
        {"n": 1, "decoder.top_k": 5},
        {"n": 1, "decoder.top_k": 6},
        {"n": 2, "decoder.top_k": 5},
        {"n": 2, "decoder.top_k": 6},
    ]


def test_dotted_keys_outside_the_backends_section_take_effect() -> None:
    planned = plan(sweep={"decoder.temperature": [0.5, 0.7], "warmup.n_warmup": [1]})
    assert [e.config.decoder.temperature for e in planned.experiments] == [0.5, 0.7]
    assert {e.config.warmup.n_warmup for e in planned.experiments} == {1}


def test_zip_is_one_dimension_after_those_of_sweep() -> None:
    planned = plan(sweep={"n": [1, 2]}, zip={"precision": ["fp16", "fp32"], "pytorch.batch_size": [4, 2]})
    assert varied(planned) == [
        {"n": n, "precision": precision, "pytorch.batch_size": size}
        for n in (1, 2)
        for precision, size in (("fp16", 4), ("fp32", 2))
    ]


def test_zip_alone_is_a_sweep() -> None:
    assert varied(plan(zip={"n": [1, 2], "gpus": [1, 2]})) == [{"n": 1, "gpus": 1}, {"n": 2, "gpus": 2}]


@pytest.mark.parametrize(
    "parts",
    [
        {"sweep": {"n": [1]}, "zip": {"n": [2]}},
        {"zip": {"n": [1, 2], "gpus": [1]}},
        {"sweep": {"n": []}},
    ],
)
def test_contradictory_dimensions_make_no_sweep(parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        sweep(**parts)


def test_explicit_points_come_after_the_product_and_merge_deep_over_the_shared_fields() -> None:
    planned = plan(
        shared={"model": "x", "decoder": {"top_k": 7, "top_p": 0.5}},
        sweep={"n": [1]},
        include=[{"n": 3}],
        experiments=[{"n": 2, "decoder": {"top_k": 8}}],
    )
    assert [(e.config.n, e.config.decoder.top_k) for e in planned.experiments] == [(1, 7), (2, 8), (3, 7)]
    assert {e.config.decoder.top_p for e in planned.experiments} == {0.5}


def test_with_explicit_points_only_the_shared_fields_alone_are_no_point() -> None:
    assert [e.config.n for e in plan(include=[{"n": 2}, {"n": 3}]).experiments] == [2, 3]


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        ({"precision": "fp16"}, [("fp32", 1), ("fp32", 2)]),
        ({"precision": "fp16", "pytorch": {"batch_size": 1}}, [("fp16", 2), ("fp32", 1), ("fp32", 2)]),
        ({"pytorch.batch_size": 1, "decoder": {"temperature": 1}}, [("fp16", 2), ("fp32", 2)]),
        ({"precision": ["fp16", "bf16"], "n": 100}, [("fp32", 1), ("fp32", 2)]),
        ({"decoder": {"temperature": 0.5}}, [("fp16", 1), ("fp16", 2), ("fp32", 1), ("fp32", 2)]),
    ],
)
def test_exclude_leaves_out_what_has_all_its_values_defaults_included(
    entry: dict[str, Any], left: list[tuple[str, int]]
) -> None:
    planned = plan(sweep={"precision": ["fp16", "fp32"], "pytorch.batch_size": [1, 2]}, exclude=[entry])
    assert [(e.config.precision, e.config.pytorch.batch_size) for e in planned.experiments] == left


def test_exclude_does_not_touch_explicit_points() -> None:
    planned = plan(sweep={"n": [1, 2]}, exclude=[{"n": 1}], include=[{"n": 1}])
    assert [e.config.n for e in planned.experiments] == [2, 1]


def test_exclude_matches_part_of_a_dataset() -> None:
    lengths = [{"input_len": 8}, {"input_len": 9}]
    planned = plan(sweep={"dataset": [*lengths, "builtin"]}, exclude=[{"dataset": {"input_len": 8}}])
    assert [e.config.max_input_tokens for e in planned.experiments] == [9, 512]


def test_excluded_points_need_not_be_valid() -> None:
    planned = plan(sweep={"precision": ["fp6", "fp16"]}, exclude=[{"precision": "fp6"}])
    assert not planned.skipped


def test_an_exclusion_that_matches_nothing_is_pointed_out() -> None:
    planned = plan(sweep={"n": [1, 2]}, exclude=[{"n": 1}, {"n": 5}])
    assert planned.warnings == ("entry 2 of exclude matches no point",)


def test_true_is_not_one() -> None:
    planned = plan(sweep={"pytorch.use_cache": [True, False]}, exclude=[{"pytorch.num_beams": 2}])
    assert len(planned.experiments) == 2
    assert varied(planned) == [{"pytorch.use_cache": True}, {"pytorch.use_cache": False}]


def test_excluding_everything_is_an_error() -> None:
    with pytest.raises(ConfigError, match="every point"):
        plan(sweep={"n": [1]}, exclude=[{"model": "x"}])


def test_equal_points_are_merged_and_counted() -> None:
    planned = plan(
        sweep={"decoder.temperature": [0.3, 0.30, 1]},
        include=[{"decoder": {"preset": "factual"}}, {"precision": "bf16"}],
    )
    assert [e.config.decoder.temperature for e in planned.experiments] == [0.3, 1.0]
    assert planned.merged == 3
    assert len({e.experiment_id for e in planned.experiments}) == 2


def test_an_invalid_point_is_skipped_with_its_reason() -> None:
    planned = plan(sweep={"n": [1, 2], "precision": ["fp16", "fp6", "fp32"]})
    assert len(planned.experiments) == 4
    assert [skipped.point for skipped in planned.skipped] == [{"n": n, "precision": "fp6"} for n in (1, 2)]
    assert {skipped.reason for skipped in planned.skipped} == {
        "precision: should be 'fp32', 'fp16', 'bf16' or 'fp8', not 'fp6'"
    }
    assert not planned.warnings


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (
            {
                "sweep": {"decoder.temperature": [0, 1]},
                "shared": {"model": "x", "decoder": {"do_sample": True}},
            },
            "decoder: do_sample: true needs a temperature above 0",
        ),
        (
            {"sweep": {"n": [4, 5]}, "shared": {"model": "x", "dataset": {"n": 4}}},
            "n is 5 but dataset.n is 4",
        ),
        ({"include": [{}, {"model": ""}]}, "model: "),
        ({"include": [{"model": "y"}, {"gpus": 2}], "shared": {}}, "model: is missing"),
        ({"sweep": {"decoder.top_k": [1, float("inf")]}}, "decoder.top_k: "),
    ],
)
def test_reasons_name_the_field(parts: dict[str, Any], reason: str) -> None:
    planned = plan(**parts)
    assert len(planned.experiments) == 1
    assert reason in planned.skipped[0].reason


def test_more_than_half_skipped_is_a_warning() -> None:
    assert not plan(sweep={"precision": ["fp16", "fp6"]}).warnings
    (warning,) = plan(sweep={"precision": ["fp16", "fp6", "fp4"]}).warnings
    assert "more than half of the points" in warning
    assert "2 of 3" in warning


def test_all_points_invalid_is_an_error_with_the_reasons() -> None:
    with pytest.raises(ConfigError) as caught:
        plan(sweep={"precision": ["fp6", "fp4"]})
    assert len(caught.value.problems) == 2
    assert "fp6" in str(caught.value)


def test_a_section_that_no_point_can_use_is_pointed_out() -> None:
    shared = {"model": "x", "backend": "synthetic"}
    planned = plan(shared=shared, sweep={"pytorch.batch_size": [1, 2]})
    assert (len(planned.experiments), planned.merged) == (1, 1)
    assert planned.warnings == ("pytorch has no effect: no point runs on the backend pytorch",)
    both = plan(shared={"model": "x"}, sweep={"backend": ["pytorch", "synthetic"], "pytorch.batch_size": [2]})
    assert not both.warnings


def test_the_files_warnings_come_along() -> None:
    assert plan(warnings=["version has no effect"]).warnings == ("version has no effect",)


def test_a_grid_beyond_the_limit_is_refused_before_it_is_expanded() -> None:
    values = list(range(1, 100_001))
    with pytest.raises(ConfigError, match="max_experiments"):
        plan(sweep={"n": values, "random_seed": values, "max_input_tokens": values})


def test_swept_local_models_have_identities_by_content() -> None:
    contents = {"/a/one": "1" * 16, "/a/two": "2" * 16, "/a/copy": "1" * 16}
    planned = plan(shared={}, sweep={"model": list(contents)}, contents=contents)
    assert [e.config.model for e in planned.experiments] == ["/a/one", "/a/two"]
    assert (planned.merged, planned.contents) == (1, contents)


def test_the_same_file_is_planned_the_same(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("model: x\nexecution: {cycle_order: shuffled, n_cycles: 3}\nsweep: {n: [1, 2, 3, 4]}\n")
    assert plan_sweep(load_sweep(file)) == plan_sweep(load_sweep(file))


def test_planning_touches_neither_files_nor_network(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = sweep(sweep={"model": ["/a/m", "org/m"]}, contents={"/a/m": "1" * 16})
    plan_sweep(prepared)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("planning must be pure")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("pathlib.Path.open", refuse)
    monkeypatch.setattr("os.stat", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    planned = plan_sweep(prepared)
    monkeypatch.undo()
    assert len(planned.experiments) == 2


def test_loading_and_planning_import_neither_torch_nor_ray(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("model: x\nsweep: {n: [1, 2]}\n")
    code = (
        "import sys, llem_sweep\n"
        "llem_sweep.plan_sweep(llem_sweep.load_sweep(sys.argv[1]))\n"
        "print(sorted({'torch', 'transformers', 'ray', 'pyarrow', 'pynvml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ten_thousand_points_are_planned_in_under_five_seconds() -> None:
    prepared = sweep(
        sweep={"random_seed": list(range(1000)), "precision": ["fp16", "bf16"], "n": [1, 2, 3, 4, 5]}
    )
    before = time.process_time()
    planned = plan_sweep(prepared)
    assert time.process_time() - before < 5
    assert len(planned.experiments) == 10_000

"""Every field of a sweep file, what it reaches, and the test that shows it.

    PYTHONPATH=src python tests/options_table.py > docs/options.md

Each field needs a row here, and its test must name it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig

TESTS = Path(__file__).parent


class Row(NamedTuple):
    """What a field does."""

    reaches: str
    """The call, or the step of the run, that the field's value arrives at; in Markdown."""
    test: str
    """``file::function`` below ``tests``."""


class Option(NamedTuple):
    """A field as the configuration has it."""

    name: str
    default: str


_LOADING = "backends/pytorch/test_loading.py::"
_GENERATION = "backends/pytorch/test_generation.py::test_an_option_reaches_generate"
_EXACT = "backends/pytorch/test_workload.py::test_a_synthetic_dataset_is_exact_in_and_out"
_WARM = "harness/test_warmup.py::"
_PART = (
    "harness/test_latency_of_a_part.py"
    "::test_only_the_batches_of_the_window_count_in_latencies_phases_and_records"
)
_DRIVER = "execution/test_driver.py::"
_FAULTS = "execution/test_driver_faults.py::"
_REMOTE = "plan/test_admission.py::test_remote_code_and_pickles_need_the_flag_as_well"


def _generate(*names: str) -> dict[str, Row]:
    """Fields that are arguments of generate() under their own names."""
    return {name: Row(f"`generate({name.rpartition('.')[2]}=…)`", _GENERATION) for name in names}


ROWS: dict[str, Row] = {
    "measurement.min_duration_seconds": Row(
        "`run_window()`: the workload is repeated as a whole until the window is so long", _PART
    ),
    "measurement.window": Row("`narrowed()`: which part of the run is the window", _PART),
    "measurement.start_seconds": Row("the first batch of a `windowed` window", _PART),
    "measurement.end_seconds": Row("the last batch of a `windowed` window", _PART),
    "model": Row(
        "`from_pretrained()` of configuration, weights and tokenizer",
        _LOADING + "test_pretrained_weights_are_those_of_the_folder",
    ),
    "backend": Row(
        "the backend of that name in the entry points `llem_sweep.backends`",
        "backends/test_registry.py::test_an_unknown_backend_is_refused_with_the_names_there_are",
    ),
    "weights": Row(
        "`AutoModelForCausalLM.from_config()` instead of `from_pretrained()`",
        _LOADING + "test_random_weights_need_no_weights_and_follow_the_seed",
    ),
    "gpus": Row(
        "boards of the worker: `device_map` over all of them",
        "backends/pytorch/test_placement.py::test_assigned_boards_are_taken",
    ),
    "accelerator": Row(
        "nodes that a worker may be placed on",
        "plan/test_admission.py::test_a_kind_of_board_that_is_not_there_is_refused_with_what_there_is",
    ),
    "n": Row(
        "number of requests", "backends/test_datasets.py::test_more_requests_than_prompts_go_round_again"
    ),
    "dataset": Row(
        "prompts of the requests",
        "backends/pytorch/test_mistakes_pytorch.py::test_what_is_computed_on_is_the_datasets_own_prompts",
    ),
    "dataset.n": Row("number of requests", _EXACT),
    "dataset.input_len": Row("length of `generate(input_ids=…)`", _EXACT),
    "dataset.output_len": Row("`generate(min_new_tokens=…, max_new_tokens=…)`", _EXACT),
    "dataset.seed": Row(
        "token ids of the prompts",
        "backends/pytorch/test_workload.py::test_a_synthetic_dataset_follows_its_own_seed",
    ),
    "dataset.path": Row(
        "file that the prompts are read from",
        "backends/test_datasets.py::test_a_mapping_says_the_same_as_the_name_or_path_in_it",
    ),
    "dataset.chat_template": Row(
        "`tokenizer.apply_chat_template(add_generation_prompt=True)`",
        "backends/pytorch/test_chat.py::test_prompts_go_through_the_template_with_the_opening_of_the_answer",
    ),
    "dataset.name": Row(
        "`datasets.load_dataset(name)`",
        "backends/test_datasets.py::test_a_hub_dataset_is_loaded_under_its_name",
    ),
    "dataset.split": Row(
        "`datasets.load_dataset(split=…)`",
        "backends/test_datasets.py::test_a_hub_dataset_has_a_split_and_a_column",
    ),
    "dataset.column": Row(
        "column that the prompts are taken from",
        "backends/test_datasets.py::test_a_hub_dataset_has_a_split_and_a_column",
    ),
    "dataset_order": Row(
        "order of the requests",
        "backends/test_datasets.py::test_grouped_sorts_by_source_and_keeps_the_order_within",
    ),
    "precision": Row(
        "`from_pretrained(dtype=…)`; fp8: `from_pretrained(quantization_config=FineGrainedFP8Config())`",
        "backends/pytorch/test_fp8.py::test_precision_reaches_from_pretrained",
    ),
    "random_seed": Row(
        "`torch.manual_seed()` before each batch, and before random weights are drawn",
        "backends/pytorch/test_workload.py::test_equal_seeds_give_equal_answers_whatever_ran_before",
    ),
    "max_input_tokens": Row(
        "`tokenizer(truncation=True, max_length=…)`",
        "backends/pytorch/test_workload.py::test_prompts_are_cut_to_max_input_tokens",
    ),
    "max_output_tokens": Row("`generate(max_new_tokens=…)`", _GENERATION),
    "decoder.preset": Row("the other fields of `decoder`", _GENERATION),
    **_generate(
        "decoder.temperature",
        "decoder.do_sample",
        "decoder.top_k",
        "decoder.top_p",
        "decoder.repetition_penalty",
        "decoder.min_p",
        "decoder.min_new_tokens",
    ),
    "warmup.enabled": Row(
        "batches before the window",
        "harness/test_measure.py::test_energy_off_starts_no_sampler_and_waits_for_nothing",
    ),
    "warmup.n_warmup": Row(
        "batches before the window", _WARM + "test_without_convergence_so_many_batches_are_run"
    ),
    "warmup.thermal_floor_seconds": Row(
        "time under load before the window",
        "harness/test_quality.py::test_settling_ends_at_its_limit_and_says_that_it_did_not_come_about",
    ),
    "warmup.settle_limit_seconds": Row(
        "time under load before the window",
        "harness/test_quality.py::test_settling_ends_at_its_limit_and_says_that_it_did_not_come_about",
    ),
    "warmup.convergence_detection": Row(
        "batches before the window", _WARM + "test_warm_up_goes_on_until_latencies_agree"
    ),
    "warmup.cv_threshold": Row(
        "batches before the window", _WARM + "test_warm_up_goes_on_until_latencies_agree"
    ),
    "warmup.window_size": Row(
        "batches before the window", _WARM + "test_the_latest_batches_alone_are_judged"
    ),
    "warmup.max_prompts": Row(
        "batches before the window", _WARM + "test_warm_up_ends_at_the_most_batches_though_nothing_converged"
    ),
    "warmup.min_prompts": Row(
        "batches before the window", _WARM + "test_the_fewest_batches_are_run_in_any_case"
    ),
    "baseline.enabled": Row(
        "idle power before the model is loaded and with it resident",
        "harness/test_measure.py::test_energy_off_starts_no_sampler_and_waits_for_nothing",
    ),
    "baseline.duration_seconds": Row(
        "time for which idle power is taken",
        "harness/test_measure.py::test_idle_power_is_taken_for_as_long_as_asked_before_the_window_and_after",
    ),
    "baseline.subtract": Row(
        "idle power in `energy_adjusted_j`",
        "harness/test_measure.py::test_either_idle_power_is_subtracted_over_the_same_window",
    ),
    "baseline.after_seconds": Row(
        "time for which idle power is taken after the window",
        "harness/test_measure.py::test_idle_power_is_taken_for_as_long_as_asked_before_the_window_and_after",
    ),
    "baseline.max_age_seconds": Row(
        "age at which idle power is taken again",
        "harness/test_measure.py::test_idle_power_is_taken_again_when_it_is_old",
    ),
    "energy.backend": Row(
        "whether a sampler reads the boards",
        "harness/test_measure.py::test_energy_off_starts_no_sampler_and_waits_for_nothing",
    ),
    "sampling.sidecar_hz": Row(
        "rows of `timeseries.parquet`",
        "harness/test_verification.py::test_thinned_samples_are_no_contradiction_but_prove_nothing",
    ),
    "save_outputs": Row(
        "`outputs.parquet` beside the result",
        "backends/pytorch/test_outputs.py::test_text_is_made_when_it_is_asked_for_and_only_where_it_is_wanted",
    ),
    "pytorch.num_processes": Row(
        "processes that measure together",
        "backends/pytorch/test_workload.py::test_processes_run_every_request_once_and_draw_different_numbers",
    ),
    "pytorch.parallelism": Row(
        "`from_pretrained(tp_plan=…)`",
        "integration/test_gangs.py::test_a_model_divided_over_processes_computes_on_all_of_them",
    ),
    "pytorch.device": Row(
        "device of model and inputs", _LOADING + "test_computing_beside_an_assigned_board_is_told"
    ),
    "pytorch.batch_size": Row(
        "rows of `generate(input_ids=…)`",
        "backends/pytorch/test_workload.py::test_requests_are_batched_in_order",
    ),
    "pytorch.batching": Row(
        "which requests are rows of one `generate(input_ids=…)`",
        "backends/pytorch/test_batching.py::test_sorted_batches_hold_prompts_of_like_length_the_longest_first",
    ),
    "pytorch.max_batch_tokens": Row(
        "`ContinuousBatchingConfig(max_batch_tokens=…)`",
        "backends/pytorch/test_continuous.py::test_the_result_says_how_full_the_passes_were",
    ),
    "pytorch.attn_implementation": Row(
        "`from_pretrained(attn_implementation=…)`", _LOADING + "test_attention_is_the_one_asked_for"
    ),
    **_generate(
        "pytorch.use_cache",
        "pytorch.cache_implementation",
        "pytorch.num_beams",
        "pytorch.early_stopping",
        "pytorch.length_penalty",
        "pytorch.no_repeat_ngram_size",
        "pytorch.prompt_lookup_num_tokens",
    ),
    "pytorch.cache_dtype": Row(
        '`generate(cache_implementation="quantized", cache_config=…)`',
        "backends/pytorch/test_cache_dtype.py::test_the_cache_is_in_fp8_and_takes_that_part_of_the_bytes",
    ),
    "pytorch.assistant_model": Row(
        "`generate(assistant_model=…)`",
        "backends/pytorch/test_assistant.py::test_a_perfect_assistant_gives_the_same_tokens_in_fewer_passes",
    ),
    "pytorch.revision": Row(
        "`from_pretrained(revision=…)` of configuration, weights and tokenizer",
        _LOADING + "test_revision_and_trust_reach_config_weights_and_tokenizer_alike",
    ),
    "pytorch.trust_remote_code": Row(
        "`from_pretrained(trust_remote_code=…)` of configuration, weights and tokenizer",
        _LOADING + "test_revision_and_trust_reach_config_weights_and_tokenizer_alike",
    ),
    "pytorch.use_safetensors": Row(
        "`from_pretrained(use_safetensors=…)`", _LOADING + "test_pickled_weights_need_the_files_word"
    ),
    "synthetic.num_processes": Row(
        "processes that measure together",
        "config/test_experiment_rules.py::test_several_processes_have_one_board_each_at_most",
    ),
    "synthetic.parallelism": Row(
        "what each process counts",
        "harness/test_gang.py::test_a_divided_model_counts_its_tokens_once_and_its_boards_all",
    ),
    "synthetic.fetch_seconds": Row(
        "length of a fetch", "backends/test_synthetic.py::test_fetching_takes_its_time_once"
    ),
    "synthetic.load_seconds": Row(
        "length of loading", "backends/test_synthetic.py::test_loading_takes_load_seconds"
    ),
    "synthetic.run_seconds": Row(
        "length of the batches",
        "backends/test_synthetic.py::test_a_run_takes_the_seconds_asked_for_a_tenth_of_each_batch_as_prefill",
    ),
    "synthetic.output_tokens": Row(
        "tokens counted", "backends/test_synthetic.py::test_output_tokens_default_to_the_longest_answer"
    ),
    "synthetic.fail_at": Row(
        "error raised", "backends/test_synthetic.py::test_a_failing_run_raises_its_kind"
    ),
    "synthetic.fail_times": Row(
        "attempts that fail", "backends/test_synthetic.py::test_failures_end_after_fail_times_attempts"
    ),
    "passthrough_kwargs": Row("`generate(…)`, by the names given", _GENERATION),
    "execution.n_cycles": Row(
        "repeats in the plan",
        "plan/test_cycles.py::test_interleaved_goes_through_all_points_in_each_cycle",
    ),
    "execution.cycle_order": Row(
        "order of the plan", "plan/test_cycles.py::test_sequential_repeats_a_point_before_the_next"
    ),
    "execution.shuffle_seed": Row(
        "order of the plan", "plan/test_cycles.py::test_a_seed_fixes_the_order_and_another_changes_it"
    ),
    "execution.experiment_gap_seconds": Row(
        "idle time of a worker", _DRIVER + "test_gaps_between_experiments_and_cycles_are_kept"
    ),
    "execution.cycle_gap_seconds": Row(
        "idle time of a worker", _DRIVER + "test_gaps_between_experiments_and_cycles_are_kept"
    ),
    "execution.experiment_timeout_seconds": Row(
        "limit of the driver",
        _DRIVER + "test_a_hung_experiment_fails_at_its_limit_and_the_worker_is_replaced",
    ),
    "execution.stall_timeout_seconds": Row(
        "limit of the driver",
        _FAULTS + "test_a_worker_that_is_alive_without_progress_is_replaced",
    ),
    "execution.load_timeout_seconds": Row(
        "limit of the driver", "execution/test_limits.py::test_loading_has_a_limit_of_its_own"
    ),
    "execution.max_retries": Row(
        "attempts", _DRIVER + "test_a_lost_workers_experiment_is_given_up_after_max_retries"
    ),
    "execution.max_preemptions": Row("attempts", _FAULTS + "test_a_node_that_goes_has_a_budget_of_its_own"),
    "execution.fail_fast_after": Row("end of the sweep", _FAULTS + "test_stopping_early_can_be_switched_off"),
    "execution.prune_out_of_memory": Row(
        "points left out", _FAULTS + "test_nothing_is_pruned_if_told_not_to"
    ),
    "execution.node_wait_seconds": Row(
        "time before experiments fail for want of a node",
        _FAULTS + "test_a_kind_of_board_that_leaves_for_good_fails_its_own_experiments_alone",
    ),
    "execution.exclusive": Row(
        "workers of a node at once", _DRIVER + "test_a_node_to_itself_means_one_experiment_at_a_time_on_each"
    ),
    "execution.on_contamination": Row(
        "attempts", _DRIVER + "test_a_spoiled_experiment_is_run_again_if_asked"
    ),
    "execution.max_experiments": Row(
        "size of a grid that is expanded",
        "plan/test_expand.py::test_a_grid_beyond_the_limit_is_refused_before_it_is_expanded",
    ),
    "execution.cpu_workers": Row(
        "workers of a node at once", "execution/test_fleet.py::test_a_nodes_boards_and_cpus_are_shared_out"
    ),
    "execution.grace_seconds": Row(
        "time for what runs after an interrupt", _DRIVER + "test_what_outlasts_the_grace_is_left_unsettled"
    ),
    **{
        f"pytorch.{name}": Row(
            f"`from_pretrained(quantization_config=BitsAndBytesConfig({name}=…))`",
            "backends/pytorch/test_quantisation.py::test_every_option_reaches_from_pretrained",
        )
        for name in (
            "load_in_4bit",
            "load_in_8bit",
            "bnb_4bit_compute_dtype",
            "bnb_4bit_quant_type",
            "bnb_4bit_use_double_quant",
        )
    },
    **{
        f"pytorch.{name}": Row(
            f"`from_pretrained({name}=…)`",
            "backends/pytorch/test_device_map.py::test_both_reach_from_pretrained",
        )
        for name in ("device_map", "max_memory")
    },
    "pytorch.torch_compile": Row(
        '`generate(compile_config=…, cache_implementation="static")`, whose decoding then calls the compiled pass',
        "backends/pytorch/test_compilation.py::test_generate_decodes_by_the_compiled_pass",
    ),
    "pytorch.torch_compile_mode": Row(
        "`torch.compile(mode=…)`",
        "backends/pytorch/test_compilation.py::test_mode_and_backend_reach_torch_compile",
    ),
    "pytorch.torch_compile_backend": Row(
        "`torch.compile(backend=…)`",
        "backends/pytorch/test_compilation.py::test_mode_and_backend_reach_torch_compile",
    ),
    "lora": Row(
        "the adapter below", "backends/pytorch/test_adapters.py::test_a_local_adapter_is_put_on_the_model"
    ),
    "lora.adapter_id": Row(
        "files from the Hub, then `PeftModelForCausalLM.load_adapter()`",
        "backends/pytorch/test_adapters.py::test_an_adapter_on_the_hub_is_fetched_like_a_model",
    ),
    "lora.adapter_path": Row(
        "`PeftModelForCausalLM.load_adapter()`",
        "backends/pytorch/test_adapters.py::test_a_local_adapter_is_put_on_the_model",
    ),
    "lora.revision": Row(
        "`hf_hub_download(revision=…)` of the adapter's files",
        "backends/pytorch/test_adapters.py"
        "::test_the_adapter_comes_from_the_revision_asked_for_whatever_that_of_the_model",
    ),
    "lora.merge_weights": Row(
        "`merge_and_unload()`", "backends/pytorch/test_adapters.py::test_a_local_adapter_is_put_on_the_model"
    ),
}


def options() -> Iterator[Option]:
    """Every field that holds a value of its own, in the order of the configuration."""
    yield from _options(ExperimentConfig)
    yield from _options(ExecutionConfig, "execution.")


def _options(model: type[BaseModel], prefix: str = "") -> Iterator[Option]:
    for name, field in model.model_fields.items():
        if not isinstance(field.default, BaseModel):
            yield Option(prefix + name, _default(field))
        for section in _models(field.annotation):
            yield from _options(section, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def source_of(test: str) -> str | None:
    """The text of ``file::function``, its decorators included; None where there is no such test."""
    file, _, function = test.partition("::")
    path = TESTS / file
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == function and function.startswith("test_"):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    return None


def tells(test: str, field: str) -> bool:
    """Whether the text of ``test`` holds the name of ``field``, without its section."""
    return re.search(rf"(?<![a-z]){field.rpartition('.')[2]}(?![a-z])", source_of(test) or "") is not None


def table() -> str:
    """docs/options.md."""
    lines = [
        "# Every field of a sweep file",
        "",
        "What each field reaches, and the test that shows it. Made by `tests/options_table.py` from the",
        "configuration; a field without a row, or a row whose test isn't there or doesn't name the field, fails",
        "`tests/config/test_options_table.py`. What the installed transformers doesn't know is refused before",
        "anything runs.",
        "",
        "| field | default | reaches | shown by |",
        "|---|---|---|---|",
    ]
    seen: set[str] = set()
    for option in options():
        if option.name in seen:
            continue
        seen.add(option.name)
        row = ROWS[option.name]
        lines.append(f"| `{option.name}` | {option.default} | {row.reaches} | `{row.test}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())

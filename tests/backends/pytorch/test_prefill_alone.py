"""Batches of a real model up to their first token: its own first pass, and nothing of the run depends on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llem_sweep.backends.protocol import BatchTally, Workload
from llem_sweep.backends.pytorch.model import TorchModel
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.simulated import SimulatedGpu
from llem_sweep.harness.assembly import Measured
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.verification import verify
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import OUTPUTS, REQUESTS
from tiny_models import Load, MakeConfig, MakeFolder

SAMPLED: dict[str, Any] = {"preset": "standard"}
PASS_S = {True: 0.4, False: 0.1}
"""What a pass takes over prompts, and for one token each."""


def alone(workload: Workload) -> list[BatchTally]:
    return [workload.run_prefill(index, lambda phase: None) for index in range(workload.batches)]


@pytest.mark.parametrize(
    "fields",
    [
        {"pytorch": {"batch_size": 2}},
        {"pytorch": {"batch_size": 2}, "decoder": SAMPLED},
        {"pytorch": {"batch_size": 3, "batching": "sorted"}, "decoder": SAMPLED},
        {"pytorch": {"batch_size": 2, "use_cache": False}},
        {"pytorch": {"batch_size": 2, "cache_implementation": "static"}},
        {"pytorch": {"batch_size": 2, "torch_compile": True, "torch_compile_backend": "eager"}},
        {"dataset": {"n": 4, "input_len": 9, "output_len": 6}, "n": 4},
    ],
    ids=str,
)
def test_a_run_cut_short_is_one_pass_and_the_first_token_of_the_whole(
    load: Load, small: MakeConfig, fields: dict[str, Any]
) -> None:
    config = small(**fields)
    watched = load(config)
    model = watched.model._open().model
    passes: list[object] = []
    hook = model.register_forward_hook(lambda *_: passes.append(None))
    workload = watched.model.prepare(config)
    watched.calls.clear()
    whole = [workload.run_batch(index, lambda phase: None) for index in range(workload.batches)]
    answers = [answer for call in watched.calls for answer in call.answers]
    caches = {call.told.max_cache_len for call in watched.calls}
    watched.calls.clear()
    passes.clear()
    cut = alone(workload)
    hook.remove()
    assert len(passes) == workload.batches
    assert [call.told.max_new_tokens for call in watched.calls] == [1] * workload.batches
    assert {call.told.max_cache_len for call in watched.calls} == caches
    assert [answer for call in watched.calls for answer in call.answers] == [[each[0]] for each in answers]
    assert [tally.output_tokens for tally in cut] == [tally.requests for tally in whole]
    assert [(one.input_tokens, one.padded_tokens) for one in cut] == [
        (one.input_tokens, one.padded_tokens) for one in whole
    ]
    # What is drawn of random numbers there changes no answer of a later run.
    watched.calls.clear()
    again = [workload.run_batch(index, lambda phase: None) for index in range(workload.batches)]
    assert [answer for call in watched.calls for answer in call.answers] == answers
    assert [tally.output_tokens for tally in again] == [tally.output_tokens for tally in whole]


def test_beams_go_through_prefill_as_in_the_run(load: Load, small: MakeConfig) -> None:
    config = small(pytorch={"batch_size": 2, "num_beams": 3})
    watched = load(config)
    rows: list[int] = []
    model = watched.model._open().model
    hook = model.register_forward_pre_hook(
        lambda _, __, given: rows.append(given["input_ids"].shape[0]), with_kwargs=True
    )
    workload = watched.model.prepare(config)
    workload.run_batch(0, lambda phase: None)
    first = rows[0]
    rows.clear()
    (tally, *_) = alone(workload)
    hook.remove()
    assert rows[0] == first == 6
    assert len(rows) == workload.batches
    assert (tally.requests, tally.output_tokens) == (2, 2)


def test_an_end_that_may_not_come_first_in_the_run_does_not_here(
    load: Load, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder
) -> None:
    (eos, *_) = load(small(n=1)).run(small(n=1))[0].answers[0]
    folder = str(variant_of(saved_folder, generation_config={"eos_token_id": eos}))
    config = small(n=1, model=folder, decoder={"temperature": 0.0, "min_new_tokens": 4})
    watched = load(config)
    whole = watched.run(config)[0].answers[0]
    workload = watched.model.prepare(config)
    watched.calls.clear()
    alone(workload)
    assert watched.calls[0].told.min_new_tokens == 1
    assert watched.calls[0].answers == [[whole[0]]]
    assert whole[0] != eos


def test_no_text_is_kept_of_it(load: Load, small: MakeConfig) -> None:
    config = small(n=2, save_outputs=True)
    workload = load(config).model.prepare(config)
    assert workload.run_batch(0, lambda phase: None).outputs is not None
    assert [tally.outputs for tally in alone(workload)] == [None, None]


class Done:
    """A measurement of a real model in simulated time, on a board that follows the phases of its passes."""

    def __init__(self, config: ExperimentConfig) -> None:
        clock = SimulatedClock()
        rig = Rig((SimulatedGpu(0, clock),), clock, node="here")
        loaded = rig.load(config, 1)
        assert isinstance(loaded, TorchModel)
        model = loaded._open().model
        model.register_forward_pre_hook(
            lambda _, __, given: clock.sleep(PASS_S[given["input_ids"].shape[1] > 1]), with_kwargs=True
        )
        generate: Callable[..., torch.Tensor] = model.generate  # type: ignore[assignment]
        self.answers: list[list[list[int]]] = []
        """Of every call of generate(), of every row."""

        def watched(**arguments: Any) -> torch.Tensor:
            sequences = generate(**arguments)
            self.answers.append(sequences[:, arguments["input_ids"].shape[1] :].tolist())
            return sequences

        model.generate = watched  # type: ignore[assignment]
        self.further: dict[str, bytes] = {}
        experiment = PlannedExperiment("0" * 16, "1" * 16, config, 1, {})
        self.measured: Measured = measure(experiment, rig, keep=self.further.__setitem__)
        rig.close()


def test_a_window_of_its_own_sees_one_token_of_each_request_and_leaves_the_runs_answers_alone(
    small: MakeConfig,
) -> None:
    fields: dict[str, Any] = {
        "gpus": 1,
        "n": 5,
        "pytorch": {"batch_size": 2},
        "decoder": SAMPLED,
        "dataset": {"n": 5, "input_len": 12, "output_len": 8},
        "save_outputs": True,
        "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0.0},
        "baseline": {"duration_seconds": 4.0},
    }
    without = Done(small(**fields))
    done = Done(small(**fields, measurement={"prefill_window": True}))
    # One batch of warm-up and the run.
    assert done.answers[:4] == without.answers
    assert {len(answer) for call in without.answers for answer in call} == {8}
    own = done.answers[4:]
    assert {len(answer) for call in own for answer in call} == {1}
    firsts = [[answer[:1] for answer in call] for call in without.answers[1:]]
    # What ran before the window ended anywhere among the batches; in it all of them come in turn.
    assert own[-3:] == firsts
    assert done.further[OUTPUTS] == without.further[OUTPUTS]
    phases = done.measured.result.phases
    assert phases is not None
    assert phases.prefill_window is not None
    window = phases.prefill_window
    # Three passes of 0.4 s, again and again for ten seconds or longer.
    assert window.repetitions == 9
    assert window.time_per_run_s == pytest.approx(3 * PASS_S[True])
    assert window.prefill.tokens == done.measured.result.input_tokens == 5 * 12
    assert window.energy_per_run_j == pytest.approx(1.2 * 620.0, abs=window.energy_per_run_uncertainty_j)
    assert window.agrees is True
    assert len(own) >= 3 * window.repetitions + 5
    verification = verify(done.measured.result, done.measured.timeseries_parquet, done.further[REQUESTS])
    assert verification.problems == ()

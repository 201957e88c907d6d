"""What every backend promises to the harness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llem_sweep.backends.protocol import Backend, LoadContext, LoadedModel
from llem_sweep.backends.registry import create_backend
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError
from llem_sweep.phases import Phase
from llem_sweep.plan.types import ModelFacts

TINY = str(Path(__file__).parents[2] / "sweeps" / "models" / "tiny-llama")
CONTEXT = LoadContext(gpus=1, simulated=True, attempt=1)

BACKENDS: dict[str, dict[str, Any]] = {
    "synthetic": {"model": "anything", "synthetic": {"run_seconds": 4.0}},
    "pytorch": {"model": TINY, "weights": "random", "pytorch": {"batch_size": 2}},
}
UNLOADABLE: dict[str, dict[str, Any]] = {
    "synthetic": {"model": "anything", "synthetic": {"fail_at": "load"}},
    "pytorch": {"model": "/no/such/folder"},
}


def make(name: str, **fields: Any) -> ExperimentConfig:
    known = {"backend": name, "n": 5, "max_input_tokens": 12, "max_output_tokens": 3, **BACKENDS[name]}
    return ExperimentConfig.model_validate(known | fields)


@pytest.fixture(params=sorted(BACKENDS), scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def backend(name: str) -> Backend:
    return create_backend(name, SimulatedClock())


@pytest.fixture(scope="module")
def model(name: str, backend: Backend) -> LoadedModel:
    return backend.load(make(name), CONTEXT)


def test_a_backend_says_what_it_is(name: str, backend: Backend) -> None:
    assert backend.version
    assert backend.synthetic is (name == "synthetic")


def test_equal_loads_have_equal_keys_whatever_the_workload(name: str, backend: Backend) -> None:
    other_work = make(name, n=9, max_output_tokens=4, decoder={"preset": "creative"})
    assert backend.load_key(make(name)) == backend.load_key(other_work)
    assert backend.load_key(make(name)) != backend.load_key(make(name, model="another"))


def test_a_model_is_described_without_loading_it(name: str, backend: Backend) -> None:
    assert isinstance(backend.describe(make(name)), ModelFacts)
    assert backend.describe(make(name)).problem is None


def test_what_has_no_key_to_fetch_by_is_there(name: str, backend: Backend) -> None:
    assert backend.fetch_key(make(name)) is None
    assert backend.fetch(make(name)).already_there
    far = make(name, model="acme/far", synthetic={"fetch_seconds": 2.0})
    assert backend.fetch_key(far) == backend.fetch_key(far.model_copy(update={"n": 9, "gpus": 2}))
    assert backend.fetch_key(far) is not None


def test_a_simulated_worker_computes_on_no_real_board(model: LoadedModel) -> None:
    assert model.device_uuids == ()
    assert model.off_board is False


def test_what_was_made_of_the_configuration_is_json(name: str, model: LoadedModel) -> None:
    effective = model.effective(make(name))
    assert json.loads(json.dumps(effective)) == effective


def test_batches_add_up_to_the_requests(name: str, model: LoadedModel) -> None:
    workload = model.prepare(make(name))
    tallies = [workload.run_batch(index, lambda phase: None) for index in range(workload.batches)]
    assert sum(tally.requests for tally in tallies) == 5
    assert all(0 < tally.input_tokens <= 12 * tally.requests for tally in tallies)
    assert all(0 < tally.output_tokens <= 3 * tally.requests for tally in tallies)
    assert all(tally.padded_tokens >= 0 for tally in tallies)


@pytest.mark.parametrize("longest", [1, 3])
def test_every_batch_marks_prefill_then_decode(name: str, model: LoadedModel, longest: int) -> None:
    workload = model.prepare(make(name, max_output_tokens=longest))
    for index in range(workload.batches):
        marks: list[Phase] = []
        workload.run_batch(index, marks.append)
        assert marks == [Phase.PREFILL, Phase.DECODE]


def test_a_batch_can_be_run_again(name: str, model: LoadedModel) -> None:
    workload = model.prepare(make(name, decoder={"preset": "standard"}))
    last = workload.batches - 1
    first = workload.run_batch(last, lambda phase: None)
    workload.run_batch(0, lambda phase: None)
    assert workload.run_batch(last, lambda phase: None)._replace(times=None) == first._replace(times=None)


def test_prefill_alone_is_one_token_of_each_request_and_changes_no_later_batch(
    name: str, model: LoadedModel
) -> None:
    workload = model.prepare(make(name, decoder={"preset": "standard"}))
    whole = [workload.run_batch(index, lambda phase: None) for index in range(workload.batches)]
    for index, batch in enumerate(whole):
        marks: list[Phase] = []
        alone = workload.run_prefill(index, marks.append)
        assert marks == [Phase.PREFILL, Phase.DECODE]
        assert (alone.requests, alone.input_tokens) == (batch.requests, batch.input_tokens)
        assert alone.output_tokens == alone.requests
        assert alone.times is not None
        assert [len(request.tokens_s) for request in alone.times().requests] == [1] * alone.requests
        again = workload.run_batch(index, lambda phase: None)
        assert again._replace(times=None) == batch._replace(times=None)


@pytest.mark.parametrize("longest", [1, 3])
def test_every_token_of_every_request_has_its_time(name: str, model: LoadedModel, longest: int) -> None:
    workload = model.prepare(make(name, max_output_tokens=longest))
    numbers = []
    for index in range(workload.batches):
        tally = workload.run_batch(index, lambda phase: None)
        assert tally.times is not None
        times = tally.times()
        numbers += [request.number for request in times.requests]
        assert len(times.requests) == tally.requests
        assert sum(request.input_tokens for request in times.requests) == tally.input_tokens
        assert sum(len(request.tokens_s) for request in times.requests) == tally.output_tokens
        for request in times.requests:
            assert list(request.tokens_s) == sorted(request.tokens_s)
            assert times.start_s <= request.start_s <= request.tokens_s[0]
    assert sorted(numbers) == list(range(5))


def test_a_model_that_cant_be_loaded_is_a_backend_error(name: str, backend: Backend) -> None:
    config = ExperimentConfig.model_validate({"backend": name, **UNLOADABLE[name]})
    with pytest.raises(BackendError):
        backend.load(config, CONTEXT)


def test_closing_twice_is_safe(name: str, backend: Backend) -> None:
    model = backend.load(make(name), CONTEXT)
    model.synchronize()
    model.close()
    model.close()

"""What a failure record says of an experiment."""

from __future__ import annotations

from typing import Any

import pytest

from factories import START
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.outcome import Failed, FailureKind, Stage


def make_failure(**fields: Any) -> FailureRecord:
    known: dict[str, Any] = {
        "experiment_id": "0123456789abcdef",
        "attempt": 1,
        "final": True,
        "stage": Stage.RUN,
        "kind": FailureKind.ERROR,
        "message": "it broke",
        "traceback": "Traceback …",
        "log_tail": "the end",
        "worker": "node7/gpu0",
        "time": START,
        "config": {"model": "m"},
    }
    return FailureRecord(**(known | fields))


def test_a_record_comes_back_equal_from_json() -> None:
    record = make_failure()
    assert FailureRecord.model_validate_json(record.model_dump_json()) == record


def test_a_record_gives_back_the_failure_as_told() -> None:
    failed = Failed(Stage.LOAD, FailureKind.OUT_OF_MEMORY, "too large", "Traceback", "tail")
    assert make_failure(**failed.kept()).as_failed() == failed


def test_bytes_of_a_log_that_are_no_utf8_dont_prevent_storing_it() -> None:
    tail = b"caf\xe9".decode(errors="surrogateescape")
    assert "caf?" in make_failure(log_tail=tail).model_dump_json()


@pytest.mark.parametrize(
    ("kind", "final", "settles", "counts"),
    [
        (FailureKind.ERROR, True, True, True),
        (FailureKind.WORKER_LOST, False, False, True),
        (FailureKind.INTERRUPTED, False, False, False),
        (FailureKind.INTERRUPTED, True, False, False),
    ],
)
def test_what_the_user_cut_off_neither_settles_nor_counts(
    kind: FailureKind, final: bool, settles: bool, counts: bool
) -> None:
    record = make_failure(kind=kind, final=final)
    assert (record.settles, record.counts) == (settles, counts)

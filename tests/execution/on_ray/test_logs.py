from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llem_sweep.execution.on_ray.logs import worker_log_tail


def test_a_log_on_this_node_is_read_here(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.err"
    log.write_text("x" * 20_000 + "\nlast words\n")
    tail = worker_log_tail((str(log),), "node", lambda node, name: ["asked for"])
    assert tail.startswith("==> worker-1.err <==\n")
    assert tail.endswith("last words")
    assert len(tail) < 9_000


def test_a_log_on_another_node_is_fetched_from_there() -> None:
    asked = []

    def fetch(node_id: str, name: str) -> Iterable[str]:
        asked.append((node_id, name))
        return ["first\n", "last words\n"]

    assert worker_log_tail(("/there/worker-1.out",), "n7", fetch) == "==> worker-1.out <==\nfirst\nlast words"
    assert asked == [("n7", "worker-1.out")]


def test_a_log_that_can_not_be_had_says_so() -> None:
    def fetch(node_id: str, name: str) -> Iterable[str]:
        raise ConnectionError("no dashboard")

    assert "no dashboard" in worker_log_tail(("/there/worker-1.out",), "n7", fetch)

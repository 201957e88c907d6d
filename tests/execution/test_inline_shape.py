"""This machine as admission sees it."""

from __future__ import annotations

import pytest

from factories import UUIDS, make_board
from llem_sweep.execution import inline


def test_the_boards_of_this_machine_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    boards = (
        make_board(generation="hopper"),
        make_board(UUIDS[1], 1, generation="ampere", memory_total_mb=9.0),
    )
    monkeypatch.setattr(inline, "list_boards", lambda: boards)
    monkeypatch.setattr(inline, "assigned_tokens", lambda environment: None)
    (node,) = inline.local_shape(None, inline=True).nodes
    assert (node.gpus, node.board, node.board_memory_mb) == (2, boards[0].name, 9.0)
    assert node.generations == {"hopper", "ampere"}
    monkeypatch.setattr(inline, "list_boards", lambda: ())
    (node,) = inline.local_shape(None, inline=True).nodes
    assert (node.gpus, node.board, node.generations) == (0, None, frozenset())

"""What Ray's dashboard calls the actors of a sweep."""

from __future__ import annotations

import pytest

from llem_sweep.execution.on_ray.names import boards_label, unique


@pytest.mark.parametrize(
    ("ids", "label"),
    [
        ([], ""),
        (["3"], "gpu3"),
        (["0", "1", "2", "3"], "gpu0-3"),
        (["2", "0"], "gpu2+gpu0"),
        (["GPU-12ab"], "GPU-12ab"),
    ],
)
def test_boards_are_named_in_one_word(ids: list[str], label: str) -> None:
    assert boards_label(ids) == label


def test_no_name_is_given_twice() -> None:
    names = {unique("grid/node7/worker0") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("grid/node7/worker0#") for name in names)

from __future__ import annotations

import pytest

from llem_sweep.device.assigned import assigned_tokens, confirm_identity, resolve_assigned
from llem_sweep.errors import IdentityError
from llem_sweep.results.environment import BoardInfo

BOARDS = tuple(
    BoardInfo(uuid=uuid, name="board", index=index)
    for index, uuid in enumerate(
        (
            "GPU-aaaa0000-0000-4000-8000-000000000000",
            "GPU-aaab0000-0000-4000-8000-000000000001",
            "GPU-bbbb0000-0000-4000-8000-000000000002",
        )
    )
)
UUIDS = tuple(board.uuid for board in BOARDS)


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("2,0", ("2", "0")),
        (" 1 , 2 ", ("1", "2")),
        ("", ()),
        ("NoDevFiles", ()),
        ("-1", ()),
        ("0,-1,1", ("0",)),
        ("GPU-aaaa", ("GPU-aaaa",)),
    ],
)
def test_tokens_are_those_that_cuda_would_see(value: str, tokens: tuple[str, ...]) -> None:
    assert assigned_tokens({"CUDA_VISIBLE_DEVICES": value}) == tokens


def test_an_unset_variable_is_told_from_an_empty_one() -> None:
    assert assigned_tokens({}) is None


def test_an_index_is_the_board_with_that_nvml_index_and_not_the_position_in_the_list() -> None:
    assert resolve_assigned(("2", "0"), BOARDS) == (UUIDS[2], UUIDS[0])
    assert resolve_assigned(("2",), BOARDS[2:]) == (UUIDS[2],)


def test_a_uuid_or_an_unambiguous_beginning_of_one_is_that_board() -> None:
    assert resolve_assigned((UUIDS[1],), BOARDS) == (UUIDS[1],)
    assert resolve_assigned(("GPU-b", "GPU-AAAB"), BOARDS) == (UUIDS[2], UUIDS[1])


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        (("3",), "'3' in CUDA_VISIBLE_DEVICES is no board here"),
        (("GPU-cccc",), "is no board here"),
        (("first",), "is no board here"),
        (("GPU-aaa",), "fits several boards"),
        (("0", UUIDS[0]), "twice"),
        (("MIG-aaaa0000",), "MIG"),
    ],
)
def test_whatever_is_not_one_board_is_an_error(tokens: tuple[str, ...], problem: str) -> None:
    with pytest.raises(IdentityError, match=problem):
        resolve_assigned(tokens, BOARDS)


def test_the_error_names_the_boards_there_are() -> None:
    with pytest.raises(IdentityError, match=UUIDS[1]):
        resolve_assigned(("7",), BOARDS)
    with pytest.raises(IdentityError, match="boards: none"):
        resolve_assigned(("0",), ())


def test_boards_computed_on_confirm_those_assigned_in_any_order_and_spelling() -> None:
    reported = (UUIDS[2].removeprefix("GPU-").upper(), UUIDS[0])
    assert confirm_identity((UUIDS[0], UUIDS[2]), reported) == "confirmed"


def test_a_backend_that_reports_no_board_leaves_the_assignment_unconfirmed() -> None:
    assert confirm_identity(UUIDS[:1], ()) == "assigned"
    assert confirm_identity((), ()) == "none"


@pytest.mark.parametrize(
    ("assigned", "computed_on", "problem"),
    [
        (UUIDS[:1], UUIDS[1:2], "isn't metered"),
        (UUIDS[:1], UUIDS[:2], "isn't metered"),
        ((), UUIDS[:1], "isn't metered"),
        (UUIDS[:2], UUIDS[:1], "idle although assigned"),
    ],
)
def test_other_boards_than_those_metered_are_refused(
    assigned: tuple[str, ...], computed_on: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(IdentityError, match=problem):
        confirm_identity(assigned, computed_on)

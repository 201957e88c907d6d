"""Which boards a worker was given, and the proof that it computes on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Literal

from llem_sweep.errors import IdentityError
from llem_sweep.results.environment import BoardInfo

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_NO_DEVICE = ("", "-1", "NoDevFiles")


def assigned_tokens(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The devices that ``CUDA_VISIBLE_DEVICES`` names, as written there; None when it isn't set.

    Unset hides no board, empty hides all. As in CUDA, whatever stands behind an empty entry or -1 is hidden.
    """
    value = environ.get(VISIBLE_DEVICES)
    if value is None:
        return None
    tokens = (token.strip() for token in value.split(","))
    return tuple(takewhile(lambda token: token not in _NO_DEVICE, tokens))


def resolve_assigned(tokens: Sequence[str], boards: Sequence[BoardInfo]) -> tuple[str, ...]:
    """Full UUIDs of the boards that ``tokens`` name, in their order.

    A token is an NVML index (PCI order; Ray's ids are these), a full UUID, or the beginning of one that fits a
    single board. Raises IdentityError, naming the boards there are, for anything else and for a board named twice.
    """
    uuids = tuple(_resolve(token, boards) for token in tokens)
    for uuid in uuids:
        if uuids.count(uuid) > 1:
            raise IdentityError(
                f"{VISIBLE_DEVICES}={','.join(tokens)} names board {uuid} twice; name each once"
            )
    return uuids


def refuse_slice(name: str) -> None:
    """Raises IdentityError when ``name`` is that of a MIG slice, in whichever spelling."""
    if name.strip().upper().startswith("MIG"):
        raise IdentityError(
            f"{name} is a MIG slice, whose energy NVML doesn't tell apart; name whole boards in {VISIBLE_DEVICES},"
            " by index or UUID (`nvidia-smi -L`)"
        )


def confirm_identity(
    assigned: Sequence[str], computed_on: Sequence[str]
) -> Literal["assigned", "confirmed", "none"]:
    """How sure it is that the boards metered (``assigned``) are those computed on.

    ``confirmed`` when the backend reports exactly the boards assigned, in any order; ``assigned`` when it reports
    none, which is what one without CUDA does; ``none`` when there is neither. Raises IdentityError when it
    computes on a board that isn't metered or on a slice, and also when it leaves a board idle: its idle power
    would be charged to the run, and a result of k boards would be one of fewer.
    """
    for uuid in computed_on:
        refuse_slice(uuid)
    metered = {_canonical(uuid) for uuid in assigned}
    used = {_canonical(uuid) for uuid in computed_on}
    if not used:
        return "assigned" if metered else "none"
    if used - metered:
        raise IdentityError(
            f"computes on {_named(used - metered)}, which isn't metered (assigned: {_named(metered)});"
            f" set CUDA_DEVICE_ORDER=PCI_BUS_ID and leave {VISIBLE_DEVICES} as Ray sets it"
        )
    if metered - used:
        raise IdentityError(
            f"leaves {_named(metered - used)} idle although assigned; lower `gpus`, or spread the model over all"
        )
    return "confirmed"


def _resolve(token: str, boards: Sequence[BoardInfo]) -> str:
    refuse_slice(token)
    if token.isdecimal():
        found = [board for board in boards if board.index == int(token)]
    elif token.upper().startswith("GPU-"):
        found = [board for board in boards if board.uuid.upper().startswith(token.upper())]
    else:
        found = []
    if len(found) == 1:
        return found[0].uuid
    there = ", ".join(f"{board.index} = {board.uuid}" for board in boards) or "none"
    problem = "fits several boards" if found else "is no board here"
    raise IdentityError(f"{token!r} in {VISIBLE_DEVICES} {problem}; boards: {there}")


def _canonical(uuid: str) -> str:
    return uuid.strip().lower().removeprefix("gpu-")


def _named(uuids: set[str]) -> str:
    return ", ".join(f"GPU-{uuid}" for uuid in sorted(uuids)) or "no board"

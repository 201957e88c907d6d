"""Load on one CUDA board that is switched through standard input, in a process of its own.

    python -m llem_sweep.backends.pytorch.burst           tells what torch sees, as JSON
    python -m llem_sweep.backends.pytorch.burst GPU-…     says "ready", then answers "on" and "off" when it is so

A process of its own, because samples are taken some milliseconds apart meanwhile: launching kernels beside that
would hold them up. The load is matrix products, the steadiest there is.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Sequence

import torch

from llem_sweep.backends.pytorch.placement import board_uuid

_SIDE = 4096
_PRODUCTS = 4
"""Launched before the next look at standard input; a few milliseconds at most."""


def serve(burn: Callable[[], None], commands: int, answers: int) -> None:
    """Answer the words read from the file ``commands`` until it ends, calling ``burn`` over and over while on."""
    on = False
    os.write(answers, b"ready\n")
    while True:
        if on:
            burn()
        if on and not select.select([commands], [], [], 0)[0]:
            continue
        word = os.read(commands, 16).strip()
        if not word:
            return
        on = word == b"on"
        if on:
            burn()
        os.write(answers, word + b"\n")


def products(device: torch.device) -> Callable[[], None]:
    """A call that multiplies matrices on ``device`` and waits for the result."""
    left, right, out = (torch.randn(_SIDE, _SIDE, device=device, dtype=torch.float16) for _ in range(3))

    def burn() -> None:
        for _ in range(_PRODUCTS):
            torch.mm(left, right, out=out)
        torch.cuda.synchronize(device)

    return burn


def seen() -> dict[str, object]:
    """What torch sees: its version, the CUDA it was built for, and the UUIDs of the boards."""
    there = torch.cuda.is_available()
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "uuids": [board_uuid(torch.device("cuda", n)) for n in range(torch.cuda.device_count())]
        if there
        else [],
    }


def main(arguments: Sequence[str]) -> int:
    """Tell what torch sees, or serve load on the board named."""
    if not arguments:
        print(json.dumps(seen()))
        return 0
    device = torch.device("cuda", 0)
    found = board_uuid(device)
    if found.lower() != arguments[0].lower():
        print(f"CUDA's first board is {found}, not {arguments[0]}", file=sys.stderr)
        return 1
    burn = products(device)
    burn()
    serve(burn, sys.stdin.fileno(), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

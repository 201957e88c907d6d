"""torch in a process of its own: what it sees, and load on a board. This process never imports it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import NamedTuple

from llem_sweep.device.assigned import VISIBLE_DEVICES
from llem_sweep.errors import BackendError

START_LIMIT_S = 180.0
"""Importing torch and starting CUDA takes seconds, on a cold disk a minute."""
_ANSWER_LIMIT_S = 10.0
_END_LIMIT_S = 1.0
"""A process that closed its end of the pipe is about to end."""
_LONGEST_ANSWER = 200
_MODULE = "llem_sweep.backends.pytorch.burst"


class TorchStatus(NamedTuple):
    """What torch sees."""

    version: str | None
    """None where it can't be imported."""
    cuda: str | None
    """The CUDA that it was built for; None for a build without."""
    uuids: tuple[str, ...]
    """Of the boards that it can compute on."""
    problem: str | None = None


def torch_status() -> TorchStatus:
    """Ask torch, in another process: a broken installation may take its process down."""
    command = [sys.executable, "-m", _MODULE]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=START_LIMIT_S,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TorchStatus(None, None, (), f"importing torch took more than {START_LIMIT_S:.0f} s")
    if answer.returncode:
        why = _last_line(answer.stderr) or _ended(answer.returncode)
        return TorchStatus(None, None, (), f"torch can't be used: {why}")
    told = _last_line(answer.stdout)
    try:
        seen = json.loads(told)
        return TorchStatus(seen["version"], seen["cuda"], tuple(seen["uuids"]))
    except (ValueError, KeyError, TypeError):
        return TorchStatus(None, None, (), f"torch can't be used: {told or 'no answer'}")


class TorchLoad:
    """Matrix products on one board, on and off; a context manager. Raises BackendError when torch can't do it."""

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, uuid],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=_environment() | {VISIBLE_DEVICES: uuid},
        )

    def on(self) -> None:
        self._tell(b"on")

    def off(self) -> None:
        self._tell(b"off")

    def __enter__(self) -> TorchLoad:
        try:
            self._expect(b"ready", START_LIMIT_S)
        except BackendError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        with self._said:
            self._process.kill()
            self._process.communicate()

    def _tell(self, word: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failure() from error
        self._expect(word, _ANSWER_LIMIT_S)

    def _expect(self, word: bytes, limit_s: float) -> None:
        assert self._process.stdout is not None
        answers = self._process.stdout.fileno()
        answer = os.read(answers, _LONGEST_ANSWER) if select.select([answers], [], [], limit_s)[0] else b""
        if answer.strip() != word:
            raise self._failure(answer)

    def _failure(self, answer: bytes = b"") -> BackendError:
        self._said.seek(0)
        said, answered = (_last_line(each.decode(errors="replace")) for each in (self._said.read(), answer))
        return BackendError(
            f"torch can't put load on board {self._uuid}: {said or answered or self._silence()}"
        )

    def _silence(self) -> str:
        try:
            return _ended(self._process.wait(_END_LIMIT_S))
        except subprocess.TimeoutExpired:
            return "no answer"


def _environment() -> dict[str, str]:
    return {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _ended(code: int) -> str:
    return (
        f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
    )


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")

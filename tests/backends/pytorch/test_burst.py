"""Load that is switched through a pipe, with a load that only counts."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Iterator

import pytest
import torch

from llem_sweep.backends.pytorch.burst import main, seen, serve

LIMIT_S = 10.0


class Served:
    """``serve`` in a thread, and our ends of its pipes."""

    def __init__(self) -> None:
        commands, self._say = os.pipe()
        self._hear, answers = os.pipe()
        self._theirs = (commands, answers)
        self.burnt = 0
        self.burning = threading.Event()
        self._thread = threading.Thread(target=serve, args=(self._burn, commands, answers), daemon=True)
        self._thread.start()
        assert self.hear() == b"ready\n"

    def _burn(self) -> None:
        self.burnt += 1
        self.burning.set()

    def ask(self, word: bytes) -> bytes:
        os.write(self._say, word + b"\n")
        return self.hear()

    def hear(self) -> bytes:
        assert select.select([self._hear], [], [], LIMIT_S)[0], "no answer"
        return os.read(self._hear, 64)

    def hang_up(self) -> None:
        """End the input; returns once serving has ended."""
        if self._say >= 0:
            os.close(self._say)
            self._say = -1
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.hang_up()
        for end in (self._hear, *self._theirs):
            os.close(end)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


def test_nothing_burns_until_it_is_asked_for(served: Served) -> None:
    served.hang_up()
    assert served.burnt == 0


def test_load_runs_by_the_time_that_on_is_answered_and_goes_on(served: Served) -> None:
    assert served.ask(b"on") == b"on\n"
    assert served.burnt >= 1
    for _ in range(3):
        served.burning.clear()
        assert served.burning.wait(LIMIT_S)


def test_nothing_runs_any_more_by_the_time_that_off_is_answered(served: Served) -> None:
    for _ in range(3):
        assert served.ask(b"on") == b"on\n"
        served.burning.clear()
        assert served.burning.wait(LIMIT_S)
        assert served.ask(b"off") == b"off\n"
        burnt = served.burnt
        served.burning.clear()
        # Another answer proves that it went round once more without burning.
        assert served.ask(b"off") == b"off\n"
        assert (served.burnt, served.burning.is_set()) == (burnt, False)


@pytest.mark.parametrize("word", [b"off", b"on"])
def test_the_end_of_its_input_ends_it_whether_or_not_it_burns(served: Served, word: bytes) -> None:
    served.ask(word)
    served.hang_up()


def test_a_word_that_it_does_not_know_is_answered_and_ends_the_load(served: Served) -> None:
    served.ask(b"on")
    assert served.ask(b"faster") == b"faster\n"
    burnt = served.burnt
    served.ask(b"off")
    assert served.burnt == burnt


def test_a_load_that_fails_is_not_answered_as_if_it_ran() -> None:
    commands, say = os.pipe()
    hear, answers = os.pipe()

    def burn() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    os.write(say, b"on\n")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        serve(burn, commands, answers)
    assert os.read(hear, 64) == b"ready\n"
    for end in (commands, say, hear, answers):
        os.close(end)


def test_without_a_board_named_it_tells_what_torch_sees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == seen()
    assert told["version"] == torch.__version__
    assert told["cuda"] == torch.version.cuda
    assert len(told["uuids"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)

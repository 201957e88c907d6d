"""torch in a process of its own: the one installed here, and ones that fail as installations do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llem_sweep.errors import BackendError
from llem_sweep.execution.torch_process import TorchLoad, torch_status

BOARD = "GPU-57a4d100-0000-4000-8000-000000000002"
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a module the torch of every process started from now on."""

    def as_torch(source: str) -> None:
        (tmp_path / "torch.py").write_text(f"import os, signal, sys\n{source}\n")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))

    return as_torch


def answering(*answers: str) -> str:
    """A torch whose process says what it is started for, then answers each word in turn."""
    return (
        f"answers = {answers!r}\n"
        "for number, answer in enumerate(answers):\n"
        "    word = sys.stdin.readline().strip() if number else ''\n"
        "    os.write(1, answer.format(word=word, argv=sys.argv, env=os.environ).encode() + b'\\n')\n"
        "os._exit(0)"
    )


def test_the_torch_installed_here_is_told_and_puts_no_load_on_a_board_that_is_not_there() -> None:
    # Both processes are under way at once: importing torch takes seconds.
    load = TorchLoad(BOARD)
    status = torch_status()
    assert (status.version, status.cuda, status.problem) == (torch.__version__, torch.version.cuda, None)
    assert bool(status.uuids) is torch.cuda.is_available()
    with pytest.raises(BackendError, match=f"can't put load on board {BOARD}: .*(CUDA|NVIDIA)"), load:
        raise AssertionError("there is no such board")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ImportError('libcudart.so.12: cannot open')", "ImportError: libcudart.so.12: cannot open"),
        ("print('aborting', file=sys.stderr); os._exit(1)", "aborting"),
        ("os._exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("os._exit(0)", "no answer"),
        ("os.write(1, b'Hello.'); os._exit(0)", "Hello."),
        ("os.write(1, b'[1, 2]'); os._exit(0)", "[1, 2]"),
        ('os.write(1, b\'{"version": "2.9"}\'); os._exit(0)', '{"version": "2.9"}'),
        ("os.write(1, b'\\xff\\xfe'); os._exit(0)", "\ufffd\ufffd"),
    ],
)
def test_a_torch_that_fails_is_a_problem_with_its_last_words(
    install: Install, source: str, said: str
) -> None:
    install(source)
    status = torch_status()
    assert (status.version, status.cuda, status.uuids) == (None, None, ())
    assert status.problem is not None
    assert "torch can't be used" in status.problem
    assert said in status.problem


def test_what_libraries_print_before_the_answer_is_left_out(install: Install) -> None:
    told = json.dumps({"version": "2.9", "cuda": "12.8", "uuids": ["GPU-1"]})
    install(f"os.write(1, b'Hello from a plug-in.\\n{told}\\n'); os._exit(0)")
    status = torch_status()
    assert status == ("2.9", "12.8", ("GPU-1",), None)


def test_load_is_switched_by_words_and_the_process_ends_with_the_context(install: Install) -> None:
    install(answering("ready", "{word}", "{word}", "{word}"))
    with TorchLoad(BOARD) as load:
        load.on()
        load.off()
        load.on()
    assert load._process.returncode is not None


def test_it_is_asked_for_the_board_by_its_uuid_and_sees_no_other(install: Install) -> None:
    install(answering("ready", "{argv[1]}|{env[CUDA_VISIBLE_DEVICES]}|{env[CUDA_DEVICE_ORDER]}"))
    with TorchLoad(BOARD) as load, pytest.raises(BackendError) as caught:
        load.on()
    # What it answered comes back in the error, since it isn't "on".
    assert f"{BOARD}|{BOARD}|PCI_BUS_ID" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('CUDA out of memory')", "RuntimeError: CUDA out of memory"),
        ("os._exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        (answering("Hello."), "Hello."),
    ],
)
def test_a_process_that_never_gets_ready_is_a_failure_that_says_why(
    install: Install, source: str, said: str
) -> None:
    install(source)
    load = TorchLoad(BOARD)
    with pytest.raises(BackendError, match="can't put load") as caught, load:
        raise AssertionError("it isn't ready")
    assert said in str(caught.value)
    assert BOARD in str(caught.value)
    assert load._process.returncode is not None


@pytest.mark.parametrize("answers", [("ready",), ("ready", "{word}"), ("ready", "what?"), ("ready", "off")])
def test_a_process_that_dies_or_answers_nonsense_under_load_is_a_failure(
    install: Install, answers: tuple[str, ...]
) -> None:
    install(answering(*answers))
    with TorchLoad(BOARD) as load, pytest.raises(BackendError, match=r"exit code 0|what|off"):
        switch(load, times=3)
    assert load._process.returncode is not None


def switch(load: TorchLoad, times: int) -> None:
    for _ in range(times):
        load.on()

"""The live view as a terminal shows it (pyte interprets what is written)."""

from __future__ import annotations

import io
from typing import Any

import pyte
import pytest
from rich.console import Console

from llem_sweep.cli.live import LiveView, frame
from llem_sweep.execution.progress import FailureNote, Progress, WorkerState
from llem_sweep.phases import Phase

NOTE = FailureNote("precision=fp32 batch_size=8", "load", "CUDA out of memory")


def worker(number: int, **fields: Any) -> WorkerState:
    return WorkerState(
        f"node{number // 8}/gpu{number % 8}",
        "NVIDIA H100 80GB HBM3",
        model="meta-llama/Llama-3.1-8B-Instruct",
        experiment="precision=bf16 batch_size=16",
        phase=Phase.DECODE,
        active_s=65.0,
        power_w=412.3,
        temperature_c=61.0,
    )._replace(**fields)


def progress(workers: int = 2, **fields: Any) -> Progress:
    return Progress(
        total=24,
        done=8,
        failed=2,
        running=workers,
        elapsed_s=483.0,
        remaining_s=520.0,
        workers=tuple(worker(number) for number in range(workers)),
        recent_failures=(NOTE, NOTE),
        energy_j=9876.5,
    )._replace(**fields)


def drawn(progress: Progress, width: int, height: int = 30) -> list[str]:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, height=height, color_system=None, markup=False, highlight=False
    )
    console.print(frame(progress, width, height))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 140])
def test_what_matters_is_there_at_any_width(width: int) -> None:
    text = "\n".join(drawn(progress(), width))
    for expected in (
        "8 of 24 done, 2 failed, 2 running",
        "8 min 03 s so far, about 8 min 40 s left, 9.88 kJ",
        "node0/gpu0",
        "H100 80GB HBM3",
        "decode",
        "412 W",
        "61 °C",
        "failed precision=fp32 batch_size=8 (load)",
    ):
        assert expected in text, expected


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = progress(
        workers=3, recent_failures=(NOTE._replace(message="x" * 500),), remaining_s=1e7, elapsed_s=1e7
    )
    assert max(len(line) for line in drawn(long, width)) <= width


def test_eighty_columns_hold_model_and_experiment_whole() -> None:
    text = "\n".join(drawn(progress(), 80))
    assert "Llama-3.1-8B-Instruct" in text
    assert "precision=bf16 batch_size=16" in text


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("height", [12, 24, 50])
def test_what_does_not_fit_is_counted_instead_of_cut(width: int, height: int) -> None:
    lines = drawn(progress(workers=64), width, height)
    assert len(lines) <= height
    shown = sum(1 for line in lines if line.startswith("node"))
    assert f"{64 - shown} more, {64 - shown} busy" in "\n".join(lines)
    assert "failed precision=fp32" in lines[-2]
    assert lines[-1] == ""


def test_every_worker_is_shown_where_there_is_room() -> None:
    lines = drawn(progress(workers=8), 140, 30)
    assert sum(1 for line in lines if line.startswith("node")) == 8
    assert "more," not in "\n".join(lines)


def test_simulated_boards_are_named_in_words() -> None:
    simulated = progress()._replace(workers=(worker(0, board="Simulated GPU"),))
    assert "SIMULATED boards: no number of this sweep is a measurement" in drawn(simulated, 80)
    assert not any("SIMULATED" in line for line in drawn(progress(), 80))


def test_unknown_power_is_not_shown_as_zero() -> None:
    unknown = progress()._replace(workers=(worker(0, power_w=None, temperature_c=None),))
    (row,) = [line for line in drawn(unknown, 140) if line.startswith("node")]
    assert row.split()[-2:] == ["–", "–"]


def test_an_idle_worker_shows_no_experiment() -> None:
    idle = progress()._replace(workers=(worker(0, model=None, experiment=None, phase=Phase.IDLE),))
    (row,) = [line for line in drawn(idle, 140) if line.startswith("node")]
    assert "idle" in row
    assert "1 min" not in row


def test_the_first_interrupt_is_acknowledged() -> None:
    assert any("Ctrl-C again stops now" in line for line in drawn(progress(stopping=True), 80))


def test_nothing_is_left_on_the_screen_but_messages() -> None:
    screen, stream = terminal()
    view = LiveView(console_on(stream))
    view.message("results go to /results/grid")
    view.update(progress())
    view.message("[bold]worker lost[/bold] \x1b[2J")
    view.close()
    view.close()
    pyte.Stream(screen).feed(stream.getvalue().replace("\n", "\r\n"))
    left = [line.rstrip() for line in screen.display if line.strip()]
    assert left == ["results go to /results/grid", r"[bold]worker lost[/bold] \x1b[2J"]


def test_while_it_runs_the_screen_shows_the_state() -> None:
    screen, stream = terminal()
    view = LiveView(console_on(stream))
    view.update(progress())
    written = stream.getvalue()
    view.close()
    pyte.Stream(screen).feed(written.replace("\n", "\r\n"))
    assert screen.display[0].startswith("8 of 24 done")
    assert screen.display[2].startswith("━")
    assert screen.display[3].startswith("worker")


def test_an_update_does_not_draw() -> None:
    _, stream = terminal()
    view = LiveView(console_on(stream))
    view.update(progress())
    one_frame = len(stream.getvalue())
    for done in range(1000):
        view.update(progress(done=done % 20))
    drawn_meanwhile = (len(stream.getvalue()) - one_frame) / one_frame
    view.close()
    assert drawn_meanwhile < 20


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    def written(color: bool) -> str:
        stream = io.StringIO()
        environ = {"TERM": "xterm-256color"} | ({} if color else {"NO_COLOR": "1"})
        console = Console(file=stream, force_terminal=True, width=80, height=30, _environ=environ)
        console.print(frame(progress(), 80, 30))
        return stream.getvalue()

    assert "\x1b[1;31m" in written(color=True)
    assert not any(f"\x1b[{code}" in written(color=False) for code in ("31", "1;31", "32", "38"))


def test_no_background_is_set() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="truecolor", width=80, height=30)
    console.print(frame(progress(stopping=True), 80, 30))
    codes = [code for part in stream.getvalue().split("\x1b[")[1:] for code in part.split("m")[0].split(";")]
    assert codes
    assert not [
        code for code in codes if code.isdigit() and (40 <= int(code) <= 48 or 100 <= int(code) <= 107)
    ]


def terminal() -> tuple[pyte.Screen, io.StringIO]:
    return pyte.Screen(80, 30), io.StringIO()


def console_on(stream: io.StringIO) -> Console:
    return Console(
        file=stream, force_terminal=True, width=80, height=30, markup=False, highlight=False, _environ={}
    )


@pytest.mark.parametrize("width", [80, 140])
def test_of_a_long_name_the_end_is_shown(width: int) -> None:
    name = " ".join(f"some_long_field_{number}=value" for number in range(9)) + " batch_size=8"
    lines = drawn(progress(workers=1)._replace(workers=(worker(0, experiment=name),)), width)
    assert any("…" in line and "batch_size=8" in line for line in lines)

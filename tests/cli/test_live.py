"""The live view as a terminal shows it (pyte interprets what is written)."""

from __future__ import annotations

import io
from typing import Any

import pyte
import pytest
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions

from llem_sweep.cli.frame import frame
from llem_sweep.cli.live import LiveView
from llem_sweep.execution.progress import STARTING, FailureNote, Progress, WorkerState
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
        tokens_per_s=1234.5,
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
        energy_windows=8,
        learnt=True,
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
        "8 min 03 s so far, about 8 min 40 s left",
        "9.88 kJ in 8 measured windows",
        "node0/gpu0",
        "H100 80GB HBM3",
        "decode",
        "1,23",
        "412 W",
        "61 °C",
        "failed precision=fp32 batch_size=8 (load)",
    ):
        assert expected in text, expected


@pytest.mark.parametrize(
    "name", ["x" * 300, "模型" * 100, "é́" * 200, "🧪" * 120], ids=["long", "wide", "marks", "emoji"]
)
@pytest.mark.parametrize("width", [20, 60, 80, 119, 120, 140, 250])
def test_no_line_is_wider_than_the_terminal(width: int, name: str) -> None:
    long = worker(0, name=name, board=name, model=name, experiment=name, power_w=1e5, tokens_per_s=1e9)
    told = progress(
        recent_failures=(NOTE._replace(experiment=name, message=name),), remaining_s=1e7, elapsed_s=1e7
    )
    for line in drawn(told._replace(workers=(long, worker(1), long)), width):
        assert cell_len(line) <= width


@pytest.mark.parametrize("workers", [0, 1, 2, 64])
@pytest.mark.parametrize("width", [80, 140])
def test_no_terminal_is_too_low(width: int, workers: int) -> None:
    for height in range(1, 40):
        lines = drawn(progress(workers, stopping=True), width, height)
        assert len(lines) <= max(height, 2)
        assert lines[0].startswith("8 of 24 done")
        if height >= 12:
            assert lines[-2].endswith("CUDA out of memory")


def test_the_phases_are_those_that_people_know() -> None:
    phases = {
        Phase.BASELINE: "baseline",
        Phase.LOAD: "load",
        Phase.CONTEXT: "baseline",
        Phase.WARM_UP: "warm-up",
        Phase.SETTLE: "settle",
        Phase.PREFILL: "measure: prefill",
        Phase.DECODE: "measure: decode",
        Phase.COOL: "cool",
    }
    for phase, words in phases.items():
        (row,) = [
            line
            for line in drawn(progress()._replace(workers=(worker(0, phase=phase),)), 140)
            if "gpu0" in line
        ]
        assert f" {words} " in row
    lines = drawn(progress(1, recent_failures=()), 80)
    (place,) = [number for number, line in enumerate(lines) if line.startswith("node0/gpu0")]
    assert lines[place].split()[-4:] == ["measure", "1,234", "412", "W"]
    assert lines[place + 1].split()[-7:] == ["decode", "1", "min", "05", "s", "61", "°C"]


def test_a_worker_that_comes_up_says_so() -> None:
    (row,) = [
        line
        for line in drawn(progress()._replace(workers=(WorkerState("n/worker0", STARTING),)), 140)
        if "n/w" in line
    ]
    assert row.split() == ["n/worker0", "–", "starting", "–", "–"]


def test_tokens_per_second_are_unknown_before_the_first_batch_and_nothing_when_idle() -> None:
    (row,) = [
        line
        for line in drawn(progress()._replace(workers=(worker(0, tokens_per_s=None),)), 140)
        if "gpu0" in line
    ]
    assert row.split()[-5:] == ["–", "412", "W", "61", "°C"]


def test_the_energy_says_what_it_counts() -> None:
    simulated = progress(energy_simulated=True, energy_windows=1)
    assert any("9.88 kJ in 1 simulated window" in line for line in drawn(simulated, 80))
    assert not any("kJ" in line for line in drawn(progress(energy_j=None), 80))


@pytest.mark.parametrize("width", [80, 140])
def test_the_reason_of_a_failure_is_seen_however_long_its_name(width: int) -> None:
    name = " ".join(f"some_long_field_{number}=value" for number in range(9)) + " batch_size=8"
    long = NOTE._replace(experiment=name, message="OutOfMemoryError: no room for the last 2 GiB")
    text = "\n".join(drawn(progress(recent_failures=(long,)), width))
    assert "batch_size=8 (load)" in text
    assert "OutOfMemoryError: no room for the last 2 GiB" in text


def test_names_have_what_they_need_and_experiments_the_rest() -> None:
    experiment = "precision=bf16 max_output_tokens=256 cycle=2"
    short = worker(0, name="n/w0", board="NVIDIA L4", model="acme/tiny", experiment=experiment)
    assert experiment in "\n".join(drawn(progress()._replace(workers=(short,)), 140))


def test_the_bar_tells_failures_from_the_rest_and_both_from_what_is_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system="256", _environ={})
    with console.capture() as capture:
        console.print(frame(progress(total=24, done=8, failed=4), 120, 30))
    (bar,) = [line for line in capture.get().splitlines() if "━" in line]
    assert bar == f"\x1b[38;5;28m{'━' * 40}\x1b[0m\x1b[38;5;160m{'━' * 20}\x1b[0m{'─' * 60}"
    one_of_many = drawn(progress(total=10_000, done=9_998, failed=1), 80)
    assert "━" * 79 + "─" in one_of_many


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
    assert lines[-2].endswith("CUDA out of memory")
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


def test_a_resized_terminal_is_drawn_anew_with_its_messages() -> None:
    screen, stream = terminal()
    console = console_on(stream)
    view = LiveView(console)
    view.message("results go to /results/grid")
    view.update(progress())
    feed = pyte.Stream(screen)
    feed.feed(stream.getvalue().replace("\n", "\r\n"))
    before = len(stream.getvalue())
    # What a terminal that wraps long lines anew leaves behind when it gets narrower.
    screen.reset()
    feed.feed("half a line of the old frame\r\n" * 9)
    console.size = ConsoleDimensions(60, 30)
    view.update(progress(done=9))
    feed.feed(stream.getvalue()[before:].replace("\n", "\r\n"))
    view.close()
    shown = [line.rstrip() for line in screen.display]
    assert shown[:2] == ["results go to /results/grid", "9 of 24 done, 2 failed, 2 running"]
    assert not any("old frame" in line for line in shown)
    assert sum("9 of 24" in line for line in shown) == 1


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    def written(color: bool) -> str:
        stream = io.StringIO()
        environ = {"TERM": "xterm-256color"} | ({} if color else {"NO_COLOR": "1"})
        console = Console(file=stream, force_terminal=True, width=80, height=30, _environ=environ)
        console.print(frame(progress(), 80, 30))
        return stream.getvalue()

    assert "\x1b[1;38;5;160m" in written(color=True)
    assert not any(f"\x1b[{code}" in written(color=False) for code in ("31", "1;3", "32", "3"))


def test_no_background_is_set() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="truecolor", width=80, height=30)
    console.print(frame(progress(stopping=True), 80, 30))
    codes = [code for part in stream.getvalue().split("\x1b[")[1:] for code in part.split("m")[0].split(";")]
    assert codes
    assert "2" not in codes, "faint text"
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

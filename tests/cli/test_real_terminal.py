"""The program itself on a terminal: at two widths, resized, interrupted, without colours, and on a dumb one."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from real_terminal import RealTerminal

COLOURS = {"TERM": "xterm-256color"}
SWEEP: dict[str, Any] = {
    "model": "acme/made-up-7b",
    "backend": "synthetic",
    "n": 8,
    "baseline": {"enabled": False},
    "warmup": {"enabled": False},
    "synthetic": {"run_seconds": 1.6, "output_tokens": 50},
}


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Seven experiments of two seconds each, the first of which fails."""
    path = tmp_path / "grid.yaml"
    points = [{"synthetic": {"fail_at": "run"}}, *({"n": number} for number in range(8, 14))]
    order = {"cycle_order": "sequential"}
    path.write_text(yaml.safe_dump(SWEEP | {"experiments": points, "execution": order}))
    return path


@pytest.fixture
def opened(grid: Path, tmp_path: Path) -> Any:
    """Opens the program on a terminal."""

    def open_(columns: int, lines: int, environ: dict[str, str], *options: str) -> RealTerminal:
        command = [sys.executable, "-m", "llem_sweep", str(grid), "--inline", "--simulate-gpus", "1"]
        known = {
            name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "LANG") if name in os.environ
        }
        # Wide characters of the frame are UTF-8.
        known |= {"PYTHONUTF8": "1"}
        return RealTerminal(
            [*command, "--output", str(tmp_path / "out"), *options], columns, lines, known | environ
        )

    return open_


def shows(*words: str) -> Any:
    return lambda terminal: all(word in terminal.text for word in words)


def test_a_sweep_is_watched_resized_and_interrupted(opened: Any) -> None:
    terminal = opened(80, 24, COLOURS)
    terminal.wait_for(shows("1 failed", "measure"))
    assert re.search(r"failed .*fail_at=run.* \(run\)\n  BackendError: synthetic failure", terminal.text)
    assert "SIMULATED boards: no number of this sweep is a measurement" in terminal.text
    terminal.wait_for(lambda on: re.search(r"measure +\d{3} +\d+ W", on.text) is not None)
    assert re.search(r"\nSimulated GPU.*(decode|prefill) +\d s +\d+ °C", terminal.text)
    assert "  phase " in terminal.text

    terminal.resize(140, 30)
    terminal.wait_for(
        lambda on: re.search(r"measure: (decode|prefill) +\d s +\d{3} +\d+ W +\d+ °C", on.text) is not None
    )
    for once in ("results go to", "of 7 done", "failed n"):
        assert terminal.text.count(once) <= 1, terminal.text
    assert "results go to" in terminal.text

    terminal.press("\x03")
    terminal.wait_for(shows("Ctrl-C again stops now"))
    assert terminal.ended() == 130, terminal.text
    left = terminal.text
    assert "Interrupted: " in left
    assert "llem-sweep --resume" in left
    assert "Not run yet" in left
    assert "measure: decode" not in left, "nothing of the frame is left"
    assert left.rstrip().splitlines()[-1].startswith("/")


def test_the_end_is_a_table_that_any_background_can_bear(opened: Any) -> None:
    terminal = opened(140, 50, COLOURS, "--set", "synthetic.run_seconds=0.2")
    terminal.wait_for(lambda on: "of 7 done" in on.text)
    assert terminal.ended() == 1
    assert (
        "Made by the synthetic backend, which computes nothing, on 1 × Simulated GPU: no measurement"
        in terminal.text
    )
    assert "6 of 7 experiments completed, 1 failed" in terminal.text
    energies = [float(found) for found in re.findall(r"n=\d+ +(?:n=\d+ +)?([\d.]+) +[\d.]+ %", terminal.text)]
    assert energies == sorted(energies)
    assert len(energies) == 6
    codes = {
        code
        for found in re.findall(rb"\x1b\[([\d;]*)m", terminal.written)
        for code in found.decode().split(";")
    }
    named = {str(code) for base in (30, 40, 90, 100) for code in range(base, base + 8)}
    assert "38" in codes, "colours there are"
    assert not codes & (named | {"2", "7", "48"}), (
        "none of the terminal's own, none behind text, nothing faint"
    )


def test_no_color_leaves_words_alone(opened: Any) -> None:
    terminal = opened(80, 24, COLOURS | {"NO_COLOR": "1"})
    terminal.wait_for(shows("of 7 done"))
    terminal.follow(1.0)
    terminal.press("\x03\x03")
    assert terminal.ended() == 130, terminal.text
    assert b"\x1b[38;" not in terminal.written
    assert "Interrupted" in terminal.text


def test_a_dumb_terminal_gets_lines(opened: Any) -> None:
    terminal = opened(80, 24, {"TERM": "dumb"})
    terminal.wait_for(shows("1 failed"))
    assert b"\x1b" not in terminal.written
    assert re.search(r"^\d\d:\d\d:\d\d  failed: ", terminal.text, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d  0 of 7 done, 1 failed", terminal.text, re.MULTILINE)
    terminal.press("\x03\x03")
    assert terminal.ended() == 130, terminal.text

"""Nothing from outside moves the cursor, colours the terminal or reorders its text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from llem_sweep.cli.escape import outside, printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b2J", r"\x9b2J"),
        ("a\x08\x07\x7f\x00", r"a\x08\x07\x7f\x00"),
        ("up\rdown\nnext", r"up\rdown\nnext"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("a\u2066b\u2069\u200f\u2028", r"a\u2066b\u2069\u200f\u2028"),
        ("half \ud83d pair", r"half \ud83d pair"),
        ("hidden\U000e0041", r"hidden\U000e0041"),
    ],
)
def test_codes_are_spelled_out(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


def test_letters_of_any_script_are_left_alone() -> None:
    for text in ("Qwen/通义千问-7B", "naïve — 12 °C", "модель", "emoji 🙂"):
        assert printable(text) == text


def test_line_ends_can_be_kept() -> None:
    assert printable("one\r\ntwo\x1b\n", lines=True) == "one\ntwo\\x1b\n"


@given(st.text())
def test_whatever_comes_in_what_goes_out_can_be_printed(text: str) -> None:
    shown = printable(text).encode().decode()
    assert not {char for char in shown if not char.isprintable() and unicodedata.category(char) != "Zs"}


def test_markup_is_text() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(outside("[bold]x[/bold] :smile: [link=http://evil]y[/link]"))
    assert capture.get() == "[bold]x[/bold] :smile: [link=http://evil]y[/link]\n"

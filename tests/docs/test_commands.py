"""Whatever the documentation tells its reader to type is typed here, on simulated GPUs.

Page after page, block after block, in a folder that has what the pages take for granted. A block that can't be run
here says so above it (:mod:`documentation`); single commands are in :data:`ELSEWHERE`. What is in neither is run.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import cli_page
from documentation import LANGUAGES, ROOT, Block, Page, code_spans, commands, pages
from documented import ELSEWHERE, EXITS, Stage
from object_stores import S3Server

PAGES = [page for page in pages() if page.blocks]
ON_RAY = "docs/tutorial.md"
"""Run as it stands, by tests/integration/test_documented_commands.py."""


def here(page: Page) -> list[Block]:
    """The blocks of ``page`` that there is something to do about, here."""
    return [
        block
        for block in page.blocks
        if block.language not in ("text", "json") and not block.left_out and block.marked("on Ray") is None
    ]


@pytest.fixture
def stage(tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A folder to try a page in."""
    return Stage(tmp_path, s3.folder("runs"), monkeypatch)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != ON_RAY and here(page)], ids=lambda page: page.name
)
def test_what_a_page_says_can_be_done(page: Page, stage: Stage) -> None:
    for block in here(page):
        stage.do(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_says_what_it_is(page: Page) -> None:
    assert {block.line: block.language for block in page.blocks if block.language not in LANGUAGES} == {}
    told = [line for block in page.blocks if block.language == "text" for line in block.text.splitlines()]
    assert [line for line in told if re.match(r"(\$ |llem-sweep |make |pip |python |ray )", line)] == []


def test_there_are_commands_sweep_files_and_programs_to_try() -> None:
    languages = [block.language for page in PAGES for block in page.blocks if not block.left_out]
    assert languages.count("sh") >= 8
    assert languages.count("yaml") >= 8
    assert languages.count("python") >= 4


@pytest.mark.parametrize("table", [ELSEWHERE, EXITS])
def test_no_exception_outlives_its_command(table: dict[str, object]) -> None:
    told = {command for page in PAGES for block in page.blocks for command in shell_commands(block)}
    assert table.keys() - told == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_test_that_is_said_to_run_a_block_is_there_and_has_something_of_it(page: Page) -> None:
    for block in page.blocks:
        test = block.marked("run by")
        if test is not None:
            text = (ROOT / test).read_text(encoding="utf-8")
            words = {Path(word).name for command in commands(block) for word in shlex.split(command)}
            assert [word for word in words if len(word) >= 8 and word in text], f"line {block.line}: {test}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_commands_within_a_sentence_are_there(page: Page) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for span in code_spans(page):
        program, *words = span.split()
        if program == "llem-sweep":
            unknown = unknown_options(words)
            assert unknown == [], span
        elif program == "make" and words:
            assert words[0] in targets, span
        elif program == "python" and words and words[0].endswith(".py"):
            assert (ROOT / words[0]).is_file(), span


def unknown_options(words: list[str]) -> list[str]:
    """Those of the options in ``words`` that the command they are given to hasn't."""
    program = cli_page.app()
    command = program[words[0]] if words and words[0] in cli_page.commands(program) else program
    known = {name for argument in command.assemble_argument_collection() for name in argument.names}
    return [word for word in words if word.startswith("-") and word not in known | {"--help", "--version"}]


def test_an_option_that_isnt_there_is_noticed() -> None:
    assert unknown_options(["grid.yaml", "--inlined"]) == ["--inlined"]
    assert unknown_options(["verify", "DIR", "--inline"]) == ["--inline"]
    assert unknown_options(["verify", "DIR", "--require-publishable"]) == []


def test_a_command_that_fails_is_noticed(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="exit code 2"):
        stage.do(Block(1, "sh", "llem-sweep missing.yaml", ()))
    with pytest.raises(AssertionError, match="exit code 1"):
        stage.do(Block(1, "sh", "false", ()))
    with pytest.raises(AssertionError, match="block of ''"):
        stage.do(Block(1, "", "llem-sweep grid.yaml", ()))


def shell_commands(block: Block) -> list[str]:
    return commands(block) if block.language == "sh" else []

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llem_sweep.config.nodes import Node, Place
from llem_sweep.config.yaml_source import MAX_DEPTH, parse_yaml, read_yaml_file
from llem_sweep.errors import Problem

START = Place("grid.yaml", 1, Path("/somewhere"))


def parse(text: str) -> tuple[Node | None, list[Problem]]:
    problems: list[Problem] = []
    return parse_yaml(text, START, problems), problems


def parsed(text: str) -> Node:
    node, problems = parse(text)
    assert not problems
    assert node is not None
    return node


def only_problem(text: str) -> Problem:
    _, problems = parse(text)
    assert len(problems) == 1, problems
    return problems[0]


def test_every_value_knows_its_line() -> None:
    node = parsed("a: 1\nb:\n  c: 2\n  d:\n  - 3\n  - e: 4\n")
    assert isinstance(node.value, dict)
    b = node.value["b"].value
    assert isinstance(b, dict)
    items = b["d"].value
    assert isinstance(items, list)
    entry = items[1].value
    assert isinstance(entry, dict)
    lines = [node.value["a"], node.value["b"], b["c"], b["d"], items[0], items[1], entry["e"]]
    assert [each.place.line for each in lines] == [1, 2, 3, 4, 5, 6, 6]


def test_quoted_scalars_stay_text() -> None:
    assert parsed("a: '1'\nb: \"true\"\nc: |\n  5e-2\n").plain() == {"a": "1", "b": "true", "c": "5e-2\n"}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parsed("{0: a, true: b, on: c}").plain() == {"0": "a", "true": "b", "on": "c"}


def test_a_key_given_twice_is_a_problem_that_names_both_lines() -> None:
    problem = only_problem("n: 1\nmodel: x\nn: 2\n")
    assert problem.line == 3
    assert "line 1" in problem.message


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [ls]", "!!str 5", "!x 5", "! 5"])
def test_tags_are_problems_and_run_nothing(tag: str) -> None:
    problem = only_problem(f"a: 1\nb: {tag}\n")
    assert problem.line == 2
    assert "tag" in problem.message


def test_a_tag_on_a_key_is_a_problem() -> None:
    assert "tag" in only_problem("!!str a: 1\n").message


def test_several_documents_are_a_problem() -> None:
    problem = only_problem("a: 1\n---\nb: 2\n")
    assert problem.line == 2
    assert "several documents" in problem.message


def test_a_syntax_error_tells_its_line() -> None:
    problem = only_problem("a: 1\nb: [1, 2\nc: 3\n")
    assert problem.line == 3
    assert "isn't valid YAML" in problem.message


def test_aliases_and_merge_keys_work_and_own_entries_win() -> None:
    text = "a: &x {k: 1, l: 2}\nb: *x\nc: {<<: *x, l: 3}\nd:\n  <<: [*x, {k: 5, m: 6}]\n"
    assert parsed(text).plain() == {
        "a": {"k": 1, "l": 2},
        "b": {"k": 1, "l": 2},
        "c": {"k": 1, "l": 3},
        "d": {"k": 1, "l": 2, "m": 6},
    }


def test_aliases_that_explode_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    before = time.process_time()
    problem = only_problem("\n".join(lines))
    assert time.process_time() - before < 2
    assert "aliases expand" in problem.message
    assert problem.line is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "inside what it stands for"),
        ("a: *b", "names no anchor"),
        ("a: " + "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "nested deeper"),
        ("a: " + "9" * 5000, "too many digits"),
        ('a: "\\ud800"', "surrogate"),
        ("? [a]\n: 1\n", "plain word"),
        ("a: {<<: 3}", "must name a mapping"),
        ("a: \x07", "isn't valid YAML"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, message: str) -> None:
    assert message in only_problem(text).message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"---\n", "is empty"),
        (b"- a\n- b\n", "must be a mapping"),
        (b"just text\n", "must be a mapping"),
        (b"a: \xff\n", "isn't UTF-8"),
    ],
)
def test_files_that_hold_no_mapping_are_problems(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "grid.yaml"
    file.write_bytes(content)
    problems: list[Problem] = []
    assert read_yaml_file(file, problems) is None
    assert len(problems) == 1
    assert message in problems[0].message
    assert problems[0].file == str(file)


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    node = read_yaml_file(file, [])
    assert node is not None
    assert node.plain() == {"a": 1}


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    problems: list[Problem] = []
    assert read_yaml_file(tmp_path / "none.yaml", problems) is None
    assert "can't be read" in problems[0].message

"""The table for papers: structure, digits, what the caption says, and that text from outside can't act."""

from __future__ import annotations

import re
from typing import Any

import pytest

from llem_sweep.report.footprint import read_rates
from llem_sweep.report.latex import escaped, latex_table
from llem_sweep.report.points import points
from report_rows import row


def at(key: str, batch: int, **fields: Any) -> dict[str, Any]:
    return row(measurement_config_hash=key, **{"config.pytorch.batch_size": batch}, **fields)


def table(*rows: dict[str, Any], rates: tuple[Any, ...] = (None, None, None), cycles: bool = False) -> str:
    of = points(rows)
    return latex_table(of, [""] * len(of), read_rates(*rates), cycles=cycles)


def cells(text: str) -> list[list[str]]:
    """The table's header and rows."""
    lines = [line.strip() for line in text.splitlines() if line.endswith(r" \\")]
    return [line.removesuffix(r" \\").split(" & ") for line in lines]


def caption(text: str) -> str:
    return next(line for line in text.splitlines() if r"\caption" in line)


def test_each_row_has_a_cell_for_each_column_and_booktabs_rules() -> None:
    text = table(at("a", 1), at("b", 8))
    [spec] = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert {len(row) for row in cells(text)} == {len(spec)} == {4}
    rules = [line.strip() for line in text.splitlines() if line.strip().endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))


def test_figures_have_the_digits_of_their_bounds() -> None:
    text = table(at("a", 1, avg_energy_per_token_j=0.18035, avg_energy_per_token_uncertainty_j=0.00132))
    assert cells(text) == [
        ["J/token", "tokens/s", "J/window"],
        [r"$0.1804 \pm 0.0013$", "$100$", r"$200.0 \pm 3.0$"],
    ]
    unknown = table(at("a", 1, avg_energy_per_token_j=None, total_energy_j=None))
    assert cells(unknown)[1] == ["--", "$100$", "--"]


def test_only_what_differs_is_a_column() -> None:
    text = table(at("a", 1, model="m_1"), at("b", 8, model="n", device_names=["A100", "A100"]))
    assert cells(text)[0][:3] == ["Model", "Boards", r"batch\_size"]
    assert [each[:3] for each in cells(text)[1:]] == [[r"m\_1", "H100", "1"], ["n", r"2 $\times$ A100", "8"]]
    assert r"on H100 and 2 $\times$ A100." in caption(text)
    of = points([at("a", 1)])
    swept = latex_table([*of, *of], ["results/one_2", "results/two"])
    assert [each[0] for each in cells(swept)] == ["Sweep", r"results/one\_2", "results/two"]


def test_the_caption_names_model_boards_cycles_and_coverage() -> None:
    text = caption(table(at("a", 1), at("a", 1, cycle=2), at("b", 8), at("b", 8, cycle=2)))
    for words in ("inference of m,", "on H100.", "the mean of 2 cycles", "coverage 0.95", r"95\,\%"):
        assert words in text
    assert "no measurement" not in text
    assert "checks" not in text
    uneven = caption(table(at("a", 1), at("a", 1, cycle=2), at("b", 8)))
    assert "the mean of 1 to 2 cycles" in uneven
    assert "is one cycle." in caption(table(at("a", 1)))
    assert "coverage unknown" in caption(table(at("a", 1, energy_coverage=None)))


def test_what_may_not_be_published_is_counted() -> None:
    text = caption(table(at("a", 1), at("b", 8, **{"verdict.publishable": False})))
    assert "1 of 2 rows didn't pass the checks for publication" in text


def test_simulated_rows_stand_apart_and_say_so_in_words() -> None:
    simulated = {"measured_on": "simulated", "simulated": True}
    text = table(at("a", 1, **simulated), at("a", 1), at("b", 8, **simulated))
    assert [each[-1] for each in cells(text)] == ["kind", "measured", "simulated", "simulated"]
    assert text.count(r"\midrule") == 2
    assert r"\textbf{Rows so marked are simulated: no measurement.}" in caption(text)
    assert r"\textbf{All rows are simulated: no measurement.}" in caption(table(at("a", 1, **simulated)))


def test_single_cycles_have_their_numbers() -> None:
    of = [points([at("a", 1, cycle=cycle)])[0] for cycle in (1, 2)]
    text = latex_table(of, ["", ""], cycles=True)
    assert [each[0] for each in cells(text)] == ["cycle", "1", "2"]


def test_carbon_and_cost_are_columns_of_their_own_and_explained() -> None:
    text = table(at("a", 1), rates=("400", "0.25 $", 1.5))
    assert cells(text)[0][-2:] == ["gCO$_2$e/Mtoken", r"\$/Mtoken"]
    assert cells(text)[1][-2:] == [r"$333.3 \pm 5.0$", r"$0.2083 \pm 0.0031$"]
    assert "aren't measured. 400 gCO2e/kWh: as given. 0.25 \\$/kWh: as given. PUE 1.5" in caption(text)


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("50% & $x_1$ #2 ~ ^", r"50\% \& \$x\_1\$ \#2 \textasciitilde{} \textasciicircum{}"),
        ("a--b ''c'' ---", "a-{}-b '{}'c'{}' -{}-{}-"),
        ("two\nlines\tand % more", r"two lines and \% more"),
        ("<b>|", r"\textless{}b\textgreater{}\textbar{}"),
        ("Modèle Łódź ħ", r"Modèle Łódź \texttt{U+0127}"),
        ("模\u202e\x1b", r"\texttt{U+6A21}\texttt{U+202E}\texttt{U+001B}"),
        ("`2 × 3 – ±", r"\textasciigrave{}2 $\times$ 3 \textendash{} $\pm$"),
    ],
)
def test_text_from_outside_is_printed_and_never_acts(text: str, latex: str) -> None:
    assert escaped(text) == latex


def test_every_place_of_outside_text_is_escaped() -> None:
    evil = r"\evil{}%"
    text = table(
        at("a", 1, model=evil, device_names=[evil], backend=evil, **{"config.x_y": evil}),
        at("b", 1, model="n", device_names=["n"], backend="n", **{"config.x_y": "n"}),
        rates=("400", None, None),
    )
    assert r"\evil" not in text
    assert text.count(r"\textbackslash{}evil\{\}\%") == 5

"""Comparisons, and carbon and cost, as printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import RenderableType

from llem_sweep.cli.render_compare import compare_report
from llem_sweep.cli.render_footprint import footprint_report
from llem_sweep.report.compare import Comparison, comparison
from llem_sweep.report.footprint import Rates, read_rates, totals
from report_rows import row

Printed = Callable[..., str]


def at(key: str, batch: int, **fields: Any) -> dict[str, Any]:
    return row(measurement_config_hash=key, **{"config.pytorch.batch_size": batch}, **fields)


def report(found: Comparison, width: int = 80, **options: Any) -> Sequence[RenderableType]:
    return list(compare_report(found, "results/one", "results/two", width, **options))


def rates() -> Rates:
    found = read_rates("400", "0.25 EUR", 1.5)
    assert found is not None
    return found


def test_each_change_has_its_bound_and_says_whether_it_shows(printed: Printed) -> None:
    found = comparison([at("a", 1)], [at("a", 1, avg_energy_per_token_j=2.5, total_energy_j=200.1)])
    text = printed(report(found), 80)
    assert "A  results/one\nB  results/two\n" in text
    assert "J/token   2.000 ± 0.030  2.500 ± 0.030  +25.0 ± 2.4  B more" in text
    assert "tokens/s  100            100            0            not bounded" in text
    assert "J/window  200.0 ± 3.0    200.1 ± 3.0    0.0 ± 2.1    none shown" in text
    wide = printed(report(found, 120), 120)
    assert "2.500 ± 0.030  +0.500 ± 0.042  +25.0 ± 2.4" in wide
    assert "no measurement" not in text


def test_nothing_of_it_is_wider_than_the_terminal(printed: Printed) -> None:
    text = printed(report(comparison([at("a", 1)], [at("a", 1)]), rates=rates()), 80)
    tables = [line for line in text.splitlines() if line.startswith("  ") and "±" in line]
    assert len(tables) == 4
    assert max(map(len, tables)) <= 80


def test_unlike_and_simulated_rows_are_marked_in_words(printed: Printed) -> None:
    simulated = {"measured_on": "simulated", "simulated": True, "device_names": ["Simulated GPU"]}
    found = comparison([at("a", 1)], [at("a", 1, **simulated)], ["boards", "measured_on"])
    text = printed(report(found), 80)
    assert "unlike: A on H100, B on Simulated GPU" in text
    assert "unlike: A is measured, B is simulated" in text
    assert "simulated: no measurement" in text


def test_what_is_not_compared_is_listed_with_the_reason(printed: Printed) -> None:
    found = comparison(
        [at("a", 1), at("b", 2), at("c", 4)], [at("a", 1), at("b", 2, device_names=["A100"]), at("d", 8)]
    )
    text = printed(report(found), 80)
    assert "see --across)\n  batch_size=2: A on H100, B on A100\n" in text
    assert "Only in A\n  batch_size=4\n" in text
    assert "Only in B\n  batch_size=8\n" in text
    assert text.endswith("\n1 configuration compared\n")


def test_long_lists_are_cut_unless_all_is_asked_for(printed: Printed) -> None:
    many = [at(str(n), n) for n in range(30)]
    found = comparison(many, [many[0]])
    assert "19 more; -v shows them" in printed(report(found), 80)
    assert "batch_size=29" in printed(report(found, verbose=True), 80)


def test_text_from_outside_is_shown_as_it_is(printed: Printed) -> None:
    found = comparison([at("a", 1, model="[red]x\x1b[31m")], [at("b", 1, model="n", device_names=["H100"])])
    text = printed(report(found), 80)
    assert "model is [red]x\\x1b[31m in A, n in B" in text


def test_carbon_and_cost_stand_apart_and_keep_the_bounds(printed: Printed) -> None:
    found = comparison([at("a", 1)], [at("a", 1, avg_energy_per_token_j=2.5)])
    text = printed(report(found, rates=rates()), 80)
    assert "gCO2e/Mtoken  333.3 ± 5.0      416.7 ± 5.0      +25.0 ± 2.4" in text
    assert "EUR/Mtoken    0.2083 ± 0.0031  0.2604 ± 0.0031  +25.0 ± 2.4" in text
    assert "Carbon and cost, apart from the measured energy\n  400 gCO2e/kWh: as given\n" in text


def test_totals_of_a_sweep_tell_kinds_apart_in_words(printed: Printed) -> None:
    rows = [
        row(),
        row(total_energy_j=None),
        row(measured_on="synthetic", simulated=True, total_energy_j=7.2e6, energy_uncertainty_j=3.6e5),
    ]
    text = printed(list(footprint_report(totals(rows, rates()), rates())), 80)
    assert "  Measured: 1 experiment, and 1 whose energy isn't known\n" in text
    assert "  SIMULATED boards, SYNTHETIC backend, no measurement: 1 experiment\n" in text
    for line in ("7200000 ± 360000 J", "3.00 ± 0.15 kWh", "1200 ± 60 gCO2e", "0.750 ± 0.038 EUR"):
        assert line in text
    assert "PUE 1.5: as given" in text

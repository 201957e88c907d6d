"""A table for a paper: LaTeX with booktabs, figures with as many digits as their uncertainty."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from llem_sweep.plan.values import point
from llem_sweep.report.compare import boards_words, kind_words
from llem_sweep.report.export import PER_TOKENS
from llem_sweep.report.footprint import Rates, footprint, scaled
from llem_sweep.report.points import Figure, Point
from llem_sweep.report.rounding import rounded

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "–": r"\textendash{}",
    "€": r"\texteuro{}",
    "`": r"\textasciigrave{}",
} | {char: f"\\{char}" for char in "&%$#_{}"}
"""Characters that LaTeX acts on, or has another glyph for."""
_JOINED = re.compile(r"([-',])(?=\1)")
"""Characters that LaTeX makes one glyph of where two stand together."""
_LETTERS_END = 0x180
"""Latin letters come before this code point; in T1 fonts there are glyphs for all but a few."""
_WITHOUT_GLYPH = "ĦħĸĿŀŉŦŧſ"
_UNKNOWN = "--"


class _Column(NamedTuple):
    header: str
    """In LaTeX."""
    align: str
    cells: list[str]
    """In LaTeX."""


def latex_table(
    of: Sequence[Point], sweeps: Sequence[str], rates: Rates | None = None, *, cycles: bool = False
) -> str:
    r"""``of`` as a ``table`` environment, one row each; needs ``\usepackage{booktabs}`` and T1 fonts.

    ``sweeps`` names the sweep of each, and is left out where it is one. Rows of one kind of measurement stand
    together, what was measured first. With ``cycles`` the rows are single cycles, whose number is a column. The
    caption says boards, cycles, coverage, and what is no measurement.
    """
    order = sorted(range(len(of)), key=lambda n: (kind_words(of[n]) != "measured", kind_words(of[n])))
    ordered = [of[n] for n in order]
    columns = _columns(ordered, [sweeps[n] for n in order], rates, cycles)
    lines = [
        r"% Needs \usepackage[T1]{fontenc} and \usepackage{booktabs}.",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{' '.join(_caption(ordered, rates))}}}",
        r"  \label{tab:llem-sweep}",
        r"  \vspace{1ex}",
        r"  \small",
        rf"  \begin{{tabular}}{{{''.join(column.align for column in columns)}}}",
        r"    \toprule",
        f"    {' & '.join(column.header for column in columns)} \\\\",
    ]
    for _, numbers in groupby(range(len(ordered)), key=lambda n: ordered[n].kind[:2]):
        lines.append(r"    \midrule")
        lines += [f"    {' & '.join(column.cells[n] for column in columns)} \\\\" for n in numbers]
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """``text`` as LaTeX prints it: nothing in it acts, and what has no glyph is written as its code point."""
    one_line = " ".join(text.split())
    return _JOINED.sub(r"\1{}", "".join(_escaped(char) for char in one_line))


def _escaped(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    printed = ord(char) < _LETTERS_END and char not in _WITHOUT_GLYPH
    if printed and not unicodedata.category(char).startswith("C"):
        return char
    return rf"\texttt{{U+{ord(char):04X}}}"


def _columns(of: Sequence[Point], sweeps: Sequence[str], rates: Rates | None, cycles: bool) -> list[_Column]:
    columns = [
        _Column(header, "l", [escaped(text) for text in texts])
        for header, texts in (
            ("Sweep", list(sweeps)),
            ("Model", [each.model for each in of]),
            ("Backend", [each.backend for each in of]),
            ("Boards", [boards_words(each) for each in of]),
        )
        if len(set(texts)) > 1
    ]
    names = dict.fromkeys(name for each in of for name in each.varied)
    for name in names:
        header = name.rpartition(".")[2]
        cells = [point({name: each.varied.get(name)}).partition("=")[2] for each in of]
        columns.append(_Column(escaped(header), "l", [escaped(cell) for cell in cells]))
    if cycles:
        columns.append(_Column("cycle", "r", [str(each.rows[0]["cycle"]) for each in of]))
    columns.append(_figures("J/token", [each.energy_per_token_j for each in of]))
    columns.append(_figures("tokens/s", [each.tokens_per_second for each in of]))
    columns.append(_figures("J/window", [each.energy_j for each in of]))
    if rates is not None:
        columns += _footprints(of, rates)
    if any(kind_words(each) != "measured" for each in of):
        columns.append(_Column("kind", "l", [escaped(kind_words(each)) for each in of]))
    return columns


def _footprints(of: Sequence[Point], rates: Rates) -> Iterator[_Column]:
    """Carbon and cost of a million output tokens."""
    energies = [each.energy_per_token_j for each in of]
    found = [None if each is None else footprint(scaled(each, PER_TOKENS), rates) for each in energies]
    if rates.intensity is not None:
        yield _figures("gCO$_2$e/Mtoken", [each and each.carbon_g for each in found])
    if rates.price is not None:
        yield _figures(f"{escaped(rates.price.currency)}/Mtoken", [each and each.cost for each in found])


def _figures(header: str, figures: Sequence[Figure | None]) -> _Column:
    cells = [_UNKNOWN if each is None else "$" + rounded(each).joined(r" \pm ") + "$" for each in figures]
    return _Column(header, "r", cells)


def _caption(of: Sequence[Point], rates: Rates | None) -> Iterator[str]:
    """Sentences, in LaTeX."""
    models = dict.fromkeys(each.model for each in of)
    on = escaped(" and ".join(dict.fromkeys(boards_words(each) for each in of)))
    which = f" of {escaped(next(iter(models)))}" if len(models) == 1 else ""
    yield f"Energy and throughput of inference{which}, per output token, on {on}."
    kinds = dict.fromkeys(kind_words(each) for each in of)
    for kind in kinds:
        if kind != "measured":
            rows = "All rows are" if len(kinds) == 1 else "Rows so marked are"
            yield rf"\textbf{{{rows} {escaped(kind)}: no measurement.}}"
    numbers = sorted({len(each.rows) for each in of})
    cycles = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    yield f"Each row is {'one cycle' if numbers == [1] else f'the mean of {cycles} cycles'}."
    coverages = sorted({str(row["energy_coverage"]) for each in of for row in each.rows})
    coverage = escaped(" or ".join(coverages).replace("None", "unknown"))
    yield (
        rf"$\pm$ is a half-width at 95\,\%: the sensors' timing (coverage {coverage}) and the spread of the cycles"
        " in quadrature; nothing bounds a rate of one cycle."
        " The boards' own gain error isn't included."
    )
    if doubtful := sum(not each.publishable for each in of):
        yield f"{doubtful} of {len(of)} rows didn't pass the checks for publication of llem-sweep."
    if rates is not None:
        told = ". ".join(escaped(words.rstrip(".")) for words in rates.words)
        yield f"Carbon and cost follow from the energy and aren't measured. {told}."

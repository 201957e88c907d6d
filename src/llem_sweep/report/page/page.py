"""The page put together: one file that asks for nothing else.

Everything is in it. Its policy lets run only the scripts and styles of this package, by their digests, so that a
name or an error from a sweep can't bring its own; and text is escaped wherever it is written all the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC
from functools import cache
from importlib.resources import files
from string import Template

from llem_sweep.report.page import doubts, provenance
from llem_sweep.report.page.configurations import configurations
from llem_sweep.report.page.markup import Html, el, join, outside, text
from llem_sweep.report.page.payload import payload
from llem_sweep.report.page.source import PageSource

_ASSETS = files("llem_sweep.report") / "assets"
SCRIPTS = ("data.js", "filters.js", "plots.js", "timeline.js", "table.js", "start.js")
"""Our own scripts, in this order one function's body."""
_NOT_IN_JSON = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_PLOTLYS_RULES = "/* plotly puts its rules here */"
"""An element for them has to be there: the policy lets no script make one."""
_NO_MEASUREMENT = {
    "simulated": "ran on SIMULATED boards: their power and energy are made up by a model, not measured",
    "synthetic": "ran on the SYNTHETIC backend, which computes nothing",
    "off-board": "computed OFF the board that was metered",
}


def page(source: PageSource) -> bytes:
    """The page of ``source`` as UTF-8. The same source gives the same bytes."""
    style, plotly, script = _style(), _plotly(), _script()
    styles = f"{_digest(style)} {_digest(_PLOTLYS_RULES)}"
    policy = (
        f"default-src 'none'; script-src {_digest(plotly)} {_digest(script)}; style-src {styles};"
        " style-src-attr 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    fields = configurations(source.plan, source.evidence.backends)
    parts: Mapping[str, str] = {
        "policy": policy,
        "title": outside(source.plan.name),
        "plain_title": _plain(source.plan.name),
        "style": style,
        "style_hook": _PLOTLYS_RULES,
        "summary": _summary(source),
        "banner": _banner(source),
        "method": provenance.method(source),
        "software": provenance.software(source),
        "boards": provenance.boards(source),
        "warnings": doubts.warnings(source.evidence.doubts(), _completed(source)),
        "failures": doubts.failures(source),
        "reproduction": provenance.reproduction(source, fields),
        "data": as_script_data(payload(source, fields)),
        "plotly": plotly,
        "script": script,
    }
    return _template().substitute(parts).encode("utf-8")


def as_script_data(value: object) -> str:
    """``value`` as JSON that can stand in a script element: nothing in it can end that element."""
    raw = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return raw.translate(_NOT_IN_JSON)


def _summary(source: PageSource) -> Html:
    counts = Counter(row["status"] for row in source.rows)
    words = {
        "completed": "completed",
        "failed": "failed",
        "refused": "refused",
        "pending": "not run yet",
    }
    parts = [f"{counts[status]:,} {word}" for status, word in words.items() if counts[status]]
    nodes = {node for node, _, _ in source.evidence.boards}
    boards = Counter(board.name for board in source.evidence.boards.values())
    lines = [text(", ".join(parts) or "no experiment")]
    if boards:
        on = join(
            (join([text(f"{number} × "), outside(name)]) for name, number in sorted(boards.items())), ", "
        )
        lines.append(join([on, text(f" on {len(nodes)} node{'s' * (len(nodes) != 1)}")]))
    if source.evidence.span:
        began, ended = (f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" for at in source.evidence.span)
        lines.append(text(f"{began} to {ended} UTC"))
    lines.append(el("code", outside(source.place)))
    return join(lines, " · ")


def _banner(source: PageSource) -> Html:
    """What of the page is no measurement, in words that can't be overlooked."""
    completed = [row for row in source.rows if row["status"] == "completed"]
    said = []
    for kind, words in _NO_MEASUREMENT.items():
        number = sum(
            1 for row in completed if row["measured_on"] == kind or (kind == "simulated" and row["simulated"])
        )
        if number:
            which = (
                "Every experiment"
                if number == len(completed)
                else f"{number:,} of {len(completed):,} experiments"
            )
            said.append(el("p", el("strong", text("No measurement. ")), text(f"{which} {words}.")))
    return el("div", *said, class_="banner", role="note") if said else Html("")


def _completed(source: PageSource) -> int:
    return sum(1 for row in source.rows if row["status"] == "completed")


def _plain(name: str) -> Html:
    """For the title of the window, which holds no elements."""
    return Html(outside(name).removeprefix("<bdi>").removesuffix("</bdi>"))


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


@cache
def _asset(*names: str) -> str:
    return _ASSETS.joinpath(*names).read_text(encoding="utf-8")


def _template() -> Template:
    return Template(_asset("page.html"))


def _style() -> str:
    return _asset("page.css")


def _plotly() -> str:
    return _asset("plotly", "plotly-cartesian.min.js")


def _script() -> str:
    own = "\n".join(_asset(name) for name in SCRIPTS)
    return f"(() => {{\n'use strict';\n{own}\n}})();\n"

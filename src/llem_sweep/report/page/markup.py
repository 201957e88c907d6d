"""HTML made of elements: text is escaped wherever it comes from, because there is no way to leave that out."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import NewType

from llem_sweep.printable import printable

Html = NewType("Html", str)
"""Markup, escaped already. Only this module makes it, and ``page`` from the files of the package."""
NOTHING = Html("")
Child = Html | str | None
"""Of an element: markup as :func:`el` returns it. Text goes through :func:`text` or :func:`outside` first."""


def text(own: str) -> Html:
    """A text of our own."""
    return Html(escape(own))


def outside(given: object, *, lines: bool = False) -> Html:
    """Text from outside (a name, a prompt, an error): escaped, without credentials, what would reorder or hide
    text spelled out, and its direction kept to itself. None is an en dash."""
    if given is None:
        return Html("–")
    return Html(f"<bdi>{escape(printable(str(given), lines=lines))}</bdi>")


def el(name: str, *children: Html, **attributes: object) -> Html:
    """An element. ``class_`` is ``class``, ``data_x`` is ``data-x``; True is an attribute without value, None and
    False leave it out; values are escaped."""
    given = "".join(_attribute(key, value) for key, value in attributes.items())
    return Html(f"<{name}{given}>{''.join(children)}</{name}>")


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Markup one after the other, with ``between``, a text of our own, between them."""
    return Html(escape(between).join(parts))


def table(head: Iterable[str], rows: Iterable[Iterable[Html]], caption: str) -> Html:
    """A table whose first column names the rows."""
    headers = join(el("th", text(name), scope="col") for name in head)
    body = join(
        el("tr", *(el("td", cell) if n else el("th", cell, scope="row") for n, cell in enumerate(row)))
        for row in rows
    )
    return el(
        "div",
        el(
            "table",
            el("caption", text(caption)),
            el("thead", el("tr", headers)),
            el("tbody", body),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def facts(pairs: Iterable[tuple[str, Html]]) -> Html:
    """Names and their values."""
    return el(
        "dl", *(el("div", el("dt", text(name)), el("dd", value)) for name, value in pairs), class_="facts"
    )


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(printable(str(value)), quote=True)}"'

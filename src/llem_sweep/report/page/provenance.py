"""Where the numbers come from: versions, boards, method, and the way to make them again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from llem_sweep.plan.types import SweepPlan
from llem_sweep.plan.values import compact
from llem_sweep.report.page.configurations import Configurations
from llem_sweep.report.page.markup import Html, el, facts, join, outside, table, text
from llem_sweep.report.page.source import PageSource

_OVERRIDE = "# --set "
"""How a sweep file kept by a sweep notes what the command line overrode."""
_METHOD = ("Energy by", "Idle power by", "Window", "Estimator", "Coverage", "Gain error of the boards")


def method(source: PageSource) -> Html:
    """How the numbers were measured, as the results say it."""
    said = source.evidence.said
    order = source.plan.execution
    pairs = [(name, _said(said[name])) for name in _METHOD if name in said]
    pairs.append(
        ("Order", text(f"{order.cycle_order}, {order.n_cycles} cycle{'s' * (order.n_cycles > 1)} each"))
    )
    if order.cycle_order == "shuffled":
        seed = "from the sweep's own hash" if order.shuffle_seed is None else str(order.shuffle_seed)
        pairs.append(("Seed of the order", text(seed)))
    pairs.append(("Seeds of sampling", outside(_values(source.plan, "random_seed"))))
    return facts(pairs)


def software(source: PageSource) -> Html:
    """Versions of all that matters for the numbers."""
    evidence = source.evidence
    pairs = [(name, _said(known)) for name, known in evidence.said.items() if name not in _METHOD]
    skip = {"llem-sweep"} if "llem-sweep" in evidence.said else set()
    pairs += [(name, _said(known)) for name, known in evidence.packages.items() if name not in skip]
    return facts(pairs)


def boards(source: PageSource) -> Html:
    """Every board metered."""
    known = source.evidence.boards
    if not known:
        return el("p", text("No board was metered."))
    rows = []
    for (node, uuid, simulated), board in sorted(known.items()):
        limit = "–" if board.power_limit_w is None else f"{board.power_limit_w:g} W"
        memory = "–" if board.memory_total_mb is None else f"{board.memory_total_mb / 1e3:.1f} GB"
        kind = el("strong", text("simulated"), class_="tag warn") if simulated else text("real")
        rows.append(
            [
                outside(uuid),
                outside(board.name),
                kind,
                outside(node),
                text(str(board.index)),
                text(memory),
                text(limit),
                outside(board.driver_version),
            ]
        )
    head = ("UUID", "Board", "Kind", "Node", "NVML index", "Memory", "Power limit", "Driver")
    return table(head, rows, "Boards")


def reproduction(source: PageSource, known: Configurations) -> Html:
    """The configuration and the command to run it again."""
    commands = list(_commands(source))
    files = [
        el(
            "details",
            el("summary", outside(name)),
            el("pre", el("code", outside(content, lines=True)), tabindex="0"),
            open=n == 0,
        )
        for n, (name, content) in enumerate(source.texts)
    ]
    note = (
        "Paths in the file are relative to the place that it was read from: put it back beside its models and data"
        " sets before running it."
    )
    return join(
        [
            el(
                "pre",
                el("code", join((outside(line) for line in commands), "\n")),
                class_="command",
                tabindex="0",
            ),
            el("p", text(note), class_="hint"),
            *files,
            _shared_fields(known),
        ]
    )


def command_line(source_text: str, name: str, settings: Mapping[str, object]) -> str:
    """The command that runs the sweep file ``name`` again as its sweep was run."""
    words = ["llem-sweep", name]
    for line in source_text.splitlines():
        if line.startswith(_OVERRIDE):
            words += ["--set", line.removeprefix(_OVERRIDE)]
    if settings.get("simulate_gpus") is not None:
        words += ["--simulate-gpus", str(settings["simulate_gpus"])]
    if settings.get("inline"):
        words.append("--inline")
    if settings.get("address"):
        words += ["--address", str(settings["address"])]
    return shlex.join(words)


def _commands(source: PageSource) -> Iterator[str]:
    for n, (name, content) in enumerate(source.texts):
        line = command_line(content, name, source.settings)
        yield line if n == 0 else f"{line} --resume DIR --extend"


def _shared_fields(known: Configurations) -> Html:
    pairs = ((name, outside(_value(value))) for name, value in known.shared.items())
    return el(
        "details",
        el("summary", text("Every field that all configurations share, defaults written out")),
        facts(pairs),
    )


def _value(value: object) -> str:
    return "null" if value is None else str(compact(value))


def _values(plan: SweepPlan, field: str) -> str:
    found = dict.fromkeys(getattr(each.config, field) for each in plan.experiments)
    return ", ".join(map(str, _few(list(found))))


def _few(values: Sequence[object], most: int = 8) -> Iterable[object]:
    return values if len(values) <= most else [*values[:most], f"and {len(values) - most} more"]


def _said(known: Counter[str]) -> Html:
    """The one thing that all results say, or each with how many say it."""
    if len(known) == 1:
        return outside(next(iter(known)))
    parts = [f"{value} ({number}×)" for value, number in sorted(known.items())]
    return outside("; ".join(map(str, _few(parts))))

"""What is to be doubted and what went wrong, each with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from llem_sweep.report.page.evidence import Doubt
from llem_sweep.report.page.markup import Html, el, facts, join, outside, table, text
from llem_sweep.report.page.payload import row_name
from llem_sweep.report.page.source import PageSource
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.outcome import FailureKind
from llem_sweep.results.verdict import BLOCKING

MOST_LISTED = 200
"""Refused or skipped points listed."""
FAILURE_REMEDIES: dict[FailureKind, str] = {
    FailureKind.ERROR: "read the message and the log below; once mended, run again what failed",
    FailureKind.OUT_OF_MEMORY: "take a smaller batch, shorter requests, a narrower precision or more GPUs",
    FailureKind.DEVICE_FAULT: "look for Xid errors in the kernel's log; if they come back, replace the board",
    FailureKind.BOARD_LOST: "reset or reboot the node, and look at the kernel's log for Xid errors",
    FailureKind.IDENTITY: "check CUDA_VISIBLE_DEVICES and what else assigns boards on that node",
    FailureKind.TIMEOUT: "raise the limit in execution, or find in the log below what hung",
    FailureKind.WORKER_LOST: "look at the node's log for what ended the process",
    FailureKind.HOST_MEMORY: "run fewer workers on the node, or one with more memory",
    FailureKind.NODE_LOST: "bring the node back, or let the sweep go on elsewhere",
    FailureKind.CONTAMINATED: "leave the board alone while it is measured",
    FailureKind.INTERRUPTED: "go on with --resume; it isn't settled",
    FailureKind.SAVE_FAILED: "make room where results are written",
    FailureKind.NO_SUCH_GPU: "join a node that has such a GPU",
    FailureKind.PRUNED: "none is needed unless the smaller point that ran out of memory was a mistake",
}
"""What to do about an experiment that failed so."""


def warnings(doubts: Sequence[Doubt], results: int) -> Html:
    """Every kind of warning with its remedy and a few of its messages."""
    if not doubts:
        return el("p", text("No result has a warning." if results else "There are no results yet."))
    return el("div", *(_doubt(doubt, results) for doubt in doubts), class_="cards")


def _doubt(doubt: Doubt, results: int) -> Html:
    blocks = doubt.code in BLOCKING
    tag = el("span", text("keeps it from publication" if blocks else "to be read beside the number"))
    examples = (
        el("li", outside(message), text(" — "), outside(folder)) for folder, message in doubt.messages
    )
    return el(
        "article",
        el("h3", el("code", text(doubt.code.value)), text(f" {doubt.results:,} of {results:,} results")),
        el("p", tag, class_="severity blocks" if blocks else "severity"),
        el("p", el("strong", text("What to do: ")), text(doubt.remedy)),
        el("details", el("summary", text("What was seen")), el("ul", *examples)),
        class_="card doubt",
    )


def failures(source: PageSource) -> Html:
    """Every attempt that failed, what was refused, and what was no valid point."""
    plan = source.plan
    labels = {row["experiment_id"]: row_name(row) for row in source.rows}
    parts = []
    found = source.evidence.failures
    if found:
        parts.append(
            el(
                "div",
                *(_failure(folder, each, labels[each.experiment_id]) for folder, each in found),
                class_="cards",
            )
        )
    refused = [row for row in source.rows if row["status"] == "refused"]
    if refused:
        rows = [
            [
                outside(row["experiment_id"]),
                outside(row["model"]),
                outside(row["failure_kind"]),
                outside(row["failure_message"]),
            ]
            for row in refused[:MOST_LISTED]
        ]
        caption = f"Refused on this cluster: {len(refused):,}" + _cut(len(refused))
        parts.append(table(("Experiment", "Model", "Why", "Reason"), rows, caption))
    if plan.skipped:
        rows = [[outside(_point(each.point)), outside(each.reason)] for each in plan.skipped[:MOST_LISTED]]
        caption = f"Points that are no valid configuration: {len(plan.skipped):,}" + _cut(len(plan.skipped))
        parts.append(table(("Point", "Reason"), rows, caption))
    pending = sum(1 for row in source.rows if row["status"] == "pending")
    if pending:
        parts.append(el("p", text(f"{pending:,} experiments haven't run yet: go on with --resume.")))
    return join(parts) if parts else el("p", text("Nothing failed, was refused or skipped."))


def _failure(folder: str, record: FailureRecord, label: str) -> Html:
    about = [
        ("Stage", text(record.stage.value)),
        ("Attempt", text(f"{record.attempt}{', the last' if record.final else ', tried again'}")),
        ("Worker", outside(record.worker)),
        ("Time", text(record.time.strftime("%Y-%m-%d %H:%M:%S %Z"))),
        ("Folder", outside(folder)),
        ("Experiment", outside(record.experiment_id)),
    ]
    texts = (("Traceback", record.traceback), ("End of the worker's log", record.log_tail))
    return el(
        "article",
        el("h3", el("code", text(record.kind.value)), text(" "), outside(label)),
        el("pre", outside(record.message, lines=True), tabindex="0"),
        el("p", el("strong", text("What to do: ")), text(FAILURE_REMEDIES[record.kind])),
        facts(about),
        *(
            el("details", el("summary", text(name)), el("pre", outside(content, lines=True), tabindex="0"))
            for name, content in texts
            if content
        ),
        class_="card failure",
    )


def _point(point: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in point.items())


def _cut(number: int) -> str:
    return f", the first {MOST_LISTED} of them" if number > MOST_LISTED else ""

"""The figures of the page, as plain data that its scripts draw from. Every number is the results' own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from llem_sweep.errors import LlemSweepError
from llem_sweep.plan.values import compact
from llem_sweep.printable import printable
from llem_sweep.report.page.configurations import Configurations
from llem_sweep.report.page.source import PageSource
from llem_sweep.report.page.timelines import Line, Timeline, timeline
from llem_sweep.report.points import Figure, Kind, Point, Row, best_of_each_model, pareto_front, points
from llem_sweep.sampling.sidecar_reading import SidecarError

_POINTS_OF_A_LINE = (80, 600)
"""Fewest and most points of one line of a timeline."""
_ALL_POINTS = 160_000
"""Points of all lines of power together: some 2.5 MB with those of temperature."""
FIGURES = (
    ("energy_per_token_j", "Energy per output token", "J/token"),
    ("tokens_per_second", "Output tokens per second", "tokens/s"),
    ("energy_j", "Energy of the window", "J"),
    ("adjusted_j", "Energy without idle power", "J"),
    ("prefill_per_token_j", "Prefill's energy per output token", "J/token"),
    ("decode_per_token_j", "Decode's energy per output token", "J/token"),
)
"""Attribute of a point, what it is, and its unit."""
_CELLS = (
    "experiment_id",
    "status",
    "cycle",
    "avg_tokens_per_second",
    "avg_energy_per_token_j",
    "avg_energy_per_token_uncertainty_j",
    "total_energy_j",
    "energy_uncertainty_j",
    "energy_adjusted_j",
    "energy_adjusted_uncertainty_j",
    "total_inference_time_sec",
    "input_tokens",
    "output_tokens",
)
"""Cells of a row that the page's table shows as they are."""


def payload(source: PageSource, known_fields: Configurations) -> dict[str, Any]:
    """Everything that the scripts of the page know, ready for JSON."""
    known = points(source.rows)
    labels = _Labels(source.rows)
    return {
        "figures": [{"key": key, "label": label, "unit": unit} for key, label, unit in FIGURES],
        "dimensions": labels.described(),
        "kinds": [_kind(kind) for kind in _kinds(known)],
        "points": _points(known, labels),
        "rows": _rows(source, labels),
        "configurations": _own_fields(known_fields),
        "boards": [_board(board._asdict()) for board in source.boards],
        "timelines": _timelines(source, known),
        "links": source.links,
    }


def shown(value: object) -> str:
    """A value from outside as one line of text fit for a page."""
    return "null" if value is None else printable(str(compact(value)))


class _Labels:
    """The dimensions of the sweep: what its points differ in, and the values of each in order."""

    def __init__(self, rows: Sequence[Row]) -> None:
        swept = dict.fromkeys(name for row in rows for name in row if name.startswith("config."))
        names = {"model": "model", "backend": "backend"} | {
            name: name.removeprefix("config.") for name in swept
        }
        self._values: dict[str, dict[object, int]] = {}
        """Number of each value, in order, by the column of its dimension."""
        self.names: dict[str, str] = {}
        for column, name in names.items():
            values = sorted({_hashable(row.get(column)) for row in rows}, key=_order)
            if len(values) > 1 or column == "model":
                self._values[column], self.names[column] = _numbered(values), name
        boards = sorted({_board_names(row) for row in rows if row.get("device_names")})
        if len(boards) > 1:
            self._values["boards"], self.names["boards"] = _numbered(boards), "boards"

    def described(self) -> list[dict[str, Any]]:
        return [
            {
                "name": shown(self.names[column]),
                "values": _distinct(
                    [_short(str(value)) if column == "model" else shown(value) for value in values]
                ),
                "numeric": all(_is_number(value) for value in values),
            }
            for column, values in self._values.items()
        ]

    def of(self, row: Row) -> list[int | None]:
        """Which value of each dimension ``row`` has."""
        found: list[int | None] = []
        for column, values in self._values.items():
            value = _board_names(row) if column == "boards" else _hashable(row.get(column))
            found.append(values.get(value))
        return found


def _points(known: Sequence[Point], labels: _Labels) -> dict[str, list[Any]]:
    front = {id(point) for point in pareto_front(known)}
    best = {id(point) for point in best_of_each_model(known).values()}
    kinds = _kinds(known)
    columns: dict[str, list[Any]] = {
        "label": [shown(_name(point)) for point in known],
        "hash": [point.config_hash for point in known],
        "values": [labels.of(point.rows[0]) for point in known],
        "kind": [kinds.index(point.kind) for point in known],
        "front": [id(point) in front for point in known],
        "best": [id(point) in best for point in known],
        "cycles": [len(point.rows) for point in known],
        "publishable": [point.publishable for point in known],
    }
    return columns | {key: [_figure(getattr(point, key)) for point in known] for key, _, _ in FIGURES}


def _rows(source: PageSource, labels: _Labels) -> dict[str, list[Any]]:
    rows = source.rows
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in _CELLS}
    folders = [row.get("folder") for row in rows]
    return columns | {
        "label": [shown(row_name(row)) for row in rows],
        "hash": [row["measurement_config_hash"] for row in rows],
        "values": [labels.of(row) for row in rows],
        "measured": [_measured(row) for row in rows],
        "publishable": [row.get("verdict.publishable") for row in rows],
        "warnings": [row.get("warnings") or [] for row in rows],
        "node": [None if row.get("node") is None else shown(row["node"]) for row in rows],
        "boards": [", ".join(row.get("device_uuids") or ()) for row in rows],
        "folder": [None if folder is None else shown(folder) for folder in folders],
        "href": [
            None if folder is None or source.links is None else f"{source.links}{quote(folder)}/"
            for folder in folders
        ],
        "failure": [
            shown(f"{row.get('failure_kind')}: {row.get('failure_message')}")[:300]
            if row.get("failure_kind")
            else None
            for row in rows
        ],
    }


def _own_fields(known: Configurations) -> dict[str, dict[str, str]]:
    """What each configuration has of its own, by its hash."""
    return {
        key: {shown(name): shown(value) for name, value in fields.items()}
        for key, fields in known.own.items()
    }


def _timelines(source: PageSource, known: Sequence[Point]) -> dict[str, Any]:
    """Timelines by row number; of more experiments than are to be shown, those on the front come first."""
    completed = [number for number, row in enumerate(source.rows) if row["status"] == "completed"]
    front = {row["experiment_id"] for point in pareto_front(known) for row in point.rows}
    first = sorted(completed, key=lambda number: source.rows[number]["experiment_id"] not in front)
    chosen = first[: source.most_timelines]
    lines = sum(len(source.rows[number].get("device_uuids") or ()) for number in chosen) or 1
    fewest, most = _POINTS_OF_A_LINE
    each = max(fewest, min(most, _ALL_POINTS // lines))
    shown_: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for number in sorted(chosen):
        folder = source.rows[number]["folder"]
        try:
            shown_[str(number)] = _timeline(timeline(source.sidecar(folder), each))
        except (LlemSweepError, SidecarError) as error:
            absent[str(number)] = shown(str(error))
    return {"shown": shown_, "absent": absent, "completed": len(completed), "chosen": len(chosen)}


def _timeline(found: Timeline) -> dict[str, Any]:
    return {
        "boards": [
            {
                "index": board.nvml_index,
                "uuid": shown(board.uuid),
                "power": _line(board.power),
                "temperature": _line(board.temperature),
            }
            for board in found.boards
        ],
        "bands": [list(band) for band in found.bands],
        "window": found.window_s,
        "reading": found.reading,
    }


def _line(line: Line) -> list[Sequence[float | None]]:
    return [line.times_s, line.values]


def _figure(figure: Figure | None) -> list[float | None] | None:
    return None if figure is None else [figure.value, figure.half_width]


def _kinds(known: Sequence[Point]) -> list[Kind]:
    return list(dict.fromkeys(point.kind for point in known))


def _kind(kind: Kind) -> dict[str, Any]:
    words = _words(kind.measured_on, simulated=kind.simulated)
    return {"words": words, "measured": words == "measured", "boards": shown(", ".join(kind.boards))}


def _measured(row: Row) -> str | None:
    if row.get("measured_on") is None:
        return None
    return _words(row["measured_on"], simulated=bool(row["simulated"]))


def _words(measured_on: str, *, simulated: bool) -> str:
    """How far a number is a measurement."""
    kind = "measured" if measured_on == "board" else measured_on
    return f"{kind}, simulated" if simulated and kind != "simulated" else kind


def _board(board: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "node": shown(board["node"]),
        "uuid": shown(board["uuid"]),
        "name": shown(board["name"]),
        "energy_j": board["energy_j"],
        "experiments": board["experiments"],
        "unknown": board["unknown"],
        "measured": _words(board["measured_on"], simulated=board["simulated"]),
    }


def _name(point: Point) -> str:
    return point.label if point.label == point.model else f"{_short(point.model)} {point.label}"


def row_name(row: Row) -> str:
    """What an experiment is called: its model and what was varied."""
    varied = [
        f"{name.rsplit('.', 1)[-1]}={row[name]}"
        for name in row
        if name.startswith("config.") and row[name] is not None
    ]
    return " ".join([_short(row["model"]), *varied])


def _short(model: str) -> str:
    """A model's last part, as people call it."""
    return printable(model).rstrip("/").rpartition("/")[2] or printable(model)


def _distinct(names: list[str]) -> list[str]:
    """``names``, numbered where two of them look the same."""
    numbers = Counter(names)
    return [name if numbers[name] == 1 else f"{name} ({n})" for n, name in enumerate(names, start=1)]


def _numbered(values: Iterable[object]) -> dict[object, int]:
    return {value: n for n, value in enumerate(values)}


def _board_names(row: Row) -> str:
    return ", ".join(sorted(set(row.get("device_names") or ())))


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(value: object) -> tuple[int, float, str]:
    if _is_number(value):
        assert isinstance(value, int | float)
        return (0, float(value), "")
    return (1, 0.0, str(value))

"""What a worker tells of its boards and of itself."""

from __future__ import annotations

from collections.abc import Mapping

from llem_sweep.device.protocol import Reading
from llem_sweep.execution.on_ray import metrics
from llem_sweep.execution.on_ray.metrics import Teller
from llem_sweep.execution.worker import Worker
from llem_sweep.harness.rig import Rig
from llem_sweep.results.environment import BoardInfo
from llem_sweep.sampling.summary import is_power, is_thermal


class WorkerMetrics:
    """The metrics of one worker; told from one thread, while it works in another."""

    def __init__(self, worker: Worker, sweep: str, label: str) -> None:
        """``label`` is what the worker is called on its node: its boards."""
        spec = worker.spec
        self._worker = worker
        self._label = label
        simulated = str(spec.simulated is not None).lower()
        self._teller = Teller(metrics.OF_WORKERS, {"sweep": sweep, "node": spec.node, "simulated": simulated})
        self._first_mj: dict[str, int] = {}

    def tell(self) -> None:
        """Everything as it is now."""
        self._teller.tell(self._values)

    def _values(self) -> None:
        rig = self._worker.rig
        if rig is not None:
            self._boards(rig)
            self._teller.grow(metrics.LOADS, rig.loads, worker=self._label)
        activity = self._worker.activity
        for phase, spent_s in activity.phases_s().items():
            self._teller.grow(metrics.PHASE_TIME, spent_s, worker=self._label, phase=phase.value)
        for phase, begun in list(activity.begun.items()):
            self._teller.grow(metrics.PHASES, begun, worker=self._label, phase=phase.value)
        self._tokens("input", activity.input_tokens)
        self._tokens("output", activity.output_tokens)

    def _tokens(self, direction: str, tokens: Mapping[str, int]) -> None:
        for backend, count in list(tokens.items()):
            self._teller.grow(metrics.TOKENS, count, worker=self._label, backend=backend, direction=direction)

    def _boards(self, rig: Rig) -> None:
        for board, reading in zip(rig.boards, rig.readings(), strict=False):
            if reading is not None:
                self._board(board, reading)

    def _board(self, board: BoardInfo, reading: Reading) -> None:
        teller = self._teller
        tags = {"board": f"gpu{board.index}", "uuid": board.uuid, "kind": board.name}
        teller.show(metrics.POWER, _scaled(reading.power_mw, 1e-3), **tags)
        teller.show(metrics.TEMPERATURE, reading.temperature_c, **tags)
        teller.show(metrics.UTILISATION, _scaled(reading.sm_utilisation_pct, 1e-2), **tags)
        if (mask := reading.throttle_reasons) is not None:
            teller.show(metrics.THROTTLED, float(is_power(mask)), **tags, reason="power")
            teller.show(metrics.THROTTLED, float(is_thermal(mask)), **tags, reason="thermal")
        if (counter_mj := reading.energy_mj) is not None:
            first_mj = self._first_mj.setdefault(board.uuid, counter_mj)
            teller.grow(metrics.BOARD_ENERGY, (counter_mj - first_mj) / 1000, **tags)


def _scaled(value: int | None, factor: float) -> float | None:
    return value * factor if value is not None else None

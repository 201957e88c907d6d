"""What a window computed, and what it took of the devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llem_sweep.backends.protocol import BatchTally, LoadedModel
from llem_sweep.harness.flops import flops_breakdown
from llem_sweep.harness.memory import memory_use
from llem_sweep.harness.utilisation import bytes_read, utilisation
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.experiment import MeasuredOn
from llem_sweep.results.parts import ExtendedEfficiencyMetrics
from llem_sweep.results.work import Compilation, FlopsBreakdown, HardwareUtilisation, MemoryUse


class Efficiency(NamedTuple):
    """What no sample tells."""

    flops: FlopsBreakdown
    hardware: HardwareUtilisation
    memory: MemoryUse
    compilation: Compilation | None

    def added_to(self, extended: ExtendedEfficiencyMetrics) -> ExtendedEfficiencyMetrics:
        """``extended``, which follows from the samples, with the rest."""
        return extended.model_copy(
            update={"hardware": self.hardware, "memory": self.memory, "compilation": self.compilation}
        )


def efficiency(
    model: LoadedModel,
    tallies: Sequence[BatchTally],
    boards: Sequence[BoardInfo],
    where: MeasuredOn,
    duration_s: float,
) -> Efficiency:
    """That of the batches in ``tallies``, run in ``duration_s`` on ``boards`` or, by ``where``, elsewhere."""
    flops = flops_breakdown(model.architecture, tallies)
    read = bytes_read(model.architecture, model.operands, tallies)
    compiled = model.compiled
    names = [board.name for board in boards] if where == "board" else []
    return Efficiency(
        flops,
        utilisation(flops.useful_flops, read, model.operands, names, duration_s),
        memory_use(model.memory(), tallies),
        Compilation(graphs=compiled.graphs, seconds=compiled.seconds) if compiled else None,
    )

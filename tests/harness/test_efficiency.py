from __future__ import annotations

from typing import Any, cast

import pytest

from factories import make_board
from llem_sweep.backends.protocol import BatchTally, Compiled, DeviceMemory, LoadedModel, Operands
from llem_sweep.harness.efficiency import efficiency
from llem_sweep.harness.memory import memory_use
from llem_sweep.plan.architecture import Architecture
from llem_sweep.plan.flops import Passes, RequestLength
from llem_sweep.results.experiment import MeasuredOn
from llem_sweep.results.parts import ExtendedEfficiencyMetrics
from llem_sweep.results.work import Compilation


class Model:
    """A model that did one batch of round numbers."""

    architecture = Architecture(10, 10, 10**12, 0, 1, (None,), 4, True)
    operands = Operands("bf16", 10**9, 2.0)
    compiled = Compiled(3, 21.5)

    def memory(self) -> tuple[DeviceMemory, ...]:
        return (DeviceMemory("cuda:0", 3_000_000, 8_000_000), DeviceMemory("cuda:1", 2_000_000, 5_000_000))


def tally(**fields: Any) -> BatchTally:
    lengths = (RequestLength(3, 2),)
    known = BatchTally(1, 3, 2, 0, lengths=lengths, passes=Passes(1, 3, 1), cache_bytes=1_000_000)
    return known._replace(**fields)


@pytest.mark.parametrize(("where", "used"), [("board", True), ("off-board", False), ("simulated", False)])
def test_only_work_on_boards_that_are_metered_uses_what_they_can_do(where: MeasuredOn, used: bool) -> None:
    found = efficiency(cast(LoadedModel, Model()), [tally()], [make_board()], where, 2.0)
    assert found.flops.useful_flops == pytest.approx(4e12)
    assert (found.hardware.model_flops_utilisation is not None) is used
    assert (found.hardware.memory_bandwidth_utilisation is not None) is used
    if used:
        assert found.hardware.model_flops_utilisation == pytest.approx(4e12 / 2.0 / 989.5e12)
        assert found.hardware.memory_bandwidth_utilisation == pytest.approx(2e9 / 2.0 / 3.35e12)
    extended = found.added_to(ExtendedEfficiencyMetrics(batch_count=1))
    assert (extended.batch_count, extended.hardware, extended.memory) == (1, found.hardware, found.memory)
    assert extended.compilation == Compilation(graphs=3, seconds=21.5)


def test_memory_is_the_sum_over_devices_and_the_largest_cache() -> None:
    found = memory_use(Model().memory(), [tally(), tally(cache_bytes=2_500_000), tally()])
    assert (found.model_memory_mb, found.peak_memory_mb, found.inference_memory_mb) == (5.0, 13.0, 8.0)
    assert found.kv_cache_mb == 2.5
    assert [(each.device, each.model_mb, each.peak_mb) for each in found.devices] == [
        ("cuda:0", 3.0, 8.0),
        ("cuda:1", 2.0, 5.0),
    ]
    assert found.reason is None


def test_a_device_without_a_peak_leaves_it_unknown_and_says_so() -> None:
    found = memory_use([DeviceMemory("cpu", 4_000_000, None)], [tally(cache_bytes=None), tally()])
    assert (found.model_memory_mb, found.peak_memory_mb, found.inference_memory_mb) == (4.0, None, None)
    assert found.kv_cache_mb is None
    assert found.reason == "only boards' allocators tell their peak"
    nothing = memory_use([], [tally()])
    assert (nothing.model_memory_mb, nothing.peak_memory_mb) == (None, None)
    assert "doesn't say" in (nothing.reason or "")

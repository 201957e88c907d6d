from __future__ import annotations

import pytest

from llem_sweep.device.simulated_power import Hold, Limits

BOTH = Limits(power_cap_w=400.0, thermal_c=80.0, share_when_hot=0.5)


@pytest.mark.parametrize(
    ("demand_w", "temperature_c", "was_hot", "hold"),
    [
        (399.0, 79.9, False, Hold()),
        (500.0, 79.9, False, Hold(0.8, by_power=True)),
        (500.0, 80.0, False, Hold(0.5, by_heat=True)),
        (500.0, 77.1, True, Hold(0.5, by_heat=True)),
        (500.0, 76.9, True, Hold(0.8, by_power=True)),
        (1000.0, 85.0, True, Hold(0.4, by_power=True, by_heat=True)),
    ],
)
def test_each_limit_holds_what_the_other_leaves(
    demand_w: float, temperature_c: float, was_hot: bool, hold: Hold
) -> None:
    assert BOTH.hold(demand_w, temperature_c, was_hot) == hold


def test_without_limits_nothing_is_held() -> None:
    assert Limits().hold(1e6, 200.0, True) == Hold()

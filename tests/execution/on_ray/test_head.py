"""Whether somebody listens where the head is said to be."""

from __future__ import annotations

import socket

from llem_sweep.clock import SimulatedClock
from llem_sweep.execution.on_ray.head import Head


def test_how_long_the_head_is_away_counts_from_the_first_time_that_nobody_answered() -> None:
    clock = SimulatedClock(start_s=0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        head = Head(f"{host}:{port}", clock)
        assert head.away_s() is None
    assert head.away_s() == 0.0
    clock.sleep(7.0)
    assert head.away_s() == 7.0
    with socket.create_server((host, port)):
        assert head.away_s() is None
    clock.sleep(5.0)
    assert head.away_s() == 0.0

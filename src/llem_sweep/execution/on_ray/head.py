"""Whether the head of the cluster is still there."""

from __future__ import annotations

import socket

from llem_sweep.clock import Clock

ANSWER_LIMIT_S = 1.0
HEAD_LIMIT_S = 20.0
"""How long the head may be away before the sweep gives up. Ray itself waits for a minute and then ends the process
of whoever has asked something of it, with exit code 1."""


class Head:
    """Knocks before anything is asked: most questions to a head that is gone wait for a minute."""

    def __init__(self, address: str, clock: Clock) -> None:
        """``address`` is its ``HOST:PORT``."""
        host, _, port = address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._clock = clock
        self._away_since_s: float | None = None

    def away_s(self) -> float | None:
        """How long it hasn't been there, found out now, within ANSWER_LIMIT_S; None when it is."""
        begin_s = self._clock.monotonic()
        try:
            socket.create_connection(self._place, timeout=ANSWER_LIMIT_S).close()
        except OSError:
            if self._away_since_s is None:
                self._away_since_s = begin_s
            return self._clock.monotonic() - self._away_since_s
        self._away_since_s = None
        return None

"""One run at a time on a sweep in an object store: a lease that expires, since nothing there notices a death.

A run that wants the sweep first writes a claim of its own, then lists. Of two that claim at once, the one that
lists later sees the other's, so at most one goes on; it writes that it holds the lease, and renews that. What
wasn't renewed for ``LEASE_S`` by the store's own clock is void. That is a best effort: a run that is stopped for
longer than that between looking at its lease and writing an object may still write it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
from datetime import datetime, timedelta

from llem_sweep.clock import Clock
from llem_sweep.errors import ResumeError
from llem_sweep.store.layout import LEASE
from llem_sweep.store.objects import Entry, ObjectStore, why

LEASE_S = 60.0
RENEW_S = 15.0
FRESH_S = 40.0
"""A lease renewed longer ago than this allows no writing: it may be void before the writing is done."""
RETRY_S = 5.0
_CLAIMED, _HELD = ".claim", ".held"
_TRIES = 3


class Lease:
    """A run's right to write to a sweep in ``store``."""

    def __init__(self, store: ObjectStore, token: str, clock: Clock) -> None:
        """Not taken yet. A lease left behind under the same ``token`` is this run's own."""
        self._store = store
        self._claim, self._held = (f"{LEASE}/{token}{end}" for end in (_CLAIMED, _HELD))
        self._clock = clock
        self._renewed_s = self._due_s = float("-inf")
        self.lost: str | None = None
        """Who has it now, once another run has taken it over."""
        self.trouble: str | None = None
        """Why it couldn't be renewed the last time."""

    def take(self) -> None:
        """Take the lease. Raises ResumeError when another run holds it, OSError when the store fails."""
        try:
            self._give_way_or_claim()
            began_s = self._clock.monotonic()
            self._store.put(self._held, self._content())
            self._store.delete(self._claim)
        except OSError:
            with contextlib.suppress(OSError):  # the failure to report is the first one
                self._store.delete(self._claim)
            raise
        self._note_renewed(began_s)

    def tick(self) -> None:
        """Renew the lease when it is time to. To be called often, from one thread at a time; never raises."""
        began_s = self._clock.monotonic()
        if self.lost is not None or began_s < self._due_s:
            return
        self._due_s = began_s + RETRY_S
        try:
            entries = self._store.entries(LEASE)
            others = [name for name in entries if name.endswith(_HELD) and name != self._held]
            if others or self._held not in entries:
                self.lost = self._holder(others[0]) if others else "it has ended since"
                return
            self._store.put(self._held, self._content())
        except OSError as exc:
            self.trouble = why(exc, self._store.uri)
            return
        self._note_renewed(began_s)

    def fresh(self) -> bool:
        """Whether it is safe to write now."""
        return self.lost is None and self._clock.monotonic() - self._renewed_s < FRESH_S

    def release(self) -> None:
        """Let another run have it, unless one has it already. Raises OSError."""
        if self.lost is None:
            self._store.delete(self._held)

    def _give_way_or_claim(self) -> None:
        """Leave a claim that no other stands against. Raises as :meth:`take` does."""
        for left in reversed(range(_TRIES)):
            rivals = self._claim_and_look()
            if not rivals:
                return
            self._store.delete(self._claim)
            held = [name for name in rivals if name.endswith(_HELD)]
            if held or not left:
                holder = self._holder((held or rivals)[0])
                raise ResumeError(
                    f"another run is working on {self._store.uri.shown} ({holder}): wait for it, or stop it first;"
                    f" {LEASE_S:.0f} s after it died, it no longer counts"
                )
            # Both have seen each other: whoever comes back first gets it.
            self._clock.sleep(random.uniform(0.5, 3.0))

    def _claim_and_look(self) -> list[str]:
        """Write the claim, remove what is void; returns the leases and claims of others that aren't."""
        self._store.put(self._claim, self._content())
        entries = self._store.entries(LEASE)
        now = entries[self._claim].modified if self._claim in entries else self._clock.now()
        others = {name: entry for name, entry in entries.items() if name not in (self._claim, self._held)}
        rivals = [name for name, entry in others.items() if _holds(entry, now)]
        if not rivals:
            for name in others:
                self._store.delete(name)
        return rivals

    def _note_renewed(self, began_s: float) -> None:
        self._renewed_s, self._due_s, self.trouble = began_s, began_s + RENEW_S, None

    def _content(self) -> bytes:
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        return json.dumps({"holder": holder, "renewed": self._clock.now().isoformat()}).encode()

    def _holder(self, name: str) -> str:
        try:
            return str(json.loads(self._store.get(name))["holder"])
        except (OSError, ValueError, KeyError, TypeError):
            return "it"


def _holds(entry: Entry, now: datetime) -> bool:
    return now - entry.modified < timedelta(seconds=LEASE_S)

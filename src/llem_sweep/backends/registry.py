"""Backends by name, from the entry-point group ``llem_sweep.backends``."""

from __future__ import annotations

from importlib.metadata import entry_points

from llem_sweep.backends.protocol import Backend
from llem_sweep.clock import Clock
from llem_sweep.errors import BackendError

BACKENDS_GROUP = "llem_sweep.backends"


def backend_names() -> tuple[str, ...]:
    """Names of all installed backends, without importing any."""
    return tuple(sorted({point.name for point in entry_points(group=BACKENDS_GROUP)}))


def create_backend(name: str, clock: Clock) -> Backend:
    """The backend called ``name``; raises BackendError when none is installed under that name."""
    for point in entry_points(group=BACKENDS_GROUP):
        if point.name == name:
            backend: Backend = point.load()(clock)
            return backend
    raise BackendError(f"no backend is called {name!r}; installed: {', '.join(backend_names())}")

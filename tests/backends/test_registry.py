from __future__ import annotations

import pytest

from llem_sweep.backends.registry import backend_names, create_backend
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import BackendError


def test_an_unknown_backend_is_refused_with_the_names_there_are() -> None:
    assert {"pytorch", "synthetic"} <= set(backend_names())
    with pytest.raises(BackendError, match=r"no backend is called 'torch'; installed: .*pytorch.*synthetic"):
        create_backend("torch", SimulatedClock())

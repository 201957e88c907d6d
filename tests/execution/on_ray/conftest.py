"""Ray's metrics without Ray."""

from __future__ import annotations

import pytest

from llem_sweep.execution.on_ray import metrics

Labels = frozenset[tuple[str, str]]


class Told:
    """What Ray has been told: the newest value of each gauge, the sum of each counter, by name and labels."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, Labels], float] = {}
        self.calls = 0
        self.broken: Exception | None = None

    def of(self, metric: metrics.Metric, **labels: str) -> float:
        """The one value of a metric that has ``labels``, among others."""
        found = [
            value
            for (name, known), value in self.values.items()
            if name == metric.name and labels.items() <= dict(known).items()
        ]
        (value,) = found
        return value

    def names(self) -> set[str]:
        return {name for name, _ in self.values}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Ray's classes of metrics replaced by ones that remember, and are as strict about labels."""
    remembered = Told()

    class Series:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            self._name, self._keys = name, set(tag_keys)

        def set(self, value: float, tags: dict[str, str]) -> None:
            self._tell(tags, lambda before: value)

        def inc(self, value: float, tags: dict[str, str]) -> None:
            assert value > 0, "as Ray says"
            self._tell(tags, lambda before: before + value)

        def _tell(self, tags: dict[str, str], change: object) -> None:
            if remembered.broken is not None:
                raise remembered.broken
            assert set(tags) == self._keys, (self._name, tags)
            remembered.calls += 1
            key = (self._name, frozenset(tags.items()))
            assert callable(change)
            remembered.values[key] = change(remembered.values.get(key, 0.0))

    monkeypatch.setattr(metrics, "Gauge", Series)
    monkeypatch.setattr(metrics, "Counter", Series)
    return remembered

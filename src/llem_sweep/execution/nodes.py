"""Which experiments share a node."""

from __future__ import annotations


class Nodes:
    """The experiments under way on each node, and whom each of them met there."""

    def __init__(self, *, exclusive: bool) -> None:
        """``exclusive`` allows one experiment at a time on each node."""
        self.exclusive = exclusive
        self._node_of: dict[str, str] = {}
        self._running: dict[str, str] = {}
        """Experiment by worker."""
        self._met: dict[str, set[str]] = {}
        """Experiments met, by worker."""

    def seat(self, worker: str, node: str) -> None:
        """``worker`` sits on ``node``."""
        self._node_of[worker] = node

    def may_begin(self, worker: str) -> bool:
        """Whether an experiment may begin on ``worker`` now."""
        return not (self.exclusive and self._beside(worker))

    def begin(self, worker: str, experiment_id: str) -> None:
        """An experiment begins."""
        beside = self._beside(worker)
        self._met[worker] = {self._running[other] for other in beside}
        for other in beside:
            self._met[other].add(experiment_id)
        self._running[worker] = experiment_id

    def end(self, worker: str) -> tuple[str, ...]:
        """The experiment on ``worker`` has ended; the ids of all those that were under way beside it."""
        self._running.pop(worker, None)
        return tuple(sorted(self._met.pop(worker, ())))

    def _beside(self, worker: str) -> list[str]:
        node = self._node_of.get(worker)
        return [other for other in self._running if other != worker and self._node_of.get(other) == node]

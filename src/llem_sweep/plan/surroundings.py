"""What must stay the same for results to stand in one table: software, driver, boards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llem_sweep.plan.types import ClusterShape
from llem_sweep.results.environment import EnvironmentSnapshot

Surroundings = Mapping[str, tuple[str, ...]]
"""What it is, in words, to every value known of it, sorted. What isn't known isn't there."""

PACKAGES = ("llem-sweep", "torch", "transformers", "ray")
"""Packages whose version is compared."""
_DRIVER = "NVIDIA driver"
_BOARD = "board"


def surroundings_of(snapshot: EnvironmentSnapshot) -> Surroundings:
    """What a stored result was measured with. Simulated boards are none."""
    real = [board for board in snapshot.devices if not board.simulated]
    return _surroundings(
        snapshot.installed_packages,
        (board.name for board in real),
        (board.driver_version for board in real),
    )


def surroundings_here(cluster: ClusterShape, packages: Mapping[str, str], *, boards: bool) -> Surroundings:
    """What ``cluster`` would measure with, on its boards or without; ``packages`` are the versions installed here,
    as on its nodes."""
    nodes = [node for node in cluster.nodes if boards and node.gpus and not cluster.simulated]
    return _surroundings(packages, (node.board for node in nodes), (node.driver for node in nodes))


def together(*known: Surroundings) -> Surroundings:
    """All of ``known`` at once."""
    return {
        what: tuple(sorted({value for each in known for value in each.get(what, ())}))
        for what in dict.fromkeys(what for each in known for what in each)
    }


def surrounding_changes(then: Surroundings, now: Surroundings) -> list[str]:
    """One sentence for each thing that is now as it never was; what isn't known on either side doesn't differ."""
    return [
        f"{what}: {', '.join(then[what])} then, {', '.join(others)} now"
        for what, values in now.items()
        if then.get(what) and (others := [value for value in values if value not in then[what]])
    ]


def _surroundings(
    packages: Mapping[str, str], boards: Iterable[str | None], drivers: Iterable[str | None]
) -> Surroundings:
    # Builds for CPU and CUDA are the same release: the local part of a version says nothing.
    found = {name: {packages[name].split("+")[0]} for name in PACKAGES if name in packages}
    found[_DRIVER] = {version for version in drivers if version}
    found[_BOARD] = {name for name in boards if name}
    return {what: tuple(sorted(values)) for what, values in found.items() if values}

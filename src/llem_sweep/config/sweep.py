"""A sweep as its file says it: shared fields, the dimensions to vary, and how to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from llem_sweep.config.base import ConfigModel, Unhashed

Values = Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]
Points = Annotated[tuple[dict[str, Any], ...], Field(strict=False)]
CycleOrder = Literal["blocked", "longest_first", "sequential", "interleaved", "shuffled"]


class ExecutionConfig(ConfigModel):
    """How experiments are run; none of it enters an experiment's identity."""

    n_cycles: int = Field(default=1, ge=1)
    """Repeats of every point."""
    cycle_order: CycleOrder = "blocked"
    """sequential (A A B B), interleaved (A B A B) and shuffled (each cycle a full permutation) fix the order in
    which experiments are begun. blocked: a worker finishes all cycles of its share of a model, each cycle a fresh
    permutation, before it changes model. longest_first: whatever ends the sweep soonest, a model staying where it
    is loaded."""
    shuffle_seed: int | None = Field(default=None, ge=0)
    """Seed of ``shuffled`` and ``blocked``; by default taken from the design hash."""
    experiment_gap_seconds: float = Field(default=0.0, ge=0.0)
    """Idle time of a worker between two experiments."""
    cycle_gap_seconds: float = Field(default=0.0, ge=0.0)
    """Idle time of a worker before an experiment of another cycle than its last."""
    experiment_timeout_seconds: float | None = Field(default=None, gt=0.0)
    """Limit on one experiment, loading and idle power not counted; by default derived from the plan."""
    stall_timeout_seconds: float | None = Field(default=None, gt=0.0)
    """Limit on the time without progress (a batch done, or a new phase) in an experiment that isn't loading; by
    default derived from the plan."""
    load_timeout_seconds: float = Field(default=3600.0, gt=0.0)
    """Limit on loading one model."""
    max_retries: int = Field(default=2, ge=0)
    """Further attempts of an experiment whose worker was lost, or that was contaminated. One that loses its worker
    a second time is set aside as failed all the same."""
    max_preemptions: int = Field(default=10, ge=0)
    """Further attempts of an experiment whose node was preempted, failed or was cut off."""
    fail_fast_after: int = Field(default=5, ge=0)
    """Begin nothing more when the first so many experiments have all failed for the same reason; 0 never does."""
    prune_out_of_memory: bool = True
    """Leave out the points that need at least as much of everything as one that ran out of GPU memory."""
    node_wait_seconds: float = Field(default=120.0, ge=0.0)
    """How long to wait for a node to come back, or to be added, before experiments that nothing else could run
    fail."""
    exclusive: Literal["gpu", "node"] = "gpu"
    """gpu: one experiment at a time on each board; node: one on each node, so that experiments don't share its
    processors, memory and cooling."""
    on_contamination: Literal["keep", "retry"] = "keep"
    """What becomes of a result that something from outside has spoiled (another process on the board, a gap in
    the samples, heat): kept with its warnings, or run again as often as ``max_retries`` allows."""
    max_experiments: int = Field(default=100_000, ge=1)
    """Largest grid that is expanded at all."""
    cpu_workers: int | None = Field(default=None, ge=1)
    """CPU workers per node for ``gpus: 0``; by default one."""
    grace_seconds: float = Field(default=30.0, ge=0.0)
    """How long running experiments may go on after the first interrupt."""

    @property
    def order_is_fixed(self) -> bool:
        """Whether experiments are begun in the planned order, whatever is loaded where."""
        return self.cycle_order in ("sequential", "interleaved", "shuffled")


def dimension_conflicts(sweep: Mapping[str, Sized], zipped: Mapping[str, Sized]) -> list[tuple[str, str]]:
    """Field and message of what contradicts itself in the dimensions of a grid."""
    conflicts = [(key, "is in both sweep and zip: vary it in one of them") for key in zipped if key in sweep]
    lengths = {key: len(values) for key, values in zipped.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        conflicts.append(("zip", f"lists that advance together must be of equal length: {listed}"))
    return conflicts


def grid_size(sweep: Mapping[str, Sized], zipped: Mapping[str, Sized], explicit: int) -> int:
    """Points of a grid with ``explicit`` ones beside its product, before exclusion and merging."""
    if not (sweep or zipped):
        return explicit or 1
    together = len(next(iter(zipped.values()))) if zipped else 1
    return prod(len(values) for values in sweep.values()) * together + explicit


class SweepConfig(ConfigModel):
    """A grid of experiments and how to run it. :func:`llem_sweep.load_sweep` makes one from a file.

    ``shared``, ``experiments``, ``include`` and ``exclude`` hold experiment fields as nested mappings; ``sweep``
    and ``zip`` map a dotted field to its values.
    """

    name: str = "sweep"
    shared: dict[str, Any] = Field(default_factory=dict)
    """Experiment fields that all points share."""
    sweep: dict[str, Values] = Field(default_factory=dict)
    """Dimensions combined with each other (Cartesian product, the last one fastest)."""
    zip: dict[str, Values] = Field(default_factory=dict)
    """Dimensions advanced together; together they are one more dimension of the product."""
    exclude: Points = ()
    """Partial points: whatever matches one of them is left out of the product."""
    experiments: Points = ()
    """Points added after exclusion, merged over the shared fields."""
    include: Points = ()
    """The same as ``experiments``."""
    execution: ExecutionConfig = ExecutionConfig()
    contents: Annotated[dict[str, str], Unhashed()] = Field(default_factory=dict)
    """Digest of every local model folder and dataset file, by absolute path."""
    source: Annotated[str, Unhashed()] = ""
    """The file as given, and what the command line overrode."""
    warnings: Annotated[tuple[str, ...], Unhashed(), Field(strict=False)] = ()
    """Fields accepted without effect, each with its substitute."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if conflicts := dimension_conflicts(self.sweep, self.zip):
            raise ValueError("; ".join(f"{field}: {message}" for field, message in conflicts))
        return self

    @property
    def grid_size(self) -> int:
        """Points before exclusion and merging, counted without expanding them."""
        return grid_size(self.sweep, self.zip, len(self.experiments) + len(self.include))

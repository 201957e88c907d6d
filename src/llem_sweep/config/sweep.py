"""A sweep as its file says it: shared fields, the dimensions to vary, and how to run them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from llem_sweep.config.base import ConfigModel, Unhashed

Values = Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]
Points = Annotated[tuple[dict[str, Any], ...], Field(strict=False)]


class ExecutionConfig(ConfigModel):
    """How experiments are run; none of it enters an experiment's identity."""

    n_cycles: int = Field(default=1, ge=1)
    """Repeats of every point."""
    cycle_order: Literal["sequential", "interleaved", "shuffled"] = "sequential"
    """A A B B, A B A B, or each cycle a full permutation."""
    shuffle_seed: int | None = Field(default=None, ge=0)
    """Seed of ``shuffled``; by default taken from the design hash."""
    experiment_gap_seconds: float = Field(default=0.0, ge=0.0)
    """Idle time of a worker between two experiments."""
    cycle_gap_seconds: float = Field(default=0.0, ge=0.0)
    """Idle time of a worker before an experiment of another cycle than its last."""
    experiment_timeout_seconds: float | None = Field(default=None, gt=0.0)
    """Limit on one experiment, load and download not counted; by default derived from the plan."""
    max_retries: int = Field(default=2, ge=0)
    """Further attempts of an experiment whose worker was lost."""
    max_experiments: int = Field(default=100_000, ge=1)
    """Largest grid that is expanded at all."""
    cpu_workers: int | None = Field(default=None, ge=1)
    """CPU workers per node for ``gpus: 0``; by default one."""
    grace_seconds: float = Field(default=30.0, ge=0.0)
    """How long running experiments may go on after the first interrupt."""


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

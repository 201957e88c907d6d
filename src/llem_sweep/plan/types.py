"""What a plan is made of."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig


class PlannedExperiment(NamedTuple):
    """One experiment to run: a point in one of its cycles."""

    experiment_id: str
    """16 hex digits; equal for equal configurations and cycles, however they are spelled."""
    config_hash: str
    """16 hex digits; the same for all cycles."""
    config: ExperimentConfig
    cycle: int
    """From 1."""
    varied: dict[str, Any]
    """The swept fields of this point, dotted name to value, for names and tables."""


class Attempt(NamedTuple):
    """Which attempt at an experiment, and whose."""

    experiment: PlannedExperiment
    number: int
    """From 1."""
    worker: str


class SkippedPoint(NamedTuple):
    """A point of the grid that isn't a valid configuration."""

    point: dict[str, Any]
    """Dotted name to value of what distinguishes it."""
    reason: str


class SweepPlan(NamedTuple):
    """Every experiment of a sweep in planned order. Depends on the sweep alone."""

    name: str
    experiments: tuple[PlannedExperiment, ...]
    skipped: tuple[SkippedPoint, ...]
    merged: int
    """Points left out because an equal one came before."""
    design_hash: str
    """16 hex digits over all points in the order of the file, and the execution settings that order them."""
    execution: ExecutionConfig
    warnings: tuple[str, ...] = ()
    contents: Mapping[str, str] = {}
    """Digest of every local model folder and dataset file, by absolute path."""
    points: tuple[str, ...] = ()
    """``config_hash`` of every point in the order of the file, whatever the order of the experiments."""

    @property
    def by_point(self) -> tuple[PlannedExperiment, ...]:
        """The experiments as a reader of the file expects them: point after point, its cycles together."""
        places = {point: place for place, point in enumerate(self.points)}
        last = len(places)
        return tuple(
            sorted(self.experiments, key=lambda each: (places.get(each.config_hash, last), each.cycle))
        )


class ActivationBytes(NamedTuple):
    """The most bytes that a pass holds at once besides weights and cache, by what they grow with."""

    layer_token: int
    """For each token, inside the widest part of a layer."""
    attention_token: int
    """For each token, beside the scores where attention writes them out."""
    pair: int
    """For each row and pair of its positions: the scores of all heads; 0 where attention never holds them."""
    chosen_logits: int
    """For each row, once a token is chosen."""
    further_logits: int
    """For each further position of a prompt; 0 for a model that makes logits of the last one alone."""
    layer_keys: int = 0
    """Numbers, not bytes: the keys of one layer for one token, or its values."""


class CacheLayers(NamedTuple):
    """Layers that keep keys and values for equally long."""

    token_bytes: int
    """Of one token, in all of these layers."""
    window: int | None = None
    """How many of the last tokens they keep; None for all."""

    def bytes(self, tokens: int) -> int:
        """Of a row of so many tokens."""
        return self.token_bytes * (tokens if self.window is None else min(tokens, self.window))


class ModelFacts(NamedTuple):
    """What a backend knows of a model without loading it. Unknown is None."""

    parameters: int | None = None
    weight_bytes: int | None = None
    cache: tuple[CacheLayers, ...] | None = None
    """What it keeps of each token; nothing else."""
    activations: ActivationBytes | None = None
    tensor_plan: bool | None = None
    """Whether the model says how it is divided over several processes (``parallelism: tensor``)."""
    divided_heads: int | None = None
    """Heads of which each process then has a whole number."""
    vocabulary: int | None = None
    """Tokens that it knows."""
    chat_template: bool | None = None
    """Whether its tokenizer has a template for chats."""
    fixed_cache: str | None = None
    """Why its keys and values can't be quantised."""
    problem: str | None = None
    """Why the model can't be used at all, when that is known already."""
    absent: str | None = None
    """Why the node asked can't have the model; another node may hold it, or reach what this one can't."""
    absent_on: frozenset[str] = frozenset()
    """Names of the nodes that can't have it."""


class NodeShape(NamedTuple):
    """What one node offers."""

    name: str
    gpus: int
    cpus: float
    board: str | None = None
    """NVML's name of its boards."""
    board_memory_mb: float | None = None
    """Of each board, of the smallest where they differ, in MB (10^6 bytes)."""
    accelerator: str | None = None
    """Ray's name for the kind of its boards, for example ``H100``."""
    workers: int | None = None
    """Most workers at once, each with the whole of its share; None for as many as there are boards for."""
    driver: str | None = None
    """Version of its NVIDIA driver."""
    generations: frozenset[str] = frozenset()
    """Of its boards, as NVML tells them, for example ``hopper``; empty where it doesn't."""


class ClusterShape(NamedTuple):
    """What admission holds a plan against."""

    nodes: tuple[NodeShape, ...]
    simulated: bool = False
    inline: bool = False
    """One worker in the driver's own process."""
    startable: tuple[NodeShape, ...] = ()
    """Kinds of node that an autoscaler can add, named after the kind."""
    grows: bool = False
    """Whether there is an autoscaler that may add nodes of kinds that nobody could say."""


class Refusal(StrEnum):
    """Why an experiment can't run here."""

    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    NO_SUCH_GPU = "no_such_gpu"


class RefusedExperiment(NamedTuple):
    """A valid experiment that can't run on this cluster."""

    experiment: PlannedExperiment
    refusal: Refusal
    reason: str


class Admission(NamedTuple):
    """A plan held against a cluster."""

    admitted: tuple[PlannedExperiment, ...]
    refused: tuple[RefusedExperiment, ...]

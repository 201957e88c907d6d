"""A plan held against a cluster: what can't run there is marked, with the reason, before any GPU is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from llem_sweep.config.datasets import no_template
from llem_sweep.config.experiment import ExperimentConfig, in_chat
from llem_sweep.config.options import OFFLOADED_CACHES
from llem_sweep.config.placing import board_limits
from llem_sweep.plan.fp8 import lacks_fp8
from llem_sweep.plan.memory import MemoryEstimate, memory_estimate
from llem_sweep.plan.need import need_of, share_of
from llem_sweep.plan.types import (
    Admission,
    ClusterShape,
    ModelFacts,
    NodeShape,
    PlannedExperiment,
    Refusal,
    RefusedExperiment,
    SweepPlan,
)

_MB = 1e6
Facts = Callable[[ExperimentConfig], ModelFacts]


class _Verdict(NamedTuple):
    refusal: Refusal
    reason: str


def admit(
    plan: SweepPlan,
    cluster: ClusterShape,
    facts: Facts,
    *,
    allow_remote_code: bool,
    backends: Iterable[str],
) -> Admission:
    """Which experiments of ``plan`` can run on ``cluster``, and why the others can't.

    ``backends`` are the names installed; ``facts`` is asked only about experiments that nothing else forbids,
    once for all cycles of a point.
    """
    installed = tuple(backends)
    verdicts: dict[str, _Verdict | None] = {}
    inline_width = plan.experiments[0].config.gpus if cluster.inline and not cluster.simulated else None
    admitted: list[PlannedExperiment] = []
    refused: list[RefusedExperiment] = []
    for experiment in plan.experiments:
        point = experiment.config_hash
        if point not in verdicts:
            verdicts[point] = (
                _other_width(experiment.config, inline_width)
                or _too_many_workers(plan, experiment.config, cluster)
                or _judge(experiment.config, cluster, facts, allow_remote_code, installed)
            )
        verdict = verdicts[point]
        if verdict is None:
            admitted.append(experiment)
        else:
            refused.append(RefusedExperiment(experiment, verdict.refusal, verdict.reason))
    return Admission(tuple(admitted), tuple(refused))


def _other_width(config: ExperimentConfig, inline_width: int | None) -> _Verdict | None:
    """CUDA fixes the boards that a process sees at its start, so one process serves one width."""
    if inline_width is None or config.gpus == inline_width:
        return None
    return _Verdict(
        Refusal.UNSUPPORTED,
        f"gpus: {config.gpus} beside {inline_width} needs a process of its own: run without --inline",
    )


def _too_many_workers(plan: SweepPlan, config: ExperimentConfig, cluster: ClusterShape) -> _Verdict | None:
    workers = plan.execution.cpu_workers or 1
    if config.gpus or not cluster.inline or workers == 1:
        return None
    return _Verdict(
        Refusal.UNSUPPORTED,
        f"execution.cpu_workers: {workers} need processes of their own: run without --inline",
    )


def _judge(
    config: ExperimentConfig,
    cluster: ClusterShape,
    facts: Facts,
    allow_remote_code: bool,
    backends: tuple[str, ...],
) -> _Verdict | None:
    reasons = [*_unsupported(config, cluster, allow_remote_code, backends)]
    if reasons:
        return _Verdict(Refusal.UNSUPPORTED, "; ".join(reasons))
    if missing := _missing_gpus(config, cluster):
        return _Verdict(Refusal.NO_SUCH_GPU, missing)
    if older := _without_fp8(config, cluster):
        return _Verdict(Refusal.UNSUPPORTED, older)
    known = facts(config)
    problem = (
        known.problem
        or _undivided(config, known)
        or _without_template(config, known)
        or _unquantised_cache(config, known)
    )
    if problem is not None:
        return _Verdict(Refusal.UNSUPPORTED, problem)
    # Where nobody has looked yet, the model may still be.
    if (
        known.absent is not None
        and not cluster.grows
        and known.absent_on.issuperset(node.name for node in (*cluster.nodes, *cluster.startable))
    ):
        return _Verdict(Refusal.UNSUPPORTED, known.absent)
    if excess := _excess(config, cluster, known):
        return _Verdict(Refusal.TOO_LARGE, excess)
    return None


def _unsupported(
    config: ExperimentConfig, cluster: ClusterShape, allow_remote_code: bool, backends: tuple[str, ...]
) -> Iterator[str]:
    processes = need_of(config).processes
    if cluster.inline and processes > 1:
        yield (
            f"{config.backend}.num_processes: {processes} needs processes of their own: run without --inline"
        )
    if config.backend not in backends:
        yield f"no backend is called {config.backend}; installed: {', '.join(backends)}"
    elif config.backend == "synthetic":
        if cluster.inline and config.synthetic.fail_at in ("hang", "die"):
            yield (
                f"synthetic.fail_at: {config.synthetic.fail_at} needs a process of its own: run without --inline"
            )
    elif config.backend == "pytorch":
        yield from _unsupported_by_pytorch(config, cluster, allow_remote_code)


def _unsupported_by_pytorch(
    config: ExperimentConfig, cluster: ClusterShape, allow_remote_code: bool
) -> Iterator[str]:
    if not allow_remote_code:
        if config.pytorch.trust_remote_code:
            yield "pytorch.trust_remote_code: true also needs --allow-remote-code on the command line"
        if not config.pytorch.use_safetensors:
            yield "pytorch.use_safetensors: false also needs --allow-remote-code on the command line"
    cache = config.pytorch.cache_implementation
    on_cpu = config.gpus == 0 or cluster.simulated or config.pytorch.device == "cpu"
    if cache in OFFLOADED_CACHES and on_cpu:
        yield f"pytorch.cache_implementation: {cache} moves the cache off a GPU, and this computes on the CPU"
    if config.precision == "fp8":
        if on_cpu:
            yield "precision: fp8 is for GPUs, and this computes on the CPU"
        if not allow_remote_code:
            yield (
                "precision: fp8 computes by code that transformers takes from the Hub"
                " (kernels-community/finegrained-fp8): it needs --allow-remote-code on the command line"
            )
    if config.pytorch.device == "cuda":
        if cluster.simulated:
            yield "pytorch.device: cuda: simulated GPUs don't compute; use auto or cpu"
        elif config.gpus == 0:
            yield "pytorch.device: cuda needs a GPU, but gpus is 0"


def _missing_gpus(config: ExperimentConfig, cluster: ClusterShape) -> str | None:
    need = need_of(config)
    nodes = (*cluster.nodes, *cluster.startable)
    if cluster.grows or any(share_of(need, node) is not None for node in nodes):
        return None
    offered = "; ".join(dict.fromkeys(_offer(node) for node in nodes)) or "there is no node"
    kinds = f", accelerator: {' or '.join(need.accelerators)}" if need.accelerators else ""
    wanted = f"gpus: {need.gpus}"
    if need.processes > 1:
        wanted += f" × {config.backend}.num_processes: {need.processes} takes {need.boards} GPUs"
    return f"{wanted} on one node{kinds}, but {offered}"


def _offer(node: NodeShape) -> str:
    kind = node.accelerator or node.board
    return f"{node.name} has {node.gpus}" + (f" of {kind}" if kind and node.gpus else "")


def _without_fp8(config: ExperimentConfig, cluster: ClusterShape) -> str | None:
    """Which node the experiment may come onto though its boards have no products in fp8."""
    if config.backend != "pytorch" or config.precision != "fp8":
        return None
    need = need_of(config)
    fitting = (each for each in (*cluster.nodes, *cluster.startable) if share_of(need, each) is not None)
    older = next((node for node in fitting if lacks_fp8(node)), None)
    if older is None:
        return None
    return (
        "precision: fp8 needs boards of compute capability 8.9 or more (Ada, Hopper and later), but"
        f" {_offer(older)}: set accelerator to a kind of board that has it"
    )


def _unquantised_cache(config: ExperimentConfig, known: ModelFacts) -> str | None:
    """Why the cache of the model can't be quantised, when that is asked for."""
    if config.backend != "pytorch" or not config.pytorch.quantises_cache or known.fixed_cache is None:
        return None
    kind = config.pytorch.cache_dtype
    asked = f"cache_dtype: {kind}" if kind else "cache_implementation: quantized"
    return f"pytorch.{asked}: {config.model}: {known.fixed_cache}"


def _undivided(config: ExperimentConfig, known: ModelFacts) -> str | None:
    """Why the model can't be divided over processes, when that much is known."""
    need = need_of(config)
    if need.parallelism != "tensor":
        return None
    if known.tensor_plan is False:
        return (
            f"{config.backend}.parallelism: tensor: {config.model} says no plan by which to divide it: use"
            " parallelism: data, or gpus for one process over several GPUs"
        )
    if known.divided_heads is not None and known.divided_heads % need.processes:
        return (
            f"{config.backend}.num_processes: {need.processes} can't share the {known.divided_heads} key-value"
            f" heads of {config.model}: take a number that divides them"
        )
    return None


def _without_template(config: ExperimentConfig, known: ModelFacts) -> str | None:
    """Why prompts can't be put as messages of a chat, when that much is known."""
    return no_template(config.model) if in_chat(config) and known.chat_template is False else None


def _excess(config: ExperimentConfig, cluster: ClusterShape, known: ModelFacts) -> str | None:
    """Why the boards can't hold what the experiment needs at least, when that much is known."""
    off_board = config.gpus == 0 or (config.backend == "pytorch" and config.pytorch.device == "cpu")
    # Of boards that may be added nobody knows the memory.
    if off_board or cluster.simulated or cluster.grows or config.backend == "synthetic":
        return None
    needed = memory_estimate(config, known)
    if needed is None:
        return None
    need = need_of(config)
    # In data mode each process holds the whole model; else the boards of all of them share it.
    sharing = need.boards if need.parallelism == "tensor" else need.gpus
    fitting = [node for node in (*cluster.nodes, *cluster.startable) if share_of(need, node) is not None]
    memories = [node.board_memory_mb for node in fitting if node.board_memory_mb is not None]
    if len(memories) < len(fitting):
        return None
    available = sharing * max(memories) * _MB
    if config.backend == "pytorch" and config.pytorch.max_memory is not None:
        allowed = sum(board_limits(config.pytorch.max_memory).values())
        if needed.weights > allowed:
            return (
                f"the weights take {needed.weights / _MB:,.0f} MB, but pytorch.max_memory allows "
                f"{allowed / _MB:,.0f} MB"
            )
    if needed.total <= available:
        return None
    return (
        f"it needs {needed.total / _MB:,.0f} MB at least ({_parts(needed)}), but {sharing} of the largest boards"
        f" hold {available / _MB:,.0f} MB"
    )


def _parts(needed: MemoryEstimate) -> str:
    named = {"weights": needed.weights, "cache": needed.cache, "activations": needed.activations}
    return ", ".join(f"{name} {size / _MB:,.0f}" for name, size in named.items() if size > 0)

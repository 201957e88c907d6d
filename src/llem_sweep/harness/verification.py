"""A stored result against its own samples: every energy, every doubt and the verdict, computed again."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from llem_sweep.config.experiment import BaselineConfig, SamplingConfig, WarmupConfig
from llem_sweep.config.measurement import MeasurementConfig
from llem_sweep.errors import GangError, WindowError
from llem_sweep.harness.derived import derived_fields, look_at
from llem_sweep.harness.gathering import gathered_again
from llem_sweep.harness.quality import Circumstances
from llem_sweep.harness.request_checks import request_problems
from llem_sweep.harness.work import Work, work_of
from llem_sweep.results.experiment import ExperimentResult, measured_on
from llem_sweep.results.verdict import Verdict
from llem_sweep.sampling.account import Evidence
from llem_sweep.sampling.energy import ESTIMATOR_VERSION
from llem_sweep.sampling.selection import part_of
from llem_sweep.sampling.sidecar_reading import Decoded, SidecarError, decode_evidence

TOLERANCE = 1e-9
"""Relative, between versions of the estimators; within one version numbers have to agree to the last bit."""
_THINNED = "its samples were thinned: the energy can't be computed again"
_UNDERIVED = (
    "extended_metrics.padding_ratio",
    "extended_metrics.effective_batch_size",
    "extended_metrics.hardware",
    "extended_metrics.memory",
    "extended_metrics.compilation",
    "host_energy.domains",
    "host_energy.reason",
)
"""What no sample tells."""


class Verification(NamedTuple):
    """What came of it."""

    problems: tuple[str, ...]
    """Everything in which the result and its sidecar contradict each other; empty when it holds."""
    recomputed: bool
    """Whether the energies were computed again; False for a thinned or unreadable sidecar."""
    verdict: Verdict
    """Found anew, whatever the result says of itself."""


class _UnusableError(ValueError):
    """The stored bytes don't allow any computation; the message says why."""


def verify(result: ExperimentResult, sidecar: bytes, requests: bytes | None = None) -> Verification:
    """Hold ``result`` against the bytes of its sidecar and, where they are given, of the records of its requests;
    never raises for what is wrong with any of them."""
    problems = list(_wrong_file(result, sidecar))
    try:
        decoded = decode_evidence(sidecar)
        problems += _contradictions(result, decoded)
        if requests is not None:
            problems += request_problems(result, requests, decoded.processes)
        if decoded.hz is not None:
            return Verification(tuple(problems), False, _refused([*problems, _THINNED]))
        fields = _recomputed(result, decoded)
    except (SidecarError, GangError, _UnusableError) as error:
        problems.append(str(error))
        return Verification(tuple(problems), False, _refused(problems))
    problems += _differences(result, fields, exact=decoded.estimator == ESTIMATOR_VERSION)
    return Verification(tuple(problems), True, _refused(problems) if problems else fields["verdict"])


def _refused(problems: Sequence[str]) -> Verdict:
    return Verdict(publishable=False, because=tuple(f"unverified: {each}" for each in problems))


def _wrong_file(result: ExperimentResult, sidecar: bytes) -> Iterator[str]:
    found = hashlib.sha256(sidecar).hexdigest()
    if result.timeseries_sha256 != found:
        yield (
            f"the sidecar isn't the one that was written with this result: its SHA-256 is {found[:12]}…,"
            f" not {(result.timeseries_sha256 or 'known')[:12]}…"
        )


def _contradictions(result: ExperimentResult, decoded: Decoded) -> Iterator[str]:
    windows = [evidence.window for evidence in decoded.processes]
    window_s = max(window.end_s for window in windows) - min(window.start_s for window in windows)
    if not math.isclose(window_s, result.total_inference_time_sec, rel_tol=TOLERANCE):
        yield f"the window lasted {result.total_inference_time_sec} s by the result, {window_s} s by the sidecar"
    boards = result.environment_snapshot.devices
    metered = sum(len(evidence.sensors) for evidence in decoded.processes)
    if len(boards) != metered:
        yield f"the result has {len(boards)} boards, the sidecar {metered}"
    simulated = decoded.simulated or any(board.simulated for board in boards)
    where = measured_on(
        synthetic=result.synthetic or result.backend == "synthetic",
        simulated=simulated,
        off_board=result.off_board or not boards,
    )
    if (simulated, where) != (result.simulated, result.measured_on):
        yield f"measured on: {result.measured_on} by the result, {where} by what it consists of"


def _circumstances(result: ExperimentResult) -> Circumstances:
    config, warm = result.effective_config.config, result.warmup_result
    if warm is None:
        raise _UnusableError("the result holds no warm-up, so that its doubts can't be found again")
    try:
        return Circumstances(
            warmup=WarmupConfig.model_validate(config["warmup"]),
            # Results of schema 3.2 know of no other window than the whole run.
            measurement=MeasurementConfig.model_validate(config.get("measurement", {})),
            baseline=BaselineConfig.model_validate(config["baseline"]),
            sampling=SamplingConfig.model_validate(config["sampling"]),
            energy_off=config["energy"]["backend"] == "null",
            simulated=result.simulated,
            synthetic=result.synthetic,
            off_board=result.off_board,
            boards=result.environment_snapshot.devices,
            identity=result.environment_snapshot.identity,
            warm=warm,
            neighbours=result.neighbours,
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise _UnusableError(f"the result's effective_config isn't one of this version: {error!r}") from error


def _recomputed(result: ExperimentResult, decoded: Decoded) -> dict[str, Any]:
    if result.aggregation is None:
        return _derived(result, decoded.evidence)
    return gathered_again(result, decoded.processes, _derived)


def _derived(result: ExperimentResult, evidence: Evidence) -> dict[str, Any]:
    about = _circumstances(result)
    extended = result.extended_metrics
    if extended is None or not extended.batch_count:
        raise _UnusableError("the result doesn't say how many batches it ran")
    # What padding and passes were isn't in the samples: nothing that follows from them is compared.
    work = Work(
        result.requests, result.input_tokens, result.output_tokens, 0, extended.batch_count, result.requests
    )
    counted: dict[str, Any] = {}
    if about.measurement.window != "total":
        work = _counted_again(about.measurement, evidence)
        counted = _counts(work, evidence.window.duration_s)
    samples = look_at(evidence, about.baseline.subtract)
    return counted | derived_fields(about, samples, work, result.measured_on, result.start_time)


def _counted_again(config: MeasurementConfig, evidence: Evidence) -> Work:
    """What lies in the window by the sidecar's batches, where it is the window that ``config`` asks for."""
    run, window = evidence.run, evidence.window
    if run is None:
        raise _UnusableError("the sidecar doesn't hold the batches that the window was chosen from")
    try:
        part = part_of(run, config, evidence.recordings[window.recording])
    except WindowError as error:
        raise _UnusableError(f"the window can't be found again: {error}") from error
    if (part.start_s, part.end_s) != (window.start_s, window.end_s):
        raise _UnusableError(
            f"the window goes from {window.start_s - run.start_s:.3f} to {window.end_s - run.start_s:.3f} s of the"
            f" run, but by measurement.window: {config.window} it is from {part.start_s - run.start_s:.3f} to"
            f" {part.end_s - run.start_s:.3f} s"
        )
    return work_of(part.batches)


def _counts(work: Work, window_s: float) -> dict[str, Any]:
    return {
        "requests": work.requests,
        "input_tokens": work.input_tokens,
        "output_tokens": work.output_tokens,
        "total_tokens": work.input_tokens + work.output_tokens,
        "avg_tokens_per_second": work.output_tokens / window_s if window_s > 0 else 0.0,
    }


def _differences(result: ExperimentResult, fields: Mapping[str, Any], *, exact: bool) -> Iterator[str]:
    for name, computed in fields.items():
        stored = getattr(result, name)
        if name == "measurement_warnings":
            yield from _other_warnings(stored, computed)
            continue
        for path, before, now in _leaves(name, _plain(stored), _plain(computed)):
            if not path.endswith(_UNDERIVED) and not _agree(before, now, exact=exact):
                yield f"{path} is {before!r} in the result, {now!r} by its samples"


def _other_warnings(stored: Sequence[Any], computed: Sequence[Any]) -> Iterator[str]:
    before, now = (Counter(each.code.value for each in warnings) for warnings in (stored, computed))
    if before != now:
        listed = [
            ", ".join(sorted((one - other).elements())) for one, other in ((before, now), (now, before))
        ]
        yield f"warnings: only in the result: {listed[0] or 'none'}; only by its samples: {listed[1] or 'none'}"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _leaves(path: str, stored: Any, computed: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every pair of values at the same place of two nested structures, with its dotted path."""
    if isinstance(stored, dict) and isinstance(computed, dict):
        for name in stored.keys() | computed.keys():
            yield from _leaves(f"{path}.{name}", stored.get(name), computed.get(name))
    elif (
        isinstance(stored, list | tuple)
        and isinstance(computed, list | tuple)
        and len(stored) == len(computed)
    ):
        for number, (before, now) in enumerate(zip(stored, computed, strict=True)):
            yield from _leaves(f"{path}[{number}]", before, now)
    else:
        yield path, stored, computed


def _agree(stored: Any, computed: Any, *, exact: bool) -> bool:
    if exact or not (isinstance(stored, float) and isinstance(computed, float)):
        return bool(stored == computed)
    return math.isclose(stored, computed, rel_tol=TOLERANCE)

"""One board, characterised: its sensors, what aligned windows gain, its idle power, and what sampling it costs.

    python benchmarks/gpu_characterise.py [--board INDEX_OR_UUID | --simulate] [--seed 20260101]

Takes about three minutes on a board that nobody else uses, and a few seconds with ``--simulate`` or where there is
no board; everything printed then says so. Needs neither Ray nor a model. Writes a JSON file and the table printed
as Markdown to ``build/gpu_characterise/``.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from llem_sweep.clock import Clock, SimulatedClock, SystemClock
from llem_sweep.device.assigned import resolve_assigned
from llem_sweep.device.nvml import NvmlGpu, list_boards
from llem_sweep.device.protocol import Gpu
from llem_sweep.device.simulated import simulated_boards
from llem_sweep.errors import LlemSweepError
from llem_sweep.execution.torch_process import TorchLoad
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.results.sensors import BoardSensors
from llem_sweep.sampling.baseline import measure_baseline
from llem_sweep.sampling.calibration import Calibration, points_of, window_by_counter
from llem_sweep.sampling.energy import device_energy
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.sampler import Sampler
from llem_sweep.sampling.steps import PhasesAlone, Stimulus, calibrate_board
from llem_sweep.sampling.updates import find_updates

SEED = 20260101
OUTPUT = Path("build/gpu_characterise")
LENGTHS_S = (1.0, 2.0, 5.0, 10.0)
WINDOWS = 40
IDLE_S = 15.0
HEAT_S = 20.0
"""Load before the steady stretch, so that the board's temperature moves little within it."""
STEADY_S = 60.0
MARGIN_S = 3.0
CALLS = 200


class Setup(NamedTuple):
    """A board and how it is put under load."""

    gpu: Gpu
    clock: Clock
    load: Callable[[], AbstractContextManager[Stimulus]]
    simulated: bool


class Spread(NamedTuple):
    """Relative standard deviation of repeated windows of one length on a steady load, in percent."""

    length_s: float
    difference_unaligned_pct: float
    """The counter's last reading less its first, windows that begin anywhere."""
    difference_aligned_pct: float
    """The same, windows that begin just after a tick."""
    estimate_unaligned_pct: float
    estimate_aligned_pct: float


class Findings(NamedTuple):
    """Everything found of the board."""

    calibration: Calibration
    window_by_counter_s: float | None
    """Averaging window of ``power`` found without switching load."""
    spreads: tuple[Spread, ...]
    steady_w: float
    cold_w: float | None
    context_w: float | None
    sampler_pct: float | None
    """Of one core, while sampling this board; None in simulated time."""
    calls_ms: dict[str, float]
    """Median duration of each kind of reading; empty in simulated time."""


def characterise(setup: Setup, seed: int) -> Findings:
    """Every measurement on one board, cold idle power first: no context of ours may be on it yet."""
    gpu, clock = setup.gpu, setup.clock
    phases = PhaseStream(clock)
    phases.subscribe(gpu.on_phase)
    cold_w = measure_baseline([gpu], clock, phases, IDLE_S).power_w
    phases.mark(Phase.LOAD)
    with setup.load() as load:
        context_w = measure_baseline([gpu], clock, phases, IDLE_S, "context").power_w
        calibration = calibrate_board(gpu, clock, load, gpu.sensors)
        recording = _steady(gpu, clock, phases, load)
        varying = _varying(gpu, clock, phases, load)
    sensors = calibration.sensors
    windows = tuple(_spread(recording, sensors, length_s, seed) for length_s in LENGTHS_S)
    begin_s, end_s = recording.samples[0].at_s, recording.samples[-1].at_s
    cost = recording.cpu_time_s
    by_counter = window_by_counter(varying.samples, "power")
    return Findings(
        calibration,
        by_counter.window_s if by_counter else None,
        windows,
        _mean_w(recording, sensors, begin_s + MARGIN_S, end_s - MARGIN_S),
        cold_w,
        context_w,
        None if setup.simulated or cost is None else 100 * cost / (end_s - begin_s),
        {} if setup.simulated else _calls_ms(gpu),
    )


def _steady(gpu: Gpu, clock: Clock, phases: PhaseStream, load: Stimulus) -> Recording:
    load.on()
    phases.mark(Phase.DECODE)
    clock.sleep(HEAT_S)
    with Sampler([gpu], clock, phases) as sampler:
        clock.sleep(STEADY_S)
        recording = sampler.stop()
    load.off()
    phases.mark(Phase.CONTEXT)
    return recording


def _varying(gpu: Gpu, clock: Clock, phases: PhaseStream, load: Stimulus) -> Recording:
    """Load as a warm-up makes it, on for some seconds and off for some, at the sampler's ordinary rate."""
    with Sampler([gpu], clock, phases) as sampler:
        for on_s, off_s in ((3.3, 2.1), (1.2, 2.9), (4.4, 1.7), (2.3, 3.1)):
            load.on()
            phases.mark(Phase.WARM_UP)
            clock.sleep(on_s)
            load.off()
            phases.mark(Phase.CONTEXT)
            clock.sleep(off_s)
        return sampler.stop()


def _spread(recording: Recording, sensors: BoardSensors, length_s: float, seed: int) -> Spread:
    dice = random.Random(f"{seed} {length_s}")
    samples = recording.samples
    first_s, last_s = samples[0].at_s + MARGIN_S, samples[-1].at_s - MARGIN_S - length_s
    ticks = find_updates(points_of(samples, "counter"), recording.period_s)
    if ticks is None:
        raise SystemExit("no ticks of the energy counter found: nothing to align to")
    starts_s = sorted(dice.uniform(first_s, last_s) for _ in range(WINDOWS))
    aligned_s = [
        ticks.times_s[bisect_left(ticks.times_s, at_s)] + ticks.timing.sd_s(at_s) for at_s in starts_s
    ]

    def spread_pct(powers_w: Sequence[float]) -> float:
        return 100 * stdev(powers_w) / fmean(powers_w)

    return Spread(
        length_s,
        spread_pct([_difference_w(samples, at_s, length_s) for at_s in starts_s]),
        spread_pct([_difference_w(samples, at_s, length_s) for at_s in aligned_s]),
        spread_pct([_mean_w(recording, sensors, at_s, at_s + length_s) for at_s in starts_s]),
        spread_pct([_mean_w(recording, sensors, at_s, at_s + length_s) for at_s in aligned_s]),
    )


def _difference_w(samples: Sequence[Sample], start_s: float, length_s: float) -> float:
    first, last = (
        next(
            s.reading.energy_mj
            for s in samples[bisect_left(samples, at_s, key=_time) :]
            if s.reading.energy_mj
        )
        for at_s in (start_s, start_s + length_s)
    )
    return (last - first) / 1000 / length_s


def _time(sample: Sample) -> float:
    return sample.at_s


def _mean_w(recording: Recording, sensors: BoardSensors, start_s: float, end_s: float) -> float:
    found = device_energy(recording.samples, start_s, end_s, recording.period_s, sensors)
    if found.energy_j is None:
        raise SystemExit(f"no energy over {end_s - start_s:.1f} s of steady load: {found.reason}")
    return found.energy_j / (end_s - start_s)


def _calls_ms(gpu: Gpu) -> dict[str, float]:
    calls: dict[str, Callable[[], object]] = {
        "counter and power": lambda: gpu.read(slow=False),
        "every reading": gpu.read,
        "health": gpu.health,
    }
    return {name: median(_durations_ms(call)) for name, call in calls.items()}


def _durations_ms(call: Callable[[], object]) -> Iterator[float]:
    times_s = [time.perf_counter()]
    for _ in range(CALLS):
        call()
        times_s.append(time.perf_counter())
    return (1000 * (after_s - before_s) for before_s, after_s in pairwise(times_s))


def markdown(setup: Setup, findings: Findings) -> str:
    """The findings as tables."""
    board, marked = setup.gpu.info, " **(simulated: no measurement)**" if setup.simulated else ""
    lines = [
        f"## {board.name}{marked}",
        "",
        f"{board.uuid}, {board.generation or 'unknown generation'}, driver {board.driver_version or 'unknown'},"
        f" power limit {board.power_limit_w or float('nan'):.0f} W, {setup.clock.now():%Y-%m-%d}",
        "",
        "| reading | quantity | measured | published |",
        "|---|---|---|---|",
        *_sensor_rows(findings.calibration, setup.gpu.sensors),
        "",
        "Window of `power` held against the counter, load not switched for it:"
        f" {_ms(findings.window_by_counter_s)}",
        "",
        f"Spread of {WINDOWS} windows on a steady load of {findings.steady_w:.1f} W (standard deviation):",
        "",
        "| window | counter difference, anywhere | from a tick | estimate, anywhere | from a tick |",
        "|---|---|---|---|---|",
        *(
            f"| {s.length_s:g} s | " + " | ".join(f"{pct:.3f} %" for pct in s[1:]) + " |"
            for s in findings.spreads
        ),
        "",
        "| idle power | |",
        "|---|---|",
        f"| cold | {_watts(findings.cold_w)} |",
        f"| with a context | {_watts(findings.context_w)} |",
        "",
        "Sampler: "
        + (
            "not measured in simulated time"
            if findings.sampler_pct is None
            else f"{findings.sampler_pct:.2f} % of a core"
        )
        + "".join(f"; {name} {each_ms:.2f} ms" for name, each_ms in findings.calls_ms.items()),
    ]
    return "\n".join(lines) + "\n"


def _sensor_rows(calibration: Calibration, published: BoardSensors) -> Iterator[str]:
    for finding in calibration.findings:
        before = getattr(published, finding.reading)
        for field in finding.measured:
            known_s = getattr(before, field) if before is not None else None
            yield (
                f"| {finding.reading} | {field.removesuffix('_s').replace('_', ' ')}"
                f" | {_ms(getattr(finding.timing, field))} | {_ms(known_s)} |"
            )
        if finding.note:
            yield f"| {finding.reading} | {finding.note} | – | – |"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.1f} ms"


def _watts(power_w: float | None) -> str:
    return "–" if power_w is None else f"{power_w:.2f} W"


def as_json(setup: Setup, findings: Findings, seed: int) -> dict[str, Any]:
    """The findings as plain data."""
    return {
        "simulated": setup.simulated,
        "date": setup.clock.now().isoformat(),
        "node": platform.node(),
        "seed": seed,
        "board": setup.gpu.info.model_dump(mode="json"),
        "published": setup.gpu.sensors.model_dump(mode="json"),
        "sensors": findings.calibration.sensors.model_dump(mode="json"),
        "residuals": {each.reading: each.residual for each in findings.calibration.findings},
        "spreads": [spread._asdict() for spread in findings.spreads],
        **{
            name: getattr(findings, name)
            for name in ("window_by_counter_s", "steady_w", "cold_w", "context_w", "sampler_pct", "calls_ms")
        },
    }


def open_setup(board: str | None, simulate: bool) -> Setup:
    """The board asked for, or a simulated one. Raises DeviceError when it isn't there or can't be opened."""
    boards = () if simulate else list_boards()
    if not boards and board is None:
        clock = SimulatedClock()
        (simulated,) = simulated_boards((0,), clock)
        return Setup(simulated, clock, lambda: nullcontext(PhasesAlone()), simulated=True)
    (uuid,) = resolve_assigned((board or "0",), boards)
    return Setup(NvmlGpu.open(uuid), SystemClock(), lambda: TorchLoad(uuid), simulated=False)


def main() -> int:
    """Characterise one board, print what was found and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--board", help="index as NVML counts, or UUID; the first without it")
    which.add_argument("--simulate", action="store_true", help="on a simulated board, in simulated time")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    try:
        setup = open_setup(given.board, given.simulate)
        with closing(setup.gpu):
            findings = characterise(setup, given.seed)
    except LlemSweepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    OUTPUT.mkdir(parents=True, exist_ok=True)
    name = "simulated" if setup.simulated else f"{setup.clock.now():%Y%m%d-%H%M%S}_{setup.gpu.info.uuid}"
    table = markdown(setup, findings)
    (OUTPUT / f"{name}.md").write_text(table, encoding="utf-8")
    (OUTPUT / f"{name}.json").write_text(
        json.dumps(as_json(setup, findings, given.seed), indent=2), encoding="utf-8"
    )
    print(table)
    print(f"seed {given.seed}; written to {OUTPUT / name}.json and .md")
    return 0


if __name__ == "__main__":
    sys.exit(main())

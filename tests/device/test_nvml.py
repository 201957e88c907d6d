"""The real binding against the stand-in library, in processes of their own: a library is loaded only once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.traces import Constant
from standin.run import run_script
from standin.truth import StandIn, of_generation

STANDIN = StandIn()


def run(script: str, folder: Path, standin: StandIn = STANDIN, **settings: str) -> Any:
    """What ``script`` prints as JSON, its argument being board 2's UUID, where the stand-in is NVML."""
    return run_script(script, standin.environ(folder, **settings), standin.uuid(2))


ENERGY = """
import json, sys, time
from llem_sweep.clock import SystemClock
from llem_sweep.device.nvml import NvmlGpu, list_boards, library_path
from llem_sweep.phases import PhaseStream
from llem_sweep.sampling.energy import device_energy, needs_more
from llem_sweep.sampling.sampler import Sampler

clock = SystemClock()
boards = [NvmlGpu.open(info.uuid) for info in reversed(list_boards())]
with Sampler(boards, clock, PhaseStream(clock)) as sampler:
    clock.sleep(0.3)
    start_s = clock.monotonic()
    clock.sleep(1.0)
    end_s = clock.monotonic()
    while needs_more(sampler.recording(), end_s, clock.monotonic()):
        clock.sleep(0.02)
    recording = sampler.stop()
energies = [
    device_energy(recording.of_device(device), start_s, end_s, recording.period_s)._asdict() for device in range(4)
]
infos = [board.info.model_dump() for board in boards]
for board in boards:
    board.close()
    board.close()
print(json.dumps([start_s, end_s, energies, infos, library_path(), recording.cpu_time_s]))
"""


def test_each_board_opened_by_uuid_shows_its_own_energy(standin_folder: Path) -> None:
    standin = STANDIN._replace(square_w=60.0)
    start_s, end_s, energies, infos, library, cpu_time_s = run(ENERGY, standin_folder, standin)
    assert [info["uuid"] for info in infos] == [standin.uuid(board) for board in (3, 2, 1, 0)]
    for board, energy in zip((3, 2, 1, 0), energies, strict=True):
        assert energy["method"] == "counter"
        assert energy["energy_j"] == pytest.approx(standin.energy_j(board, start_s, end_s), rel=0.05)
    assert Path(library).parent == standin_folder.resolve()
    assert 0 < cpu_time_s < end_s - start_s


def test_without_the_counter_energy_comes_from_power(standin_folder: Path) -> None:
    start_s, end_s, energies, _, _, _ = run(ENERGY, standin_folder, WITHOUT="energy")
    for board, energy in zip((3, 2, 1, 0), energies, strict=True):
        assert energy["method"] == "power"
        assert energy["energy_j"] == pytest.approx(STANDIN.energy_j(board, start_s, end_s), rel=0.05)


def test_a_board_is_described_in_full(standin_folder: Path) -> None:
    script = """
import json
from llem_sweep.device.nvml import NvmlGpu, list_boards
print(json.dumps([info.model_dump() for info in list_boards()]))
"""
    first, second, *_ = run(script, standin_folder)
    assert first == {
        "uuid": STANDIN.uuid(0),
        "name": "NVIDIA H100 80GB HBM3",
        "index": 0,
        "pci_bus_id": "00000000:10:00.0",
        "memory_total_mb": 80_000.0,
        "power_limit_w": 700.0,
        "driver_version": "999.57.01",
        "cuda_driver_version": "13.1",
        "persistence_mode": True,
        "generation": "hopper",
        "simulated": False,
    }
    assert (second["index"], second["uuid"]) == (1, STANDIN.uuid(1))


def test_a_reading_is_complete_where_the_driver_offers_everything(standin_folder: Path) -> None:
    script = """
import json, os, sys
from llem_sweep.device.nvml import NvmlGpu
gpu = NvmlGpu.open(sys.argv[1].lower())
os.environ["STANDIN_PIDS"] = f"41,4,41,{os.getpid()}"
print(json.dumps([gpu.read()._asdict(), gpu.health().foreign]))
"""
    reading, foreign = run(script, standin_folder, REASONS="4")
    assert reading.pop("energy_mj") > 0
    assert reading == {
        "power_mw": 240_000,
        "temperature_c": 42,
        "memory_used_mb": 3_000.0,
        "sm_utilisation_pct": 52,
        "throttle_reasons": 4,
        "instant_mw": 240_000,
        "sm_clock_mhz": 1980,
    }
    assert foreign == [4, 41]


def test_a_call_that_the_driver_lacks_is_unknown_and_spoils_nothing_else(standin_folder: Path) -> None:
    script = """
import json, os, sys
from llem_sweep.device.nvml import NvmlGpu
found = {}
for call in ("energy", "power", "instant", "fields", "temperature", "memory", "utilization", "event_reasons",
             "reasons", "clock", "processes", "ecc", "power_throttle", "thermal_throttle", "limit", "persistence",
             "pci", "architecture", "mig"):
    for code in ("3", "4", "13"):
        os.environ |= {"STANDIN_WITHOUT": call, "STANDIN_WITHOUT_CODE": code}
        gpu = NvmlGpu.open(sys.argv[1])
        offered = {**gpu.read()._asdict(), **gpu.health()._asdict(), **gpu.info.model_dump()}
        gpu.close()
        found.setdefault(call, []).append([name for name, value in offered.items() if value is None])
print(json.dumps(found))
"""
    lacking = {
        "energy": ["energy_mj"],
        "power": ["power_mw"],
        "instant": ["instant_mw"],
        "fields": ["instant_mw", "power_throttle_ns", "thermal_throttle_ns"],
        "temperature": ["temperature_c"],
        "memory": ["memory_used_mb", "memory_total_mb"],
        "utilization": ["sm_utilisation_pct"],
        "event_reasons": [],
        "reasons": ["throttle_reasons"],
        "clock": ["sm_clock_mhz"],
        "processes": ["foreign"],
        "ecc": ["ecc_errors"],
        "power_throttle": ["power_throttle_ns"],
        "thermal_throttle": ["thermal_throttle_ns"],
        "limit": ["power_limit_w"],
        "persistence": ["persistence_mode"],
        "pci": ["pci_bus_id"],
        "architecture": ["generation"],
        "mig": ["mig"],
    }
    assert run(script, standin_folder, MIG="0") == {call: [names] * 3 for call, names in lacking.items()}


def test_no_error_of_the_binding_escapes(standin_folder: Path) -> None:
    script = """
import json, os, sys
import pynvml
from llem_sweep.device.nvml import NvmlGpu, list_boards
from llem_sweep.errors import DeviceError

def kind(call):
    try:
        call()
    except DeviceError as error:
        return type(error).__name__ if isinstance(error.__cause__, pynvml.NVMLError) else "no cause"
    except pynvml.NVMLError as error:
        return f"escaped: {error}"
    return "answered"

codes = sorted({value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_")})
calls = ("energy", "power", "instant", "fields", "temperature", "memory", "utilization", "reasons", "clock",
         "processes", "ecc", "thermal_throttle", "limit", "persistence", "pci", "architecture", "mig", "handle",
         "index", "name", "uuid")
found = {}
for code in codes:
    for call in calls:
        os.environ["STANDIN_WITHOUT"] = ""
        gpu = NvmlGpu.open(sys.argv[1])
        gpu.read()
        os.environ |= {"STANDIN_WITHOUT": call, "STANDIN_WITHOUT_CODE": str(code)}
        for do in (gpu.read, lambda: gpu.read(slow=False), gpu.health, list_boards,
                   lambda: NvmlGpu.open(sys.argv[1]).close()):
            found.setdefault(kind(do), []).append([code, call])
        gpu.close()
del os.environ["STANDIN_WITHOUT"]
for code in codes:
    os.environ["STANDIN_INIT_CODE"] = str(code)
    for do in (list_boards, lambda: NvmlGpu.open(sys.argv[1])):
        found.setdefault(kind(do), []).append([code, "init"])
print(json.dumps(found))
"""
    found = run(script, standin_folder)
    assert set(found) == {"answered", "DeviceError", "BoardLostError"}
    lost = {code for code, _ in found["BoardLostError"]}
    assert lost == {15, 16, 999}


@pytest.mark.parametrize("code", [15, 999])
def test_a_board_that_stops_answering_is_lost(standin_folder: Path, code: int) -> None:
    script = """
import json, sys, time
from llem_sweep.device.nvml import NvmlGpu
from llem_sweep.errors import BoardLostError
gpu = NvmlGpu.open(sys.argv[1])
readings = 0
try:
    while True:
        gpu.read()
        readings += 1
        time.sleep(0.02)
except BoardLostError as error:
    print(json.dumps([readings, str(error)]))
"""
    readings, message = run(script, standin_folder, LOST_AFTER="0.3", LOST_CODE=str(code))
    assert readings > 0
    assert STANDIN.uuid(2) in message


@pytest.mark.parametrize(
    ("settings", "uuid", "problem"),
    [
        ({"MIG": "1"}, STANDIN.uuid(2), "MIG mode"),
        ({}, "MIG-57a4d100-0000-4000-8000-000000000002", "MIG slice"),
        ({}, "GPU-00000000-0000-4000-8000-000000000002", "Not Found"),
    ],
)
def test_a_board_that_cannot_be_metered_is_refused_with_the_reason(
    standin_folder: Path, settings: dict[str, str], uuid: str, problem: str
) -> None:
    script = f"""
import json
from llem_sweep.device.nvml import NvmlGpu
from llem_sweep.errors import DeviceError
try:
    NvmlGpu.open("{uuid}")
except DeviceError as error:
    print(json.dumps(str(error)))
"""
    assert problem in run(script, standin_folder, STANDIN, **settings)


def test_a_machine_without_usable_boards_lists_none(standin_folder: Path) -> None:
    script = """
import json, os
from llem_sweep.device.nvml import list_boards
found = []
for settings in ({"STANDIN_INIT_CODE": "9"}, {"STANDIN_INIT_CODE": "12"}, {"STANDIN_BOARDS": "0"},
                 {"STANDIN_WITHOUT": "handle", "STANDIN_WITHOUT_CODE": "4"}, {"STANDIN_LOST_AFTER": "0"}):
    os.environ |= settings
    found.append(len(list_boards()))
    for name in settings:
        del os.environ[name]
print(json.dumps(found))
"""
    assert run(script, standin_folder) == [0, 0, 0, 0, 0]


def test_without_slow_readings_only_energy_and_power_are_asked_for(standin_folder: Path) -> None:
    script = """
import json, os, sys
from llem_sweep.device.nvml import NvmlGpu
gpu = NvmlGpu.open(sys.argv[1])
# Whatever else were asked would fail.
os.environ |= {"STANDIN_WITHOUT": "temperature,memory,utilization,event_reasons,reasons,clock,processes,ecc,mig",
               "STANDIN_WITHOUT_CODE": "2"}
print(json.dumps(gpu.read(slow=False)._asdict()))
"""
    reading = run(script, standin_folder)
    assert reading.pop("energy_mj") > 0
    assert reading.pop("power_mw") == reading.pop("instant_mw") == 240_000
    assert set(reading.values()) == {None}


def test_health_tells_everything_that_the_driver_does(standin_folder: Path) -> None:
    script = """
import json, os, sys
from llem_sweep.device.nvml import NvmlGpu
gpu = NvmlGpu.open(sys.argv[1])
found = [gpu.health()._asdict()]
os.environ |= {"STANDIN_MIG": "1", "STANDIN_ECC_ERRORS": "3", "STANDIN_POWER_THROTTLE_NS": str(2**40),
               "STANDIN_THERMAL_THROTTLE_NS": "77", "STANDIN_PIDS": "41"}
found.append(gpu.health()._asdict())
print(json.dumps(found))
"""
    clean, spoilt = run(script, standin_folder, MIG="0")
    assert clean == {
        "foreign": [],
        "ecc_errors": 0,
        "mig": False,
        "power_throttle_ns": 0,
        "thermal_throttle_ns": 0,
    }
    assert spoilt == {
        "foreign": [41],
        "ecc_errors": 3,
        "mig": True,
        "power_throttle_ns": 2**40,
        "thermal_throttle_ns": 77,
    }


@pytest.mark.parametrize(("code", "asked_again"), [("3", False), ("13", False), ("4", True), ("21", True)])
def test_what_a_board_never_offers_is_asked_for_once(
    standin_folder: Path, code: str, asked_again: bool
) -> None:
    script = """
import json, os, sys
from llem_sweep.device.nvml import NvmlGpu
gpu = NvmlGpu.open(sys.argv[1])
gpu.read(), gpu.health()
os.environ["STANDIN_WITHOUT"] = ""
reading, health = gpu.read(), gpu.health()
other = NvmlGpu.open(sys.argv[1]).read()
print(json.dumps([reading.power_mw, reading.instant_mw, health.foreign, other.power_mw]))
"""
    *again, other_instance = run(script, standin_folder, WITHOUT="power,instant,processes", WITHOUT_CODE=code)
    assert again == ([240_000, 240_000, []] if asked_again else [None, None, None])
    assert other_instance == 240_000


GENERATION = """
import json
from llem_sweep.device.nvml import NvmlGpu, list_boards
from llem_sweep.device.sensors import prior
(info,) = list_boards()
print(json.dumps([info.generation, NvmlGpu.open(info.uuid).sensors.generation,
                  NvmlGpu.open(info.uuid).sensors == prior(info.generation)]))
"""


@pytest.mark.parametrize("generation", sorted(GENERATIONS))
def test_a_board_has_the_published_sensors_of_its_generation(standin_folder: Path, generation: str) -> None:
    standin = of_generation(generation, (Constant(100.0),))
    assert run(GENERATION, standin_folder, standin) == [generation, generation, True]


@pytest.mark.parametrize(
    ("architecture", "name", "generation"),
    [
        ("7", "NVIDIA A30", "ga100"),
        ("7", "NVIDIA A800-SXM4-80GB", "ga100"),
        ("7", "NVIDIA A100X", "ga100"),
        ("7", "NVIDIA PG509-210", "ga100"),
        ("7", "NVIDIA A10", "ampere"),
        ("7", "NVIDIA RTX A3000 Laptop GPU", "ampere"),
        ("10", "NVIDIA B200", "blackwell"),
        ("4", "Tesla P100-PCIE-16GB", "pascal"),
        ("4294967295", "NVIDIA Something", None),
        ("77", "NVIDIA Something", None),
    ],
)
def test_the_generation_is_told_by_architecture_and_name(
    standin_folder: Path, architecture: str, name: str, generation: str | None
) -> None:
    found = run(
        GENERATION, standin_folder, STANDIN._replace(powers_w=(1.0,)), ARCHITECTURE=architecture, NAME=name
    )
    assert found == [generation, generation, True]


def test_sampling_costs_a_hundredth_of_a_core_for_each_board_at_most(standin_folder: Path) -> None:
    script = """
import json, time
from llem_sweep.device.nvml import NvmlGpu, list_boards

def second(boards):
    began_s = time.thread_time()
    for sample in range(60):
        for gpu in boards:
            gpu.read(slow=sample % 6 == 0)
    for gpu in boards:
        gpu.health()
    return time.thread_time() - began_s

boards = [NvmlGpu.open(info.uuid) for info in list_boards()]
print(json.dumps([min(second(boards[:count]) for _ in range(10)) for count in (1, 8)]))
"""
    one, eight = run(script, standin_folder, STANDIN._replace(powers_w=(300.0,) * 8))
    assert one <= 0.01
    assert eight <= 0.04

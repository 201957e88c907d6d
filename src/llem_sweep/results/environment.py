"""What an experiment ran on."""

from __future__ import annotations

from typing import Literal

from llem_sweep.results.base import ResultModel


class BoardInfo(ResultModel):
    """One metered board. Unknown is None."""

    uuid: str
    """Full NVML UUID."""
    name: str
    index: int
    """NVML index on its node (PCI order)."""
    pci_bus_id: str | None = None
    memory_total_mb: float | None = None
    """In MB (10^6 bytes); nvidia-smi tells MiB."""
    power_limit_w: float | None = None
    driver_version: str | None = None
    cuda_driver_version: str | None = None
    persistence_mode: bool | None = None
    generation: str | None = None
    """Lower case, as in ``hopper``."""
    simulated: bool = False


class CudaInfo(ResultModel):
    available: bool | None = None
    """Whether the backend computes on CUDA; None when it doesn't say."""
    version: str | None = None
    driver_version: str | None = None


class ThermalInfo(ResultModel):
    """Temperature of the hottest board, in °C."""

    start_c: float | None = None
    max_c: float | None = None


class CpuInfo(ResultModel):
    model: str | None = None
    logical_cores: int | None = None
    threads: int | None = None
    """Threads that the backend computes with on the CPU."""
    platform: str | None = None


class ContainerInfo(ResultModel):
    detected: bool = False
    runtime: str | None = None


class HardwareInfo(ResultModel):
    cuda: CudaInfo = CudaInfo()
    thermal: ThermalInfo = ThermalInfo()
    cpu: CpuInfo = CpuInfo()
    container: ContainerInfo = ContainerInfo()


class EnvironmentSnapshot(ResultModel):
    """Machine, boards and software of one experiment."""

    node: str
    devices: tuple[BoardInfo, ...] = ()
    """Boards of this experiment, in the order of every per-device list of the result."""
    identity: Literal["assigned", "confirmed", "none"]
    """confirmed: the backend computed on exactly these boards; assigned: it didn't say; none: no board."""
    nvml_library: str | None = None
    """Path of the NVML library in use."""
    hardware: HardwareInfo = HardwareInfo()
    python_version: str
    installed_packages: dict[str, str]
    """Versions of the packages that matter for the numbers."""
    tool_version: str
    cuda_version: str | None = None

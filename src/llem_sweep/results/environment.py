"""What an experiment ran on."""

from __future__ import annotations

from typing import Literal

from llem_sweep.results.base import ResultModel


class BoardInfo(ResultModel):
    """One metered board. Unknown is None."""

    uuid: str
    """Full NVML UUID."""
    name: str
    """As NVML tells it."""
    index: int
    """NVML index on its node (PCI order)."""
    pci_bus_id: str | None = None
    """Address on the PCI bus."""
    memory_total_mb: float | None = None
    """In MB (10^6 bytes); nvidia-smi tells MiB."""
    power_limit_w: float | None = None
    """The limit in force."""
    driver_version: str | None = None
    """Of the NVIDIA driver."""
    cuda_driver_version: str | None = None
    """Newest CUDA that the driver supports."""
    persistence_mode: bool | None = None
    """Whether the driver stays loaded between experiments."""
    generation: str | None = None
    """Lower case, as in ``hopper``."""
    simulated: bool = False
    """Whether there is no such board."""


class CudaInfo(ResultModel):
    available: bool | None = None
    """Whether the backend computes on CUDA; None when it doesn't say."""
    version: str | None = None
    """That the backend was built for."""
    driver_version: str | None = None
    """Of the NVIDIA driver."""


class ThermalInfo(ResultModel):
    """Temperature of the hottest board, in °C."""

    start_c: float | None = None
    """Of the board hottest at its first sample in the window."""
    max_c: float | None = None
    """The most inside the window."""


class CpuInfo(ResultModel):
    model: str | None = None
    """As the operating system tells it."""
    logical_cores: int | None = None
    """Of the node."""
    threads: int | None = None
    """Threads that the backend computes with on the CPU."""
    platform: str | None = None
    """Kernel, architecture and C library of the node."""


class ContainerInfo(ResultModel):
    detected: bool = False
    """Whether the worker ran in a container, by the marks that runtimes leave."""
    runtime: str | None = None
    """Which one, for example docker."""


class HardwareInfo(ResultModel):
    cuda: CudaInfo = CudaInfo()
    thermal: ThermalInfo = ThermalInfo()
    cpu: CpuInfo = CpuInfo()
    container: ContainerInfo = ContainerInfo()


class EnvironmentSnapshot(ResultModel):
    """Machine, boards and software of one experiment."""

    node: str
    """Name of the machine."""
    devices: tuple[BoardInfo, ...] = ()
    """Boards of this experiment, in the order of every per-device list of the result."""
    identity: Literal["assigned", "confirmed", "none"]
    """confirmed: the backend computed on exactly these boards; assigned: it didn't say; none: no board."""
    nvml_library: str | None = None
    """Path of the NVML library in use."""
    hardware: HardwareInfo = HardwareInfo()
    python_version: str
    """Of the worker's interpreter."""
    installed_packages: dict[str, str]
    """Versions of the packages that matter for the numbers."""
    tool_version: str
    """Version of llem-sweep."""
    cuda_version: str | None = None
    """As in ``hardware.cuda.version``."""

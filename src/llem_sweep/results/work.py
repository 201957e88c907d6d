"""What was computed in the window, and what it took of the devices. Unknown is None, never 0."""

from __future__ import annotations

from typing import Any

from llem_sweep.results.base import ResultModel
from llem_sweep.results.sums import per, total


class FlopsBreakdown(ResultModel):
    """Floating-point operations of the window, a multiplication and an addition being two.

    Useful is what the returned tokens need: every prompt token and every output token but the last once, attention
    to the tokens before alone. Computed is what the passes multiplied: padding, rows that had ended and keys that
    the causal mask hides as well, beams and prefixes computed again too. ``total_flops`` and every rate are of
    useful work.
    """

    method: str | None
    """Name and version of the count; None where there is none."""
    prefill_flops: float | None
    """Useful, of the prompts up to the first output token."""
    decode_flops: float | None
    """Useful, of all further output tokens."""
    computed_prefill_flops: float | None
    """What the passes over the prompts multiplied."""
    computed_decode_flops: float | None
    """Both are None where the passes don't follow from the lengths: beams, drafts, a static cache."""
    parameters: int | None
    """Of the architecture, whatever it is stored as: of quantised models the true number."""
    active_parameters: int | None
    """Without the experts that a token isn't routed to."""
    reason: str | None = None
    """Why the operations are None."""

    @property
    def useful_flops(self) -> float | None:
        """Useful operations of both phases."""
        return total([self.prefill_flops, self.decode_flops])


class HardwareUtilisation(ResultModel):
    """What of the boards' peaks the window used."""

    model_flops_utilisation: float | None
    """Useful operations a second over ``peak_flops_per_s``, 0 to 1."""
    memory_bandwidth_utilisation: float | None
    """``bytes_read`` a second over ``peak_bytes_per_s``, 0 to 1."""
    product_type: str | None
    """Type of the factors of the model's products, whose peak counts."""
    bytes_read: float | None
    """What the passes have to read at least: every weight once a pass, and each step the keys and values of the
    tokens up to its own, padding not counted."""
    peak_flops_per_s: float | None
    """Of dense products of this type, all boards together, as published."""
    peak_bytes_per_s: float | None
    """Of the memory of all boards together, as published."""
    peaks_source: str | None
    """Where the peaks are published."""
    reason: str | None = None
    """Why either utilisation is None."""


class DeviceMemoryUse(ResultModel):
    """What one device held, in MB (10^6 bytes)."""

    device: str
    """The engine's name for it, for example ``cuda:0``; of several processes, each its own."""
    model_mb: float
    """What loading the model took on it."""
    peak_mb: float | None
    """The most it held at any time in the window."""


class MemoryUse(ResultModel):
    """Memory of every device used, in MB (10^6 bytes), summed: of boards, by the engine's allocator, which
    neither the context nor other processes are in; elsewhere, by the tensors themselves."""

    model_memory_mb: float | None
    """What loading the model took."""
    peak_memory_mb: float | None
    """The most held at any time in the window, each device's own."""
    inference_memory_mb: float | None
    """Peak without the model: the cache, what is computed between layers, inputs, and workspaces of libraries."""
    kv_cache_mb: float | None
    """Keys and values at the end of the batch that had most."""
    devices: tuple[DeviceMemoryUse, ...] = ()
    reason: str | None = None
    """Why the peak is None."""


class Compilation(ResultModel):
    """What the engine compiled, all of it before the warm-up."""

    graphs: int
    """By the compiler's own count when the window had ended; of several processes the sum."""
    seconds: float
    """Time that it took, with the passes that it takes to have them made; of several processes the longest."""


def share_of_peak(amount: float | None, peak_per_s: float | None, duration_s: float) -> float | None:
    """``amount`` in ``duration_s`` as a share of the most that is possible; None when any of it is unknown."""
    if amount is None or not peak_per_s or duration_s <= 0:
        return None
    return amount / (peak_per_s * duration_s)


def flops_fields(
    breakdown: FlopsBreakdown | None, *, input_tokens: int, output_tokens: int, duration_s: float
) -> dict[str, Any]:
    """The fields of a result that tell of its operations, over the window of ``duration_s``."""
    flops = breakdown.useful_flops if breakdown is not None else None
    return {
        "total_flops": flops,
        "flops_per_output_token": per(flops, output_tokens),
        "flops_per_input_token": per(flops, input_tokens),
        "flops_per_second": flops / duration_s if flops is not None and duration_s > 0 else None,
        "flops_breakdown": breakdown,
    }

"""What ``precision: fp8`` excludes, whatever it is to run on."""

from __future__ import annotations

from collections.abc import Iterator

from llem_sweep.config.lora import LoraConfig
from llem_sweep.config.options import PyTorchOptions


def excluded_by_fp8(options: PyTorchOptions, lora: LoraConfig | None) -> Iterator[str]:
    """What can't be combined with weights in fp8, in words."""
    if options.bits is not None:
        yield f"pytorch.load_in_{options.bits}bit: weights have one type: leave one of the two out"
    if options.torch_compile:
        yield "pytorch.torch_compile: compiling products in fp8 isn't built yet"
    if options.parallelism == "tensor":
        yield "pytorch.parallelism: tensor: quantised layers can't be divided over processes yet"
    if lora is not None:
        yield "lora: adapters on weights in fp8 aren't built yet"

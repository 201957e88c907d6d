from __future__ import annotations

import pickle
import weakref

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.errors import BackendError, DeviceFaultError, GpuMemoryError, ModelLoadError


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), GpuMemoryError),
        (MemoryError(), GpuMemoryError),
        (OSError(12, "Cannot allocate memory"), GpuMemoryError),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), GpuMemoryError),
        (RuntimeError("CUDA error: out of memory"), GpuMemoryError),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceFaultError),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), DeviceFaultError),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), DeviceFaultError),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), DeviceFaultError),
        (RuntimeError("shapes differ"), ModelLoadError),
        (ValueError("no such thing"), ModelLoadError),
    ],
)
def test_vendor_errors_become_ours(raised: Exception, expected: type[BackendError]) -> None:
    with pytest.raises(BackendError) as caught, Translated("doing it", ModelLoadError):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised
    assert str(caught.value).startswith(f"doing it: {type(raised).__name__}")


@pytest.mark.parametrize(
    "kind",
    [
        Exception,
        RuntimeError,
        NotImplementedError,
        OSError,
        ImportError,
        AssertionError,
        IndexError,
        SafetensorError,
        StrictDataclassError,
        pickle.UnpicklingError,
    ],
)
def test_no_kind_of_vendor_error_gets_through(kind: type[Exception]) -> None:
    with pytest.raises(BackendError) as caught, Translated("doing it"):
        raise kind("whatever")
    assert type(caught.value) is BackendError


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_stays_one(kind: type[BaseException]) -> None:
    with pytest.raises(kind), Translated("doing it"):
        raise kind


def test_an_accelerator_error_is_a_device_fault() -> None:
    with pytest.raises(DeviceFaultError), Translated("doing it"):
        raise torch.AcceleratorError("unspecified launch failure")


def test_memory_that_the_host_lacks_is_told_apart_for_real() -> None:
    with pytest.raises(GpuMemoryError, match=r"lower pytorch\.batch_size"), Translated("doing it"):
        torch.empty(10**15)


def test_our_own_errors_pass_through_as_they_are() -> None:
    own = ModelLoadError("ours")
    with pytest.raises(ModelLoadError) as caught, Translated("doing it"):
        raise own
    assert caught.value is own


def test_a_memory_error_keeps_nothing_alive() -> None:
    class Activations:
        pass

    kept: list[weakref.ref[Activations]] = []

    def compute() -> None:
        activations = Activations()
        kept.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(GpuMemoryError) as caught, Translated("doing it"):
        compute()
    assert caught.value.__cause__ is not None
    assert kept[0]() is None

"""Which NVIDIA GPUs this machine has, asked of the CUDA driver itself.

Needs neither PyTorch nor TensorRT nor a CUDA toolkit: the driver's library is on every machine
whose GPU works, a Jetson included. Creates no CUDA context, so it takes no GPU memory.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

DRIVER_LIBRARY = "libcuda.so.1"
# CUdevice_attribute, cuda.h
_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """A GPU that CUDA can use.

    Attributes:
        index: number that CUDA gives it, after CUDA_VISIBLE_DEVICES.
        name: as in "NVIDIA GeForce RTX 4090" or "Orin".
        compute_capability: as in "8.9".
        total_bytes: its memory; on a Jetson the memory that it shares with the processor.
    """

    index: int
    name: str
    compute_capability: str
    total_bytes: int


def gpu_devices() -> tuple[Gpu, ...]:
    """The GPUs of this machine, in CUDA's order; empty where there is none."""
    driver, _ = _driver()
    if driver is None:
        return ()
    return tuple(_describe(driver, index) for index in range(_count(driver)))


def why_no_gpu() -> str | None:
    """Why no GPU can be used here, as a clause; None where one can."""
    driver, reason = _driver()
    if driver is not None and _count(driver) == 0:
        reason = "the CUDA driver sees no GPU"
    return reason


def driver_cuda() -> tuple[int, int] | None:
    """Newest CUDA that the driver runs, as in (12, 6); None where there is no driver that tells."""
    version = ctypes.c_int(0)
    try:
        status = ctypes.CDLL(DRIVER_LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    if status != 0 or version.value <= 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _driver() -> tuple[Any, str | None]:
    """The started driver and None, or None and why there is none."""
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return None, f"this machine has no NVIDIA driver ({DRIVER_LIBRARY})"
    status = driver.cuInit(0)
    if status != 0:
        return None, f"the CUDA driver does not start (cuInit gave {status})"
    return driver, None


def _count(driver: Any) -> int:
    count = ctypes.c_int(0)
    return count.value if driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def _describe(driver: Any, index: int) -> Gpu:
    device = ctypes.c_int(0)
    driver.cuDeviceGet(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    driver.cuDeviceGetName(name, _NAME_BYTES, device)
    total = ctypes.c_size_t(0)
    driver.cuDeviceTotalMem_v2(ctypes.byref(total), device)
    major, minor = (
        _attribute(driver, device, number)
        for number in (_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR)
    )
    return Gpu(index, name.value.decode(errors="replace"), f"{major}.{minor}", total.value)


def _attribute(driver: Any, device: ctypes.c_int, number: int) -> int:
    value = ctypes.c_int(0)
    driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
    return value.value

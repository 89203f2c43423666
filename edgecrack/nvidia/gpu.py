"""Lists NVIDIA GPUs through the CUDA driver library.

Needs neither PyTorch, TensorRT nor a CUDA toolkit. Creates no CUDA context, so it uses no GPU
memory.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecrack.nvidia.engine_info import JETSON_CAPABILITIES

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
    """The GPUs of this machine, in CUDA's order; empty if there is none."""
    driver, _ = _driver()
    if driver is None:
        return ()
    return tuple(_describe(driver, index) for index in range(_count(driver)))


def why_no_gpu() -> str | None:
    """Why no GPU can be used here, as a clause; None if one can."""
    driver, reason = _driver()
    if driver is not None and _count(driver) == 0:
        reason = "the CUDA driver sees no GPU"
    return reason


def driver_cuda() -> tuple[int, int] | None:
    """Newest CUDA that the driver runs, as in (12, 6); None if no driver reports it."""
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


RELEASE_FILE = Path("/etc/nv_tegra_release")
_OLDEST_MAJOR = 12  # CUDA of the oldest JetPack that has a TensorRT for engines


def on_jetson() -> bool:
    """Whether this machine is a Jetson."""
    return RELEASE_FILE.exists() or any(
        gpu.compute_capability in JETSON_CAPABILITIES for gpu in gpu_devices()
    )


def cuda_python_for(cuda: tuple[int, int] | None, *, jetson: bool) -> str:
    """The cuda-python for a driver, as pip takes it.

        >>> cuda_python_for((12, 6), jetson=True)
        'cuda-python==12.6.*'
        >>> cuda_python_for((12, 4), jetson=False)
        'cuda-python>=12.6,<13'

    Args:
        cuda: newest CUDA that the driver runs, major and minor version; None where there is no
        driver.
        jetson: whether the machine is a Jetson.
    """
    major, minor = cuda or (_OLDEST_MAJOR, 0)
    if major <= _OLDEST_MAJOR:
        return "cuda-python==12.6.*" if jetson else "cuda-python>=12.6,<13"
    return (
        f"cuda-python>={major},<{major}.{minor + 1}"
        if jetson
        else f"cuda-python>={major},<{major + 1}"
    )


def install_command(cuda: tuple[int, int] | None, *, jetson: bool) -> str:
    """The command that installs `cuda_python_for` a driver."""
    return f"pip install '{cuda_python_for(cuda, jetson=jetson)}'"


def how_to_install() -> str:
    """The remedy that installs CUDA access on this machine."""
    return f"run: {install_command(driver_cuda(), jetson=on_jetson())}"


def newer_driver() -> str:
    """The remedy for a driver that is too old for a library."""
    jetson = on_jetson()
    command = install_command(driver_cuda(), jetson=jetson)
    if jetson:  # its driver comes with JetPack
        return f"install the cuda-python that JetPack's driver starts: {command}"
    return f"install a cuda-python that the driver starts ({command}), or update the NVIDIA driver"


def better_driver() -> str:
    """The remedy for a driver that does not work."""
    if on_jetson():
        return "restart the machine, and see what `edgecrack doctor` says of JetPack"
    return "restart the machine, and update its NVIDIA driver"

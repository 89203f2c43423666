"""Which cuda-python the driver here can start, and what to do where it cannot start one.

From 12.9 on, cuda-python brings a CUDA runtime of its own, which wants a driver of its CUDA
version. On
a desktop a driver for CUDA 12.0 starts every 12.x; on a Jetson it starts nothing newer than itself,
and
the driver comes with JetPack: JetPack 6 has CUDA 12.6 to the end. Knows versions; must not load a
library.
"""

from __future__ import annotations

from pathlib import Path

from edgecrack.nvidia.engine_info import JETSON_CAPABILITIES
from edgecrack.nvidia.gpu import driver_cuda, gpu_devices

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
    """How access to CUDA is installed on this machine, as a remedy."""
    return f"run: {install_command(driver_cuda(), jetson=on_jetson())}"


def newer_driver() -> str:
    """What to do here about a driver that is too old for a library, as a remedy."""
    jetson = on_jetson()
    command = install_command(driver_cuda(), jetson=jetson)
    if jetson:  # its driver comes with JetPack
        return f"install the cuda-python that JetPack's driver starts: {command}"
    return f"install a cuda-python that the driver starts ({command}), or update the NVIDIA driver"


def better_driver() -> str:
    """What to do here about a driver that does not work, as a remedy."""
    if on_jetson():
        return "restart the machine, and see what `edgecrack doctor` says of JetPack"
    return "restart the machine, and update its NVIDIA driver"

"""Which cuda-python the driver here can start, and what to do where it cannot start one.

From 12.9 on, cuda-python brings a CUDA runtime of its own, which wants a driver of its CUDA
version. On
a desktop a driver for CUDA 12.0 starts every 12.x; on a Jetson it starts nothing newer than itself,
and
the driver comes with JetPack: JetPack 6 has CUDA 12.6 to the end. Knows versions; must not load a
library.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import DeviceError
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


# Never the default stream, and none that waits for it: TensorRT would synchronise with it.
NON_BLOCKING = 1


class Cuda(Protocol):
    """The first GPU that CUDA shows, through one of the libraries.

    Every method but `current` and `library` must be called inside `with cuda.current():` of the
    same thread. Sizes are in bytes; pointers, streams and graphs are CUDA's own handles.
    """

    @property
    def library(self) -> str:
        """Which library serves: "cuda-python" or "pycuda"."""

    @property
    def version(self) -> str:
        """The library's version, as in "12.6.2"; empty where it does not tell."""

    @property
    def captures_graphs(self) -> bool:
        """Whether `capture` can be called."""

    def current(self) -> AbstractContextManager[None]:
        """Make the GPU the current one of this thread; may be nested."""

    def device_name(self) -> str:
        """As in "Orin"."""

    def compute_capability(self) -> str:
        """As in "8.7"."""

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of GPU memory."""

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        """Page-locked host memory uint8 [size], which copies run through unaided by the CPU."""

    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        """Free what `allocate_pinned` gave; no view of it may be used any more."""

    def allocate_device(self, size: int) -> int:
        """A pointer to GPU memory."""

    def free_device(self, pointer: int) -> None:
        """Free what `allocate_device` gave."""

    def create_stream(self) -> int:
        """A queue of work, independent of other streams."""

    def destroy_stream(self, stream: int) -> None:
        """Give back a stream."""

    def copy_to_device(self, pointer: int, source: NDArray[np.uint8], stream: int) -> None:
        """Queue a copy; `source`, pinned and contiguous, must stay until the stream is done."""

    def copy_to_host(self, target: NDArray[np.uint8], pointer: int, stream: int) -> None:
        """Queue a copy into `target`, pinned and contiguous, filled when the stream is done."""

    def synchronize(self, stream: int) -> None:
        """Wait until all that was queued is done; the GIL is released meanwhile."""

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Record what `enqueue` queues on the stream, without running it.

        Returns:
            A graph for `launch`.

        Raises:
            DeviceError: it cannot be recorded; the stream can be used as before.
        """

    def launch(self, graph: int, stream: int) -> None:
        """Queue a recorded graph."""

    def destroy_graph(self, graph: int) -> None:
        """Give back a graph."""


def device_error(what: str, error: str) -> DeviceError:
    """The error for a failed call of CUDA.

    Args:
        what: the function that failed, as in "cudaMalloc".
        error: CUDA's name or words for it, as in "cudaErrorMemoryAllocation".
    """
    words = error.lower().replace(" ", "")
    if "memoryallocation" in words or "outofmemory" in words:
        remedy = (
            "close other programs that use the GPU, or build the engine for fewer tiles per call"
        )
    elif "insufficientdriver" in words or "driverversionisinsufficient" in words:
        remedy = newer_driver()
    elif "driver" in words or "devicenotlicensed" in words:
        remedy = better_driver()
    else:
        remedy = "start the program again; if it fails again, restart the machine"
    return DeviceError(f"the GPU failed: {what} gave {error}", remedy)

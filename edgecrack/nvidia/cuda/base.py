"""The CUDA interface of the TensorRT runtime, independent of the Python binding.

Pinned host memory, device memory, streams, copies and CUDA graphs, as plain integers and arrays.
Every failure is a `DeviceError`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import DeviceError
from edgecrack.nvidia.gpu import better_driver, newer_driver

# Never the default stream, and none that waits for it: TensorRT would synchronise with it.
NON_BLOCKING = 1


class Cuda(Protocol):
    """The first GPU that CUDA shows, through one of the libraries.

    Every method but `current` and `library` must be called inside `with cuda.current():` of the
    same thread. Sizes are in bytes; pointers, streams and graphs are CUDA's own handles.
    """

    @property
    def library(self) -> str:
        """The library in use: "cuda-python" or "pycuda"."""

    @property
    def version(self) -> str:
        """The library's version, as in "12.6.2"; empty if unknown."""

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
        """Page-locked host memory uint8 [size], for asynchronous copies."""

    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        """Free memory of `allocate_pinned`; views of it become invalid."""

    def allocate_device(self, size: int) -> int:
        """A pointer to GPU memory."""

    def free_device(self, pointer: int) -> None:
        """Free memory of `allocate_device`."""

    def create_stream(self) -> int:
        """A queue of work, independent of other streams."""

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""

    def copy_to_device(self, pointer: int, source: NDArray[np.uint8], stream: int) -> None:
        """Queue a copy; `source`, pinned and contiguous, must stay until the stream is done."""

    def copy_to_host(self, target: NDArray[np.uint8], pointer: int, stream: int) -> None:
        """Queue a copy into `target`, pinned and contiguous, filled when the stream is done."""

    def synchronize(self, stream: int) -> None:
        """Wait for all queued work; releases the GIL."""

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Record the work that `enqueue` queues on the stream, without running it.

        Returns:
            A graph for `launch`.

        Raises:
            DeviceError: it cannot be recorded; the stream can be used as before.
        """

    def launch(self, graph: int, stream: int) -> None:
        """Queue a recorded graph."""

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph."""


def device_error(what: str, error: str) -> DeviceError:
    """The error for a failed CUDA call.

    Args:
        what: the function that failed, as in "cudaMalloc".
        error: CUDA's name or message, as in "cudaErrorMemoryAllocation".
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

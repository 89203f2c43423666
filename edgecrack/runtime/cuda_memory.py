"""What of CUDA the TensorRT runtime needs, whichever library serves: pycuda or cuda-python.

Pinned host memory, device memory, streams, copies and CUDA graphs, as plain integers and arrays.
Every failure is a `DeviceError`. Knows nothing of engines; neither library is imported before
`open_cuda`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, DeviceError, MissingDependencyError

LIBRARIES = ("pycuda", "cuda-python")
# Never the default stream, and none that waits for it: TensorRT would synchronise with it.
NON_BLOCKING = 1
_HOW_TO_INSTALL = (
    "run: pip install pycuda (on a Jetson; it is compiled there and needs the CUDA toolkit), or, "
    "without a compiler: pip install cuda-python (on JetPack 6, which has CUDA 12: "
    "'cuda-python<13')"
)


class Cuda(Protocol):
    """The first GPU that CUDA shows, through one of the libraries.

    Every method but `current` and `library` must be called inside `with cuda.current():` of the
    same thread. Sizes are in bytes; pointers, streams and graphs are CUDA's own handles.
    """

    @property
    def library(self) -> str:
        """Which library serves: "pycuda" or "cuda-python"."""

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


def open_cuda(library: str | None = None) -> Cuda:
    """Start CUDA on the first GPU.

    Args:
        library: "pycuda" or "cuda-python"; None takes the first of them that can be loaded.

    Raises:
        ConfigError: no such library.
        DeviceError: the driver has no GPU, or does not start.
        MissingDependencyError: neither library is installed, or none can be loaded.
    """
    if library is not None and library not in LIBRARIES:
        raise ConfigError(
            f"the CUDA library is {library!r}", f"give one of: {', '.join(LIBRARIES)}"
        )
    from edgecrack.gpu import why_no_gpu

    # Before the libraries: without a driver they fail in ways that do not tell it.
    reason = why_no_gpu()
    if reason:
        raise DeviceError(
            f"no GPU can be used: {reason}",
            "install the NVIDIA driver, or run an ONNX file, which needs no GPU",
        )
    failures = []
    for name in (library,) if library else LIBRARIES:
        if not _is_installed(name):
            continue
        try:
            return _open(name)
        except (ImportError, RuntimeError, AttributeError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            failures.append(f"{name} cannot be loaded ({first})")
    wanted = library or "neither pycuda nor cuda-python"
    problem = "; ".join(failures) or f"{wanted} is {'not ' if library else ''}installed"
    raise MissingDependencyError(f"an engine needs access to CUDA, and {problem}", _HOW_TO_INSTALL)


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
    elif "driver" in words or "devicenotlicensed" in words:
        remedy = "update the NVIDIA driver"
    else:
        remedy = "start the program again; if it fails again, restart the machine"
    return DeviceError(f"the GPU failed: {what} gave {error}", remedy)


def _is_installed(library: str) -> bool:
    module = "pycuda" if library == "pycuda" else "cuda"
    return importlib.util.find_spec(module) is not None


def _open(library: str) -> Cuda:
    if library == "pycuda":
        from edgecrack.runtime.cuda_pycuda import open_pycuda

        return open_pycuda()
    from edgecrack.runtime.cuda_python import open_cuda_python

    return open_cuda_python()

"""CUDA through pycuda: the driver API, on the GPU's primary context, which TensorRT uses, too."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import DeviceError
from edgecrack.nvidia.cuda.base import NON_BLOCKING, Cuda, device_error
from edgecrack.nvidia.gpu import how_to_install


def open_pycuda() -> Cuda:
    """Load pycuda and start CUDA.

    Raises:
        ImportError: it cannot be loaded.
        DeviceError: CUDA does not start.
    """
    driver = importlib.import_module("pycuda.driver")
    try:
        version = metadata.version("pycuda")
    except metadata.PackageNotFoundError:  # a Debian package may have no metadata
        version = ""
    return PyCuda(driver, version)


@cache
def _primary_context(driver: Any) -> Any:
    """The primary context of the first GPU, for the rest of the process.

    Never released: pycuda leaves a released primary context on the thread's stack, and another
    library in the process may still use it.
    """
    driver.init()
    return driver.Device(0).retain_primary_context()


class PyCuda:
    """`Cuda` through pycuda; see the protocol for the methods.

    pycuda frees what belongs to a context only in the thread that made the context, or where the
    context is current; elsewhere it warns and leaks. `current` makes it so in any thread.

    Args:
        driver: the module `pycuda.driver`.
        version: of the package.

    Raises:
        DeviceError: CUDA does not start.
    """

    library = "pycuda"
    captures_graphs = False  # pycuda has no CUDA graphs

    def __init__(self, driver: Any, version: str = "") -> None:
        self._driver = driver
        self.version = version
        self._streams: dict[int, Any] = {}
        self._allocations: dict[int, Any] = {}
        with self._typed("starting CUDA"):
            self._context = _primary_context(driver)

    @contextmanager
    def _typed(self, what: str) -> Iterator[None]:
        """Turn pycuda's errors, which read "cuMemAlloc failed: out of memory", into ours."""
        try:
            yield
        except self._driver.Error as error:
            function, _, reason = str(error).partition(" failed: ")
            raise device_error(function if reason else what, reason or str(error)) from error

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `Cuda.current`; pycuda keeps a stack of contexts for each thread."""
        with self._typed("making the GPU current"):
            self._context.push()
        try:
            yield
        finally:
            with self._typed("leaving the GPU"):
                self._driver.Context.pop()

    def device_name(self) -> str:
        """See `Cuda.device_name`."""
        with self._typed("asking for the GPU's name"):
            return str(self._driver.Device(0).name())

    def compute_capability(self) -> str:
        """See `Cuda.compute_capability`."""
        with self._typed("asking for the compute capability"):
            major, minor = self._driver.Device(0).compute_capability()
        return f"{major}.{minor}"

    def memory(self) -> tuple[int, int]:
        """See `Cuda.memory`."""
        with self._typed("asking for free memory"):
            free, total = self._driver.mem_get_info()
        return int(free), int(total)

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        """See `Cuda.allocate_pinned`."""
        with self._typed("allocating pinned memory"):
            array: NDArray[np.uint8] = self._driver.pagelocked_empty((size,), np.uint8)
        return array

    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        """See `Cuda.free_pinned`."""
        allocation: Any = array.base
        with self._typed("freeing pinned memory"):
            allocation.free()

    def allocate_device(self, size: int) -> int:
        """See `Cuda.allocate_device`."""
        with self._typed("allocating GPU memory"):
            allocation = self._driver.mem_alloc(size)
        pointer = int(allocation)
        self._allocations[pointer] = allocation
        return pointer

    def free_device(self, pointer: int) -> None:
        """See `Cuda.free_device`."""
        with self._typed("freeing GPU memory"):
            self._allocations.pop(pointer).free()

    def create_stream(self) -> int:
        """See `Cuda.create_stream`."""
        with self._typed("making a stream"):
            stream = self._driver.Stream(NON_BLOCKING)
        handle = int(stream.handle)
        self._streams[handle] = stream
        return handle

    def destroy_stream(self, stream: int) -> None:
        """See `Cuda.destroy_stream`."""
        del self._streams[stream]  # the last reference, which destroys it

    def copy_to_device(self, pointer: int, source: NDArray[np.uint8], stream: int) -> None:
        """See `Cuda.copy_to_device`."""
        with self._typed("copying to the GPU"):
            self._driver.memcpy_htod_async(pointer, source, self._streams[stream])

    def copy_to_host(self, target: NDArray[np.uint8], pointer: int, stream: int) -> None:
        """See `Cuda.copy_to_host`."""
        with self._typed("copying from the GPU"):
            self._driver.memcpy_dtoh_async(target, pointer, self._streams[stream])

    def synchronize(self, stream: int) -> None:
        """See `Cuda.synchronize`."""
        with self._typed("waiting for the GPU"):
            self._streams[stream].synchronize()

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """See `Cuda.capture`."""
        raise self._no_graphs()

    def launch(self, graph: int, stream: int) -> None:
        """See `Cuda.launch`."""
        raise self._no_graphs()

    def destroy_graph(self, graph: int) -> None:
        """See `Cuda.destroy_graph`."""
        raise self._no_graphs()

    def _no_graphs(self) -> DeviceError:
        return DeviceError("pycuda has no CUDA graphs", how_to_install())

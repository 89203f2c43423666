"""CUDA through NVIDIA's cuda-python: the runtime API of `cuda.bindings`."""

from __future__ import annotations

import ctypes
import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import DeviceError, MissingDependencyError
from edgecrack.nvidia.cuda.base import NON_BLOCKING, Cuda, device_error
from edgecrack.nvidia.gpu import driver_cuda, newer_driver

_DEVICE = 0
_TOO_OLD = "cudaErrorInsufficientDriver"
# From cuda-python 12.6 on the first; the second is its name before.
_MODULES = ("cuda.bindings.runtime", "cuda.cudart")


def open_cuda_python() -> Cuda:
    """Load cuda-python and start CUDA.

    Raises:
        ImportError: it cannot be loaded.
        MissingDependencyError: it brings a CUDA runtime that the driver cannot start.
        DeviceError: CUDA does not start.
    """
    runtime, version = _load(), _version()
    _check_fit(runtime, version)
    cuda = CudaPython(runtime, version)
    with cuda.current():
        cuda.memory()  # the first call creates the context and reveals errors
    return cuda


def _load() -> Any:
    for name in _MODULES[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(_MODULES[-1])


def _version() -> str:
    """Of the installed package; from 12.8 on the bindings are a package of their own."""
    for name in ("cuda-bindings", "cuda-python"):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def _check_fit(runtime: Any, version: str) -> None:
    """Refuse a runtime that is newer than the driver, before using the GPU."""
    error, *_ = runtime.cudaGetDeviceCount()
    if int(error) == 0:
        return
    if getattr(error, "name", "") != _TOO_OLD:
        raise device_error("cudaGetDeviceCount", getattr(error, "name", str(error)))
    _, brought = runtime.cudaRuntimeGetVersion()
    runs = driver_cuda()
    raise MissingDependencyError(
        f"cuda-python {version or 'of unknown version'} brings CUDA "
        f"{brought // 1000}.{brought % 1000 // 10}, which the NVIDIA driver here cannot start"
        + (f" (it runs CUDA {runs[0]}.{runs[1]})" if runs else ""),
        newer_driver(),
    )


class CudaPython:
    """`Cuda` through cuda-python; see the protocol for the methods.

    Args:
        runtime: the module `cuda.bindings.runtime`.
        version: of the package.
    """

    library = "cuda-python"
    captures_graphs = True

    def __init__(self, runtime: Any, version: str = "") -> None:
        self._runtime = runtime
        self.version = version

    def _call(self, function: str, *arguments: Any) -> Any:
        """Call a function that returns an error code and results.

        Returns:
            None, the result, or a list of several.
        """
        error, *results = getattr(self._runtime, function)(*arguments)
        if int(error) != 0:
            # Otherwise the next caller in this thread, such as TensorRT, would see this error.
            self._runtime.cudaGetLastError()
            raise device_error(function, getattr(error, "name", str(error)))
        return results[0] if len(results) == 1 else results

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `Cuda.current`; CUDA keeps a current device for each thread."""
        self._call("cudaSetDevice", _DEVICE)
        yield

    def device_name(self) -> str:
        """See `Cuda.device_name`."""
        name = self._call("cudaGetDeviceProperties", _DEVICE).name
        return bytes(name).rstrip(b"\0").decode(errors="replace")

    def compute_capability(self) -> str:
        """See `Cuda.compute_capability`."""
        attributes = self._runtime.cudaDeviceAttr
        major, minor = (
            self._call("cudaDeviceGetAttribute", attribute, _DEVICE)
            for attribute in (
                attributes.cudaDevAttrComputeCapabilityMajor,
                attributes.cudaDevAttrComputeCapabilityMinor,
            )
        )
        return f"{major}.{minor}"

    def memory(self) -> tuple[int, int]:
        """See `Cuda.memory`."""
        free, total = self._call("cudaMemGetInfo")
        return int(free), int(total)

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        """See `Cuda.allocate_pinned`."""
        pointer = int(self._call("cudaHostAlloc", size, 0))
        block = (ctypes.c_uint8 * size).from_address(pointer)
        array: NDArray[np.uint8] = np.ctypeslib.as_array(block)
        return array

    def free_pinned(self, array: NDArray[np.uint8]) -> None:
        """See `Cuda.free_pinned`."""
        self._call("cudaFreeHost", array.ctypes.data)

    def allocate_device(self, size: int) -> int:
        """See `Cuda.allocate_device`."""
        return int(self._call("cudaMalloc", size))

    def free_device(self, pointer: int) -> None:
        """See `Cuda.free_device`."""
        self._call("cudaFree", pointer)

    def create_stream(self) -> int:
        """See `Cuda.create_stream`."""
        return int(self._call("cudaStreamCreateWithFlags", NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        """See `Cuda.destroy_stream`."""
        self._call("cudaStreamDestroy", stream)

    def copy_to_device(self, pointer: int, source: NDArray[np.uint8], stream: int) -> None:
        """See `Cuda.copy_to_device`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        address, size = source.ctypes.data, source.nbytes
        self._call("cudaMemcpyAsync", pointer, address, size, kind, stream)

    def copy_to_host(self, target: NDArray[np.uint8], pointer: int, stream: int) -> None:
        """See `Cuda.copy_to_host`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        address, size = target.ctypes.data, target.nbytes
        self._call("cudaMemcpyAsync", address, pointer, size, kind, stream)

    def synchronize(self, stream: int) -> None:
        """See `Cuda.synchronize`."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """See `Cuda.capture`."""
        # This thread only: allocations in other threads must not invalidate the capture.
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            # The stream takes no work until its capture is ended, well or not.
            with suppress(DeviceError):
                self._call("cudaGraphDestroy", self._call("cudaStreamEndCapture", stream))
            raise
        recorded = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", recorded, 0))
        finally:
            with suppress(DeviceError):
                self._call("cudaGraphDestroy", recorded)

    def launch(self, graph: int, stream: int) -> None:
        """See `Cuda.launch`."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """See `Cuda.destroy_graph`."""
        self._call("cudaGraphExecDestroy", graph)

"""A GPU made of dictionaries, seen through fakes of cuda-python, pycuda and TensorRT.

Bytes really move, but as late as CUDA may move them: what is queued on a stream is done when the
stream is waited for, and not before. So a wait that is missing, or a buffer that is used again
too early, gives wrong bytes. It counts what is allocated, and can fail at any call.
"""

from __future__ import annotations

import ctypes
import enum
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.nvidia.tensorrt_module import TensorRT

Image = NDArray[np.uint8]
Work = Callable[[], None]
GARBAGE = 0xA5


class Failure(Exception):  # noqa: N818 - it is what the fakes turn into errors
    """The call that was to fail."""


class FakeGpu:
    """Memory, streams and graphs.

    Args:
        fail_at: number of the call, from 1, that fails; None if none is to.
        capture_fails: no graph can be recorded.
        brings: CUDA of cuda-python's own runtime, as in 12060.
        runs: newest CUDA that the driver starts.
    """

    def __init__(
        self,
        fail_at: int | None = None,
        *,
        capture_fails: bool = False,
        brings: int = 12060,
        runs: int = 12060,
    ) -> None:
        self.fail_at, self.capture_fails = fail_at, capture_fails
        self.brings, self.runs = brings, runs
        self.calls: list[str] = []
        self.failed: str | None = None
        self.faults: list[str] = []
        self.live: Counter[str] = Counter()
        self.deepest = 0
        self.device: dict[int, Image] = {}
        self.pinned: dict[int, Image] = {}
        self.streams: dict[int, deque[Work]] = {}
        self.recording: dict[int, list[Work]] = {}
        self.spoiled: set[int] = set()
        self.graphs: dict[int, list[Work]] = {}
        self.here = threading.local()
        self._handles = 0x1000

    def step(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self.fail_at:
            self.failed = name
            raise Failure(name)

    def handle(self) -> int:
        self._handles += 0x1000
        return self._handles

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def need_current(self, name: str) -> None:
        # Where making it current failed, everything is to be freed nevertheless.
        switches = ("cuCtxPushCurrent", "cudaSetDevice")
        if not getattr(self.here, "current", False) and self.failed not in switches:
            self.fault(f"{name} in a thread where the GPU is not current")

    def left(self) -> dict[str, int]:
        """What is allocated and not freed."""
        self.live.update(device=0)
        counts = {"device": len(self.device), "pinned": len(self.pinned)}
        counts |= {"streams": len(self.streams), "graphs": len(self.graphs)}
        return {name: n for name, n in (counts | dict(self.live)).items() if n}

    def make_device(self, size: int) -> int:
        pointer = self.handle()
        self.device[pointer] = np.full(size, GARBAGE, np.uint8)
        return pointer

    def make_pinned(self, size: int) -> Image:
        array = np.full(size, GARBAGE, np.uint8)
        self.pinned[array.ctypes.data] = array
        return array

    def make_stream(self) -> int:
        stream = self.handle()
        self.streams[stream] = deque()
        return stream

    def free(self, kind: dict[int, Any], key: int) -> None:
        """Freeing waits for the GPU, as cudaFree does; but nobody should rely on that."""
        if any(self.streams.values()) and self.failed is None:
            self.fault("freed while work was queued")
        for stream in set(self.streams) - set(self.recording):
            self.synchronize(stream)
        if kind.pop(key, None) is None:
            self.fault("freed what was not allocated")

    def enqueue(self, stream: int, work: Work) -> None:
        if stream in self.recording:
            self.recording[stream].append(work)
            return
        self.streams[stream].append(work)
        self.deepest = max(self.deepest, sum(1 for queue in self.streams.values() if queue))

    def synchronize(self, stream: int) -> None:
        queue = self.streams[stream]
        while queue:
            queue.popleft()()

    def host(self, address: int, size: int) -> Image | None:
        """A view of pinned memory, or None where there is none."""
        for start, array in self.pinned.items():
            if start <= address and address + size <= start + array.nbytes:
                return array[address - start : address - start + size]
        self.fault("copied through memory that is not pinned")
        return None

    def copy(self, device: int, host: int, size: int, stream: int, *, to_device: bool) -> None:
        def work() -> None:
            array = self.host(host, size)
            if array is None or device not in self.device:
                return
            if to_device:
                self.device[device][:size] = array
            else:
                array[:] = self.device[device][:size]

        self.enqueue(stream, work)

    def launch(self, graph: int, stream: int) -> None:
        for work in self.graphs[graph]:
            self.enqueue(stream, work)


CudaError = enum.IntEnum(
    "CudaError",
    {
        "cudaSuccess": 0,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorStreamCaptureUnsupported": 900,
        "cudaErrorStreamCaptureInvalidated": 901,
        "cudaErrorUnknown": 999,
    },
)


class MemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class CaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1  # noqa: N815


class DeviceAttr(enum.IntEnum):
    cudaDevAttrComputeCapabilityMajor = 75  # noqa: N815
    cudaDevAttrComputeCapabilityMinor = 76  # noqa: N815


class Handle:
    """A stream or graph as cuda-python gives it: an object that `int` makes an address of."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __int__(self) -> int:
        return self._address


class FakeRuntime:
    """`cuda.bindings.runtime`: functions that give an error code and their results.

    As with the real one, an error comes without its results or with None in their place (12.9 and
    later),
    handles are objects, an enumeration's number is not the enumeration (12.6), and a runtime that
    is
    newer than the driver gives cudaErrorInsufficientDriver whatever it is asked.
    """

    cudaError_t = CudaError  # noqa: N815
    cudaMemcpyKind = MemcpyKind  # noqa: N815
    cudaStreamCaptureMode = CaptureMode  # noqa: N815
    cudaDeviceAttr = DeviceAttr  # noqa: N815

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu

    def _do(
        self, name: str, action: Callable[[], Any], results: int = 0, *, frees: bool = False
    ) -> tuple[Any, ...]:
        gpu = self.gpu
        if gpu.brings > gpu.runs:
            return (CudaError.cudaErrorInsufficientDriver, *[None] * results)
        if name not in ("cudaSetDevice", "cudaGetDeviceCount"):
            gpu.need_current(name)
        try:
            gpu.step(name)
        except Failure:
            if frees:  # it is freed, and reports what went wrong before
                action()
            memory = "Malloc" in name or "HostAlloc" in name
            code = CudaError.cudaErrorMemoryAllocation if memory else CudaError.cudaErrorUnknown
            return (code, *[None] * results)
        result = action()
        if isinstance(result, CudaError):
            return (result, *[None] * results)
        return (CudaError.cudaSuccess, *((result,) if results == 1 else result or ()))

    def cudaSetDevice(self, index: int) -> Any:  # noqa: N802
        return self._do("cudaSetDevice", lambda: setattr(self.gpu.here, "current", index == 0))

    def cudaGetDeviceCount(self) -> Any:  # noqa: N802
        return self._do("cudaGetDeviceCount", lambda: 1, 1)

    def cudaRuntimeGetVersion(self) -> Any:  # noqa: N802
        return (CudaError.cudaSuccess, self.gpu.brings)

    def cudaGetLastError(self) -> Any:  # noqa: N802
        return (CudaError.cudaSuccess,)

    def cudaMemGetInfo(self) -> Any:  # noqa: N802
        return self._do("cudaMemGetInfo", lambda: (3 << 30, 8 << 30), 2)

    def cudaGetDeviceProperties(self, index: int) -> Any:  # noqa: N802
        properties = SimpleNamespace(name=b"Fake GPU\0\0")
        return self._do("cudaGetDeviceProperties", lambda: properties, 1)

    def cudaDeviceGetAttribute(self, attribute: DeviceAttr, index: int) -> Any:  # noqa: N802
        return self._do("cudaDeviceGetAttribute", lambda: {75: 8, 76: 7}[attribute.value], 1)

    def cudaHostAlloc(self, size: int, flags: int) -> Any:  # noqa: N802
        return self._do("cudaHostAlloc", lambda: self.gpu.make_pinned(size).ctypes.data, 1)

    def cudaFreeHost(self, address: int) -> Any:  # noqa: N802
        gpu = self.gpu
        return self._do("cudaFreeHost", lambda: gpu.free(gpu.pinned, address), frees=True)

    def cudaMalloc(self, size: int) -> Any:  # noqa: N802
        return self._do("cudaMalloc", lambda: self.gpu.make_device(size), 1)

    def cudaFree(self, pointer: int) -> Any:  # noqa: N802
        gpu = self.gpu
        return self._do("cudaFree", lambda: gpu.free(gpu.device, pointer), frees=True)

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        assert flags == 1
        return self._do("cudaStreamCreateWithFlags", lambda: Handle(self.gpu.make_stream()), 1)

    def cudaStreamDestroy(self, stream: int) -> Any:  # noqa: N802
        gpu = self.gpu
        return self._do("cudaStreamDestroy", lambda: gpu.free(gpu.streams, stream), frees=True)

    def cudaStreamSynchronize(self, stream: int) -> Any:  # noqa: N802
        def wait() -> CudaError | None:
            if stream not in self.gpu.recording:
                self.gpu.synchronize(stream)
                return None
            self.gpu.spoiled.add(stream)  # waiting is not allowed in a recording, and ends it
            return CudaError.cudaErrorStreamCaptureUnsupported

        return self._do("cudaStreamSynchronize", wait)

    def cudaMemcpyAsync(  # noqa: N802
        self, target: int, source: int, size: int, kind: MemcpyKind, stream: int
    ) -> Any:
        to_device = kind.value == MemcpyKind.cudaMemcpyHostToDevice
        device, host = (target, source) if to_device else (source, target)
        return self._do(
            "cudaMemcpyAsync",
            lambda: self.gpu.copy(device, host, size, stream, to_device=to_device),
        )

    def cudaStreamBeginCapture(self, stream: int, mode: CaptureMode) -> Any:  # noqa: N802
        assert mode.value == 1
        return self._do("cudaStreamBeginCapture", lambda: self.gpu.recording.update({stream: []}))

    def cudaStreamEndCapture(self, stream: int) -> Any:  # noqa: N802
        def end() -> Any:
            work = self.gpu.recording.pop(stream)
            if stream in self.gpu.spoiled:
                self.gpu.spoiled.remove(stream)
                return CudaError.cudaErrorStreamCaptureInvalidated
            if self.gpu.capture_fails:
                return CudaError.cudaErrorStreamCaptureUnsupported
            graph = self.gpu.handle()
            self.gpu.graphs[graph] = work
            return Handle(graph)

        result = self._do("cudaStreamEndCapture", end, 1)
        self.gpu.recording.pop(stream, None)
        return result

    def cudaGraphInstantiate(self, graph: Handle, flags: int) -> Any:  # noqa: N802
        def instantiate() -> Handle:
            executable = self.gpu.handle()
            self.gpu.graphs[executable] = self.gpu.graphs[int(graph)]
            return Handle(executable)

        return self._do("cudaGraphInstantiate", instantiate, 1)

    def cudaGraphLaunch(self, graph: int, stream: int) -> Any:  # noqa: N802
        return self._do("cudaGraphLaunch", lambda: self.gpu.launch(graph, stream))

    def cudaGraphDestroy(self, graph: Handle) -> Any:  # noqa: N802
        return self._do("cudaGraphDestroy", lambda: self._forget(graph), frees=True)

    def cudaGraphExecDestroy(self, graph: int) -> Any:  # noqa: N802
        return self._do("cudaGraphExecDestroy", lambda: self._forget(graph), frees=True)

    def _forget(self, graph: int | Handle) -> None:
        del self.gpu.graphs[int(graph)]


class PyCudaError(Exception):
    """`pycuda.driver.Error`."""


class _Pinned(bytearray):
    """The allocation that pycuda hangs on a pinned array."""

    driver: FakePyCuda

    def free(self) -> None:
        gpu = self.driver.gpu
        address = ctypes.addressof(ctypes.c_char.from_buffer(self))
        self.driver.do("cuMemFreeHost", lambda: gpu.free(gpu.pinned, address), frees=True)


class FakePyCuda:
    """`pycuda.driver`: contexts on a stack of each thread, and exceptions."""

    Error = PyCudaError

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu
        driver = self

        class Context:
            def push(self) -> None:
                driver.do("cuCtxPushCurrent", lambda: driver.move(+1), outside=True)

            @staticmethod
            def pop() -> None:
                driver.do("cuCtxPopCurrent", lambda: driver.move(-1), frees=True)

        class Device:
            def __init__(self, index: int) -> None:
                assert index == 0

            def retain_primary_context(self) -> Context:
                driver.do("cuDevicePrimaryCtxRetain", lambda: None, outside=True)
                return Context()

            def name(self) -> str:
                return "Fake GPU"

            def compute_capability(self) -> tuple[int, int]:
                return (8, 7)

        class Stream:
            def __init__(self, flags: int) -> None:
                assert flags == 1
                self.handle: int = driver.do("cuStreamCreate", driver.gpu.make_stream)

            def synchronize(self) -> None:
                handle = self.handle
                del self  # pycuda is no Python: no traceback would hold the stream
                driver.do("cuStreamSynchronize", lambda: driver.gpu.synchronize(handle))

            def __del__(self) -> None:
                if hasattr(self, "handle"):
                    driver.gpu.need_current("cuStreamDestroy")
                    driver.gpu.free(driver.gpu.streams, self.handle)

        self.Context, self.Device, self.Stream = Context, Device, Stream

    def move(self, by: int) -> None:
        depth = getattr(self.gpu.here, "depth", 0) + by
        if depth < 0:
            self.gpu.fault("popped from an empty stack")
        self.gpu.here.depth, self.gpu.here.current = depth, depth > 0

    def do(
        self, name: str, action: Callable[[], Any], *, frees: bool = False, outside: bool = False
    ) -> Any:
        if not outside:
            self.gpu.need_current(name)
        try:
            self.gpu.step(name)
        except Failure:
            if frees:
                action()
            words = "out of memory" if "Alloc" in name else "unknown error"
            raise PyCudaError(f"{name} failed: {words}") from None
        return action()

    def init(self) -> None:
        self.do("cuInit", lambda: None, outside=True)

    def mem_get_info(self) -> tuple[int, int]:
        result: tuple[int, int] = self.do("cuMemGetInfo", lambda: (3 << 30, 8 << 30))
        return result

    def pagelocked_empty(self, shape: tuple[int], dtype: Any) -> Image:
        def make() -> Image:
            allocation = _Pinned(bytes([GARBAGE]) * shape[0])
            allocation.driver = self
            array = np.ndarray(shape, dtype, buffer=allocation)
            self.gpu.pinned[array.ctypes.data] = array[:]
            return array

        array: Image = self.do("cuMemHostAlloc", make)
        return array

    def mem_alloc(self, size: int) -> Any:
        pointer = self.do("cuMemAlloc", lambda: self.gpu.make_device(size))
        gpu = self.gpu

        class Allocation:
            def __int__(self) -> int:
                return int(pointer)

            def free(allocation) -> None:  # noqa: N805
                self.do("cuMemFree", lambda: gpu.free(gpu.device, pointer), frees=True)

        return Allocation()

    def memcpy_htod_async(self, target: int, source: Image, stream: Any) -> None:
        address, size, handle = source.ctypes.data, source.nbytes, stream.handle
        del stream
        self.do(
            "cuMemcpyHtoDAsync",
            lambda: self.gpu.copy(target, address, size, handle, to_device=True),
        )

    def memcpy_dtoh_async(self, target: Image, source: int, stream: Any) -> None:
        address, size, handle = target.ctypes.data, target.nbytes, stream.handle
        del stream
        self.do(
            "cuMemcpyDtoHAsync",
            lambda: self.gpu.copy(source, address, size, handle, to_device=False),
        )


class DataType(enum.Enum):
    FLOAT = 0
    UINT8 = 6


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class Dims:
    """`Dims`: iterates, equals a tuple, gives tuples when sliced, and is none."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._sizes = sizes

    def __iter__(self) -> Iterator[int]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: Any) -> Any:
        return self._sizes[index]

    def __eq__(self, other: object) -> bool:
        return self._sizes == tuple(other) if isinstance(other, (tuple, Dims)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


class FakeTensorRT:
    """The classes of a TensorRT that runs one engine: each tile becomes `255 - tile`, or itself.

    Args:
        gpu: where it runs.
        tile_hw: height and width of a tile.
        batch: least, best and most tiles.
        invert: give `255 - tile`.
        tensors: name, direction, type and shape of inputs and outputs; None are the right ones.
    """

    def __init__(
        self,
        gpu: FakeGpu,
        tile_hw: tuple[int, int],
        batch: tuple[int, int, int],
        *,
        invert: bool = False,
        tensors: list[tuple[str, TensorIOMode, DataType, tuple[int, ...]]] | None = None,
    ) -> None:
        self.gpu, self.batch, self.tile_hw = gpu, batch, tile_hw
        size = batch[0] if batch[0] == batch[2] else -1
        shape = (size, 1, *tile_hw)
        self.tensors = tensors or [
            ("tiles", TensorIOMode.INPUT, DataType.UINT8, shape),
            ("crack", TensorIOMode.OUTPUT, DataType.UINT8, shape),
        ]
        self.invert = invert
        self.host_code_allowed = False
        self.dla_core = -1
        self.strategy: str | None = None
        self.caches: list[FakeCache] = []
        self.rtx = False
        self.logger: Any = None

    def step(self, name: str) -> bool:
        """Whether a call of TensorRT succeeds."""
        self.gpu.need_current(name)
        try:
            self.gpu.step(name)
        except Failure:
            return False
        return True

    def refuse(self, why: str) -> bool:
        """False, as from a call that TensorRT refuses, after the reason went to its logger."""
        if self.logger is not None:
            self.logger.log(FakeLogger.ERROR, why)
        return False

    def module(self, *, rtx: bool) -> Any:
        self.rtx = rtx
        names: dict[str, Any] = {
            "ILogger": FakeLogger,
            "DataType": DataType,
            "TensorIOMode": TensorIOMode,
            "ICudaEngine": FakeEngine if rtx else SimpleNamespace(),
            "Runtime": lambda logger: FakeRuntimeOfTensorRT(self, logger),
        }
        if rtx:
            names["CudaGraphStrategy"] = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole graph")
            names["IRuntimeConfig"] = FakeRuntimeConfig
        return SimpleNamespace(**names)

    def tensorrt(self, *, rtx: bool = False, version: str | None = None) -> TensorRT:
        flavour = "tensorrt_rtx" if rtx else "tensorrt"
        version = version or ("1.7.1" if rtx else "10.3.0")
        return TensorRT(flavour, version, self.module(rtx=rtx))


class FakeLogger:
    """`ILogger`."""

    WARNING, ERROR, INTERNAL_ERROR = "warning", "error", "internal error"


class Counted:
    """Counts how many of a class there are."""

    def __init__(self, trt: FakeTensorRT) -> None:
        self._trt = trt
        self._kind = type(self).__name__
        trt.gpu.live[self._kind] += 1

    def __del__(self) -> None:
        if hasattr(self, "_kind"):
            self._trt.gpu.live[self._kind] -= 1


class FakeRuntimeOfTensorRT(Counted):
    """`Runtime`."""

    num_DLA_cores = 2  # noqa: N815

    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        if not trt.step("Runtime"):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        super().__init__(trt)
        self._logger = logger
        trt.logger = logger

    @property
    def engine_host_code_allowed(self) -> bool:
        return self._trt.host_code_allowed

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, value: bool) -> None:
        self._trt.host_code_allowed = value

    @property
    def DLA_core(self) -> int:  # noqa: N802
        return self._trt.dla_core

    @DLA_core.setter
    def DLA_core(self, value: int) -> None:  # noqa: N802
        self._trt.dla_core = value

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> FakeEngine | None:
        if not self._trt.step("deserialize_cuda_engine"):
            self._logger.log(FakeLogger.ERROR, "Cuda Runtime (out of memory)")
            return None
        if serialized_engine != b"engine":
            self._logger.log(FakeLogger.ERROR, "the magic tag does not match")
            return None
        return FakeEngine(self._trt)


class FakeEngine(Counted):
    """`ICudaEngine`."""

    def create_runtime_config(self) -> FakeRuntimeConfig:
        return FakeRuntimeConfig(self._trt)

    def create_execution_context(self, **options: Any) -> FakeContext | None:
        if not set(options) <= ({"runtime_config"} if self._trt.rtx else set()):
            raise TypeError(
                f"create_execution_context(): incompatible function arguments {options}"
            )
        if not self._trt.step("create_execution_context"):
            return None
        return FakeContext(self._trt)

    @property
    def num_io_tensors(self) -> int:
        return len(self._trt.tensors)

    def get_tensor_name(self, index: int) -> str:
        return self._trt.tensors[index][0]

    def _tensor(self, name: str) -> tuple[str, TensorIOMode, DataType, tuple[int, ...]]:
        return next(tensor for tensor in self._trt.tensors if tensor[0] == name)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._tensor(name)[1]

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._tensor(name)[2]

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self._tensor(name)[3])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        assert profile_index == 0
        return [Dims((size, *self._tensor(name)[3][1:])) for size in self._trt.batch]


class FakeContext(Counted):
    """`IExecutionContext`.

    Says False, and why in the log, where the real one does: for a name, a shape or an address that
    does
    not fit, and for a run before the input's shape and every address are set.
    """

    def __init__(self, trt: FakeTensorRT) -> None:
        super().__init__(trt)
        self._addresses: dict[str, int] = {}
        least, _, most = trt.batch
        self._size = most if least == most else 0  # a fixed shape need not be set
        self._changes = 0
        self._is_settled = False
        self._queued = 0

    def __del__(self) -> None:
        if self._queued and self._trt.gpu.failed is None:
            self._trt.gpu.fault("a context was freed while it ran")
        super().__del__()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._trt.batch
        if not self._trt.step("set_input_shape"):
            return False
        fits = least <= shape[0] <= most and tuple(shape[1:]) == (1, *self._trt.tile_hw)
        if name != "tiles" or not fits:
            return self._trt.refuse(f"{name} {shape} is not within the profile")
        self._size = shape[0]
        self._changes += 1
        self._is_settled = False
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if not self._trt.step("set_tensor_address"):
            return False
        if name not in {tensor[0] for tensor in self._trt.tensors} or not memory or memory % 256:
            return self._trt.refuse(f"the address {memory:#x} of {name}")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not self._trt.step("execute_async_v3"):
            return False
        unset = {tensor[0] for tensor in self._trt.tensors} - set(self._addresses)
        if unset or not self._size:
            return self._trt.refuse(f"no address of {sorted(unset)}, or no shape ({self._size})")
        gpu, change = self._trt.gpu, self._changes
        if stream_handle not in gpu.streams:
            gpu.fault(f"ran on {stream_handle:#x}, which is no stream")
        if stream_handle in gpu.recording and not self._is_settled:
            gpu.fault("recorded before the shape was settled")
        self._is_settled = True
        count = self._size * self._trt.tile_hw[0] * self._trt.tile_hw[1]
        self._queued += stream_handle not in gpu.recording

        def work() -> None:
            self._queued = max(0, self._queued - 1)
            if self._changes != change:
                gpu.fault("a graph ran after its context had changed")
            given = gpu.device[self._addresses["tiles"]][:count]
            gpu.device[self._addresses["crack"]][:count] = (
                255 - given if self._trt.invert else given
            )

        gpu.enqueue(stream_handle, work)
        return True


class FakeCache:
    """`IRuntimeCache`."""

    def __init__(self, trt: FakeTensorRT) -> None:
        self._trt = trt
        self.content = b""
        trt.caches.append(self)

    def deserialize(self, blob: bytes) -> bool:
        if not self._trt.step("deserialize") or not blob.startswith(b"kernels"):
            return False
        self.content = blob
        return True

    def serialize(self) -> memoryview:
        """`IHostMemory`, which is a buffer and no bytes."""
        if not self._trt.step("serialize"):
            raise RuntimeError("nothing to serialize")
        return memoryview(self.content or b"kernels 1")


class FakeRuntimeConfig:
    """`IRuntimeConfig` of TensorRT for RTX."""

    cuda_graph_strategy = "disabled"

    def __init__(self, trt: FakeTensorRT) -> None:
        self._trt = trt

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "cuda_graph_strategy":
            self._trt.strategy = value
        super().__setattr__(name, value)

    def create_runtime_cache(self) -> FakeCache:
        return FakeCache(self._trt)

    def set_runtime_cache(self, cache: FakeCache | None = None) -> bool:
        return self._trt.step("set_runtime_cache")

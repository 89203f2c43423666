"""Loads TensorRT engines, and runs single batches with their own context, stream and buffers.

Two slots overlap: while one computes, the other copies.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, ModelFile, ModelSpec
from edgecrack.errors import DeviceError, ModelFileError
from edgecrack.nvidia.cuda.base import Cuda
from edgecrack.nvidia.engine_info import EngineInfo, rebuild_command
from edgecrack.nvidia.gpu import better_driver
from edgecrack.nvidia.tensorrt_module import BuildLog, TensorRT, construct, make_logger

Note = Callable[[str], None]


class Slot:
    """Runs one batch at a time; `start` and `finish` take turns.

    Every method must be called with the GPU current. A batch of a new size runs twice as TensorRT
    wants it before it is recorded as a CUDA graph: in its first run TensorRT settles what depends
    on the size, which is not to be in the graph. A graph holds for one size alone, and changing
    the size of its context spoils it, so there is one at a time.

    Args:
        cuda: the GPU.
        context: TensorRT's IExecutionContext; the slot holds the only reference.
        tile_hw: height and width of a tile in pixels.
        most: most tiles of a batch.
        record: record CUDA graphs, where the library can.
        reason: TensorRT's last messages, for an error.
        note: called once if a graph cannot be recorded; the slot then runs without.

    Raises:
        DeviceError: the GPU has no memory left, or fails.
    """

    def __init__(
        self,
        cuda: Cuda,
        context: Any,
        tile_hw: tuple[int, int],
        most: int,
        *,
        record: bool,
        reason: Callable[[], str],
        note: Note,
    ) -> None:
        self._cuda, self._context, self._tile_hw = cuda, context, tile_hw
        self._record = record and cuda.captures_graphs
        self._reason, self._note = reason, note
        self._graph: int | None = None
        self._size = self._runs = 0
        self._resources = ExitStack()
        self._stream = cuda.create_stream()
        self._later(cuda.destroy_stream, self._stream)
        try:
            self._allocate(most)
        except BaseException:
            self.close()
            raise

    def _allocate(self, most: int) -> None:
        height, width = self._tile_hw
        self._tile_bytes = height * width
        size = most * self._tile_bytes
        cuda = self._cuda
        self._host_in = cuda.allocate_pinned(size)
        self._later(cuda.free_pinned, self._host_in)
        self._host_out = cuda.allocate_pinned(size)
        self._later(cuda.free_pinned, self._host_out)
        self._device_in = cuda.allocate_device(size)
        self._later(cuda.free_device, self._device_in)
        self._device_out = cuda.allocate_device(size)
        self._later(cuda.free_device, self._device_out)
        for name, pointer in ((INPUT_NAME, self._device_in), (OUTPUT_NAME, self._device_out)):
            if not self._context.set_tensor_address(name, pointer):
                raise self._refused(f"the address of {name}")

    def _later(self, free: Callable[[Any], None], what: Any) -> None:
        """Free something when the slot closes, whether or not freeing others fails."""

        def quietly() -> None:
            with suppress(DeviceError):  # the GPU has failed before; there is nothing left to do
                free(what)

        self._resources.callback(quietly)

    def start(self, tiles: NDArray[np.uint8], size: int) -> None:
        """Queue a batch; the slot must be idle.

        Args:
            tiles: uint8 [N, 1, H, W], N from 1 to `size`; it may change when this returns.
            size: tiles of the batch; missing ones repeat the last tile.

        Raises:
            DeviceError: TensorRT or the GPU refuses.
        """
        batch = self._host_in[: size * self._tile_bytes].reshape(size, *tiles.shape[1:])
        batch[: len(tiles)] = tiles
        batch[len(tiles) :] = tiles[-1]
        if size != self._size:
            self._resize(size)
        if self._graph is None and self._record and self._runs:
            self._record_graph()
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph, self._stream)
        self._runs += 1

    def finish(self, target: NDArray[np.uint8]) -> None:
        """Wait for the batch and copy its first tiles out.

        Args:
            target: uint8 [N, 1, H, W], contiguous, filled.

        Raises:
            DeviceError: the GPU failed.
        """
        self._cuda.synchronize(self._stream)
        target.reshape(-1)[:] = self._host_out[: target.nbytes]

    def abandon(self) -> None:
        """Wait for queued work and discard it."""
        with suppress(DeviceError):
            self._cuda.synchronize(self._stream)
        self._drop_graph()
        self._size = self._runs = 0

    def close(self) -> None:
        """Free everything; may be called twice."""
        if self._context is not None:
            self.abandon()
        self._context = None  # frees TensorRT's own memory, which the stream may have used
        self._resources.close()

    def _resize(self, size: int) -> None:
        self._drop_graph()
        self._size = self._runs = 0
        if not self._context.set_input_shape(INPUT_NAME, (size, 1, *self._tile_hw)):
            raise self._refused(f"a batch of {size} tiles")
        self._size = size

    def _enqueue(self) -> None:
        count = self._size * self._tile_bytes
        self._cuda.copy_to_device(self._device_in, self._host_in[:count], self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise self._refused(f"to run a batch of {self._size} tiles")
        self._cuda.copy_to_host(self._host_out[:count], self._device_out, self._stream)

    def _record_graph(self) -> None:
        try:
            self._graph = self._cuda.capture(self._stream, self._enqueue)
        except DeviceError as error:
            self._record = False
            self._note(f"runs without CUDA graphs: {error.problem}")

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            with suppress(DeviceError):
                self._cuda.destroy_graph(graph)

    def _refused(self, what: str) -> DeviceError:
        return DeviceError(
            f"TensorRT refused {what} ({self._reason()})",
            "close other programs that use the GPU and start again; if it fails again, build the "
            "engine again",
        )


# In TensorRT's messages for failures of the GPU, not of the engine.
_SIGNS_OF_THE_GPU = ("cuda runtime", "cudaerror", "out of memory", "outofmemory")
Tensor = tuple[str, str, str, tuple[int, ...]]  # name, direction, type, shape


@dataclass(frozen=True)
class LoadedEngine:
    """A loaded engine, and the objects it needs.

    Attributes:
        engine: TensorRT's ICudaEngine.
        runtime: the Runtime that loaded it.
        logger: the logger of both.
        log: what TensorRT says.
    """

    engine: Any
    runtime: Any
    logger: Any
    log: BuildLog


def load_engine(tensorrt: TensorRT, model: ModelFile, info: EngineInfo) -> LoadedEngine:
    """Load an engine; the GPU must be current.

    Args:
        tensorrt: the TensorRT that is to run it.
        model: its file.
        info: where it runs.

    Raises:
        DeviceError: TensorRT does not start, or the GPU fails or has no memory left.
        ModelFileError: TensorRT refuses the engine, or it is not what the sidecar says.
    """
    logger, log = make_logger(tensorrt.module)
    runtime = _make_runtime(tensorrt, logger, log)
    if info.version_compatible:
        # Such an engine contains its own lean runtime, host code that TensorRT refuses by default.
        # It is allowed: the bytes match the sidecar's hash, and an attacker who can forge both
        # can also replace this program.
        runtime.engine_host_code_allowed = True
    if info.dla_core is not None:
        _choose_dla(runtime, model.path, info)
    engine = runtime.deserialize_cuda_engine(model.content)
    if engine is None:
        raise _not_loaded(tensorrt, model.path, info, log.reason())
    check_engine_tensors(tensorrt.module, engine, model.path, model.spec, info)
    return LoadedEngine(engine, runtime, logger, log)


def check_engine_tensors(
    trt: Any, engine: Any, path: Path, spec: ModelSpec, info: EngineInfo
) -> None:
    """Check inputs and outputs of a loaded engine.

    Args:
        trt: the TensorRT module.
        engine: its ICudaEngine.
        path: the engine's file, for errors.
        spec: its sidecar.
        info: where it runs.

    Raises:
        ModelFileError: names, directions, types, shapes or the batch differ from the sidecar.
    """
    found = sorted(_describe(engine, index) for index in range(engine.num_io_tensors))
    least, _, most = info.batch
    is_fixed = least == most
    # A range whose ends are alike may show as a number or as a range.
    allowed = [_expected(trt, spec, batch) for batch in ((most, -1) if is_fixed else (-1,))]
    problem = None
    if found not in allowed:
        problem = f"{path} has {_list(found)}, expected {_list(allowed[0])}"
    elif spec.batch not in ((None, most) if is_fixed else (None,)):
        problem = f"{path} is described with batch {spec.batch} and with batches {info.batch}"
    elif found[0][3][0] == -1:
        profile = tuple(next(iter(dims)) for dims in engine.get_tensor_profile_shape(INPUT_NAME, 0))
        if profile != info.batch:
            problem = f"{path} takes batches {profile}, expected {info.batch}"
    if problem:
        raise ModelFileError(problem, f"build it again: {rebuild_command(path, info.source)}")


def _expected(trt: Any, spec: ModelSpec, batch: int) -> list[Tensor]:
    uint8, shape = str(trt.DataType.UINT8), (batch, 1, *spec.tile_hw)
    ends = ((INPUT_NAME, trt.TensorIOMode.INPUT), (OUTPUT_NAME, trt.TensorIOMode.OUTPUT))
    return sorted((name, str(mode), uint8, shape) for name, mode in ends)


def _make_runtime(tensorrt: TensorRT, logger: Any, log: BuildLog) -> Any:
    try:
        return construct(tensorrt.module.Runtime, logger)
    except (TypeError, RuntimeError) as error:  # what the bindings make of a null pointer
        raise DeviceError(
            f"{tensorrt.flavour} {tensorrt.version} does not start ({log.reason()})",
            better_driver(),
        ) from error


def _not_loaded(
    tensorrt: TensorRT, path: Path, info: EngineInfo, reason: str
) -> DeviceError | ModelFileError:
    problem = f"{tensorrt.flavour} {tensorrt.version} cannot load {path} ({reason})"
    if any(sign in reason.lower() for sign in _SIGNS_OF_THE_GPU):
        return DeviceError(
            problem,
            f"close other programs that use the GPU and start again; else {better_driver()}",
        )
    return ModelFileError(problem, f"build it again: {rebuild_command(path, info.source)}")


def _choose_dla(runtime: Any, path: Path, info: EngineInfo) -> None:
    if info.dla_core is None or info.dla_core >= runtime.num_DLA_cores:
        raise ModelFileError(
            f"{path} is an engine for DLA core {info.dla_core}, and this machine has "
            f"{runtime.num_DLA_cores} DLA cores",
            f"build it without a DLA core: {rebuild_command(path, info.source)}",
        )
    runtime.DLA_core = info.dla_core


def _describe(engine: Any, index: int) -> Tensor:
    name = engine.get_tensor_name(index)
    mode, dtype = engine.get_tensor_mode(name), engine.get_tensor_dtype(name)
    return name, str(mode), str(dtype), tuple(engine.get_tensor_shape(name))


def _list(tensors: list[Tensor]) -> str:
    return ", ".join(
        f"{mode.rpartition('.')[2].lower()} {name} {dtype.rpartition('.')[2]} {list(shape)}"
        for name, mode, dtype, shape in tensors
    )

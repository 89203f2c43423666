"""Loads an engine and checks that it is what its sidecar says.

Loading runs code that is in the file, so the very bytes that were checked are loaded. Knows nothing
of batches or of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, ModelFile, ModelSpec
from edgecrack.errors import DeviceError, ModelFileError
from edgecrack.nvidia.cuda.driver_fit import better_driver
from edgecrack.nvidia.engine_info import EngineInfo, rebuild_command
from edgecrack.nvidia.tensorrt_log import BuildLog, construct, make_logger
from edgecrack.nvidia.tensorrt_module import TensorRT

# In TensorRT's words for a failure that is the GPU's and not the engine's.
_SIGNS_OF_THE_GPU = ("cuda runtime", "cudaerror", "out of memory", "outofmemory")
Tensor = tuple[str, str, str, tuple[int, ...]]  # name, direction, type, shape


@dataclass(frozen=True)
class LoadedEngine:
    """An engine in memory, and what must live as long as it.

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
        # Such an engine brings its own lean runtime, a program for the processor, which TensorRT
        # will not run unless told. It may: the bytes have the hash that the sidecar names, and
        # whoever could forge both could as well replace this program.
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

"""The OpenVINO backend, imported on use and without its telemetry.

Importing OpenVINO starts a thread that sends usage data to an analytics service, unless its
telemetry package is missing. So that package is hidden during the import.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, ModelFile, ModelSpec
from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError, MissingDependencyError, ModelFileError, first_line
from edgecrack.extras import origin, require
from edgecrack.runtime.backends.base import check_tiles

_TELEMETRY = "openvino_telemetry"
_MACHINES = ("x86_64", "AMD64")
# oneDNN's limit under both of its names, and that of OpenVINO's own kernels; each obeys its own.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OV_CPU_MAX_ISA")


def import_openvino() -> ModuleType:
    """The module `openvino`.

    Raises:
        MissingDependencyError: it is not installed, or cannot be loaded.
        ConfigError: it was never tested on this machine's processor.
    """
    if platform.machine() not in _MACHINES:
        raise ConfigError(
            f"OpenVINO was asked for on {platform.machine()}, where it was not tried",
            "give `backend` onnxruntime, or leave it out",
        )
    if _TELEMETRY in sys.modules:
        return _imported()
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return _imported()
    finally:
        del sys.modules[_TELEMETRY]


def _imported() -> ModuleType:
    try:
        return require("openvino", extra="cpu", purpose="the backend openvino")
    except MissingDependencyError:
        raise
    except Exception as error:  # a library of the system is missing, or the install is torn
        raise broken(error) from error


def broken(error: Exception) -> MissingDependencyError:
    """OpenVINO is installed and cannot be used."""
    return MissingDependencyError(
        f"OpenVINO is installed, and cannot be loaded ({first_line(error)})",
        f"give `backend` onnxruntime, or install it again: {origin().install('cpu')}",
    )


def has_openvino() -> bool:
    """Whether it is installed and was tested on this machine's kind of processor."""
    from importlib.util import find_spec

    return platform.machine() in _MACHINES and find_spec("openvino") is not None


def instruction_limits() -> dict[str, str]:
    """Instruction set limits in the environment, by variable."""
    return {name: os.environ[name].upper() for name in _LIMITS if os.environ.get(name)}


CpuPrecision = Literal["f32", "bf16"]
_MOST = 1024
# Limits that exclude bfloat16 instructions.
_WITHOUT_BFLOAT16 = frozenset(
    {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}
)


@dataclass(frozen=True)
class OpenVINOSettings:
    """How OpenVINO runs a model.

    Attributes:
        precision: "f32", or "bf16", which few processors support.
        streams: pieces of work at a time; the threads are shared out among them.
        batch: tiles in a piece; None takes all that there are.

    Raises:
        ConfigError: a value is out of range.
    """

    precision: CpuPrecision = "f32"
    streams: int = 1
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in get_args(CpuPrecision):
            names = ", ".join(get_args(CpuPrecision))
            raise ConfigError(f"the precision is {self.precision!r}", f"give {names}")
        counts = [self.streams] if self.batch is None else [self.streams, self.batch]
        if not all(type(each) is int and 1 <= each <= _MOST for each in counts):
            raise ConfigError(
                f"{self.streams!r} streams of {self.batch!r} tiles were asked for",
                f"give 1 to {_MOST} of each",
            )

    @property
    def words(self) -> str:
        """The settings in words."""
        tiles = "all tiles" if self.batch is None else f"{self.batch} tiles"
        tiles = "1 tile" if self.batch == 1 else tiles
        streams = "1 stream" if self.streams == 1 else f"{self.streams} streams"
        return f"{self.precision}, {streams} of {tiles}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class OpenVINORunner(Closeable):
    """Runs an ONNX file on the CPU.

    Args:
        model: the file.
        settings: how.
        threads: CPU threads.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        ConfigError: the processor lacks what the precision needs.
        ModelFileError: the file cannot be loaded.
    """

    def __init__(self, model: ModelFile, settings: OpenVINOSettings, *, threads: int) -> None:
        self._model, self.settings = model, settings
        core = _core()
        if settings.precision == "bf16" and not has_bfloat16(core):
            raise _no_bfloat16()
        # A fixed shape is compiled once; smaller pieces are padded.
        self._piece = model.spec.batch or settings.batch
        options = {
            "INFERENCE_PRECISION_HINT": settings.precision,
            "NUM_STREAMS": str(settings.streams),
            "INFERENCE_NUM_THREADS": str(threads),
        }
        try:
            graph = core.read_model(model.content)
            if self._piece is not None and model.spec.batch is None:
                graph.reshape({INPUT_NAME: [self._piece, 1, *model.spec.tile_hw]})
            compiled = core.compile_model(graph, "CPU", options)
            _check_names(compiled)
        except Exception as error:  # its own errors are RuntimeError and others
            raise self._cannot_run(error) from error
        self._requests: list[Any] | None = [
            compiled.create_infer_request() for _ in range(settings.streams)
        ]
        self._one_at_a_time = threading.Lock()

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        return self._model.spec

    @property
    def backend(self) -> str:
        """OpenVINO, and how."""
        return f"openvino ({self.settings.words})"

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run tiles.

        Args:
            tiles: uint8 [N, 1, H, W], N from 1.

        Returns:
            uint8 [N, 1, H, W], 255 = certain crack.

        Raises:
            ConfigError: the tiles have another shape or dtype, or the runner is closed.
            ModelFileError: the graph fails, or its output has another shape than the tiles.
        """
        with self._one_at_a_time:
            if self._requests is None:
                raise ConfigError("the runner is closed", "open the model again")
            check_tiles(tiles, self._model.spec.tile_hw)
            try:
                return self._run(tiles, self._requests)
            except RuntimeError as error:  # OpenVINO's own
                raise self._cannot_run(error) from error

    def _run(self, tiles: NDArray[np.uint8], requests: list[Any]) -> NDArray[np.uint8]:
        result = np.empty_like(tiles)
        size = self._piece or len(tiles)
        running: dict[int, int] = {}  # by request, the first tile of its piece
        try:
            for number, first in enumerate(range(0, len(tiles), size)):
                place = number % len(requests)
                if place in running:
                    self._collect(requests[place], result, running.pop(place), size)
                requests[place].start_async({INPUT_NAME: self._filled(tiles, first)})
                running[place] = first
            while running:
                place, first = running.popitem()
                self._collect(requests[place], result, first, size)
        finally:
            for place in running:  # after an error, nothing is left in flight
                with suppress(RuntimeError):
                    requests[place].wait()
        return result

    def _filled(self, tiles: NDArray[np.uint8], first: int) -> NDArray[np.uint8]:
        """The piece that begins at a tile, padded with repeats to a fixed size."""
        chunk = tiles[first : first + (self._piece or len(tiles))]
        if self._piece is not None and len(chunk) < self._piece:
            chunk = np.concatenate([chunk, np.repeat(chunk[-1:], self._piece - len(chunk), axis=0)])
        return np.ascontiguousarray(chunk)

    def _collect(self, request: Any, result: NDArray[np.uint8], first: int, size: int) -> None:
        request.wait()
        found = request.get_tensor(OUTPUT_NAME).data
        if found.shape != (size, *result.shape[1:]):
            wanted = size, *result.shape[1:]
            raise self._cannot_run(ValueError(f"it gives {found.shape}, expected {wanted}"))
        target = result[first : first + size]
        target[:] = found[: len(target)]

    def _cannot_run(self, error: Exception) -> ModelFileError:
        return ModelFileError(
            f"OpenVINO cannot run {self._model.path} ({first_line(error)})",
            "give `backend` onnxruntime, or export the model again with `edgecrack export`",
        )

    def close(self) -> None:
        """Free the model and end its threads."""
        self._requests = None


def _core() -> Any:
    openvino = import_openvino()
    try:
        return openvino.Core()
    except Exception as error:  # its own errors are RuntimeError and others
        raise broken(error) from error


def has_bfloat16(core: Any) -> bool:
    """Whether the processor has bfloat16 instructions, AMX or AVX-512.

    OpenVINO does not ask for oneDNN's limit, and would fail later, or be slow.
    """
    is_able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return is_able and _WITHOUT_BFLOAT16.isdisjoint(instruction_limits().values())


def _no_bfloat16() -> ConfigError:
    problem = "the precision bf16 was asked for, for which this processor has no instructions"
    remedy = "give `backend` openvino"
    if limits := instruction_limits():
        given = ", ".join(f"{name}={value}" for name, value in limits.items())
        problem += f", or {given} forbids them"
        remedy += f", or unset {' and '.join(limits)}"
    return ConfigError(problem, remedy)


def _check_names(compiled: Any) -> None:
    """Check a graph's input and output against the model file."""
    for name, ports in ((INPUT_NAME, compiled.inputs), (OUTPUT_NAME, compiled.outputs)):
        names = [each.get_names() for each in ports]
        types = [each.get_element_type().get_type_name() for each in ports]
        if len(ports) != 1 or name not in names[0] or types != ["u8"]:
            raise ValueError(f"its ports are {names} of {types}, expected {name!r} of u8")

"""What runs a model file: the `Runner` contract, and the one function that opens a file.

Nothing is loaded before the file's sidecar has been checked.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelSpec, read_verified_spec
from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.extras import origin

BUNDLED_MODEL = Path(__file__).parent.parent / "models" / "edgecrack-bundled.onnx"


class Runner(Protocol):
    """Runs tiles through a model.

    `infer` takes uint8 [N, 1, H, W] with H, W as the spec says and any N from 1, splits or pads
    N to what the model wants, and gives uint8 [N, 1, H, W], 255 = certain crack. The result
    belongs to the caller. `close` frees everything, more than once if need be.
    """

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run tiles; see the class."""

    def close(self) -> None:
        """Free everything."""

    def __enter__(self) -> Runner:
        """Use as a context manager."""

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""


def check_tiles(tiles: NDArray[np.uint8], tile_hw: tuple[int, int]) -> None:
    """Refuse what no runner can run.

    Args:
        tiles: to be uint8 [N, 1, H, W], N from 1.
        tile_hw: H and W of the model.

    Raises:
        ConfigError: another dtype or shape, or no tiles.
    """
    expected = (1, *tile_hw)
    if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[1:] != expected or not len(tiles):
        raise ConfigError(
            f"tiles are {tiles.dtype} of shape {tiles.shape}",
            f"give uint8 [N, {', '.join(map(str, expected))}]",
        )


def check_runnable(path: Path, spec: ModelSpec) -> None:
    """Refuse what a sidecar can ask for and this version does not do, rather than ignore it.

    Args:
        path: the model file, for the message.
        spec: its description.

    Raises:
        ModelFileError: other channels, layout or temperature than the defaults.
    """
    usual = ModelSpec(kind="checkpoint", pooling=spec.pooling, width=spec.width)
    for name in ("channels", "layout", "temperature"):
        asked, known = getattr(spec, name), getattr(usual, name)
        if asked != known:
            raise ModelFileError(
                f"the sidecar of {path} asks for {name} {_words(asked)}, and this version runs "
                f"{name} {_words(known)} only",
                origin().update(),
            )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def open_runner(path: Path | None = None, *, threads: int | None = None) -> Runner:
    """Open a model file: an ONNX file on the CPU, an engine on the first GPU.

    Args:
        path: `*.onnx` or `*.engine` with its sidecar; None opens the bundled model.
        threads: CPU threads of an ONNX file; None leaves the choice to the backend.

    Raises:
        ModelFileError: the file is missing, is not ours, does not match its sidecar, is of a
            kind that this program cannot run, is to be run as `check_runnable` refuses, or is
            an engine for another machine.
        ConfigError: the number of threads is not positive, or was given for an engine.
        DeviceError: the file is an engine and there is no GPU, or it fails.
        MissingDependencyError: the file is an engine, and TensorRT or access to CUDA is missing.
    """
    path = Path(path) if path is not None else BUNDLED_MODEL
    spec = read_verified_spec(path)
    if spec.kind == "checkpoint":
        raise ModelFileError(
            f"{path} is a checkpoint, which needs PyTorch to run",
            f"export it first: edgecrack export {path} -o model.onnx",
        )
    check_runnable(path, spec)
    if spec.kind == "engine":
        return _open_engine(path, spec, threads)
    from edgecrack.runtime.onnxrt import OnnxRuntimeRunner

    return OnnxRuntimeRunner(path, spec, threads=threads)


def _open_engine(path: Path, spec: ModelSpec, threads: int | None) -> Runner:
    if threads is not None:
        raise ConfigError(
            f"{threads} CPU threads were asked for, and {path} is an engine, which runs on the GPU",
            "leave the threads out",
        )
    from edgecrack.runtime.preflight import check_engine

    check_engine(path, spec)
    from edgecrack.runtime.trt import TensorRTRunner

    return TensorRTRunner(path, spec)

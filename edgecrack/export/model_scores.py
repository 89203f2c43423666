"""Scores of model files on labelled tiles: a user's, or of generated walls.

Generated walls have exact masks and need no data, so every build is scored; they show how much a
change of precision costs, not how good a model is on concrete.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile, ModelSpec, read_model_file, sidecar_path
from edgecrack.calibration.accuracy import Accuracy, measure_accuracy
from edgecrack.calibration.config import CalibrationConfig
from edgecrack.calibration.sampler import TileSet, open_frames, sample_tiles
from edgecrack.errors import DeviceError, ExportError, MissingDependencyError, ModelFileError
from edgecrack.metrics import uint8_level
from edgecrack.nvidia.engine_info import EngineInfo, current_platform
from edgecrack.nvidia.gpu import gpu_devices
from edgecrack.onnx_graph.graph_file import GraphRun
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    import onnx

WALLS = 48
PARITY_MEAN_LEVELS = 1.0  # kernels round differently; a wrong one is off by far more
_LEAST_WALLS = 4
_LEAST_WALL_PX = 32  # smaller ones are not generated


@dataclass(frozen=True)
class Scored:
    """One row of a build's table.

    Attributes:
        name: precision of the file.
        accuracy: its scores.
    """

    name: str
    accuracy: Accuracy

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values."""
        return {"precision": self.name, **self.accuracy.to_dict()}

    @classmethod
    def from_mapping(cls, entry: Mapping[str, Any]) -> Scored:
        """A row from an entry of a sidecar's `scores`.

        Raises:
            ModelFileError: a score is missing or not a number.
        """
        try:
            return cls(
                str(entry["precision"]),
                Accuracy(
                    float(entry["ods"]),
                    float(entry["strict_f1"]),
                    float(entry["thin_recall"]),
                    int(entry["largest_difference"]),
                    int(entry.get("thin_pixels", 0)),
                    float(entry.get("tolerant_f1", 0.0)),
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"a sidecar's scores are damaged ({type(error).__name__}: {error})",
                "calibrate the model again",
            ) from error


def labelled_tiles(
    calibration: CalibrationConfig | None, spec: ModelSpec, graph: onnx.ModelProto | bytes
) -> tuple[TileSet, str]:
    """The held-out tiles of a user's data, or tiles of generated walls, and their description.

    Args:
        calibration: the data; None for generated walls.
        spec: the model's description.
        graph: replaces missing labels.
    """
    if calibration is None:
        walls = _walls(spec.tile_hw, spec.preprocess)
        return walls, counted(len(walls), "generated wall")
    run, level = GraphRun(graph, spec.batch), uint8_level(spec.threshold)
    frames = open_frames(calibration.data, calibration.sampler.seed)
    _, held_out = sample_tiles(
        frames,
        calibration.sampler,
        spec.preprocess,
        spec.tile_hw,
        lambda pixels: run(pixels) >= level,
        scales=spec.scales,
    )
    return held_out, f"{counted(len(held_out), 'held-out tile')} of {frames.name}"


def score_files(
    float_file: Path | ModelFile | None,
    source: Path | ModelFile,
    spec: ModelSpec,
    calibration: CalibrationConfig | None,
) -> tuple[tuple[Scored, ...], str]:
    """Score an FP32 file and the file that an engine was built from.

    Args:
        float_file: the FP32 file, or None if it is not known.
        source: the file that the engine was built from; may be the FP32 file.
        spec: its description.
        calibration: the data; None for generated walls.

    Returns:
        The rows, and what they were measured on.
    """
    is_same = source == float_file
    source = read_model_file(source)
    float_file = None if float_file is None else source if is_same else read_model_file(float_file)
    reference = (float_file or source).content
    tiles, data = labelled_tiles(calibration, spec, reference)
    expected = GraphRun(reference, spec.batch)(tiles.pixels)
    rows = []
    if float_file is not None:
        rows.append(Scored("fp32", _judge(expected, tiles, spec, expected)))
    if source is not float_file:
        output = GraphRun(_rounded(source.content), spec.batch)(tiles.pixels)
        compared = expected if float_file is not None else None
        rows.append(Scored(spec.precision, _judge(output, tiles, spec, compared)))
    return tuple(rows), data


def _rounded(content: bytes) -> onnx.ModelProto | bytes:
    """The graph with FP16's rounding, which a CPU omits; unchanged where onnx is missing."""
    if importlib.util.find_spec("onnx") is None:
        return content
    import onnx

    from edgecrack.onnx_graph.precision import simulate_half

    return simulate_half(onnx.load_model_from_string(content))


def _judge(
    output: NDArray[np.uint8],
    tiles: TileSet,
    spec: ModelSpec,
    expected: NDArray[np.uint8] | None,
) -> Accuracy:
    return measure_accuracy(output, tiles.truth, spec.threshold, expected)


@dataclass(frozen=True)
class Parity:
    """Difference of an engine that ran here from its ONNX file.

    Attributes:
        tiles: number of tiles of generated walls.
        largest_difference: in levels of 255.
        mean_difference: in levels of 255.
    """

    tiles: int
    largest_difference: int
    mean_difference: float

    def to_dict(self) -> dict[str, float]:
        """The figures as JSON values."""
        return {
            "tiles": self.tiles,
            "largest_difference": self.largest_difference,
            "mean_difference": round(self.mean_difference, 4),
        }


@dataclass(frozen=True)
class NotRun:
    """Why an engine did not run beside its ONNX file.

    Attributes:
        reason: as a clause.
        remedy: what to do about it, as a clause.
        is_for_here: the engine is for the GPU of this machine, so it should have run.
    """

    reason: str
    remedy: str
    is_for_here: bool

    def __str__(self) -> str:
        """A sentence; a warning where the engine should have run."""
        if not self.is_for_here:
            return self.reason
        return (
            "the engine is for this machine and did NOT run here, so it is unknown whether it "
            f"computes what its ONNX file does: {self.reason}; {self.remedy}"
        )


def check_parity(engine: Path, source: Path | ModelFile, spec: ModelSpec) -> Parity | NotRun:
    """Compare an engine with the ONNX file that it was built from, where this machine can.

    Returns:
        The differences, or why the engine did not run.

    Raises:
        ExportError: the engine does not run, or computes something else, or is for this machine and
            is refused here; it is removed.
    """
    from edgecrack.nvidia.cuda.open import open_cuda
    from edgecrack.runtime.backends.open import open_runner
    from edgecrack.runtime.backends.preflight import check_engine

    file = read_model_file(engine)
    here = _is_for_here(EngineInfo.from_dict(file.spec.engine))
    try:
        check_engine(engine, file.spec)
        open_cuda()
    except (MissingDependencyError, DeviceError) as error:
        return NotRun(error.problem, error.remedy, here)
    except ModelFileError as error:
        if not here:
            return NotRun(error.problem, error.remedy, is_for_here=False)
        _remove(engine)
        raise ExportError(
            f"the engine was built for this machine, which refuses it: {error.problem}; it was "
            "removed",
            error.remedy,
        ) from error
    pixels = _walls(spec.tile_hw, spec.preprocess).pixels
    try:
        with open_runner(file) as runner:
            ran = runner.infer(pixels)[:, 0]
    except (ModelFileError, DeviceError) as error:
        _remove(engine)
        raise ExportError(
            f"the engine was built and does not run: {error.problem}; it was removed", error.remedy
        ) from error
    source = read_model_file(source)
    expected = GraphRun(source.content, spec.batch)(pixels)
    difference = np.abs(ran.astype(np.int16) - expected.astype(np.int16))
    found = Parity(len(pixels), int(difference.max()), float(difference.mean()))
    if found.mean_difference > PARITY_MEAN_LEVELS:
        _remove(engine)
        raise ExportError(
            f"the engine differs from {source.path.name} by {found.mean_difference:.2f}/255 on "
            f"average, {PARITY_MEAN_LEVELS:g} is allowed, and was removed",
            "build it with another TensorRT or precision, and report this",
        )
    return found


def _is_for_here(info: EngineInfo) -> bool:
    """Whether an engine is for the first GPU of this machine, usable by Python or not."""
    devices = gpu_devices()
    return (
        bool(devices)
        and info.platform == current_platform()
        and devices[0].compute_capability in info.compute_capabilities
    )


def _remove(engine: Path) -> None:
    for path in (engine, sidecar_path(engine)):
        path.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _walls(tile_hw: tuple[int, int], preparation: PreprocessConfig) -> TileSet:
    """Cached, since one build needs them up to three times."""
    from edgecrack.synthetic import WallConfig, generate_wall

    height, width = tile_hw
    size_hw = (max(height, _LEAST_WALL_PX), max(width, _LEAST_WALL_PX))
    # Large tiles are scored on fewer walls to limit the time.
    count = min(WALLS, max(_LEAST_WALLS, WALLS * 512**2 // (height * width)))
    walls = [generate_wall(WallConfig(seed, size_hw)) for seed in range(count)]
    frames = np.stack([preprocess(wall.image, preparation) for wall in walls])
    masks = np.stack([wall.mask > 0 for wall in walls])
    return TileSet(
        frames[:, None, :height, :width], masks[:, :height, :width], np.arange(count), {}
    )

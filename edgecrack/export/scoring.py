"""Scores of model files on tiles with a truth: a user's, or generated walls.

Generated walls have exact masks and need no data, so a build never goes unscored; they say
how much a change of precision costs, not how good a model is on concrete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelSpec
from edgecrack.calibration.accuracy import Accuracy, measure_accuracy
from edgecrack.calibration.config import CalibrationConfig
from edgecrack.calibration.frames import open_frames
from edgecrack.calibration.graph_run import GraphRun
from edgecrack.calibration.sampler import TileSet, sample_tiles
from edgecrack.errors import DeviceError, MissingDependencyError, ModelFileError
from edgecrack.metrics import uint8_level
from edgecrack.preprocess import preprocess

if TYPE_CHECKING:
    import onnx

WALLS = 48
_WALLS_NAME = f"{WALLS} generated walls"


@dataclass(frozen=True)
class Scored:
    """One row of a build's table.

    Attributes:
        name: what was scored: "fp32", "fp16", "int8", or "engine" where it ran on a GPU.
        accuracy: its scores.
    """

    name: str
    accuracy: Accuracy

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON holds it."""
        return {"precision": self.name, **self.accuracy.to_dict()}

    @classmethod
    def from_mapping(cls, entry: Mapping[str, Any]) -> Scored:
        """A row from an entry of a sidecar's `scores`.

        Raises:
            ModelFileError: a score is missing or no number.
        """
        try:
            return cls(
                str(entry["precision"]),
                Accuracy(
                    float(entry["ods"]),
                    float(entry["strict_f1"]),
                    float(entry["thin_recall"]),
                    int(entry["largest_difference"]),
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
    """The held-out tiles of a user's data, or tiles of generated walls, and what to call them.

    Args:
        calibration: names the data; None for generated walls.
        spec: the model's description.
        graph: stands in for a truth that nobody has drawn.
    """
    if calibration is None:
        return _walls(spec), _WALLS_NAME
    run, level = GraphRun(graph, spec.batch), uint8_level(spec.threshold)
    frames = open_frames(calibration.data, calibration.sampler.seed)
    _, held_out = sample_tiles(
        frames,
        calibration.sampler,
        spec.preprocess,
        spec.tile_hw,
        lambda pixels: run(pixels) >= level,
    )
    return held_out, f"{len(held_out)} held-out tiles of {frames.name}"


def score_files(
    float_file: Path | None,
    source: Path,
    spec: ModelSpec,
    calibration: CalibrationConfig | None,
    engine: Path,
) -> tuple[tuple[Scored, ...], str]:
    """Score an FP32 file, the file that an engine was built from, and the engine if it runs here.

    Args:
        float_file: the FP32 file, or None where it is not known.
        source: the file that the engine was built from; may be the FP32 file.
        spec: its description.
        calibration: names the data; None for generated walls.
        engine: the engine.

    Returns:
        The rows, and what they were measured on.
    """
    reference_file = float_file or source
    tiles, data = labelled_tiles(calibration, spec, reference_file.read_bytes())
    expected = GraphRun(reference_file.read_bytes(), spec.batch)(tiles.pixels)
    rows = []
    if float_file is not None:
        rows.append(Scored("fp32", _judge(expected, tiles, spec, expected)))
    if source != float_file:
        output = GraphRun(source.read_bytes(), spec.batch)(tiles.pixels)
        rows.append(Scored(spec.precision, _judge(output, tiles, spec, expected)))
    ran = _run_engine(engine, tiles.pixels)
    if ran is not None:
        rows.append(Scored("engine", _judge(ran, tiles, spec, expected)))
    return tuple(rows), data


def _judge(
    output: NDArray[np.uint8], tiles: TileSet, spec: ModelSpec, expected: NDArray[np.uint8]
) -> Accuracy:
    return measure_accuracy(output, tiles.truth, spec.threshold, expected)


def _run_engine(engine: Path, pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The engine's own output, or None where this machine cannot run it."""
    from edgecrack.runtime.runner import open_runner

    try:
        with open_runner(engine) as runner:
            return runner.infer(pixels)[:, 0]
    except (ModelFileError, MissingDependencyError, DeviceError):
        return None  # built here for another machine


def _walls(spec: ModelSpec) -> TileSet:
    from edgecrack.data.synthetic import WallConfig, generate_wall

    walls = [generate_wall(WallConfig(seed, spec.tile_hw)) for seed in range(WALLS)]
    pixels = np.stack([preprocess(wall.image, spec.preprocess) for wall in walls])[:, None]
    return TileSet(pixels, np.stack([wall.mask > 0 for wall in walls]), {})

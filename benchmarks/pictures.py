"""Draws the pictures of the README and the model card, all from generated walls.

`docs/images/demo.jpg` shows six frames of the demo with the bundled model's findings;
`docs/images/walls_worst.jpg` those of 60 walls, none of them trained on, on which it is most
wrong. The scores on all 60 go to `results/walls.json`.

    python benchmarks/pictures.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.evaluation.curves import overlay  # noqa: E402
from edgecrack.evaluation.image_results import ImageResult, evaluate  # noqa: E402
from edgecrack.files import write_atomic  # noqa: E402
from edgecrack.metrics.counting import threshold_index, truth_mask  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402
from edgecrack.runtime.frame import FrameResult  # noqa: E402
from edgecrack.runtime.outputs.overlay import draw_overlay  # noqa: E402
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402
from edgecrack.synthetic import write_dataset  # noqa: E402

IMAGES = ROOT / "docs" / "images"
_SHOWN_FRAMES = (0, 40, 80, 120, 160, 200)
_COLUMNS = 3
_WALLS, _WALL_SEED = 60, 7_000_000  # far from the seeds of training and validation
_EXAMPLES = 5
_JPEG_QUALITY = 85


class KeepDrawn:
    """A sink that keeps the overlays of some frames."""

    name = "pictures"

    def __init__(self) -> None:
        self.drawn: list[NDArray[np.uint8]] = []

    def write(self, result: FrameResult) -> None:
        if result.frame.index in _SHOWN_FRAMES:
            self.drawn.append(draw_overlay(result))

    def close(self) -> None:
        """Nothing to close."""


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    write_atomic(path, encoded.tobytes())
    print(f"written: {path.relative_to(ROOT)}")


def draw_demo() -> None:
    sink = KeepDrawn()
    with open_detector() as detector, open_source("demo") as source:
        run_pipeline(source, detector, [sink], PipelineConfig(max_frames=max(_SHOWN_FRAMES) + 1))
    rows = [
        np.hstack(sink.drawn[first : first + _COLUMNS])
        for first in range(0, len(sink.drawn), _COLUMNS)
    ]
    sheet = np.vstack(rows)
    height, width = sheet.shape[:2]
    half = cv2.resize(sheet, (width * 2 // 3, height * 2 // 3), interpolation=cv2.INTER_AREA)
    write_jpeg(IMAGES / "demo.jpg", np.asarray(half, np.uint8))


def wrong_pixels(image: ImageResult, threshold: float) -> int:
    """False alarms and misses beyond the 5x5 tolerance."""
    counts, index = image.counts["square"], threshold_index(threshold)
    false_alarms = counts.predicted[index] - counts.predicted_matched[index]
    return int(false_alarms + counts.truth[index] - counts.truth_matched[index])


def draw_walls() -> None:
    with tempfile.TemporaryDirectory() as folder, open_detector() as detector:
        walls = Path(folder) / "walls"
        write_dataset(walls, _WALLS, seed=_WALL_SEED, split_fractions={"test": 1.0})
        samples = open_dataset(walls).samples("test")
        threshold = round(detector.threshold, 2)
        result = evaluate(detector.probability_of, samples, threshold=threshold)
        ranked = sorted(
            zip(result.images, samples, strict=True),
            key=lambda pair: -wrong_pixels(pair[0], threshold),
        )
        sheets = []
        for image, sample in ranked[:_EXAMPLES]:
            score = image.score_at("square", threshold)
            caption = (
                f"wall {sample.name}: {wrong_pixels(image, threshold)} wrong pixels,"
                f" precision {score.precision:.2f}, recall {score.recall:.2f}"
            )
            probability = detector.probability_of(sample.image())
            truth = truth_mask(sample.mask())
            sheets.append(overlay(sample.image(), truth, probability, threshold, caption))
        write_jpeg(IMAGES / "walls_worst.jpg", np.vstack(sheets))
    tolerant, strict = result.score_at("square", threshold), result.score_at("strict", threshold)
    write_result(
        "walls",
        {
            "walls": _WALLS,
            "threshold": threshold,
            "ods": round(result.ods("square").f1, 4),
            "tolerant_f1_at_threshold": round(tolerant.f1, 4),
            "tolerant_precision_at_threshold": round(tolerant.precision, 4),
            "tolerant_recall_at_threshold": round(tolerant.recall, 4),
            "strict_f1_at_threshold": round(strict.f1, 4),
        },
        "onnxruntime",
        "numpy",
        "opencv-python-headless",
    )


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    draw_demo()
    draw_walls()


if __name__ == "__main__":
    main()

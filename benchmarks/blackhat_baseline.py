"""Scores of an untrained crack detector: a black-hat filter on CFD and uav315.

The baseline for every trained network. Kernel and blur are chosen on each
dataset's training split by tolerant F1, as is the threshold; the test split only scores.

    python benchmarks/blackhat_baseline.py --data DIR    # DIR holds cfd/ and uav315/
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.datasets import Sample, open_dataset, read_image  # noqa: E402
from edgecrack.evaluation import (  # noqa: E402
    false_positive_ratio,
    write_report,
)
from edgecrack.evaluation.image_results import evaluate  # noqa: E402

SPLIT_SETS = {"cfd": "paper", "uav315": None}
# A closing answers to dark things narrower than its kernel, so it must be wider than any crack.
KERNELS_PX = (11, 15, 21, 27, 41, 61, 91, 121, 161)
BLURS_PX = (1.0, 1.5, 2.0, 3.0, 4.0)
_LARGEST_KERNEL_PX = 41  # a wider one works on a reduced frame: its cost grows with its area
_GREY_LEVELS_PER_DEVIATION = 25.0


@dataclass(frozen=True)
class BlackHat:
    """Dark and thin means crack.

    Attributes:
        kernel_px: diameter of the closing; wider dark things are not answered to.
        blur_px: standard deviation of the smoothing before it.
    """

    kernel_px: int
    blur_px: float

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """From uint8 [H, W, 3] BGR to a crack probability, uint8 [H, W]."""
        gray = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (0, 0), self.blur_px)
        answer = cv2.subtract(self._closed(np.asarray(gray, np.uint8)), gray).astype(np.float32)
        # In units of the frame's own deviation, or rough asphalt would drown smooth concrete.
        scaled = answer * (_GREY_LEVELS_PER_DEVIATION / max(float(answer.std()), 1e-3))
        return np.asarray(np.clip(scaled, 0, 255), np.uint8)

    def _closed(self, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame with all dark things narrower than the kernel filled, uint8 [H, W]."""
        factor = -(-self.kernel_px // _LARGEST_KERNEL_PX)
        height, width = gray.shape
        small_size = (max(1, width // factor), max(1, height // factor))
        small = cv2.resize(gray, small_size, interpolation=cv2.INTER_AREA) if factor > 1 else gray
        side = self.kernel_px // factor | 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, disc)
        if factor > 1:
            closed = cv2.resize(closed, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(closed, np.uint8)


@dataclass(frozen=True)
class InMemory:
    """A sample that is read once, because tuning looks at it a dozen times."""

    name: str
    pixels: NDArray[np.uint8]
    truth: NDArray[np.uint8]

    def image(self) -> NDArray[np.uint8]:
        """The frame, uint8 [H, W, 3] BGR."""
        return self.pixels

    def mask(self) -> NDArray[np.uint8]:
        """The truth, uint8 [H, W], 0 or 255."""
        return self.truth


def _load(samples: Sequence[Sample]) -> list[InMemory]:
    return [InMemory(sample.name, *sample.load()) for sample in samples]


def tune(train: Sequence[InMemory]) -> BlackHat:
    """The filter with the best tolerant F1 on the training split."""
    candidates = itertools.starmap(BlackHat, itertools.product(KERNELS_PX, BLURS_PX))
    return max(candidates, key=lambda candidate: evaluate(candidate, train).ods("square").f1)


def measure(folder: Path, report_folder: Path | None) -> dict[str, Any]:
    """Tune on `train`, score on `test`, and flag what there is without any crack."""
    dataset = open_dataset(folder, SPLIT_SETS[folder.name])
    train, test = _load(dataset.samples("train")), _load(dataset.samples("test"))
    chosen = tune(train)
    evaluation = evaluate(chosen, test, validation=train)
    result = {
        "split": f"{SPLIT_SETS[folder.name] or 'splits.json'}: test",
        "filter_and_validation_threshold_chosen_on": f"train ({len(train)} images)",
        "filter": asdict(chosen),
        **{key: value for key, value in evaluation.to_dict().items() if key != "per_image"},
    }
    if dataset.unlabelled:
        frames = (read_image(path) for path in dataset.unlabelled)
        flagged = false_positive_ratio(chosen, frames, evaluation.operating_threshold)
        result["flagged_of_unlabelled"] = {
            "images": len(flagged.per_image),
            "threshold": flagged.threshold,
            "overall": flagged.overall,
        }
    if report_folder is not None:
        write_report(
            evaluation,
            report_folder / folder.name,
            chosen,
            test,
            title=f"Black-hat filter on {folder.name}",
            context={"filter": str(chosen), "tuned on": "training split"},
        )
    return result


def main() -> None:
    """Measure both datasets and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="holds cfd/ and uav315/")
    parser.add_argument("--report", type=Path, help="also write pictures and tables here")
    options = parser.parse_args()
    datasets = {name: measure(options.data / name, options.report) for name in SPLIT_SETS}
    write_result("blackhat_baseline", {"datasets": datasets}, "numpy", "opencv-python-headless")
    for name, result in datasets.items():
        square, strict = result["scores"]["square"], result["scores"]["strict"]
        print(
            f"{name}: ODS {100 * square['ods']['f1']:.1f}, OIS {100 * square['ois']:.1f},"
            f" at the training split's threshold"
            f" {100 * square['at_validation_threshold']['f1']:.1f};"
            f" strict F1 {100 * strict['ods']['f1']:.1f}, IoU {100 * strict['iou']['best']:.1f}"
        )


if __name__ == "__main__":
    main()

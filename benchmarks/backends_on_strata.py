"""How another CPU backend or an INT8 file changes the scores of the yardstick's strata.

    edgecrack yardstick build --data DIR --out runs/yardstick
    python benchmarks/backends_on_strata.py runs/yardstick [--backend NAME ...] [--model FILE ...]

The first model on ONNX Runtime is what all is compared with: each model runs on ONNX Runtime and
on each backend, opened as `stream` opens it, on the same pictures, at the model's threshold. A
shift is a difference of F1 in points of 100. `pictures_changed` counts those whose mask differs in
any pixel.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.evaluation.strata.item_result import (  # noqa: E402
    STRICT,
    TOLERANT,
    ItemResult,
    score_item,
)
from edgecrack.evaluation.strata.stratum_scores import StrataScores  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.yardstick.manifest import Item, open_yardstick  # noqa: E402

REFERENCE = "onnxruntime"
KINDS = {"tolerant": TOLERANT, "strict": STRICT}

Name = tuple[str, str]  # model, backend


class Run:
    """A model on a backend, and what it has scored so far."""

    def __init__(self, detector: CrackDetector, threshold: float) -> None:
        self.detector, self.threshold = detector, threshold
        self.results: list[ItemResult] = []
        self.seconds, self.largest, self.changed = 0.0, 0, 0

    def probability_of(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        began = time.perf_counter()
        found = self.detector.probability_of(image)
        self.seconds += time.perf_counter() - began
        return found

    def compare(self, found: NDArray[np.uint8], reference: NDArray[np.uint8]) -> None:
        level = uint8_level(self.threshold)
        self.largest = max(self.largest, int(np.abs(found.astype(np.int16) - reference).max()))
        self.changed += bool(((found >= level) != (reference >= level)).any())


def scored(found: NDArray[np.uint8], item: Item, threshold: float) -> ItemResult:
    return score_item(lambda image: found, item, threshold)


def shifts(own: StrataScores, base: StrataScores) -> list[dict[str, Any]]:
    """Of every stratum that has pictures, what its F1 gains over the reference, in points."""
    rows = []
    for one, other in zip(own.strata, base.strata, strict=True):
        if not one.results:
            continue
        row: dict[str, Any] = {"stratum": one.name, "pictures": len(one.results)}
        for name, kind in KINDS.items():
            now, before = one.at(kind, own.threshold).f1, other.at(kind, base.threshold).f1
            row[name] = round(100 * (now - before), 4)
        rows.append(row)
    return rows


def summary(run: Run, base: Run) -> dict[str, Any]:
    own = StrataScores(tuple(run.results), run.threshold)
    other = StrataScores(tuple(base.results), base.threshold)
    rows = shifts(own, other)
    largest = {name: max(rows, key=lambda row: abs(row[name])) for name in KINDS}
    alarms = [
        100 * (now.published - before.published)
        for now, before in zip(own.false_alarms(), other.false_alarms(), strict=True)
    ]
    return {
        "runs_as": run.detector.runner.backend,
        "mean": {name: round(100 * own.mean(kind).f1, 2) for name, kind in KINDS.items()},
        "largest_shift": {name: abs(row[name]) for name, row in largest.items()},
        "largest_shift_of": {name: row["stratum"] for name, row in largest.items()},
        "largest_shift_of_false_alarms": round(max(map(abs, alarms), default=0.0), 4),
        "largest_difference": run.largest,
        "pictures_changed": run.changed,
        "seconds": round(run.seconds, 1),
        "strata": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("yardstick", type=Path)
    parser.add_argument("--model", type=Path, action="append", help="default: the bundled model")
    parser.add_argument("--backend", action="append", help="beside onnxruntime; default: openvino")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th picture")
    parser.add_argument("--name", default="backends_on_strata", help="of the file under results/")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    items = open_yardstick(given.yardstick).items[:: given.every]
    runs: dict[Name, Run] = {}
    with ExitStack() as stack:
        for model in given.model or [BUNDLED_MODEL]:
            for backend in [REFERENCE, *(given.backend or ["openvino"])]:
                detector = stack.enter_context(open_detector(model, backend=backend))
                threshold = min(0.99, max(0.01, round(detector.threshold, 2)))
                runs[model.name, backend] = Run(detector, threshold)
        base = next(iter(runs.values()))
        for number, item in enumerate(items, 1):
            image = item.image()
            reference = base.probability_of(image)
            for run in runs.values():
                found = reference if run is base else run.probability_of(image)
                run.compare(found, reference)
                run.results.append(scored(found, item, run.threshold))
            if not number % 50:
                print(f"{number} of {len(items)} pictures", file=sys.stderr, flush=True)
    rows = {f"{model}, {backend}": summary(run, base) for (model, backend), run in runs.items()}
    for name, row in rows.items():
        print(name, {key: value for key, value in row.items() if key != "strata"})
    figures = {"pictures": len(items), "rows": rows}
    write_result(given.name, figures, "onnxruntime", "openvino", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()

"""Scores on pictures of masonry by `tools/masonry_walls.py`: the black-hat filter and models.

    python benchmarks/masonry.py [--data DIR] [--count 80] [--seed 99] [--model FILE]...

The pictures are `tools/training_pictures.py --style masonry` with a seed that no training used.
A model that was trained on such pictures of other seeds knows the generator, which flatters it;
there are no labelled photos of masonry in DIR. The filter's kernel, blur and threshold are the best
for these very pictures. Tolerance: the 5x5 square. `flagged_without_crack` is the share of pixels
flagged on the walls without a crack, at the model's threshold.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.blackhat_baseline import InMemory, tune  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from edgecrack.evaluation import Evaluation, evaluate  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402
from tools.training_pictures import STYLES, Sources, compose  # noqa: E402


def row(evaluation: Evaluation, threshold: float) -> dict[str, Any]:
    """Scores at a threshold and at the best one, in percent."""
    best, at = evaluation.ods("square"), evaluation.score_at("square", threshold)
    strict = evaluation.score_at("strict", threshold)
    return {
        "threshold": threshold,
        "f1": round(100 * at.f1, 1),
        "precision": round(100 * at.precision, 1),
        "recall": round(100 * at.recall, 1),
        "strict_f1": round(100 * strict.f1, 1),
        "ods": round(100 * best.f1, 1),
        "ods_threshold": best.threshold,
        "strict_ods": round(100 * evaluation.ods("strict").f1, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = os.environ.get("EDGECRACK_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--model", type=Path, action="append", help="default: the bundled model")
    options = parser.parse_args()
    sources = Sources(options.data)
    samples = []
    for number in range(options.count):
        image, mask, _ = compose(sources, number, options.seed, STYLES["masonry"])
        samples.append(InMemory(f"masonry-{number:03d}", image, mask))
    cracked = [sample for sample in samples if sample.truth.any()]
    clean = [sample.pixels for sample in samples if not sample.truth.any()]
    print(f"{len(cracked)} walls with cracks, {len(clean)} without")
    filter_ = tune(cracked)
    evaluation = evaluate(filter_, samples)
    rows = {"black-hat": row(evaluation, evaluation.ods("square").threshold)}
    rows["black-hat"]["filter"] = repr(filter_)
    print("black-hat", rows["black-hat"])
    for path in options.model or [BUNDLED_MODEL]:
        with open_detector(path) as detector:
            threshold = detector.runner.spec.threshold
            found = row(evaluate(detector.probability_of, samples), threshold)
            level = uint8_level(threshold)
            flagged = [float((detector.probability_of(image) >= level).mean()) for image in clean]
            found["flagged_without_crack"] = round(100 * float(np.mean(flagged)), 3)
        rows[path.stem] = found
        print(path.stem, found)
    figures = {"count": options.count, "seed": options.seed, "with_cracks": len(cracked)}
    write_result("masonry", {**figures, "rows": rows}, "onnxruntime", "openvino")


if __name__ == "__main__":
    main()

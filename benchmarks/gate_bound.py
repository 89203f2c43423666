"""How often the gate's upper bound holds, by the number of images that it is taken over.

The images of uav315's val and test splits, which set no range, represent all images: on
them an INT8 file loses so much, and no less. Then some of them are drawn, as if they were all that
a user has, and the bound that the gate would find is compared with that loss. It says 95 % of the
time.

Two INT8 files with all layers in INT8: as `edgecrack calibrate` makes them, and with ranges at
seven tenths, which lose more. And how much wider the bound of a video is where runs of its
neighbouring frames are drawn instead of its frames.

    python benchmarks/gate_bound.py [--data DIR] [--model FILE] [--trials 300]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.gate_without_labels import Model  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA, load_images  # noqa: E402
from edgecrack.calibration import defaults  # noqa: E402
from edgecrack.calibration.accuracy import (  # noqa: E402
    ImageCounts,
    count_images,
    draw_images,
    scores_of,
    upper_bound,
)
from edgecrack.calibration.gate import Gate  # noqa: E402
from edgecrack.calibration.ranges import parse_method  # noqa: E402
from edgecrack.metrics import uint8_level  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402

IMAGES = (2, 3, 5, 8, 12, 20, 40, 63)
FACTORS = (1.0, 0.7)
_DRAWS = 1000
_RUNS_OF_FRAMES = (1, 5, 15)
_JUDGED = {
    "labels": ("ods", "strict_f1", "thin_recall"),
    "agreement": ("tolerant_f1", "thin_recall"),
}


def chosen(counts: ImageCounts, images: NDArray[np.int64]) -> ImageCounts:
    return ImageCounts(*(getattr(counts, field.name)[images] for field in fields(counts)))


def coverage(
    before: ImageCounts, after: ImageCounts, scores: tuple[str, ...], images: int, trials: int
) -> dict[str, dict[str, float]]:
    """How often the bound holds, and how far above the loss it is in the median."""
    generator = np.random.default_rng(images)
    whole = [scores_of(counts.pooled()) for counts in (before, after)]
    lost = {name: float(whole[0][name][0] - whole[1][name][0]) for name in scores}
    above: dict[str, list[float]] = {name: [] for name in scores}
    for trial in range(trials):
        taken = generator.integers(0, len(before), images)
        weights = draw_images(images, trial, _DRAWS)
        own = [scores_of(chosen(counts, taken).summed(weights)) for counts in (before, after)]
        for name in scores:
            above[name].append(upper_bound(own[0][name] - own[1][name], images) - lost[name])
    return {
        name: {
            "holds": round(float(np.mean(np.array(found) >= -1e-9)), 3),
            "median_above": round(float(np.median(found)), 3),
            "loss": round(lost[name], 3),
        }
        for name, found in above.items()
    }


def video_bounds(model: Model, data: Path) -> dict[str, Any]:
    """Bounds of a video, by how many neighbouring frames are drawn as one."""
    tiles, part = model.held_out(data, 0)
    ranges = model.ranges(tiles, parse_method(defaults.METHOD))
    output = model.int8(ranges)(part.tiles.pixels)
    found = {}
    for length in _RUNS_OF_FRAMES:
        merged = replace(part.tiles, frame=part.tiles.frame // length)
        verdict = replace(part, tiles=merged).judge(Gate(), output, 0)
        scores = {item.score: item.to_dict() for item in verdict.judged}
        found[str(length)] = {"drawn_from": verdict.images, "scores": scores}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--trials", type=int, default=300)
    given = parser.parse_args()
    model = Model(given.model)
    spec = model.spec
    tiles, _ = model.held_out(given.data / "uav315", 0)
    ranges = model.ranges(tiles, parse_method(defaults.METHOD))
    sets = [load_images(given.data / "uav315", split) for split in ("val", "test")]
    truth = np.concatenate([images.truth for images in sets])
    expected = np.concatenate([images.maps(model.content, spec) for images in sets])
    truths = {"labels": truth, "agreement": expected >= uint8_level(spec.threshold)}
    figures: dict[str, Any] = {"width": spec.width, "images": len(truth), "trials": given.trials}
    for factor in FACTORS:
        graph = model.graph_of({name: factor * value for name, value in ranges.items()})
        output = np.concatenate([images.maps(graph, spec) for images in sets])
        for kind, scores in _JUDGED.items():
            before, after = (
                count_images(maps, truths[kind], spec.threshold) for maps in (expected, output)
            )
            found = {
                str(count): coverage(before, after, scores, count, given.trials) for count in IMAGES
            }
            figures[f"{kind}, ranges x {factor:g}"] = found
            print(kind, factor, found, flush=True)
    figures["video, frames drawn as one"] = video_bounds(
        model, given.data / "video" / "wall_robot.mp4"
    )
    write_result("gate_bound", figures, "onnxruntime", "numpy")


if __name__ == "__main__":
    main()

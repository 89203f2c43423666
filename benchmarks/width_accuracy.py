"""Accuracy of crack widths, compared with other ways to measure them.

    python benchmarks/width_accuracy.py --data DIR

Prints the tables of docs/measurement.md: single rows of a rough crack whose width is known, and
whole images with the bundled network's own mask. What is drawn (blur, light from within, surface)
is not given to the estimate.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from benchmarks.rough_cracks import (  # noqa: E402
    Image,
    Scene,
    draw_imaging,
    straight_rows,
    textures,
    winding_crack,
)
from edgecrack.measurement.bars import WidthPrior  # noqa: E402
from edgecrack.measurement.cracks import measure_image  # noqa: E402
from edgecrack.measurement.width import estimate_widths  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402

WIDTHS_PX = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0)
SNRS = (3.0, 8.0, 20.0)
ROWS, LENGTH_PX = 5, 61
_NUDGE = 1e-4


def bound_px(width_px: float, snr: float, blur_px: float, rows: int) -> float:
    """Least standard deviation that any estimate can have, where the blur is known (Cramer-Rao).

    Of a bar with unknown place, width, level and slope, whose depth is known to 20 %.
    """
    x = np.arange(-20.0, 21.0)

    def bar(values: NDArray[np.float64]) -> NDArray[np.float64]:
        width, centre, level, slope, depth = values
        from math import erf

        root = np.sqrt(2) * blur_px
        upper = np.array([erf((each - centre + width / 2) / root) for each in x])
        lower = np.array([erf((each - centre - width / 2) / root) for each in x])
        return np.asarray(level + slope * x - depth * (upper - lower) / 2, np.float64)

    at = np.array([width_px, 0.0, 2.0, 0.0, 1.0])
    steps = np.eye(5) * _NUDGE
    slopes = np.stack([(bar(at + step) - bar(at - step)) / (2 * _NUDGE) for step in steps])
    information = slopes @ slopes.T * snr**2 * rows
    information[4, 4] += 1 / 0.2**2
    return float(np.sqrt(np.linalg.inv(information)[0, 0]))


def half_depth_px(profile: NDArray[np.float64]) -> float:
    """Between the places where a profile crosses the middle between surface and darkest value."""
    surface = float(np.median(np.sort(profile)[-len(profile) // 2 :]))
    bottom = int(np.argmin(profile[10:-10])) + 10
    level = (surface + profile[bottom]) / 2
    ends = []
    for step in (-1, 1):
        at = bottom
        while 0 < at < len(profile) - 1 and profile[at + step] < level:
            at += step
        here, there = profile[at], profile[min(max(at + step, 0), len(profile) - 1)]
        share = (level - here) / (there - here) if there > here else 0.0
        ends.append(at + step * min(max(share, 0.0), 1.0))
    return float(ends[1] - ends[0])


def darkness_px(profile: NDArray[np.float64]) -> float:
    """Area of the dip over its depth if 15 % of the light came out of the crack."""
    surface = float(np.median(np.sort(profile)[-len(profile) // 2 :]))
    middle = profile[len(profile) // 2 - 12 : len(profile) // 2 + 13]
    return float(np.maximum(surface - middle, 0).sum() / (surface * (1 - 0.15 ** (1 / 2.2))))


def single_rows(surfaces: list[Image], count: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    table = []
    for snr in SNRS:
        for width_px in WIDTHS_PX:
            profiles, truths, bounds = [], [], []
            for _ in range(count):
                imaging = draw_imaging(rng, snr)
                texture = surfaces[int(rng.integers(len(surfaces)))]
                image, widths = straight_rows(
                    rng, width_px, imaging, texture, (ROWS + 4, LENGTH_PX)
                )
                profiles.append(image[2 : 2 + ROWS].mean(axis=0))
                truths.append(widths[2 : 2 + ROWS].mean())
                bounds.append(bound_px(width_px, snr, imaging.blur_px, ROWS))
            table.append(
                {"snr": snr, "width_px": width_px, **_row(profiles, np.array(truths), bounds)}
            )
            print(table[-1], flush=True)
    return table


def _row(
    profiles: list[NDArray[np.float64]], truths: NDArray[np.float64], bounds: list[float]
) -> dict[str, Any]:
    found = estimate_widths(profiles)
    measured = np.array([each.measurable for each in found])
    row: dict[str, Any] = {"measurable": round(100 * float(measured.mean()), 1)}
    if measured.any():
        values, low, high = (
            np.array([getattr(each, name) for each in found if each.measurable])
            for name in ("width_px", "low_px", "high_px")
        )
        truth = truths[measured]
        row |= {
            "bias": round(float((values - truth).mean()), 2),
            "error": round(float(np.abs(values - truth).mean()), 2),
            "interval": round(float(np.median(high - low)), 2),
            "bound_interval": round(3.92 * float(np.median(bounds)), 2),
            "covered": round(100 * float(((low <= truth) & (truth <= high)).mean()), 1),
        }
    # As if grey values were light: what the reflectance then means is another thing.
    as_light = estimate_widths(profiles, WidthPrior(gamma=1.0))
    kept = [(each, truth) for each, truth in zip(as_light, truths, strict=True) if each.measurable]
    if kept:
        errors = np.array([each.width_px - truth for each, truth in kept if each.width_px])
        row["as_light_error"] = round(float(np.abs(errors).mean()), 2)
        row["as_light_covered"] = round(
            100 * float(np.mean([each.low_px <= truth <= each.high_px for each, truth in kept])),
            1,
        )
    for name, other in (("half_depth", half_depth_px), ("darkness", darkness_px)):
        errors = np.array([other(profile) for profile in profiles]) - truths
        row[f"{name}_bias"] = round(float(errors.mean()), 2)
        row[f"{name}_error"] = round(float(np.abs(errors).mean()), 2)
    return row


def whole_images(surfaces: list[Image], count: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    table = []
    with open_detector() as detector:
        for width_px in (1.0, 1.5, 2.0, 3.0, 4.0, 8.0):
            rows: list[dict[str, float] | None] = []
            for _ in range(count):
                imaging = draw_imaging(rng, float(rng.uniform(8, 20)))
                texture = surfaces[int(rng.integers(len(surfaces)))]
                scene = winding_crack(rng, width_px, imaging, texture, 224)
                bgr = cv2.cvtColor(scene.image, cv2.COLOR_GRAY2BGR)
                result = detector.detect(np.asarray(bgr, np.uint8))
                cracks = measure_image(
                    scene.image, result.probability, threshold=detector.threshold
                )
                if not cracks:
                    rows.append(None)
                    continue
                rows.append(_whole(scene, cracks, result))
            table.append({"width_px": width_px, **_summary(rows)})
            print(table[-1], flush=True)
    return table


def _whole(scene: Scene, cracks: list[Any], result: Any) -> dict[str, float]:
    length_px, width_px = scene.length_px, scene.mean_width_px
    by_truth = measure_image(scene.image, scene.inside > 0.3)
    mask = (result.mask > 0).astype(np.uint8)
    main = cracks[0]
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    twice = [2 * float(inside[int(y), int(x)]) for line in main.lines for x, y in line.xy.tolist()]
    row = {
        "length": 100 * (main.length_px / length_px - 1),
        "truth_length": 100 * (sum(crack.length_px for crack in by_truth) / length_px - 1),
        "distance_transform": float(np.mean(twice)) - width_px,
        "probability": float(result.probability.sum()) / 255 / length_px - width_px,
    }
    if main.mean is not None:
        row["error"] = main.mean.value_px - width_px
        row["covered"] = float(main.mean.low_px <= width_px <= main.mean.high_px)
    return row


def _summary(rows: list[dict[str, float] | None]) -> dict[str, Any]:
    found = [row for row in rows if row is not None]
    measured = [row for row in found if "error" in row]
    each = {name: np.array([row[name] for row in measured]) for name in measured[0]}
    return {
        "found": len(found),
        "of": len(rows),
        "measured": len(measured),
        "bias": round(float(each["error"].mean()), 2),
        "error": round(float(np.abs(each["error"]).mean()), 2),
        "covered": round(100 * float(each["covered"].mean()), 1),
        "length_error_percent": round(float(np.median(np.abs(each["length"]))), 1),
        "truth_length_error_percent": round(float(np.median(np.abs(each["truth_length"]))), 1),
        "distance_transform_bias": round(float(each["distance_transform"].mean()), 2),
        "probability_bias": round(float(each["probability"].mean()), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--rows", type=int, default=300, help="of each width and noise")
    parser.add_argument("--images", type=int, default=20, help="of each width")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    surfaces = textures(given.data)
    figures = {
        "seed": given.seed,
        "rows_averaged": ROWS,
        "rows": single_rows(surfaces, given.rows, given.seed),
        "images": whole_images(surfaces, given.images, given.seed + 1),
    }
    write_result("width_accuracy", figures, "numpy", "onnxruntime")


if __name__ == "__main__":
    main()

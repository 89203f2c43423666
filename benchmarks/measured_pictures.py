"""Photos with measured cracks, for visual inspection, and a plot of widths along one crack.

    python benchmarks/measured_pictures.py --data DIR [--out docs/images]

Yellow: centre line. Red: both edges where the width could be measured. Blue: where it could not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from edgecrack.measurement.cracks import Crack, measure_image  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402

SIDE_PX, ACROSS = 520, 5
VIDEO_FRAMES = (60, 200, 420)
YELLOW, RED, BLUE, WHITE, BLACK = (0, 255, 255), (40, 40, 255), (255, 90, 0), (255,) * 3, (0,) * 3
Image = NDArray[np.uint8]


def pictures(data: Path) -> list[Image]:
    """Ten photos and three frames of the wall video."""
    photos = sorted((data / "uav315" / "images").iterdir())[5:300:60]
    photos += sorted((data / "concrete_tiles" / "positive").iterdir())[100::800][:5]
    shown = [np.asarray(cv2.imread(str(path)), np.uint8) for path in photos]
    with open_source(data / "video" / "wall_robot.mp4") as source:
        while (frame := source.read()) is not None and frame.index <= max(VIDEO_FRAMES):
            if frame.index in VIDEO_FRAMES:
                middle, side = frame.image.shape[0] // 2, frame.image.shape[1]
                shown.append(frame.image[middle - side // 2 : middle + side // 2])
    return shown


def draw(image: Image, cracks: list[Crack]) -> Image:
    scale = SIDE_PX / max(image.shape[:2])
    shown = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for crack in cracks:
        for line in crack.lines:
            points = np.round(line.xy * scale * 16).astype(np.int32)
            cv2.polylines(shown, [points], False, YELLOW, 1, cv2.LINE_AA, 4)
        for row in crack.rows:
            at, normal = np.array(row.xy), np.array(row.normal)
            if row.width.width_px is None:
                cv2.circle(shown, np.round(at * scale).astype(int).tolist(), 2, BLUE, -1)
                continue
            for side in (-0.5, 0.5):
                edge = (at + side * row.width.width_px * normal) * scale
                cv2.circle(shown, np.round(edge).astype(int).tolist(), 1, RED, -1)
    for crack in cracks[:4]:
        if crack.median is None:
            continue
        x, y = (np.array(crack.rows[len(crack.rows) // 2].xy) * scale).astype(int).tolist()
        text = (
            f"{crack.median.value_px:.1f} px ({crack.median.low_px:.1f}-{crack.median.high_px:.1f})"
        )
        place = (min(x + 8, shown.shape[1] - 190), max(y - 8, 16))
        cv2.putText(shown, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, BLACK, 3, cv2.LINE_AA)
        cv2.putText(shown, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, WHITE, 1, cv2.LINE_AA)
    framed = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    framed[: shown.shape[0], : shown.shape[1]] = shown
    return framed


def plot(crack: Crack, path: Path) -> None:
    """Width along a crack's longest line with its intervals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    longest = int(np.argmax([line.length_px for line in crack.lines]))
    rows = [row for row in crack.rows if row.line == longest]
    known = [row for row in rows if row.width.measurable]
    figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
    along = [row.along_px for row in known]
    axes.fill_between(
        along,
        [row.width.low_px or 0 for row in known],
        [row.width.high_px or 0 for row in known],
        alpha=0.3,
        label="95 % interval of each row",
    )
    axes.plot(along, [row.width.width_px or 0 for row in known], "o-", markersize=3, label="width")
    refused = [row.along_px for row in rows if not row.width.measurable]
    axes.plot(refused, np.zeros(len(refused)), "x", color="tab:red", label="not measurable")
    if crack.mean is not None:
        axes.axhline(crack.mean.value_px, linestyle="--", color="gray", label="mean of the crack")
    axes.set(xlabel="along the crack, px", ylabel="width, px", ylim=(0, None))
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def measured(detector: CrackDetector, image: Image) -> list[Crack]:
    found = detector.detect(image)
    return measure_image(image, found.probability, threshold=detector.threshold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    given = parser.parse_args()
    shown = []
    with open_detector() as detector:
        for image in pictures(given.data):
            cracks = measured(detector, image)
            shown.append(draw(image, cracks))
            if len(shown) == 3:
                plot(cracks[0], given.out / "width_along.png")
    while len(shown) % ACROSS:
        shown.append(np.full_like(shown[0], 255))
    rows = [np.hstack(shown[i : i + ACROSS]) for i in range(0, len(shown), ACROSS)]
    cv2.imwrite(str(given.out / "widths.jpg"), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()

"""Crack masks for windows of a survey vehicle's frames, from labels that are noisy and incomplete.

    python tools/mask_roads.py --data DIR --out runs/training/roads    # DIR holds road_frames/

The weak labels are a texture threshold inside hand-drawn areas: where they are, there is
cracking, but they mark pits and grains, too, and leave gaps. A filter for dark lines, several
pixels long in any direction, is asked within reach of them: what it finds there is the mask. A
window is left out where the two disagree, or where clear lines are unmarked. Every ninth
frame, which benchmarks/road_frames.py scores, frames next to it and photos of the yardstick are
never among them.

Writes images/ and masks/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.data.reading import read_image  # noqa: E402
from edgecrack.data.splits import content_hash, reserved_hashes  # noqa: E402
from edgecrack.files import make_folder, write_png  # noqa: E402

Gray = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE_PX = 192
_STEP_PX = 48
_FAR_ROWS = 150  # above, a crack is narrower than a pixel
_SCORED_EVERY = 9
_NEAR_FRAMES = 30  # numbers; a frame so near shows the same road from a few metres on
_LEAST_LANE = 0.8
_LEAST_CRACK_PX = 250
_LEAST_AGREEMENT = 0.8
_MOST_UNMARKED_PX = 40
_DIRECTIONS = 16


def line_kernels(along_px: float, across_px: float) -> list[Gray]:
    """Second derivatives of a Gaussian across lines of each direction, longer along them."""
    reach = int(3 * along_px)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    kernels = []
    for angle in np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS:
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        shape = (across / across_px) ** 2 - 1
        kernel = shape * np.exp(-((along / along_px) ** 2 + (across / across_px) ** 2) / 2)
        kernel -= kernel.mean()
        kernels.append((kernel / np.sqrt((kernel**2).sum())).astype(np.float32))
    return kernels


_KERNELS = (*line_kernels(6, 1.4), *line_kernels(9, 2.5))


def dark_lines(gray: Gray) -> tuple[Gray, Gray]:
    """How much each pixel looks like part of a dark line, and how dark it is for its surroundings.

    Both in standard deviations of the texture around.
    """
    levels = gray - cv2.GaussianBlur(gray, (0, 0), 8)
    spread = np.sqrt(cv2.GaussianBlur(levels * levels, (0, 0), 25)) + 1.5
    levels = np.asarray(levels / spread, np.float32)
    response = np.max([cv2.filter2D(levels, -1, kernel) for kernel in _KERNELS], axis=0)
    return response, np.asarray(-cv2.GaussianBlur(levels, (0, 0), 0.7), np.float32)


def near(mask: Mask, side_px: int) -> Mask:
    """Pixels within a square of a mask's."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side_px, side_px))) > 0)


def long_lines(mask: Mask, response: Gray, peak: float, least_px: float) -> Mask:
    """Pieces of a mask that are long enough and somewhere clear."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    highest = np.zeros(count)
    np.maximum.at(highest, np.asarray(labels, np.int32).ravel(), response.ravel())
    keep = (highest >= peak) & (np.hypot(stats[:, 2], stats[:, 3]) >= least_px)
    keep[0] = False
    return np.asarray(keep[labels])


def windows_of(
    image: NDArray[np.uint8], weak: Mask, lane: Mask
) -> Iterator[tuple[NDArray[np.uint8], Mask]]:
    """Windows of a frame with their masks."""
    response, darkness = dark_lines(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32))
    candidates = (response > 2.6) & (darkness > 0.35) & near(weak, 25)
    crack = long_lines(candidates, response, 4.5, 13)
    crack |= weak & near(crack, 5)
    clear = long_lines((response > 5.5) & (darkness > 0.6), response, 8.5, 20)
    height, width = weak.shape
    for top in range(_FAR_ROWS, height - SIDE_PX, _STEP_PX):
        for left in range(0, width - SIDE_PX, _STEP_PX):
            place = np.s_[top : top + SIDE_PX, left : left + SIDE_PX]
            mask, marked = crack[place], weak[place]
            if lane[place].mean() < _LEAST_LANE or mask.sum() < _LEAST_CRACK_PX:
                continue
            recall = (marked & near(mask, 5)).sum() / max(1, marked.sum())
            precision = (mask & near(marked, 5)).sum() / mask.sum()
            unmarked_px = (clear[place] & ~near(mask, 9)).sum()
            agreement = 2 * recall * precision / max(1e-9, recall + precision)
            if agreement >= _LEAST_AGREEMENT and unmarked_px <= _MOST_UNMARKED_PX:
                yield image[place], mask


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    folder = given.data / "road_frames"
    paths = sorted((folder / "images").iterdir())
    scored = np.array([int(path.stem) for path in paths[::_SCORED_EVERY]])
    for name in ("images", "masks"):
        make_folder(given.out / name)
    count = 0
    for path in paths:
        if (np.abs(scored - int(path.stem)) <= _NEAR_FRAMES).any():
            continue
        if content_hash(path) in reserved_hashes():
            continue
        weak, lane = (
            np.asarray(cv2.imread(str(folder / kind / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE))
            > 0
            for kind in ("crack_weak", "lane")
        )
        for image, mask in windows_of(read_image(path), weak, lane):
            name = f"{path.stem}-{count:04d}.png"
            write_png(given.out / "images" / name, image, durable=False)
            write_png(given.out / "masks" / name, mask.astype(np.uint8) * 255, durable=False)
            count += 1
    print(f"{count} windows in {given.out}")


if __name__ == "__main__":
    main()

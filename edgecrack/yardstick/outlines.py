"""Polygon outlines of real cracks, each drawn twice by hand; the user supplies the photos.

    for outline in read_outlines():
        truth = rasterise(outline.first, outline.size_hw)

docs/evaluation.md describes how they were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.outside_text import parse_json

Polygon = Sequence[Sequence[float]]
"""Corners x, y in pixels; the first pixel's centre is 0.5, 0.5."""

_FINE = 8  # sub-pixels a side
_FRACTION_BITS = 4


@dataclass(frozen=True)
class Outline:
    """The cracks of one tile, drawn twice independently.

    Attributes:
        tile: its file's stem in `concrete_tiles/positive`.
        size_hw: its height and width in pixels.
        first: polygons of the first drawing, which is the ground truth.
        second: polygons of the second drawing, which shows how far two drawings agree.
    """

    tile: str
    size_hw: tuple[int, int]
    first: tuple[Polygon, ...]
    second: tuple[Polygon, ...]


def read_outlines() -> tuple[Outline, ...]:
    """The outlines included in this package, in the order of their tiles."""
    text = (resources.files("edgecrack.yardstick") / "outlines.json").read_text(encoding="utf-8")
    return tuple(
        Outline(
            entry["tile"],
            (entry["size_hw"][0], entry["size_hw"][1]),
            tuple(entry["first"]),
            tuple(entry["second"]),
        )
        for entry in parse_json(text)["outlines"]
    )


def rasterise(polygons: Sequence[Polygon], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels that are at least half inside, by the even-odd rule.

    Coverage is counted in 8x8 sub-pixels, and those on the border are inside: a pixel that is
    covered by three eighths may count. A polygon without area covers nothing.

    Args:
        polygons: may be empty.
        size_hw: height and width of the picture in pixels.

    Returns:
        bool [H, W].
    """
    height, width = size_hw
    fine = np.zeros((height * _FINE, width * _FINE), np.uint8)
    scale = _FINE << _FRACTION_BITS
    # Minus half a sub-pixel, because OpenCV's coordinates refer to the centres of sub-pixels.
    corners = [
        np.round(np.asarray(polygon, float) * scale - scale / _FINE / 2).astype(np.int32)
        for polygon in polygons
    ]
    if corners:
        cv2.fillPoly(fine, corners, 255, cv2.LINE_8, _FRACTION_BITS)
    share = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 128)


def intersection_over_union(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Agreement of two masks, bool [H, W], 0 to 1; 1 if both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 1.0

"""Walls of which a part shows nothing, in the shapes in which that happens."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def wall(height: int = 240, width: int = 320, seed: int = 0, mean: float = 115) -> Image:
    """A rough wall with an uneven light and a dark crack, uint8 [H, W]."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 1, (height, width))
    stains = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 12)
    light = np.linspace(-12, 12, width)[None]
    surface = mean + 9 * grain + 150 * stains + light
    points = np.stack(
        [np.arange(0, width, 8), height / 2 + np.cumsum(rng.normal(0, 4, len(range(0, width, 8))))],
        axis=1,
    )
    line = np.zeros((height, width), dtype=np.uint8)
    cv2.polylines(line, [np.rint(points).astype(np.int32)], False, 255, 3)
    dark = cv2.GaussianBlur(line.astype(np.float64) / 255, (0, 0), 0.8)
    return np.clip(surface * (1 - 0.6 * dark), 1, 254).astype(np.uint8)


def side(name: str, share: float) -> Callable[[int, int], Mask]:
    """A bar along one side."""

    def shape(height: int, width: int) -> Mask:
        hidden = np.zeros((height, width), dtype=np.bool_)
        rows, columns = round(share * height), round(share * width)
        parts = {
            "left": hidden[:, :columns],
            "right": hidden[:, width - columns :],
            "top": hidden[:rows],
            "bottom": hidden[height - rows :],
        }
        parts[name][:] = True
        return hidden

    return shape


def letterbox(height: int, width: int) -> Mask:
    """Bars at the top and at the bottom."""
    return np.asarray(side("top", 0.12)(height, width) | side("bottom", 0.12)(height, width))


def rotated(angle_deg: float) -> Callable[[int, int], Mask]:
    """All but a rotated rectangle, as an orthophoto is cut."""

    def shape(height: int, width: int) -> Mask:
        box = cv2.boxPoints(((width / 2, height / 2), (0.95 * width, 0.95 * height), angle_deg))
        shown = np.zeros((height, width), dtype=np.uint8)
        cv2.fillConvexPoly(shown, np.rint(box).astype(np.int32), 1)
        return np.asarray(shown == 0)

    return shape


def ragged(height: int, width: int) -> Mask:
    """A part at the top with an irregular edge, as a mosaic of photos has."""
    steps = np.random.default_rng(3).normal(0, 2, width)
    edge = cv2.GaussianBlur(np.cumsum(steps)[None], (0, 0), 2)[0]
    edge = height * (0.05 + 0.2 * (edge - edge.min()) / np.ptp(edge))
    return np.asarray(np.arange(height)[:, None] < edge[None], dtype=np.bool_)


SHAPES: dict[str, Callable[[int, int], Mask]] = {
    "left": side("left", 0.2),
    "right": side("right", 0.2),
    "top": side("top", 0.2),
    "bottom": side("bottom", 0.2),
    "half": side("right", 0.5),
    "thin": side("top", 0.01),
    "letterbox": letterbox,
    "rotated by 4": rotated(4),
    "rotated by 20": rotated(20),
    "ragged": ragged,
}


def with_margin(image: Image, hidden: Mask, level: int) -> Image:
    """The image with one level where nothing is to be seen."""
    changed = image.copy()
    changed[hidden] = level
    return changed


def as_jpeg(image: Image, quality: int = 85) -> Image:
    """The image as it comes back from a JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), dtype=np.uint8)


def with_clock(image: Image) -> tuple[Image, Mask]:
    """The image with white digits in a black box, and where they are."""
    changed, hidden = image.copy(), np.zeros(image.shape[:2], dtype=np.bool_)
    (width, height), base = cv2.getTextSize("12:34:56.7", cv2.FONT_HERSHEY_SIMPLEX, 0.6, 2)
    box = np.s_[6 : 6 + height + base + 6, 6 : 6 + width + 6]
    changed[box], hidden[box] = 0, True
    cv2.putText(
        changed, "12:34:56.7", (9, 9 + height), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,) * 3, 2
    )
    return changed, hidden


def with_stuck_pixels(image: Image, count: int, seed: int = 0) -> Image:
    """The image with some pixels at 0 and 255 in turn."""
    changed, rng = image.copy(), np.random.default_rng(seed)
    for number in range(count):
        changed[rng.integers(image.shape[0]), rng.integers(image.shape[1])] = number % 2 * 255
    return changed


def with_outlined_text(image: Image) -> tuple[Image, Mask]:
    """The image with white letters in a black outline, and where they are."""
    changed, letters = image.copy(), np.zeros(image.shape[:2], dtype=np.uint8)
    place = (8, image.shape[0] - 12)
    cv2.putText(letters, "CAM 1 N52.5", place, cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255,), 2)
    drawn = cv2.dilate(letters, np.ones((5, 5), dtype=np.uint8)) > 0
    changed[drawn] = 0
    changed[letters > 127] = 255
    return changed, np.asarray(drawn)

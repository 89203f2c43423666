"""Strata by crack width, surface and contrast, measured from a picture and its truth.

A score over all pixels is dominated by wide cracks, which have most of the pixels, and by the
surface with most pictures.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

SurfaceKind = Literal["concrete", "asphalt", "masonry", "drone", "vehicle"]
"""A material close up, or any material seen from a drone or a survey vehicle."""
SURFACE_KINDS: tuple[SurfaceKind, ...] = get_args(SurfaceKind)

WIDTH_EDGES_PX = (1, 3, 5, 8, 12, 20, 40, 80)
WIDTH_CLASSES = tuple(f"{low}-{high} px" for low, high in pairwise(WIDTH_EDGES_PX))
"""Classes of crack width. Narrower cracks count in the first class, wider ones in the last."""

CONTRAST_EDGES = (0.2, 0.45)
CONTRAST_CLASSES = ("faint", "clear", "strong")
"""How much darker a crack is than the adjacent surface, as a share of the surface's gray."""

_CORE_SHARE = 0.5  # of a crack's greatest inner distance; deeper pixels are its inside
_RING_PX = (4, 12)  # from the crack: nearer is its blurred edge, farther another part of the wall


def width_class(width_px: float) -> int:
    """The index in `WIDTH_CLASSES` of a width in pixels; an edge belongs to the wider class."""
    return max(0, min(bisect_right(WIDTH_EDGES_PX, width_px) - 1, len(WIDTH_CLASSES) - 1))


def contrast_class(contrast: float) -> int:
    """The index in `CONTRAST_CLASSES` of a contrast; an edge belongs to the stronger class."""
    return bisect_right(CONTRAST_EDGES, contrast)


def width_classes(truth: NDArray[np.bool_]) -> NDArray[np.int8]:
    """The width class of every crack pixel.

    The width at a pixel is that of the widest disc in the crack that covers it. Cracks continue
    beyond the picture, so its border does not make them narrower.

    Args:
        truth: bool [H, W], crack.

    Returns:
        int8 [H, W], index in `WIDTH_CLASSES`, -1 where there is no crack.
    """
    result = np.where(truth, 0, -1).astype(np.int8)
    # On the doubled grid every width is even, and the greatest distance inside is the width.
    doubled = np.repeat(np.repeat(truth.astype(np.uint8), 2, axis=0), 2, axis=1)
    inside = cv2.distanceTransform(doubled, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    for index, least_px in enumerate(WIDTH_EDGES_PX[1:-1], start=1):
        centres = inside >= least_px - 0.5
        if not centres.any():
            break
        away = cv2.distanceTransform((~centres).astype(np.uint8), cv2.DIST_L2, 5)
        covered = (away < least_px).reshape(truth.shape[0], 2, truth.shape[1], 2).any((1, 3))
        result[covered & truth] = index
    return result


def typical_width_class(classes: NDArray[np.int8]) -> int | None:
    """The width class of most of a picture's crack length.

    Args:
        classes: from `width_classes`.

    Returns:
        An index in `WIDTH_CLASSES`, or None without a crack.
    """
    pixels = np.bincount(classes[classes >= 0], minlength=len(WIDTH_CLASSES))
    middles = np.sqrt(np.multiply(WIDTH_EDGES_PX[:-1], WIDTH_EDGES_PX[1:]))
    return int(np.argmax(pixels / middles)) if pixels.any() else None


def contrast_of(image: NDArray[np.uint8], truth: NDArray[np.bool_]) -> float | None:
    """How much darker a picture's cracks are than the adjacent surface.

    Args:
        image: uint8 [H, W, 3] in BGR order, or uint8 [H, W].
        truth: bool [H, W], crack.

    Returns:
        1 - (median gray inside) / (median gray in a ring of 4 to 12 px around it): 0 for a crack
        as bright as the surface, negative for a brighter one, at most 1. None if
        there is no crack, or no surface beside it.
    """
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    away = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, 5)
    ring = (away >= _RING_PX[0]) & (away <= _RING_PX[1])
    if not truth.any() or not ring.any():
        return None
    inside = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, 5)
    core = truth & (inside >= max(1.0, _CORE_SHARE * np.median(inside[truth])))
    beside = max(float(np.median(gray[ring])), 1.0)
    return 1.0 - float(np.median(gray[core])) / beside

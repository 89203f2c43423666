"""The smallest measurable width in an image, found by drawing cracks into its own noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.bars import GAMMA, WidthPrior, dark_bar
from edgecrack.measurement.width import estimate_widths

# Trial widths in pixels, and number of profiles for each.
_WIDTHS_PX = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
_TRIES = 12
_ENOUGH = 0.5  # share of profiles that must be measurable
_HALF_PX = 16
_ROWS = 5  # averaged in a profile
_REFLECTANCE = 0.15
# Fine grain looks sharper than the camera is.
_LEAST_BLUR_PX, _USUAL_BLUR_PX = 1.0, 1.2


def smallest_measurable_px(
    gray: NDArray[np.uint8],
    away: NDArray[np.bool_] | None = None,
    *,
    blur_px: float | None = None,
    gamma: float = GAMMA,
) -> float | None:
    """The smallest width at which half of the rows are measurable; None if there is none.

    A dark bar of each width, with the blur of the image, is drawn into crack-free surface profiles
    and measured as a crack is.

    Args:
        gray: uint8 [H, W].
        away: bool [H, W], where there is no crack; None means everywhere.
        blur_px: sigma of the point spread function, from `fitness.assess`; None uses a typical
            value.
        gamma: see `bars.WidthPrior`.
    """
    surfaces = _surfaces(gray, away)
    if surfaces is None:
        return None
    x = np.arange(-_HALF_PX, _HALF_PX + 1, dtype=np.float64)
    sigma = max(blur_px or _USUAL_BLUR_PX, _LEAST_BLUR_PX)
    prior = WidthPrior(gamma=gamma)
    for width_px in _WIDTHS_PX:
        shape = (1 - (1 - _REFLECTANCE) * dark_bar(x, width_px, sigma)) ** (1 / gamma)
        found = estimate_widths([np.clip(surface * shape, 0, 255) for surface in surfaces], prior)
        if np.mean([each.measurable for each in found]) >= _ENOUGH:
            return width_px
    return None


def _surfaces(
    gray: NDArray[np.uint8], away: NDArray[np.bool_] | None
) -> list[NDArray[np.float64]] | None:
    """Crack-free profiles, averaged over as many rows as crack profiles; None if too few."""
    height, width = gray.shape
    size = 2 * _HALF_PX + 1
    if height < _ROWS or width < size:
        return None
    free = np.ones(gray.shape, np.uint8) if away is None else away.astype(np.uint8)
    rows, columns = np.nonzero(cv2.erode(free, np.ones((_ROWS, size), np.uint8)))
    inside = (
        (rows >= _ROWS // 2) & (rows < height - _ROWS // 2)
        & (columns >= _HALF_PX) & (columns < width - _HALF_PX)
    )  # fmt: skip
    rows, columns = rows[inside], columns[inside]
    if len(rows) < _TRIES:
        return None
    # Evenly spread over the image, and deterministic.
    chosen = np.linspace(0, len(rows) - 1, _TRIES).astype(int)
    return [
        gray[
            row - _ROWS // 2 : row + _ROWS // 2 + 1, column - _HALF_PX : column + _HALF_PX + 1
        ].mean(axis=0)
        for row, column in zip(rows[chosen].tolist(), columns[chosen].tolist(), strict=True)
    ]

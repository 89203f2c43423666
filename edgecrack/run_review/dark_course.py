"""From a line that was drawn beside a crack to the crack's own pixels, by grey values alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.plane_geometry import Points

Gray = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_REACH_PX = 6.0  # to either side of the drawn line
_ACROSS_PX, _ALONG_PX = 0.5, 1.0
# What a step aside costs, as a share of the strip's contrast: a crack turns, and does not jump.
_STEP_COST = 0.15
# Given fractions of a pixel, OpenCV draws a line of this thickness 3 px wide.
_THICKNESS = 2
_WIDEST_PX = 60.0
# A pixel is of the crack from this share of the depth around it on.
_DEPTH_SHARE = 0.45
# A line that is darker than the wall by less than so many times its noise shows no crack.
_SEEN_NOISES = 3.0
_SURFACE_SIGMA_PX, _DEPTH_SIGMA_PX, _DEPTH_REACH_PX = 15.0, 8.0, 25


def snapped(line: Points, gray: Gray, reach_px: float = _REACH_PX) -> Points:
    """A line moved onto the darkest course beside it.

    Args:
        line: float64 [N, 2], in pixels; the middle of the first pixel is (0.5, 0.5).
        gray: uint8 [H, W].
        reach_px: how far it may move to either side.

    Returns:
        float64 [M, 2], a point for each pixel along the line.
    """
    places, normals = _stations(line)
    offsets = np.arange(-reach_px, reach_px + _ACROSS_PX / 2, _ACROSS_PX)
    at = places[:, None, :] + offsets[None, :, None] * normals[:, None, :]
    smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
    strip = cv2.remap(
        smooth,
        (at[..., 0] - 0.5).astype(np.float32),
        (at[..., 1] - 0.5).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float64)
    chosen = _cheapest(strip)
    return np.asarray(places + offsets[chosen][:, None] * normals, np.float64)


def mask_along(gray: Gray, lines: list[Points], width_px: float | None = None) -> Mask:
    """The pixels of a crack that runs along lines: dark ones near them, connected to them.

    Args:
        gray: uint8 [H, W].
        lines: float64 [N, 2] each, on the crack, as `snapped` gives them.
        width_px: about how wide it is; None for not known.

    Returns:
        bool [H, W]; at least 3 px wide along the lines, as people draw cracks.
    """
    drawn = np.zeros(gray.shape, np.uint8)
    for line in lines:
        corners = np.round((line - 0.5) * 16).astype(np.int32)
        cv2.polylines(drawn, [corners], False, 255, _THICKNESS, cv2.LINE_8, 4)
    core = drawn > 0
    if not core.any():
        return core
    most_px = _WIDEST_PX / 2 if width_px is None else 0.75 * width_px + 3.0
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    near = np.asarray(away <= most_px, bool)
    darkness = _surface(gray, near) - cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 0.7)
    deepest = cv2.dilate(
        np.where(core, darkness, 0).astype(np.float32), np.ones((_DEPTH_REACH_PX,) * 2, np.uint8)
    )
    depth = cv2.GaussianBlur(deepest, (0, 0), _DEPTH_SIGMA_PX)
    noise = 1.4826 * float(np.median(np.abs(darkness[~near]))) if (~near).any() else 0.0
    if float(np.median(darkness[core])) < _SEEN_NOISES * noise:
        return core  # what lies under the line is no darker than the wall
    dark = near & (darkness > np.maximum(_DEPTH_SHARE * depth, 2 * noise))
    _, labels = cv2.connectedComponents((dark | core).astype(np.uint8), connectivity=8)
    own = np.unique(labels[core])
    found = np.isin(labels, own[own > 0]) & (dark | core)
    closed = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return np.asarray(closed > 0, bool)


def _stations(line: Points) -> tuple[Points, Points]:
    """Places at even steps along a line, and unit vectors across it."""
    way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.linspace(0.0, way[-1], max(2, round(way[-1] / _ALONG_PX) + 1))
    places = np.stack([np.interp(at, way, line[:, axis]) for axis in (0, 1)], axis=1)
    along = np.gradient(places, axis=0)
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    return places, np.stack([-along[:, 1], along[:, 0]], axis=1)


def _cheapest(strip: NDArray[np.float64]) -> NDArray[np.intp]:
    """Of each row of a strip the column, so that the way down is dark and without jumps."""
    step = _STEP_COST * max(1.0, float(np.ptp(strip)))
    total, came = strip[0].copy(), np.zeros(strip.shape, np.intp)
    columns = np.arange(strip.shape[1])
    for row in range(1, len(strip)):
        padded = np.pad(total, 1, constant_values=np.inf)
        choices = np.stack([padded[:-2] + step, total, padded[2:] + step])
        best = choices.argmin(axis=0)
        came[row] = np.clip(columns + best - 1, 0, len(columns) - 1)
        total = choices.min(axis=0) + strip[row]
    way = np.zeros(len(strip), np.intp)
    way[-1] = int(total.argmin())
    for row in range(len(strip) - 1, 0, -1):
        way[row - 1] = came[row, way[row]]
    return way


def _surface(gray: Gray, crack: Mask) -> NDArray[np.float32]:
    """The surface's grey level without the crack, smoothed."""
    seen = (~crack).astype(np.float32)
    weight = cv2.GaussianBlur(seen, (0, 0), _SURFACE_SIGMA_PX)
    level = cv2.GaussianBlur(gray.astype(np.float32) * seen, (0, 0), _SURFACE_SIGMA_PX)
    overall = float(np.median(gray[~crack])) if (~crack).any() else float(np.median(gray))
    return np.where(weight > 0.02, level / np.maximum(weight, 1e-6), overall).astype(np.float32)

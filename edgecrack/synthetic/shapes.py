"""Coverage maps of simple shapes, and random places and angles to put them at."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgecrack.synthetic.canvas import Canvas
from edgecrack.synthetic.noise import ByteArray, fractal_noise, smooth_step

Points = npt.NDArray[np.float64]

_FIXED_POINT_BITS = 4


def band(
    canvas: Canvas, centre_xy: tuple[float, float], angle_rad: float, width_px: float
) -> ByteArray:
    """Coverage of an endless straight band, anti-aliased; uint8 [H, W]."""
    reach = float(sum(canvas.hw))
    along = reach * np.array([np.cos(angle_rad), np.sin(angle_rad)])
    across = 0.5 * width_px * np.array([-np.sin(angle_rad), np.cos(angle_rad)])
    middle = np.array(centre_xy)
    corners = [middle - along - across, middle + along - across]
    corners += [middle + along + across, middle - along + across]
    return polygon(canvas, np.array(corners))


def polygon(canvas: Canvas, corners: Points) -> ByteArray:
    """Coverage of a filled polygon, anti-aliased; corners [N, 2] as x and y."""
    coverage = canvas.blank()
    fixed = np.rint(corners * (1 << _FIXED_POINT_BITS)).astype(np.int32)
    cv2.fillPoly(coverage, [fixed], 255, cv2.LINE_AA, _FIXED_POINT_BITS)
    return coverage


def random_place(canvas: Canvas, rng: np.random.Generator) -> tuple[float, float]:
    """A point of the picture, x and y."""
    height, width = canvas.hw
    return rng.uniform(0.08, 0.92) * width, rng.uniform(0.08, 0.92) * height


def far_flung_place(canvas: Canvas, rng: np.random.Generator) -> tuple[float, float]:
    """A point of the picture, x and y; as often near its border, where things are cut off."""
    if rng.random() < 0.5:
        return random_place(canvas, rng)
    height, width = canvas.hw
    along, border = rng.uniform(0.0, 1.0), rng.uniform(-0.06, 0.1)
    place = ((along, border), (along, 1.0 - border), (border, along), (1.0 - border, along))
    x, y = place[int(rng.integers(0, 4))]
    return x * width, y * height


def local_brightness(canvas: Canvas, place_xy: tuple[float, float]) -> float:
    """Mean level of the surface around a place, 25 to 235."""
    height, width = canvas.hw
    x = int(np.clip(place_xy[0], 8, width - 8))
    y = int(np.clip(place_xy[1], 8, height - 8))
    part = canvas.image[max(0, y - 16) : y + 16, max(0, x - 16) : x + 16]
    return float(np.clip(part.mean(), 25.0, 235.0))


def right_angle(rng: np.random.Generator) -> float:
    """An angle close to level or upright, radians; almost as often any other."""
    if rng.random() < 0.45:
        return float(rng.uniform(0.0, np.pi))
    return float(rng.integers(0, 2) * np.pi / 2.0 + rng.normal(0.0, 0.05))


def blob(
    canvas: Canvas, rng: np.random.Generator, radius_px: float, raggedness: float
) -> ByteArray:
    """Coverage of an irregular patch around a random place."""
    height, width = canvas.hw
    x, y = random_place(canvas, rng)
    reach = int(radius_px * (1.15 + 2.0 * raggedness) / 0.7) + 2
    x0, x1 = max(0, int(x) - reach), min(width, int(x) + reach)
    y0, y1 = max(0, int(y) - reach), min(height, int(y) + reach)
    coverage = canvas.blank()
    ys = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(y)) * np.float32(
        rng.uniform(0.7, 1.5)
    )
    xs = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(x)
    distance = np.sqrt(xs * xs + ys * ys) / np.float32(radius_px)
    field = fractal_noise(rng, (y1 - y0, x1 - x0), radius_px, 1.5, gain=0.62)
    inside = smooth_step(1.0 - distance + np.float32(raggedness) * field, -0.06, 0.06)
    coverage[y0:y1, x0:x1] = (inside * 255.0).astype(np.uint8)
    return coverage


def ring(side_px: int, radius_px: float, thickness_px: float | None) -> ByteArray:
    """Coverage of a circle about the middle of a square; filled where thickness is None."""
    span = np.arange(side_px, dtype=np.float32) - np.float32((side_px - 1) / 2.0)
    distance = np.hypot(span[:, None], span[None, :])
    share = np.float32(radius_px + 0.5) - distance
    if thickness_px is not None:
        share = np.float32(0.5 * thickness_px + 0.5) - np.abs(distance - np.float32(radius_px))
    return np.asarray(np.clip(share, 0.0, 1.0) * 255.0, dtype=np.uint8)


def oval(
    canvas: Canvas,
    centre_xy: tuple[float, float],
    axes_px: tuple[float, float],
    angle_rad: float,
    thickness: int = -1,
) -> ByteArray:
    """Coverage of an ellipse, anti-aliased; filled where thickness is negative."""
    coverage = canvas.blank()
    fixed = 1 << _FIXED_POINT_BITS
    at = (int(centre_xy[0] * fixed), int(centre_xy[1] * fixed))
    axes = (max(1, int(axes_px[0] * fixed)), max(1, int(axes_px[1] * fixed)))
    degrees = float(np.rad2deg(angle_rad))
    cv2.ellipse(coverage, at, axes, degrees, 0, 360, 255, thickness, cv2.LINE_AA, _FIXED_POINT_BITS)
    return coverage


def stroke(canvas: Canvas, points: Points, thickness: int) -> ByteArray:
    """Coverage of a smooth curve through points [N, 2], anti-aliased."""
    coverage = canvas.blank()
    fixed = np.rint(points * (1 << _FIXED_POINT_BITS)).astype(np.int32)
    cv2.polylines(coverage, [fixed], False, 255, thickness, cv2.LINE_AA, _FIXED_POINT_BITS)
    return coverage

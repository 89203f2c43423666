"""The canvas with its crack mask; smooth noise; coverage maps of simple shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
# Bicubic interpolation keeps about this share of white noise's standard deviation.
_CUBIC_STD = 0.77


def smooth_noise(
    rng: np.random.Generator, hw: tuple[int, int], scale_hw_px: tuple[float, float]
) -> FloatArray:
    """Noise of one scale, about zero mean and unit standard deviation.

    Args:
        rng: source of randomness.
        hw: height and width of the field, in pixels.
        scale_hw_px: vertical and horizontal distance of independent values; at least 1.

    Returns:
        float32 [H, W].
    """
    height, width = hw
    rows = max(2, math.ceil(height / scale_hw_px[0]) + 1)
    columns = max(2, math.ceil(width / scale_hw_px[1]) + 1)
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    field = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / _CUBIC_STD, dtype=np.float32)


def fractal_noise(
    rng: np.random.Generator,
    hw: tuple[int, int],
    coarsest_px: float,
    finest_px: float = 1.0,
    gain: float = 0.6,
) -> FloatArray:
    """Sum of noises, each half the scale and `gain` times the strength of the one before.

    Each octave is added at its own resolution and then enlarged, so the total time is little more
    than that of the finest octave.

    Args:
        rng: source of randomness.
        hw: height and width of the field, in pixels.
        coarsest_px: scale of the first octave.
        finest_px: no octave is finer than this.
        gain: strength of an octave relative to the one before it, in (0, 1].

    Returns:
        float32 [H, W] with zero mean and unit standard deviation.
    """
    height, width = hw
    octaves = max(1, 1 + int(math.log2(max(coarsest_px / finest_px, 1.0))))
    field: FloatArray | None = None
    for octave in range(octaves):
        scale_px = coarsest_px / 2**octave
        rows = max(2, math.ceil(height / scale_px) + 1)
        columns = max(2, math.ceil(width / scale_px) + 1)
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        if field is None:
            field = grid
            continue
        enlarged = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
        field = np.asarray(cv2.scaleAdd(grid, gain**octave, enlarged), dtype=np.float32)
    full = cv2.resize(np.asarray(field), (width, height), interpolation=cv2.INTER_LINEAR)
    result = np.asarray(full, dtype=np.float32)
    mean, deviation = cv2.meanStdDev(result)
    result -= np.float32(mean.item())
    result /= np.float32(max(deviation.item(), 1e-6))
    return result


def smooth_sequence(rng: np.random.Generator, length: int, scale: float) -> FloatArray:
    """One-dimensional smooth noise, float32 [length], about unit standard deviation."""
    knots = max(2, math.ceil(length / max(scale, 1.0)) + 2)
    values = rng.standard_normal(knots).astype(np.float32)
    at = np.linspace(0.0, knots - 1.0, length, dtype=np.float32)
    left = np.minimum(at.astype(np.int64), knots - 2)
    part = at - left
    part = part * part * (3.0 - 2.0 * part)
    sequence = values[left] * (1.0 - part) + values[left + 1] * part
    return np.asarray(sequence * 1.15, dtype=np.float32)


def smooth_step(field: FloatArray, low: float, high: float) -> FloatArray:
    """0 below `low`, 1 above `high`, a smooth ramp between; float32, shape of `field`."""
    ramp = np.clip((field - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), dtype=np.float32)


Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Canvas:
    """A picture under construction.

    Attributes:
        image: float32 [H, W, 3], BGR, 0 to 255 (clipped only at the end).
        mask: uint8 [H, W], 255 where a crack was painted and is visible.
    """

    image: FloatArray
    mask: ByteArray

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.mask.shape[0], self.mask.shape[1]

    def blank(self) -> ByteArray:
        """An empty coverage map, uint8 [H, W]."""
        return np.zeros(self.hw, dtype=np.uint8)

    def view(self, y0: int, x0: int, y1: int, x1: int) -> Canvas:
        """The part of this canvas between two corners; painting on it paints here."""
        return Canvas(self.image[y0:y1, x0:x1], self.mask[y0:y1, x0:x1])

    def blend(self, coverage: ByteArray, colour: Colour | FloatArray, opacity: float = 1.0) -> None:
        """Cover the picture with a colour (or a [H, W, 3] picture) where `coverage` says."""
        box = bounding_box(coverage)
        if box is None:
            return
        region = self.image[box]
        share = coverage[box].astype(np.float32)[..., None] * np.float32(opacity / 255.0)
        paint = (
            colour[box] if isinstance(colour, np.ndarray) else np.asarray(colour, dtype=np.float32)
        )
        region += (paint - region) * share

    def shade(self, coverage: ByteArray, factor: float | Colour) -> None:
        """Multiply the picture by `factor` (one for all, or one per channel) under `coverage`."""
        box = bounding_box(coverage)
        if box is None:
            return
        share = coverage[box].astype(np.float32)[..., None] * np.float32(1.0 / 255.0)
        self.image[box] *= 1.0 + share * (np.asarray(factor, dtype=np.float32) - np.float32(1.0))

    def hide(self, coverage: ByteArray) -> None:
        """Remove hidden cracks from the mask under an opaque object."""
        self.mask[coverage >= 128] = 0


def bounding_box(coverage: ByteArray) -> tuple[slice, slice] | None:
    """Row and column slices around the non-zero part of a map; None if it is all zero."""
    x, y, width, height = cv2.boundingRect(coverage)
    if width == 0 or height == 0:
        return None
    return slice(y, y + height), slice(x, x + width)


def worn(
    coverage: ByteArray, rng: np.random.Generator, amount: float, scale_px: float = 24.0
) -> ByteArray:
    """The same map with missing patches, as in worn paint or a faded stain.

    Args:
        coverage: uint8 [H, W].
        rng: source of randomness.
        amount: 0 removes nothing, 1 nearly everything.
        scale_px: size of the largest missing patches.
    """
    box = bounding_box(coverage)
    if box is None:
        return coverage
    region = coverage[box]
    field = fractal_noise(rng, (region.shape[0], region.shape[1]), scale_px, gain=0.8)
    edge = 4.0 * amount - 2.0
    kept = smooth_step(field, edge - 0.35, edge + 0.35)
    result = np.zeros_like(coverage)
    result[box] = (region * kept).astype(np.uint8)
    return result


def soft(coverage: ByteArray, sigma_px: float) -> ByteArray:
    """The same map with its edges blurred by a Gaussian."""
    if sigma_px <= 0.0:
        return coverage
    return np.asarray(cv2.GaussianBlur(coverage, (0, 0), sigma_px), dtype=np.uint8)


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
    """A point of the picture, x and y; half of them near its border, where objects are cut off."""
    if rng.random() < 0.5:
        return random_place(canvas, rng)
    height, width = canvas.hw
    along, border = rng.uniform(0.0, 1.0), rng.uniform(-0.06, 0.1)
    place = ((along, border), (along, 1.0 - border), (border, along), (1.0 - border, along))
    x, y = place[int(rng.integers(0, 4))]
    return x * width, y * height


def local_brightness(canvas: Canvas, place_xy: tuple[float, float]) -> float:
    """Mean level of the surface around a point, 25 to 235."""
    height, width = canvas.hw
    x = int(np.clip(place_xy[0], 8, width - 8))
    y = int(np.clip(place_xy[1], 8, height - 8))
    part = canvas.image[max(0, y - 16) : y + 16, max(0, x - 16) : x + 16]
    return float(np.clip(part.mean(), 25.0, 235.0))


def right_angle(rng: np.random.Generator) -> float:
    """An angle close to horizontal or vertical, radians; almost as often any other."""
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

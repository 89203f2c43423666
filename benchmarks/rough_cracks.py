"""Rough cracks of known width on real surfaces, for `width_accuracy.py`.

Rendered eight times finer than a pixel, in linear light, blurred there, then coded by gamma to 8
bits and stored as JPEG. Both edges wander on their own. The surface is a photo of concrete without
crack; half of the noise is its texture, half comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FINER = 8
GAMMA = 2.2
JPEG_QUALITY = 92
Image = NDArray[np.uint8]
Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A rendered crack and the truth about it.

    Attributes:
        image: uint8 [H, W].
        inside: float [H, W], share of each pixel that is crack.
        length_px: of its middle.
        mean_width_px: over its length.
    """

    image: Image
    inside: Plane
    length_px: float
    mean_width_px: float


@dataclass(frozen=True)
class Imaging:
    """What the camera does.

    Attributes:
        blur_px: sigma of the point spread.
        snr: depth of the crack in grey values over the standard deviation of the noise.
        reflectance: share of the surface's light that comes out of the crack.
    """

    blur_px: float
    snr: float
    reflectance: float


def draw_imaging(rng: np.random.Generator, snr: float) -> Imaging:
    """Blur of 0.7 to 2 px, 5 to 25 % of the surface's light from within."""
    return Imaging(float(rng.uniform(0.7, 2)), snr, float(rng.uniform(0.05, 0.25)))


def textures(data: Path) -> list[Image]:
    """Surfaces without crack."""
    paths = sorted((data / "concrete_tiles" / "negative").iterdir())[::60]
    return [np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8) for path in paths]


def roughness_px(width_px: float) -> float:
    """Standard deviation of each edge."""
    return min(0.1 * width_px, 0.35)


def _wander(rng: np.random.Generator, count: int, correlation: float, size: float) -> Plane:
    """A smooth random line of this standard deviation."""
    if size == 0:
        return np.zeros(count)
    long = rng.normal(0, 1, count + 8 * int(correlation) + 8)
    smooth = cv2.GaussianBlur(long[None], (0, 0), correlation)[0]
    start = (len(long) - count) // 2
    return np.asarray(smooth[start : start + count] / smooth.std() * size, np.float64)


def _camera(rng: np.random.Generator, inside: Plane, texture: Image, imaging: Imaging) -> Image:
    """From the share of crack [8 H, 8 W] to an image [H, W]."""
    light = 1 - (1 - imaging.reflectance) * inside.astype(np.float32)
    seen = _reduced(cv2.GaussianBlur(light, (0, 0), imaging.blur_px * FINER))
    height, width = seen.shape
    row = int(rng.integers(0, texture.shape[0] - height + 1))
    column = int(rng.integers(0, texture.shape[1] - width + 1))
    surface = texture[row : row + height, column : column + width].astype(np.float64)
    level = rng.uniform(110, 200)
    coded = level * seen ** (1 / GAMMA)
    noise = level * (1 - imaging.reflectance ** (1 / GAMMA)) / imaging.snr / np.sqrt(2)
    uneven = (surface - cv2.GaussianBlur(surface, (0, 0), 20)) / (surface.std() + 1e-6)
    coded = coded * (1 + uneven * noise / level) + rng.normal(0, noise, coded.shape)
    image = np.clip(np.round(coded), 0, 255).astype(np.uint8)
    stored = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE), np.uint8)


def _reduced(plane: NDArray[Any]) -> Plane:
    height, width = (side // FINER for side in plane.shape)
    return np.asarray(plane.reshape(height, FINER, width, FINER).mean(axis=(1, 3)), np.float64)


def straight_rows(
    rng: np.random.Generator, width_px: float, imaging: Imaging, texture: Image, hw: tuple[int, int]
) -> tuple[Image, Plane]:
    """A crack that runs down the middle of an image.

    Returns:
        The image, uint8 [H, W], and the true width in each row, float [H].
    """
    height, width = hw[0] * FINER, hw[1] * FINER
    size, correlation = roughness_px(width_px) * FINER, 1.75 * FINER
    middle = width / 2 + _wander(rng, height, 40, 0.8 * FINER) + rng.uniform(-1, 1) * FINER
    left = middle - width_px / 2 * FINER + _wander(rng, height, correlation, size)
    right = middle + width_px / 2 * FINER + _wander(rng, height, correlation, size)
    x = np.arange(width) + 0.5
    covered = np.clip(x - left[:, None] + 0.5, 0, 1) * np.clip(right[:, None] - x + 0.5, 0, 1)
    covered[right <= left] = 0
    widths = np.maximum(right - left, 0).reshape(hw[0], FINER).mean(axis=1) / FINER
    return _camera(rng, covered, texture, imaging), np.asarray(widths, np.float64)


def winding_crack(
    rng: np.random.Generator, width_px: float, imaging: Imaging, texture: Image, side_px: int
) -> Scene:
    """A crack that winds across an image from edge to edge."""
    side = side_px * FINER
    along = np.arange(side)
    slope = rng.uniform(-0.6, 0.6)
    path = side / 2 + slope * (along - side / 2) + _wander(rng, side, 25 * FINER, 7 * FINER)
    points = np.stack([along, path], axis=1)
    if rng.random() < 0.5:
        points = points[:, ::-1]
    canvas = np.full((side, side), 255, np.uint8)
    cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], False, 0, 1, cv2.LINE_8, 4)
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    field = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 14)
    size = roughness_px(width_px) * FINER
    edge = width_px / 2 * FINER + field / field.std() * size - distance
    covered = np.clip(edge + 0.5, 0, 1).astype(np.float64)
    inside_px = np.asarray((points >= 0).all(axis=1) & (points < side).all(axis=1))
    steps = np.hypot(*np.diff(points, axis=0).T) * (inside_px[1:] & inside_px[:-1])
    length = float(steps.sum()) / FINER
    image = _camera(rng, covered, texture, imaging)
    inside = _reduced(covered)
    return Scene(image, inside, length, float(inside.sum()) / length)

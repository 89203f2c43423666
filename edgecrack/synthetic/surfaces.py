"""Bare concrete, asphalt and brick surfaces, without cracks or other objects.

Colours resemble real photographs in ordinary light; `camera.py` adds camera effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edgecrack.synthetic.canvas import (
    FloatArray,
    fractal_noise,
    smooth_noise,
    smooth_step,
)

Surface = Literal["concrete", "asphalt", "brick"]
SURFACES: tuple[Surface, ...] = ("concrete", "asphalt", "brick")


@dataclass(frozen=True)
class BrickBond:
    """The mortar joints of a brick surface, in pixels."""

    course_px: float
    brick_px: float
    mortar_px: float
    shift_x_px: float
    shift_y_px: float


def render_surface(
    surface: Surface, hw: tuple[int, int], rng: np.random.Generator
) -> tuple[FloatArray, BrickBond | None]:
    """Paint a bare surface.

    Returns:
        The picture, float32 [H, W, 3] BGR 0 to 255, and the bond of a brick surface.
    """
    if surface == "concrete":
        return _concrete(hw, rng), None
    if surface == "asphalt":
        return _asphalt(hw, rng), None
    return _brick(hw, rng)


def _tinted(luminance: FloatArray, tint: FloatArray) -> FloatArray:
    """Give a [H, W] luminance a BGR tint around 1."""
    return np.asarray(cv2.merge([luminance * channel for channel in tint]), dtype=np.float32)


def _tint(rng: np.random.Generator, warmth: float, spread: float) -> FloatArray:
    """A BGR factor: positive warmth is brown, negative is blue."""
    warm = rng.normal(warmth, spread)
    green = rng.normal(0.0, spread * 0.3)
    return np.array([1.0 - warm, 1.0 + green, 1.0 + warm], dtype=np.float32)


def lit_relief(height: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A rough surface lit from one side: slopes towards the light are bright; unit deviation."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=np.float32)
    kernel = np.float32(np.cos(angle)) * across + np.float32(np.sin(angle)) * across.T
    slope = cv2.filter2D(height, -1, kernel)
    deviation = float(cv2.meanStdDev(slope)[1].item())
    return np.asarray(slope * np.float32(1.0 / max(deviation, 1e-6)), dtype=np.float32)


def _concrete(hw: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    base = rng.uniform(85.0, 185.0)
    clouds = fractal_noise(rng, hw, rng.uniform(120.0, 320.0), 4.0, gain=rng.uniform(0.55, 0.8))
    bumps = fractal_noise(rng, hw, rng.uniform(3.0, 9.0), 1.0, gain=rng.uniform(0.6, 0.9))
    luminance = base * (1.0 + rng.uniform(0.03, 0.09) * clouds)
    luminance += base * rng.uniform(0.01, 0.06) * lit_relief(bumps, rng)
    luminance += base * rng.uniform(0.005, 0.03) * bumps
    chips = smooth_noise(rng, hw, (rng.uniform(2.0, 5.0), rng.uniform(2.0, 5.0)))
    sparse = rng.uniform(1.5, 2.4)
    luminance += base * rng.uniform(0.0, 0.3) * smooth_step(chips, sparse, sparse + 1.0)
    if rng.random() < 0.5:
        streaks = smooth_noise(rng, hw, (rng.uniform(100, 300), rng.uniform(3, 14)))
        luminance *= 1.0 + rng.uniform(0.01, 0.05) * streaks
    image = _tinted(np.asarray(luminance, dtype=np.float32), _tint(rng, 0.03, 0.035))
    for _ in range(int(rng.integers(0, 3))):
        _add_patches(image, rng)
    return image


def _add_patches(image: FloatArray, rng: np.random.Generator) -> None:
    """Weathering: ragged lighter or darker patches with a tint of their own."""
    hw = (image.shape[0], image.shape[1])
    field = fractal_noise(rng, hw, rng.uniform(40.0, 260.0), 1.0, gain=rng.uniform(0.68, 0.95))
    edge = rng.uniform(0.0, 1.2)
    share = smooth_step(field, edge - 0.4, edge + rng.uniform(0.7, 2.2))
    factor = rng.uniform(1.06, 1.35) if rng.random() < 0.55 else rng.uniform(0.6, 0.92)
    change = _tint(rng, 0.0, 0.04) * np.float32(factor) - np.float32(1.0)
    image *= 1.0 + share[..., None] * change


def _asphalt(hw: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    base = rng.uniform(85.0, 175.0)
    clouds = fractal_noise(rng, hw, rng.uniform(150.0, 400.0), 16.0, gain=0.5)
    stone_px = float(np.clip(np.exp(rng.normal(0.55, 0.35)), 1.0, 4.0))
    stones = smooth_noise(rng, hw, (stone_px, stone_px))
    grain = rng.standard_normal(hw, dtype=np.float32)
    height = stones + np.float32(rng.uniform(0.3, 1.0)) * grain
    relief = lit_relief(height, rng) + np.float32(rng.uniform(0.2, 0.6)) * height
    relief += np.float32(rng.uniform(0.1, 0.7)) * rng.standard_normal(hw, dtype=np.float32)
    bright = np.maximum(stones - np.float32(rng.uniform(1.6, 2.3)), 0.0)
    dark = np.maximum(-stones - np.float32(rng.uniform(1.6, 2.3)), 0.0)
    contrast = np.float32(base * rng.uniform(0.03, 0.09))
    luminance = base * (1.0 + rng.uniform(0.01, 0.05) * clouds)
    luminance += contrast * (relief + np.float32(rng.uniform(1.0, 6.0)) * (bright - 0.7 * dark))
    image = _tinted(np.asarray(luminance, dtype=np.float32), _tint(rng, -0.01, 0.035))
    # Single stones differ in hue: brown, blue and grey.
    hue = smooth_noise(rng, hw, (stone_px * 1.5, stone_px * 1.5)) * np.float32(base * 0.012)
    image[..., 0] -= hue
    image[..., 2] += hue
    return image


def _brick(hw: tuple[int, int], rng: np.random.Generator) -> tuple[FloatArray, BrickBond]:
    course_px = rng.uniform(22.0, 62.0)
    bond = BrickBond(
        course_px=course_px,
        brick_px=course_px * rng.uniform(2.3, 3.4),
        mortar_px=max(2.5, course_px * rng.uniform(0.1, 0.2)),
        shift_x_px=rng.uniform(0.0, 200.0),
        shift_y_px=rng.uniform(0.0, 60.0),
    )
    return render_brick(hw, rng, bond), bond


def render_brick(hw: tuple[int, int], rng: np.random.Generator, bond: BrickBond) -> FloatArray:
    """Paint brickwork of a given bond; float32 [H, W, 3] BGR."""
    height, width = hw
    wobble = smooth_noise(rng, hw, (9.0, 9.0)) * np.float32(0.5)
    ys = np.arange(height, dtype=np.float32)[:, None] + np.float32(bond.shift_y_px) + wobble
    rows = np.floor(ys * np.float32(1.0 / bond.course_px))
    odd = rows - 2.0 * np.floor(rows * np.float32(0.5))
    xs = np.arange(width, dtype=np.float32)[None, :] + np.float32(bond.shift_x_px) + wobble
    xs = xs + odd * np.float32(bond.brick_px / 2.0)
    columns = np.floor(xs * np.float32(1.0 / bond.brick_px))
    from_left = xs - columns * np.float32(bond.brick_px)
    from_top = ys - rows * np.float32(bond.course_px)
    inside = np.minimum(
        np.minimum(from_left, np.float32(bond.brick_px) - from_left),
        np.minimum(from_top, np.float32(bond.course_px) - from_top),
    )
    inside -= np.float32(bond.mortar_px / 2.0)

    image = _brick_faces(rows, columns, rng)
    grain = lit_relief(fractal_noise(rng, hw, 8.0, 1.0, gain=0.8), rng)
    clouds = fractal_noise(rng, hw, 220.0, 8.0, gain=0.6)
    mortar_level = float(np.clip(rng.uniform(0.5, 1.9) * image.mean(), 40.0, 205.0))
    mortar = _tint(rng, 0.02, 0.03) * np.float32(mortar_level)
    share = np.clip(inside + np.float32(0.5), 0.0, 1.0)[..., None]
    image = mortar + (image - mortar) * share
    # The joint is recessed: its edge under the brick above is in shade.
    shade = np.exp(-np.square(inside + np.float32(0.8)) * np.float32(0.8))
    texture = 1.0 + rng.uniform(0.03, 0.08) * grain + rng.uniform(0.02, 0.07) * clouds
    texture -= rng.uniform(0.05, 0.3) * shade
    return np.asarray(image * texture[..., None], dtype=np.float32)


def _brick_faces(rows: FloatArray, columns: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One colour per brick, from the wall's random palette; float32 [H, W, 3]."""
    palette = np.array(
        [[72, 84, 138], [88, 104, 152], [62, 70, 108], [122, 148, 180], [128, 134, 140]],
        dtype=np.float32,
    )
    base = palette[int(rng.integers(0, len(palette)))] * np.float32(rng.uniform(0.75, 1.2))
    row_index = (rows - rows.min()).astype(np.intp)
    column_index = (columns - columns.min()).astype(np.intp)
    count = (int(row_index.max()) + 1, int(column_index.max()) + 1)
    level = rng.normal(1.0, rng.uniform(0.05, 0.16), (*count, 1))
    hue = rng.normal(1.0, rng.uniform(0.015, 0.04), (*count, 3))
    base = base + np.float32(rng.uniform(0.1, 0.4)) * (base.mean() - base)
    colours = (base * level * hue).astype(np.float32)
    index = row_index * count[1] + column_index
    return np.asarray(np.take(colours.reshape(-1, 3), index, axis=0), dtype=np.float32)

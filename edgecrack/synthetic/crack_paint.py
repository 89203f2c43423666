"""Turns crack shapes into pixels and into the exact mask of what was painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edgecrack.synthetic.canvas import (
    ByteArray,
    Canvas,
    FloatArray,
    fractal_noise,
    smooth_noise,
    smooth_step,
    soft,
)
from edgecrack.synthetic.crack_paths import CrackPath, normals

_OVERSAMPLING = 4
_SUBPIXEL_BITS = 4
# OpenCV fills the outline of a polygon too, which widens it by half a fine pixel a side.
_OUTLINE_PX = 0.5 / _OVERSAMPLING


@dataclass(frozen=True)
class CrackLook:
    """How a crack's pixels differ from the surface that it runs through.

    Attributes:
        depth: share of the light that its darkest part absorbs, 0 to 1.
        grit: how much the grains of the surface break its darkness, 0 to 1.
        rim: brightness of the spalled edge relative to the surface; 0 for none.
        dirt: share of the light that the dirt around it absorbs; 0 for none.
        damp: share of the light that wet patches around it absorb; 0 for none.
    """

    depth: float
    grit: float = 0.2
    rim: float = 0.0
    dirt: float = 0.0
    damp: float = 0.0


def random_look(rng: np.random.Generator, width_px: float) -> CrackLook:
    """A random look distributed as in photographs: thin cracks are often fainter."""
    lowest = 0.4 if width_px < 2.5 else 0.45
    return CrackLook(
        depth=rng.uniform(lowest, 0.93),
        grit=rng.uniform(0.05, 0.4) / max(1.0, width_px / 2.0),
        rim=rng.uniform(0.08, 0.4) if rng.random() < 0.4 else 0.0,
        dirt=rng.uniform(0.08, 0.3) if rng.random() < 0.35 else 0.0,
        damp=rng.uniform(0.2, 0.45) if rng.random() < 0.08 else 0.0,
    )


def paint_cracks(
    canvas: Canvas, paths: Sequence[CrackPath], look: CrackLook, rng: np.random.Generator
) -> None:
    """Paint the paths of one crack and mark them in the mask.

    A pixel is marked if at least half of it was painted or if it is on a centre line, so that a
    hairline is one pixel wide and connected.
    """
    window = _window(canvas.hw, paths)
    if window is None:
        return
    y0, x0, y1, x1 = window
    part = canvas.view(y0, x0, y1, x1)
    moved = np.array([x0, y0], dtype=np.float32)
    strength, mask = _rasterise(part.hw, [(path, path.points - moved) for path in paths])
    if not mask.any():
        return
    if look.damp > 0.0:
        _paint_damp(part, [path.points - moved for path in paths], look.damp, rng)
    if look.dirt > 0.0:
        _paint_dirt(part, strength, look.dirt, rng)
    if look.rim > 0.0:
        _paint_rim(part, strength, look.rim, rng)
    # Grains of the surface interrupt the crack in places.
    grit = np.maximum(smooth_noise(rng, part.hw, (1.8, 1.8)), 0.0) * np.float32(look.grit)
    strength *= np.maximum(1.0 - grit, 0.2)
    tint = np.array([1.0, 1.0, 1.0]) + rng.normal(0.0, 0.02, 3)
    light = 1.0 - np.minimum(look.depth * tint, 0.97)
    part.image[...] *= 1.0 - (strength * (1.0 / 255.0))[..., None] * (1.0 - light).astype(
        np.float32
    )
    np.maximum(part.mask, mask, out=part.mask)


def _window(hw: tuple[int, int], paths: Sequence[CrackPath]) -> tuple[int, int, int, int] | None:
    """The part of the canvas that the paths and their surroundings can change."""
    if not paths:
        return None
    points = np.concatenate([path.points for path in paths])
    margin = 24
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin, (hw[1], hw[0]))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    return int(y0), int(x0), int(y1), int(x1)


def _rasterise(
    hw: tuple[int, int], paths: Sequence[tuple[CrackPath, FloatArray]]
) -> tuple[FloatArray, ByteArray]:
    """Paint strength (float32, 0 to 255, anti-aliased) and the mask (uint8, 0 or 255)."""
    height, width = hw
    fine = np.zeros((height * _OVERSAMPLING, width * _OVERSAMPLING), dtype=np.uint8)
    lines = np.zeros(hw, dtype=np.uint8)
    for path, points in paths:
        inside = np.all((points > -20.0) & (points < (width + 20.0, height + 20.0)), axis=1)
        across = normals(points)
        left = points + across * (path.left_px - _OUTLINE_PX).clip(0.02)[:, None]
        right = points - across * (path.right_px - _OUTLINE_PX).clip(0.02)[:, None]
        corners = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
        corners = (corners + 0.5) * _OVERSAMPLING - 0.5
        quads = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        values = np.rint(path.darkness * 255.0).astype(int).tolist()
        for index in np.flatnonzero(inside[:-1]).tolist():
            cv2.fillConvexPoly(fine, quads[index], values[index], cv2.LINE_8, _SUBPIXEL_BITS)
        vertices = np.rint(points).astype(np.int32)
        cv2.polylines(lines, [vertices[:, None]], False, 255, 1, cv2.LINE_8)
    covered = cv2.threshold(fine, 0, 255, cv2.THRESH_BINARY)[1]
    coverage = cv2.resize(covered, (width, height), interpolation=cv2.INTER_AREA)
    strength = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    mask = np.maximum(cv2.threshold(coverage, 127, 255, cv2.THRESH_BINARY)[1], lines)
    return strength.astype(np.float32), np.asarray(mask, dtype=np.uint8)


def _paint_rim(part: Canvas, strength: FloatArray, rim: float, rng: np.random.Generator) -> None:
    """Broken edges catch the light on the side away from it."""
    near = cv2.GaussianBlur(strength, (0, 0), rng.uniform(1.0, 2.2))
    angle = rng.uniform(0.0, 2.0 * np.pi)
    shift = np.array([[1, 0, 1.6 * np.cos(angle)], [0, 1, 1.6 * np.sin(angle)]], np.float32)
    near = cv2.warpAffine(near, shift, (near.shape[1], near.shape[0]))
    patchy = smooth_step(smooth_noise(rng, part.hw, (14.0, 14.0)), -0.4, 1.4)
    share = np.minimum(near * np.float32(2.2 / 255.0), 1.0) * patchy * np.float32(rim)
    part.image[...] *= 1.0 + share[..., None]


def _paint_dirt(part: Canvas, strength: FloatArray, dirt: float, rng: np.random.Generator) -> None:
    """Dirt gathers along a crack, patchily, and fades with distance."""
    near = cv2.GaussianBlur(strength, (0, 0), rng.uniform(3.0, 8.0)) * np.float32(7.0 / 255.0)
    patchy = smooth_step(fractal_noise(rng, part.hw, 60.0, 2.0, gain=0.7), -1.0, 1.2)
    share = np.minimum(near, 1.0) * patchy * np.float32(dirt)
    part.image[...] *= 1.0 - share[..., None]


def _paint_damp(
    part: Canvas, lines: Sequence[FloatArray], damp: float, rng: np.random.Generator
) -> None:
    """Water seeps out over some stretches and wets the surface in lobes."""
    wet = part.blank()
    for points in lines[:1]:
        radius = rng.uniform(6.0, 20.0)
        for _ in range(int(rng.integers(1, 4))):
            first = int(rng.integers(0, max(1, len(points) - 20)))
            last = first + int(rng.integers(10, 70))
            for x, y in points[first:last:4]:
                size = int(radius * rng.uniform(0.4, 1.1))
                cv2.circle(wet, (int(x), int(y)), size, 255, -1)
    spread = soft(wet, 4.0).astype(np.float32) * np.float32(1.0 / 255.0)
    field = fractal_noise(rng, part.hw, 12.0, 1.0, gain=0.7) * np.float32(0.13)
    edge = smooth_step(spread + field, 0.42, 0.58) * np.float32(damp)
    part.image[...] *= 1.0 - edge[..., None]

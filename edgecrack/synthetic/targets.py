"""Sheets that surveyors stick on a surface: checkerboards, coded squares, crosses and rings.

Sharp black edges on white; opaque, so what lies under a sheet is not marked.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.canvas import Canvas, soft
from edgecrack.synthetic.lettering import written
from edgecrack.synthetic.noise import ByteArray, fractal_noise
from edgecrack.synthetic.perspective import paste, seen_corners, seen_coverage
from edgecrack.synthetic.shapes import far_flung_place, local_brightness, ring


def target_sheet(canvas: Canvas, rng: np.random.Generator) -> None:
    """A printed sheet with a survey target, taped on; its edge casts a thin shadow."""
    side = max(14, int(rng.uniform(0.1, 0.45) * min(canvas.hw)))
    draw = (_checkerboard, _coded_square, _quarters, _cross, _rings)[int(rng.integers(0, 5))]
    ink = _framed(draw(side, rng), rng)
    place = far_flung_place(canvas, rng)
    white = float(np.clip(local_brightness(canvas, place) * rng.uniform(1.3, 2.0), 120.0, 245.0))
    black = white * rng.uniform(0.06, 0.25)
    shading = 1.0 + 0.02 * fractal_noise(rng, ink.shape[:2], 60.0, 2.0, gain=0.6)
    tone = (white + (black - white) * (ink.astype(np.float32) / 255.0)) * shading
    tint = np.array([rng.uniform(0.94, 1.02), 1.0, rng.uniform(0.98, 1.04)], dtype=np.float32)
    half = (ink.shape[1] / 2.0, ink.shape[0] / 2.0)
    corners = seen_corners(rng, place, half, rng.normal(0.0, 0.3))
    whole = np.full(ink.shape, 255, dtype=np.uint8)
    drop = rng.uniform(0.5, 0.02 * side + 1.0)
    shadow = soft(seen_coverage(canvas, whole, corners + drop), 0.6 * drop + 0.3)
    canvas.shade(shadow, rng.uniform(0.5, 0.8))
    canvas.hide(paste(canvas, (tone[..., None] * tint).astype(np.float32), whole, corners))


def _framed(print_: ByteArray, rng: np.random.Generator) -> ByteArray:
    """The print on its sheet: a white margin, often a number below, at times a black frame."""
    side = print_.shape[0]
    margin = max(2, int(rng.uniform(0.06, 0.25) * side))
    sheet = np.pad(print_, margin)
    if rng.random() < 0.6 and side >= 24:
        text = f"{rng.integers(0, 250)}" if rng.random() < 0.6 else f"T{rng.integers(1, 60)}"
        label = written(text, cv2.FONT_HERSHEY_SIMPLEX, 0.14 * side, max(0.6, 0.018 * side))
        below = np.zeros((label.shape[0] + 2, sheet.shape[1]), dtype=np.uint8)
        width = min(label.shape[1], sheet.shape[1] - margin)
        below[: label.shape[0], margin : margin + width] = label[:, :width]
        sheet = np.concatenate([sheet, below])
    if rng.random() < 0.3:
        cv2.rectangle(sheet, (0, 0), (sheet.shape[1] - 1, sheet.shape[0] - 1), 255, 1)
    return sheet


def _enlarged(cells: ByteArray, side: int) -> ByteArray:
    return np.asarray(cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)


def _checkerboard(side: int, rng: np.random.Generator) -> ByteArray:
    """Alternating squares, uint8 [side, side], 255 for ink."""
    count = int(rng.integers(2, min(9, side // 4) + 1))
    rows, columns = np.mgrid[0:count, 0:count]
    return _enlarged(((rows + columns) % 2 * 255).astype(np.uint8), side)


def _coded_square(side: int, rng: np.random.Generator) -> ByteArray:
    """A random code of black and white cells in a black border, as ArUco and AprilTag have."""
    count = int(rng.integers(4, 7))
    cells = np.full((count + 2, count + 2), 255, dtype=np.uint8)
    cells[1:-1, 1:-1] = rng.integers(0, 2, (count, count), dtype=np.uint8) * 255
    return _enlarged(cells, side)


def _quarters(side: int, rng: np.random.Generator) -> ByteArray:
    """A disc of which two opposite quarters are black."""
    disc = ring(side, 0.5 * side * rng.uniform(0.7, 0.95), None)
    rows, columns = np.mgrid[0:side, 0:side] * 2 < side
    kept = np.where(rows == columns, disc, 0).astype(np.uint8)
    return np.maximum(kept, ring(side, 0.47 * side, max(1.0, 0.02 * side)))


def _cross(side: int, rng: np.random.Generator) -> ByteArray:
    """Thin crossed lines, often with a ring around their crossing."""
    print_ = np.zeros((side, side), dtype=np.uint8)
    thickness = max(1, int(rng.uniform(0.01, 0.06) * side))
    middle = side // 2
    if rng.random() < 0.3:
        cv2.line(print_, (1, 1), (side - 2, side - 2), 255, thickness, cv2.LINE_AA)
        cv2.line(print_, (1, side - 2), (side - 2, 1), 255, thickness, cv2.LINE_AA)
    else:
        cv2.line(print_, (middle, 0), (middle, side - 1), 255, thickness, cv2.LINE_AA)
        cv2.line(print_, (0, middle), (side - 1, middle), 255, thickness, cv2.LINE_AA)
    if rng.random() < 0.7:
        around = ring(side, side * rng.uniform(0.15, 0.4), float(thickness) + 0.5)
        np.maximum(print_, around, out=print_)
    return print_


def _rings(side: int, rng: np.random.Generator) -> ByteArray:
    """A dot in a broken ring, as photogrammetry codes its targets."""
    print_ = ring(side, 0.14 * side, None)
    outer = ring(side, rng.uniform(0.32, 0.42) * side, rng.uniform(0.08, 0.18) * side)
    rows, columns = np.mgrid[0:side, 0:side] - side / 2.0
    count = int(rng.integers(8, 15))
    sector = np.floor((np.arctan2(rows, columns) / (2.0 * np.pi) + 0.5) * count) % count
    shown = rng.random(count) < 0.6
    coded = np.where(shown[sector.astype(np.intp)], outer, 0).astype(np.uint8)
    return np.maximum(print_, coded)

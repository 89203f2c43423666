"""What is held against a crack to measure it: transparent cards of printed lines, and rulers.

Their lines are as thin and dark as cracks are. A card is seen through, so a crack under it
stays marked but for what its print hides; a ruler hides all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgecrack.synthetic.canvas import Canvas, Colour, soft
from edgecrack.synthetic.lettering import written
from edgecrack.synthetic.noise import ByteArray
from edgecrack.synthetic.perspective import paste, seen_corners, seen_coverage
from edgecrack.synthetic.shapes import far_flung_place, local_brightness, right_angle

_FINE = 4
_WIDTHS_MM = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0)
_INKS: tuple[Colour, ...] = ((25.0, 25.0, 28.0), (30.0, 30.0, 150.0), (110.0, 50.0, 25.0))


@dataclass(frozen=True)
class _Sheet:
    """A blank to print on, at several times the final resolution.

    Attributes:
        ink: uint8 [h, w] at `_FINE` times the final size.
        px_per_mm: of the final size.
    """

    ink: ByteArray
    px_per_mm: float

    def bar(self, box_mm: tuple[float, float, float, float]) -> None:
        """Print a rectangle: left, top, width and height in millimetres."""
        left, top, width, height = (value * self.px_per_mm * _FINE for value in box_mm)
        corners = np.array([[left, top], [left + width, top + height]]) * 16.0
        (x0, y0), (x1, y1) = np.rint(corners).astype(int).tolist()
        outline = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - 8
        cv2.fillPoly(self.ink, [outline.astype(np.int32)], 255, cv2.LINE_AA, 4)

    def label(self, text: str, at_mm: tuple[float, float], height_mm: float) -> None:
        """Print text with its upper left corner at a place; nothing where it would be a blot."""
        height_px = height_mm * self.px_per_mm
        if height_px < 3.5:
            return
        line = written(
            text, cv2.FONT_HERSHEY_SIMPLEX, _FINE * height_px, max(0.5, 0.1 * height_px) * _FINE
        )
        x, y = (int(value * self.px_per_mm * _FINE) for value in at_mm)
        part = self.ink[y : y + line.shape[0], x : x + line.shape[1]]
        np.maximum(part, line[: part.shape[0], : part.shape[1]], out=part)

    def printed(self) -> ByteArray:
        """The print at the final size, uint8 [h, w]."""
        size = (self.ink.shape[1] // _FINE, self.ink.shape[0] // _FINE)
        return np.asarray(cv2.resize(self.ink, size, interpolation=cv2.INTER_AREA), np.uint8)


def _blank(width_mm: float, height_mm: float, px_per_mm: float) -> _Sheet:
    rows, columns = (max(8, round(side * px_per_mm)) for side in (height_mm, width_mm))
    return _Sheet(np.zeros((rows * _FINE, columns * _FINE), dtype=np.uint8), px_per_mm)


def gauge_card(canvas: Canvas, rng: np.random.Generator) -> None:
    """A clear card with lines of 0.1 to 2 mm, each with its width beside it."""
    length = rng.uniform(0.45, 1.3) * min(canvas.hw)
    width_mm, height_mm = rng.uniform(70.0, 100.0), rng.uniform(28.0, 55.0)
    sheet = _blank(width_mm, height_mm, max(0.4, length / width_mm))
    count = int(rng.integers(7, len(_WIDTHS_MM) + 1))
    upright = rng.random() < 0.6
    span = width_mm if upright else height_mm
    for number, line_mm in enumerate(_WIDTHS_MM[-count:]):
        at = 0.08 * span + number * 0.86 * span / count
        if upright:
            sheet.bar((at, 0.14 * height_mm, line_mm, 0.5 * height_mm))
            sheet.label(f"{line_mm:g}", (at - 1.0, 0.7 * height_mm), 0.055 * height_mm + 0.8)
        else:
            sheet.bar((0.05 * width_mm, at, 0.6 * width_mm, line_mm))
            sheet.label(f"{line_mm:.2f}", (0.69 * width_mm, at - 1.0), 0.6 * 0.86 * span / count)
    if rng.random() < 0.5:
        _scale(sheet, width_mm, height_mm)
    _lay_clear(canvas, rng, sheet.printed())


def _scale(sheet: _Sheet, width_mm: float, height_mm: float) -> None:
    """Millimetre ticks along the lower edge."""
    for number in range(int(width_mm) - 3):
        length = 3.5 if number % 10 == 0 else 2.5 if number % 5 == 0 else 1.6
        sheet.bar((2.0 + number, height_mm - length, 0.18, length))


def _lay_clear(canvas: Canvas, rng: np.random.Generator, ink: ByteArray) -> None:
    """Lay a clear card on the surface: a veil, bright edges, a sheen, a shadow, the print."""
    place = far_flung_place(canvas, rng)
    half = (ink.shape[1] / 2.0, ink.shape[0] / 2.0)
    corners = seen_corners(rng, place, half, right_angle(rng))
    whole = np.full(ink.shape, 255, dtype=np.uint8)
    seen = seen_coverage(canvas, whole, corners)
    level = local_brightness(canvas, place)
    veil = min(255.0, 1.3 * level + 25.0)
    canvas.shade(soft(seen_coverage(canvas, whole, corners + 1.5), 1.5), rng.uniform(0.75, 0.95))
    canvas.blend(seen, (veil, veil, veil * 0.99), rng.uniform(0.12, 0.45))
    rim = whole.copy()
    rim[1:-1, 1:-1] = 0
    bright = min(255.0, veil + 40.0) if rng.random() < 0.6 else 0.5 * level
    canvas.blend(seen_coverage(canvas, rim, corners), (bright, bright, bright), 0.6)
    if rng.random() < 0.4:
        sheen = np.zeros_like(whole)
        left = int(rng.uniform(0.0, 0.8) * ink.shape[1])
        sheen[:, left : left + max(3, int(0.15 * ink.shape[1]))] = 255
        glare = soft(seen_coverage(canvas, sheen, corners), 3.0)
        canvas.blend(np.minimum(glare, seen), (250.0, 250.0, 250.0), rng.uniform(0.1, 0.35))
    print_ = seen_coverage(canvas, ink, corners)
    canvas.blend(print_, _INKS[int(rng.integers(0, len(_INKS)))], rng.uniform(0.75, 0.97))
    canvas.hide(print_)


def ruler(canvas: Canvas, rng: np.random.Generator) -> None:
    """A ruler or a piece of tape measure: ticks along one edge, numbers, a shadow."""
    px_per_mm = rng.uniform(0.008, 0.03) * min(canvas.hw) + 0.8
    width_mm = rng.uniform(0.4, 1.4) * max(canvas.hw) / px_per_mm
    height_mm = rng.uniform(10.0, 32.0)
    sheet = _blank(width_mm, height_mm, px_per_mm)
    first = int(rng.integers(0, 90))
    for number in range(int(width_mm) - 2):
        length = (0.5 if number % 10 == 0 else 0.36 if number % 5 == 0 else 0.24) * height_mm
        sheet.bar((1.0 + number, 0.0, rng.uniform(0.18, 0.22), length))
        if number % 10 == 0:
            sheet.label(str(first + number // 10), (1.6 + number, 0.5 * height_mm), 3.2)
    ink = sheet.printed()
    place = far_flung_place(canvas, rng)
    level = float(np.clip(local_brightness(canvas, place) * rng.uniform(0.9, 1.8), 70.0, 240.0))
    paper: Colour = (level, level, level)
    if rng.random() < 0.4:
        paper = (0.25 * level, 0.85 * level, 0.98 * level)
    share = ink.astype(np.float32)[..., None] / np.float32(255.0)
    dark = np.float32(rng.uniform(0.1, 0.3))
    picture = np.asarray(paper, dtype=np.float32) * (1.0 - share * (1.0 - dark))
    half = (ink.shape[1] / 2.0, ink.shape[0] / 2.0)
    corners = seen_corners(rng, place, half, right_angle(rng))
    whole = np.full(ink.shape, 255, dtype=np.uint8)
    drop = rng.uniform(0.8, 3.0)
    canvas.shade(soft(seen_coverage(canvas, whole, corners + drop), drop), rng.uniform(0.45, 0.75))
    canvas.hide(paste(canvas, picture.astype(np.float32), whole, corners))

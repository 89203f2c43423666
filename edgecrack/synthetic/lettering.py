"""Printed objects: lettering, crack-width gauges and rulers, survey targets."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgecrack.synthetic.camera import paste, seen_corners, seen_coverage
from edgecrack.synthetic.canvas import (
    ByteArray,
    Canvas,
    Colour,
    far_flung_place,
    fractal_noise,
    local_brightness,
    random_place,
    right_angle,
    ring,
    soft,
    worn,
)

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
)
_HANDWRITING = (
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    cv2.FONT_HERSHEY_SIMPLEX | cv2.FONT_ITALIC,
    cv2.FONT_HERSHEY_SIMPLEX,
)
_LETTERS = "ABCDEFHKLMNPRSTUVXZ"
_WORDS = ("STOP", "NO PARKING", "EXIT", "GAS", "PIER", "DANGER", "KEEP CLEAR", "LEVEL", "AXIS")
_PAINTS: tuple[Colour, ...] = (
    (228.0, 230.0, 230.0),
    (60.0, 185.0, 225.0),
    (45.0, 45.0, 185.0),
    (40.0, 40.0, 42.0),
    (35.0, 35.0, 38.0),
    (165.0, 85.0, 35.0),
)
_CHALKS: tuple[Colour, ...] = (
    (235.0, 236.0, 236.0),
    (190.0, 150.0, 120.0),
    (120.0, 130.0, 225.0),
    (45.0, 42.0, 42.0),
    (40.0, 40.0, 150.0),
    (120.0, 60.0, 35.0),
)


def written(text: str, font: int, height_px: float, thickness_px: float) -> ByteArray:
    """One line of text, dark side 0; uint8 [h, w], 255 on the strokes, just fitting.

    Args:
        text: ASCII.
        font: one of OpenCV's Hershey fonts.
        height_px: of a capital letter.
        thickness_px: of the strokes.
    """
    fine = 4  # The fonts' strokes have integer widths, so draw them enlarged.
    thickness = max(1, round(fine * thickness_px))
    scale = cv2.getFontScaleFromHeight(font & 15, max(4, round(fine * height_px)), thickness)
    (width, height), below = cv2.getTextSize(text, font & 15, scale, thickness)
    margin = fine + thickness
    page = np.zeros((height + below + 2 * margin, width + 2 * margin), dtype=np.uint8)
    at = (margin, height + margin)
    cv2.putText(page, text, at, font, scale, 255, thickness, cv2.LINE_AA)
    size = (max(2, page.shape[1] // fine), max(2, page.shape[0] // fine))
    return np.asarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def stencil(canvas: Canvas, rng: np.random.Generator) -> None:
    """Letters sprayed through a stencil with bridges, sometimes with a frame; worn."""
    draw = rng.random()
    text = _WORDS[int(rng.integers(0, len(_WORDS)))]
    if draw < 0.4:
        text = f"{_letter(rng)}{rng.integers(1, 100)}"
    elif draw < 0.65:
        text = f"{_letter(rng)}{_letter(rng)}-{rng.integers(100, 9999)}"
    height = rng.uniform(0.07, 0.25) * min(canvas.hw) + 4.0
    height = min(height, 1.1 * canvas.hw[1] / len(text))
    font = _FONTS[int(rng.integers(0, len(_FONTS)))]
    page = written(text, font, height, rng.uniform(0.09, 0.2) * height)
    if rng.random() < 0.75:
        pitch, gap = rng.uniform(0.4, 0.8) * height, max(1.0, rng.uniform(0.04, 0.09) * height)
        for x in np.arange(rng.uniform(0.0, pitch), page.shape[1], pitch):
            page[:, int(x) : int(x + gap) + 1] = 0
    if rng.random() < 0.25:
        page = np.pad(page, max(3, int(0.25 * height)))
        edge = max(1, int(rng.uniform(0.03, 0.1) * height))
        cv2.rectangle(page, (1, 1), (page.shape[1] - 2, page.shape[0] - 2), 255, edge)
    _apply(canvas, rng, page, _PAINTS, rng.uniform(0.02, 0.45), rng.uniform(0.55, 0.97))


def chalk(canvas: Canvas, rng: np.random.Generator) -> None:
    """A note in chalk, crayon or marker: a number, a width, a date, an arrow, a tick, a ring."""
    height = rng.uniform(0.04, 0.15) * min(canvas.hw) + 4.0
    font = _HANDWRITING[int(rng.integers(0, len(_HANDWRITING)))]
    stroke_px = rng.uniform(0.7, 1.3 + 0.09 * height)
    lines = [written(_note(rng), font, height, stroke_px) for _ in range(int(rng.integers(1, 3)))]
    width = max(line.shape[1] for line in lines)
    page = np.concatenate([np.pad(line, ((0, 1), (0, width - line.shape[1]))) for line in lines])
    page = np.pad(page, int(0.6 * height) + 2)
    _doodle(page, rng, height, max(1, round(stroke_px)))
    _apply(canvas, rng, page, _CHALKS, rng.uniform(0.1, 0.5), rng.uniform(0.45, 0.95))


def _letter(rng: np.random.Generator) -> str:
    return _LETTERS[int(rng.integers(0, len(_LETTERS)))]


def _note(rng: np.random.Generator) -> str:
    """A typical note of an inspector."""
    kind = int(rng.integers(0, 6))
    if kind == 0:
        return f"w={rng.uniform(0.1, 2.0):.2f}"
    if kind == 1:
        return f"{rng.integers(1, 29)}.{rng.integers(1, 13)}.{rng.integers(18, 27)}"
    if kind == 2:
        return f"{_letter(rng)}{rng.integers(1, 40)}"
    if kind == 3:
        return f"{rng.uniform(0.1, 3.0):.1f}mm"
    if kind == 4:
        return f"No {rng.integers(1, 200)}"
    return str(rng.integers(1, 999))


def _doodle(page: ByteArray, rng: np.random.Generator, height: float, thickness: int) -> None:
    """An underline, an arrow, a ring around it or ticks, drawn by hand, in place."""
    rows, columns = page.shape
    kind = int(rng.integers(0, 6))
    begin = (int(0.1 * columns), int(rng.uniform(0.82, 0.97) * rows))
    end = (int(rng.uniform(0.7, 0.98) * columns), int(rng.uniform(0.8, 0.97) * rows))
    if kind == 0:
        cv2.line(page, begin, end, 255, thickness, cv2.LINE_AA)
    elif kind == 1:
        tip = 0.35 * height / max(float(np.hypot(end[0] - begin[0], end[1] - begin[1])), 1.0)
        cv2.arrowedLine(page, begin, end, 255, thickness, cv2.LINE_AA, 0, tip)
    elif kind == 2:
        axes = (max(2, int(0.47 * columns)), max(2, int(0.45 * rows)))
        last = int(rng.integers(330, 360))
        middle = (columns // 2, rows // 2)
        cv2.ellipse(page, middle, axes, 0.0, 0, last, 255, thickness, cv2.LINE_AA)
    elif kind == 3:
        for x in np.linspace(0.1, 0.9, int(rng.integers(2, 6))) * columns:
            foot = (int(x + rng.normal(0.0, 2.0)), int(0.98 * rows))
            cv2.line(page, (int(x), int(0.82 * rows)), foot, 255, thickness, cv2.LINE_AA)


def _apply(
    canvas: Canvas,
    rng: np.random.Generator,
    page: ByteArray,
    colours: tuple[Colour, ...],
    wear: float,
    opacity: float,
) -> None:
    """Paste a page of strokes on the surface, at an angle and worn, in a visible colour."""
    place = random_place(canvas, rng)
    half = (page.shape[1] / 2.0, page.shape[0] / 2.0)
    turn = right_angle(rng) if rng.random() < 0.4 else rng.normal(0.0, 0.12)
    seen = seen_coverage(canvas, page, seen_corners(rng, place, half, turn))
    seen = worn(seen, rng, wear, rng.uniform(4.0, 20.0))
    level = local_brightness(canvas, place)
    shown = [colour for colour in colours if abs(sum(colour) / 3.0 - level) > 35.0] or [*colours]
    colour = shown[int(rng.integers(0, len(shown)))]
    canvas.blend(soft(seen, rng.uniform(0.3, 0.8)), colour, opacity)


_FINE = 4
_WIDTHS_MM = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0)
_INKS: tuple[Colour, ...] = ((25.0, 25.0, 28.0), (30.0, 30.0, 150.0), (110.0, 50.0, 25.0))


@dataclass(frozen=True)
class _Sheet:
    """A sheet to print on, at several times the final resolution.

    Attributes:
        ink: uint8 [h, w] at `_FINE` times the final size.
        px_per_mm: scale at the final size.
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
        """Print text with its upper left corner at a point, unless it would be illegible."""
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
    """Paste a clear card on the surface: haze, bright edges, a sheen, a shadow, the print."""
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
    """The print on its sheet: a white margin, often a number below, sometimes a black frame."""
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
    """A disc with two opposite black quarters."""
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
    """A dot in a broken ring, as in coded photogrammetry targets."""
    print_ = ring(side, 0.14 * side, None)
    outer = ring(side, rng.uniform(0.32, 0.42) * side, rng.uniform(0.08, 0.18) * side)
    rows, columns = np.mgrid[0:side, 0:side] - side / 2.0
    count = int(rng.integers(8, 15))
    sector = np.floor((np.arctan2(rows, columns) / (2.0 * np.pi) + 0.5) * count) % count
    shown = rng.random(count) < 0.6
    coded = np.where(shown[sector.astype(np.intp)], outer, 0).astype(np.uint8)
    return np.maximum(print_, coded)

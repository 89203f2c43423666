"""Writing on a surface: stencilled marks and what inspectors note in chalk or with a marker.

Thin dark strokes that bend, cross and end like cracks do, and are none. Painted before the
cracks; no painter touches the mask.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.canvas import Canvas, Colour, soft, worn
from edgecrack.synthetic.noise import ByteArray
from edgecrack.synthetic.perspective import seen_corners, seen_coverage
from edgecrack.synthetic.shapes import local_brightness, random_place, right_angle

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
    fine = 4  # The fonts' strokes have whole widths: drawn large, they may have any.
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
    """Letters sprayed through a stencil, with its bridges, at times with a frame; worn."""
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
    """What inspectors write beside what they find."""
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
    """Lay a page of strokes on the surface, seen at an angle and worn, in a colour that shows."""
    place = random_place(canvas, rng)
    half = (page.shape[1] / 2.0, page.shape[0] / 2.0)
    turn = right_angle(rng) if rng.random() < 0.4 else rng.normal(0.0, 0.12)
    seen = seen_coverage(canvas, page, seen_corners(rng, place, half, turn))
    seen = worn(seen, rng, wear, rng.uniform(4.0, 20.0))
    level = local_brightness(canvas, place)
    shown = [colour for colour in colours if abs(sum(colour) / 3.0 - level) > 35.0] or [*colours]
    colour = shown[int(rng.integers(0, len(shown)))]
    canvas.blend(soft(seen, rng.uniform(0.3, 0.8)), colour, opacity)

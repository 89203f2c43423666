"""The picture that an inspector looks at: the frame, the cracks in it, and a caption.

Works on the crack regions only, so that it costs a few milliseconds on one core. Must
not know where the picture goes.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.regions import Region
from edgecrack.runtime.frame import Frame, FrameResult, describe_position

# BGR. Chosen to stand out on gray concrete, black asphalt and red brick alike.
TINT = (40, 60, 255)
OUTLINE = (0, 170, 255)
BOX = (255, 220, 0)
LINE = (0, 255, 255)
TINT_OPACITY = 0.45
MAX_BOXES = 24
# What is ignored is darkened and hatched, as maps and plans show what lies outside.
HATCH = (150, 150, 150)
IGNORED_BRIGHTNESS = 0.5
_HATCH_STEP_PX = 14
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SMALLEST_CAPTION_PX = 160
_FRACTION_BITS = 4
_LEAST_MISSED = 1e-6  # below that is rounding


def draw_overlay(result: FrameResult) -> NDArray[np.uint8]:
    """Draw what was found into a copy of the frame.

    Crack pixels are tinted and outlined so that the crack itself stays visible, its middle is a
    thin line; the largest regions get a thin box; what is ignored is darkened and hatched; a
    caption says which frame it is and how much was found.

    Returns:
        uint8 [H, W, 3] BGR, of the frame's size.
    """
    image = np.ascontiguousarray(result.frame.image).copy()
    height, width = result.frame.hw
    scale = max(1, round(min(height, width) / 540))
    if result.ignored is not None:
        shade_ignored(image, result.ignored, scale)
    if result.regions:
        tint_cracks(image, result.mask, result.regions, scale)
        draw_boxes(image, result.regions, scale)
        draw_lines(image, result.centre_lines(), scale)
    if width >= _SMALLEST_CAPTION_PX and height >= _SMALLEST_CAPTION_PX // 2:
        draw_caption(image, caption(result))
    return image


def shade_ignored(image: NDArray[np.uint8], ignored: IgnoredPixels, scale: int = 1) -> None:
    """Darken and hatch what is ignored, in place.

    Args:
        image: uint8 [H, W, 3] BGR.
        ignored: of the image's size.
        scale: width of the lines.
    """
    mask = ignored.mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    part = np.s_[top : top + height, left : left + width]
    darkened = cv2.convertScaleAbs(image[part], alpha=IGNORED_BRIGHTNESS)
    image[part] = cv2.copyTo(darkened, mask[part], image[part].copy())
    image[_hatching(ignored, scale)] = HATCH


@lru_cache(maxsize=4)
def _hatching(ignored: IgnoredPixels, scale: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of a hatching and of the outline; made once and kept."""
    height, width = ignored.mask.shape
    y, x = np.ogrid[:height, :width]
    lines = (x + y) % (_HATCH_STEP_PX * scale) < scale
    inner = cv2.erode(
        ignored.mask.view(np.uint8), np.ones((2 * scale + 1, 2 * scale + 1), dtype=np.uint8)
    )
    rows, columns = np.nonzero(ignored.mask & (lines | (inner == 0)))
    return rows, columns


def tint_cracks(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    regions: tuple[Region, ...],
    line_px: int = 1,
) -> None:
    """Tint and outline the crack pixels, in place.

    Args:
        image: uint8 [H, W, 3] BGR.
        mask: uint8 [H, W], 255 on crack.
        regions: the groups of crack pixels in `mask`; nothing outside their boxes changes
            except the outline.
        line_px: width of the outline, drawn outside the crack.
    """
    height, width = mask.shape
    boxes = np.array([region.xyxy for region in regions])
    left, top = np.maximum(boxes[:, :2].min(axis=0) - line_px, 0)
    right, bottom = np.minimum(boxes[:, 2:].max(axis=0) + line_px, (width, height))
    window, crack = image[top:bottom, left:right], mask[top:bottom, left:right]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line_px + 1, 2 * line_px + 1))
    window[cv2.dilate(crack, kernel) != crack] = OUTLINE
    pixels = window[crack != 0]
    tint = np.full_like(pixels, TINT)
    window[crack != 0] = cv2.addWeighted(pixels, 1 - TINT_OPACITY, tint, TINT_OPACITY, 0)


def draw_boxes(image: NDArray[np.uint8], regions: tuple[Region, ...], scale: int = 1) -> None:
    """Draw a thin box around each of the largest regions, in place."""
    height, width = image.shape[:2]
    margin = 3 * scale
    for region in regions[:MAX_BOXES]:
        left, top, right, bottom = region.xyxy
        corner = (max(left - margin, 0), max(top - margin, 0))
        opposite = (min(right + margin, width) - 1, min(bottom + margin, height) - 1)
        cv2.rectangle(image, corner, opposite, BOX, scale)


def draw_lines(
    image: NDArray[np.uint8], lines: tuple[NDArray[np.float64], ...], scale: int = 1
) -> None:
    """Draw centre lines, in place."""
    points = [np.round((line - 0.5) * 2**_FRACTION_BITS).astype(np.int32) for line in lines]
    cv2.polylines(image, points, False, LINE, scale, cv2.LINE_AA, _FRACTION_BITS)


def caption(result: FrameResult) -> str:
    """One line: which frame, when, how much crack, and how late or how fast.

    The time is that of the picture: of day (UTC) for a live source, the position in a
    recording, nothing for a still.
    """
    frame, count = result.frame, len(result.regions)
    regions = f"{count} region" + ("" if count == 1 else "s")
    found = f"crack {result.crack_pixels:,} px in {regions}" if count else "no crack"
    cost = f"{result.latency_ms:.0f} ms"
    place = describe_position(result.position)
    words = (frame.name, _moment(frame), place, found, *_left_out(result), cost)
    return "  ".join(word for word in words if word)


def _left_out(result: FrameResult) -> list[str]:
    """How much was ignored, and how much inspected where that is not the rest."""
    words = []
    if result.ignored_ratio:
        words.append(f"{max(result.ignored_ratio, 0.01):.0%} ignored")
    if result.missed_ratio > _LEAST_MISSED:
        words.append(f"{result.inspected_ratio:.0%} inspected")
    return words


def draw_caption(image: NDArray[np.uint8], text: str) -> None:
    """Write a line of text on a darkened strip at the bottom, in place."""
    height, width = image.shape[:2]
    text = text.encode("ascii", "replace").decode("ascii")  # the font has ASCII only
    size = float(np.clip(min(height, width) / 480 * 0.5, 0.4, 3.0))
    thickness = max(1, round(size * 1.4))
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, size, thickness)
    margin = max(4, round(10 * size))
    if text_width > width - 2 * margin:
        size *= (width - 2 * margin) / text_width
        thickness = max(1, round(size * 1.4))
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, size, thickness)
    strip = image[max(0, height - text_height - baseline - margin) :]
    cv2.convertScaleAbs(strip, dst=strip, alpha=0.3)
    place = (margin, height - baseline - margin // 2)
    cv2.putText(image, text, place, _FONT, size, (255, 255, 255), thickness, cv2.LINE_AA)


def _moment(frame: Frame) -> str:
    if frame.live:
        moment = datetime.fromtimestamp(frame.stamp_ns / 1e9, tz=timezone.utc)
        return f"{moment:%H:%M:%S}Z"
    if frame.media_time_ms is None:
        return ""
    minutes, seconds = divmod(frame.media_time_ms / 1000, 60)
    return f"{int(minutes)}:{seconds:04.1f}"

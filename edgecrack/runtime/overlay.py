"""The picture that an inspector looks at: the frame, the cracks in it, and a caption.

Works on the crack regions only, so that it costs a few milliseconds on one core. Must
not know where the picture goes.
"""

from __future__ import annotations

from datetime import datetime, timezone

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.runtime.frame import Frame, FrameResult, Region
from edgecrack.runtime.position.pose import describe_position

# BGR. Chosen to stand out on gray concrete, black asphalt and red brick alike.
TINT = (40, 60, 255)
OUTLINE = (0, 170, 255)
BOX = (255, 220, 0)
TINT_OPACITY = 0.45
MAX_BOXES = 24
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SMALLEST_CAPTION_PX = 160


def draw_overlay(result: FrameResult) -> NDArray[np.uint8]:
    """Draw what was found into a copy of the frame.

    Crack pixels are tinted and outlined so that the crack itself stays visible; the
    largest regions get a thin box; a caption says which frame it is and how much was found.

    Returns:
        uint8 [H, W, 3] BGR, of the frame's size.
    """
    image = np.ascontiguousarray(result.frame.image).copy()
    height, width = result.frame.hw
    scale = max(1, round(min(height, width) / 540))
    if result.regions:
        tint_cracks(image, result.mask, result.regions, scale)
        draw_boxes(image, result.regions, scale)
    if width >= _SMALLEST_CAPTION_PX and height >= _SMALLEST_CAPTION_PX // 2:
        draw_caption(image, caption(result))
    return image


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
    part = "" if result.inspected_ratio == 1 else f"{result.inspected_ratio:.0%} inspected"
    return "  ".join(
        word for word in (frame.name, _moment(frame), place, found, part, cost) if word
    )


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

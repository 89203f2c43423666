"""The record of each crack of a stream, for the page, `findings.jsonl`, recordings and ROS 2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.images.encodings import encode
from edgecrack.measurement.regions import Region
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.outputs.overlay import tint_cracks
from edgecrack.survey.live_cracks import LiveCrack

# Raised when a field of `findings.jsonl` is removed, renamed or changes its meaning, not when a
# field is added.
FINDING_SCHEMA_VERSION = 1
_THUMBNAIL_PX = 240
_MARGIN_PX = 24

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class BestView:
    """The frame that shows a crack best so far.

    Attributes:
        frame: its index.
        frame_hw: its height and width.
        xyxy: the crack's box in it, in pixels, right and bottom exclusive.
        length_px: length of the crack in it.
        points: float64 [N, 2], the longest line along the crack.
        crack_pixels: number of the crack's pixels in it.
        threshold: decision threshold.
        position: where the robot was, if known.
        thumbnail_jpeg: the crack with its surroundings, tinted; its longer side is 240 px.
    """

    frame: int
    frame_hw: tuple[int, int]
    xyxy: Box
    length_px: float
    points: NDArray[np.float64] = field(repr=False)
    crack_pixels: int
    threshold: float
    position: Position | None
    thumbnail_jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Times:
    """When a crack was first and last seen; None where unknown."""

    started_ns: int | None
    ended_ns: int | None
    started_media_ms: float | None
    ended_media_ms: float | None


@dataclass(frozen=True, slots=True)
class MeasuredView:
    """A crack's measurement in one frame.

    Attributes:
        frame: its index.
        length: as text, such as "182 mm".
        width: mean, as text, such as "0.38 mm [0.31, 0.45]".
        width_mm: value, low and high of the mean; None without a scale or a width.
        width_px: the same in pixels; None without a width.
        shown_px: length of the crack in the frame.
    """

    frame: int
    length: str
    width: str
    width_mm: tuple[float, float, float] | None
    width_px: tuple[float, float, float] | None
    shown_px: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One crack.

    Attributes:
        crack: how often and where it was seen.
        times: when.
        best: the frame that shows it best.
        measured: its measurement in the measured frame that shows most of it; None without one.
    """

    crack: LiveCrack
    times: Times
    best: BestView
    measured: MeasuredView | None = None

    @property
    def id(self) -> int:
        """Number from 1; constant as long as the crack is in view or near it."""
        return self.crack.id

    @property
    def status(self) -> str:
        """Confirmed or unconfirmed."""
        return "confirmed" if self.crack.confirmed else "unconfirmed"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the thumbnail."""
        crack, best, measured = self.crack, self.best, self.measured
        return {
            "schema_version": FINDING_SCHEMA_VERSION,
            "id": crack.id,
            "status": self.status,
            "closed": crack.closed,
            "frames": crack.frames,
            "views": crack.views,
            "first_frame": crack.first_frame,
            "last_frame": crack.last_frame,
            "started_ns": self.times.started_ns,
            "ended_ns": self.times.ended_ns,
            "started_media_ms": self.times.started_media_ms,
            "ended_media_ms": self.times.ended_media_ms,
            "length_px": round(crack.length_px, 1),
            "confidence": round(crack.confidence, 3),
            "best_frame": best.frame,
            "box": list(best.xyxy),
            "points": best.points.round(1).tolist(),
            "crack_pixels": best.crack_pixels,
            "frame_hw": list(best.frame_hw),
            "threshold": round(best.threshold, 4),
            "position": None if best.position is None else best.position.to_dict(),
            "measured": None if measured is None else _measured(measured),
        }


def _measured(view: MeasuredView) -> dict[str, Any]:
    return {
        "frame": view.frame,
        "length": view.length,
        "width": view.width,
        "width_mm": None if view.width_mm is None else list(view.width_mm),
        "width_px": None if view.width_px is None else list(view.width_px),
    }


def thumbnail(result: FrameResult, xyxy: Box) -> bytes:
    """A crack with its surroundings, tinted, as JPEG of at most 240 px."""
    left, top, right, bottom = window_around(xyxy, result.frame.hw)
    picture = np.ascontiguousarray(result.frame.image[top:bottom, left:right]).copy()
    mask = np.ascontiguousarray(result.mask[top:bottom, left:right])
    height, width = mask.shape
    tint_cracks(picture, mask, (Region((0, 0, width, height), 1),))
    scale = min(1.0, _THUMBNAIL_PX / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])


def window_around(xyxy: Box, frame_hw: tuple[int, int]) -> Box:
    """A 4:3 window around a box with a margin, inside the frame."""
    left, top, right, bottom = xyxy
    height = min(frame_hw[0], max(bottom - top + 2 * _MARGIN_PX, 120))
    width = min(frame_hw[1], max(right - left + 2 * _MARGIN_PX, 160))
    height = min(frame_hw[0], max(height, round(width * 3 / 4)))
    width = min(frame_hw[1], max(width, round(height * 4 / 3)))
    # In a narrow frame, a part shows more than the whole scaled to a line.
    height, width = min(height, 3 * width), min(width, 3 * height)
    y = min(max((top + bottom - height) // 2, 0), frame_hw[0] - height)
    x = min(max((left + right - width) // 2, 0), frame_hw[1] - width)
    return x, y, x + width, y + height

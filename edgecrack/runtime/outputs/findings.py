"""Successive frames that show cracks, made into one finding each.

A crack stays in view for many frames; a person wants to see it once, at its best. A finding
opens with the first frame that shows crack, closes when none has been seen for a while or when
it has lasted long enough, and keeps a thumbnail of its frame with the most crack. Knows results
only; must not know where findings are shown.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from edgecrack.images.encodings import encode
from edgecrack.measurement.regions import Region
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.outputs.overlay import tint_cracks

GAP_S = 1.0
LONGEST_S = 5.0
KEEP = 48
_THUMBNAIL_PX = 240
_MARGIN_PX = 24


@dataclass(frozen=True, slots=True)
class Finding:
    """Cracks seen without a long break.

    Attributes:
        id: 1 for the first of a run.
        closed: no frame will be added.
        frames: frames with crack in it.
        first_frame: index of the first.
        last_frame: index of the last.
        best_frame: index of the one with the most crack pixels.
        started_ns: capture time of the first, wall clock; None where it is not known.
        ended_ns: capture time of the last, wall clock; None where it is not known.
        started_media_ms: position of the first in a recording; None where there is none.
        ended_media_ms: position of the last in a recording; None where there is none.
        crack_pixels: crack pixels in the best frame.
        largest: the largest region in the best frame.
        frame_hw: height and width of the best frame.
        threshold: decision threshold of the best frame.
        position: where the robot was at the best frame, if known.
        thumbnail_jpeg: the largest region of the best frame with its surroundings, tinted; its
            longer side is 240 px.
    """

    id: int
    closed: bool
    frames: int
    first_frame: int
    last_frame: int
    best_frame: int
    started_ns: int | None
    ended_ns: int | None
    started_media_ms: float | None
    ended_media_ms: float | None
    crack_pixels: int
    largest: Region
    frame_hw: tuple[int, int]
    threshold: float
    position: Position | None
    thumbnail_jpeg: bytes = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the thumbnail."""
        return {
            "id": self.id,
            "closed": self.closed,
            "frames": self.frames,
            "first_frame": self.first_frame,
            "last_frame": self.last_frame,
            "best_frame": self.best_frame,
            "started_ns": self.started_ns,
            "ended_ns": self.ended_ns,
            "started_media_ms": self.started_media_ms,
            "ended_media_ms": self.ended_media_ms,
            "crack_pixels": self.crack_pixels,
            "box": [*self.largest.xyxy, self.largest.area_px],
            "frame_hw": list(self.frame_hw),
            "threshold": round(self.threshold, 4),
            "position": None if self.position is None else self.position.to_dict(),
        }


class FindingTracker:
    """Groups results into findings; one thread updates, any may read.

    Args:
        gap_s: seconds without crack after which a finding closes.
        longest_s: seconds after which a finding closes although cracks go on: along one crack
            the next stretch is a new finding.
        on_closed: called with each finding that closes, in the updating thread.
    """

    def __init__(
        self,
        gap_s: float = GAP_S,
        longest_s: float = LONGEST_S,
        on_closed: Callable[[Finding], None] | None = None,
    ) -> None:
        self._gap_ns, self._longest_ns = int(gap_s * 1e9), int(longest_s * 1e9)
        self._on_closed = on_closed or (lambda finding: None)
        self._lock = threading.Lock()
        self._recent: deque[Finding] = deque(maxlen=KEEP)
        self._count = 0
        self._open_span = (0, 0)

    @property
    def count(self) -> int:
        """Findings so far, the open one included."""
        with self._lock:
            return self._count

    def recent(self, count: int = KEEP) -> list[Finding]:
        """The last findings, newest first, at most 48."""
        with self._lock:
            return list(self._recent)[::-1][:count]

    def update(self, result: FrameResult) -> None:
        """Take the next result."""
        now_ns = _clock_ns(result)
        first_ns, last_ns = self._open_span
        current = self._open_finding()
        if current and (now_ns - last_ns > self._gap_ns or now_ns - first_ns > self._longest_ns):
            self._close(current)
            current = None
        if not result.regions:
            return
        if current is None:
            self._open_span = (now_ns, now_ns)
            with self._lock:
                self._count += 1
                self._recent.append(_first(self._count, result))
            return
        self._open_span = (first_ns, now_ns)
        extended = _extended(current, result)
        with self._lock:
            self._recent[-1] = extended

    def close(self) -> None:
        """Close the finding that is open."""
        if current := self._open_finding():
            self._close(current)

    def _open_finding(self) -> Finding | None:
        with self._lock:
            newest = self._recent[-1] if self._recent else None
        return None if newest is None or newest.closed else newest

    def _close(self, finding: Finding) -> None:
        closed = replace(finding, closed=True)
        with self._lock:
            self._recent[-1] = closed
        self._on_closed(closed)


def _clock_ns(result: FrameResult) -> int:
    """Time that a recording has by its own clock, and a live source by the monotonic one."""
    frame = result.frame
    if frame.media_time_ms is not None:
        return int(frame.media_time_ms * 1e6)
    return frame.monotonic_ns


def _first(number: int, result: FrameResult) -> Finding:
    frame = result.frame
    return Finding(
        id=number,
        closed=False,
        frames=1,
        first_frame=frame.index,
        last_frame=frame.index,
        best_frame=frame.index,
        started_ns=frame.capture_time_ns,
        ended_ns=frame.capture_time_ns,
        started_media_ms=frame.media_time_ms,
        ended_media_ms=frame.media_time_ms,
        crack_pixels=result.crack_pixels,
        largest=result.regions[0],
        frame_hw=frame.hw,
        threshold=result.threshold,
        position=result.position,
        thumbnail_jpeg=thumbnail(result),
    )


def _extended(finding: Finding, result: FrameResult) -> Finding:
    longer = replace(
        finding,
        frames=finding.frames + 1,
        last_frame=result.frame.index,
        ended_ns=result.frame.capture_time_ns,
        ended_media_ms=result.frame.media_time_ms,
    )
    # A fifth more, so that a crack that grows slowly in view is not encoded anew each frame.
    if result.crack_pixels <= 1.2 * finding.crack_pixels:
        return longer
    best = _first(finding.id, result)
    return replace(
        best,
        frames=longer.frames,
        first_frame=finding.first_frame,
        started_ns=finding.started_ns,
        started_media_ms=finding.started_media_ms,
    )


def thumbnail(result: FrameResult) -> bytes:
    """The largest region with its surroundings, tinted, as JPEG of at most 240 px."""
    left, top, right, bottom = _window(result.regions[0].xyxy, result.frame.hw)
    picture = np.ascontiguousarray(result.frame.image[top:bottom, left:right]).copy()
    mask = np.ascontiguousarray(result.mask[top:bottom, left:right])
    height, width = mask.shape
    tint_cracks(picture, mask, (Region((0, 0, width, height), 1),))
    scale = min(1.0, _THUMBNAIL_PX / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])


def _window(
    xyxy: tuple[int, int, int, int], frame_hw: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A window of 4 to 3 around a box, inside the frame, with some surroundings."""
    left, top, right, bottom = xyxy
    height = min(frame_hw[0], max(bottom - top + 2 * _MARGIN_PX, 120))
    width = min(frame_hw[1], max(right - left + 2 * _MARGIN_PX, 160))
    height = min(frame_hw[0], max(height, round(width * 3 / 4)))
    width = min(frame_hw[1], max(width, round(height * 4 / 3)))
    # In a frame that is a narrow strip, a part shows more than the whole scaled to a line.
    height, width = min(height, 3 * width), min(width, 3 * height)
    y = min(max((top + bottom - height) // 2, 0), frame_hw[0] - height)
    x = min(max((left + right - width) // 2, 0), frame_hw[1] - width)
    return x, y, x + width, y + height

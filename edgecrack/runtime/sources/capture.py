"""OpenCV's captures: which back end opens them, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from edgecrack.runtime.quiet import quiet_opencv

MAX_FRAME_COUNT = 10**9
MAX_FRAME_RATE_HZ = 1000.0
# A live source that nobody read for so long has old frames waiting in its buffers.
STALE_AFTER_S = 0.2


def open_ffmpeg(uri: str, settings: Sequence[int] = ()) -> cv2.VideoCapture:
    """Open with OpenCV's FFmpeg, or with what this OpenCV has where it has none.

    Args:
        uri: a path or an address.
        settings: properties and their values in turn, as `cv2.VideoCapture` takes them.
    """
    quiet_opencv()
    if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return cv2.VideoCapture(uri)
    # FFmpeg only: with any other, a missing file is tried as an image sequence as well.
    return cv2.VideoCapture(uri, cv2.CAP_FFMPEG, list(settings))


def frame_rate_hz(capture: cv2.VideoCapture) -> float | None:
    """Frames per second, or None where it does not know or says what cannot be."""
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    return rate_hz if 0 < rate_hz <= MAX_FRAME_RATE_HZ else None


def frame_count(capture: cv2.VideoCapture) -> int | None:
    """Number of frames, or None for a stream without an end."""
    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if 0 < count <= MAX_FRAME_COUNT else None

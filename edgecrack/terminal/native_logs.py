"""Keeps the log messages of OpenCV and FFmpeg off the terminal."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import cv2


@lru_cache(maxsize=1)
def silence_native_logs() -> None:
    """Silence OpenCV's and FFmpeg's logs, once per process.

    Does nothing with EDGECRACK_DEBUG=1, and keeps levels that the user set in the
    environment (OPENCV_LOG_LEVEL, OPENCV_FFMPEG_LOGLEVEL).
    """
    if os.environ.get("EDGECRACK_DEBUG") == "1":
        return
    # OpenCV reads this when it first uses FFmpeg; -8 is AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 5 moved this function, and a system's own build may lack it. 0 means silent.
        places: tuple[Any, ...] = (cv2, getattr(getattr(cv2, "utils", None), "logging", None))
        for place in places:
            if hasattr(place, "setLogLevel"):
                place.setLogLevel(0)
                return

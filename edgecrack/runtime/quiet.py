"""Keep OpenCV's and FFmpeg's own chatter off the terminal, so that our sentence is seen."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import cv2


@lru_cache(maxsize=1)
def quiet_opencv() -> None:
    """Silence OpenCV's and FFmpeg's logs, once per process.

    Does nothing with EDGECRACK_DEBUG=1, and keeps levels that the user set in the
    environment (OPENCV_LOG_LEVEL, OPENCV_FFMPEG_LOGLEVEL).
    """
    if os.environ.get("EDGECRACK_DEBUG") == "1":
        return
    # OpenCV reads this when it first touches FFmpeg; -8 is AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 5 moved the function of OpenCV 4; 0 is the silent level in both.
        owner: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
        owner.setLogLevel(0)

"""Cameras on this machine: finding, opening and refusing them with a reason."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import cv2

from edgecrack.errors import SourceError
from edgecrack.runtime.quiet import quiet_opencv
from edgecrack.runtime.sources.video import VideoSource


def open_camera(address: str, timeout_ms: int) -> VideoSource:
    """Open a camera by `camera:N` or by its device path.

    Args:
        address: `camera:0` or `/dev/video0`.
        timeout_ms: longest wait for each frame.

    Raises:
        SourceError: there is no such camera, or it may not be used.
    """
    match = re.fullmatch(r"(?:camera:|/dev/video)(\d{1,3})", address)
    if match is None:
        raise SourceError(f"{address} is not a camera", "give camera:0 or /dev/video0")
    index = int(match[1])
    quiet_opencv()
    backend = cv2.CAP_ANY
    if sys.platform == "linux":
        _check_device(address, Path(f"/dev/video{index}"))
        backend = cv2.CAP_V4L2
        # Video4Linux takes its timeout from here only, in whole seconds.
        os.environ.setdefault(
            "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(max(1, -(-timeout_ms // 1000)))
        )
    capture = cv2.VideoCapture(index, backend)
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{address} cannot be opened as a camera",
            "close other programs that use it, or give" + _known_cameras(),
        )
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the one four frames ago
    return VideoSource(capture, address, live=True)


def _check_device(address: str, device: Path) -> None:
    if not device.exists():
        raise SourceError(
            f"there is no camera {address} ({device})", "plug it in or give" + _known_cameras()
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"{device} may not be used by this user", "add the user to the group `video`"
        )


def _known_cameras() -> str:
    devices = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    if not devices:
        return " another source (this machine has no /dev/video*)"
    return " one of " + ", ".join(str(device) for device in devices)

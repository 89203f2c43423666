"""Cameras on this machine: finding, opening and setting them, and refusing them with a reason.

A camera takes the nearest setting that it has and says nothing; here what it did not take is an
error that names what it gives instead.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import cv2

from edgecrack.errors import SourceError
from edgecrack.runtime.quiet import quiet_opencv
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.video import VideoSource

_NUMBERED = re.compile(r"(?:camera:|/dev/video)(\d{1,3})")
_BY_PATH = "/dev/v4l/"
_DEVICES = Path("/dev")
# 29.97 and 30 are the same rate to a person.
_RATE_TOLERANCE = 0.01


def is_camera(address: str) -> bool:
    """Whether an address means a camera of this machine."""
    return address.startswith(("camera:", "/dev/video", _BY_PATH))


def open_camera(address: str, options: SourceOptions | None = None) -> VideoSource:
    """Open a camera by its number or its device path.

    Args:
        address: `camera:0`, `/dev/video0`, or a link under `/dev/v4l/by-id` or
            `/dev/v4l/by-path`, which is followed anew at each opening: the camera's number
            changes when it is plugged in again.
        options: size, rate and pixel format to set; what is None stays as the camera has it.

    Raises:
        SourceError: there is no such camera, it may not be used, or it does not accept a
            setting.
    """
    options = options or SourceOptions()
    index = _index_of(address)
    quiet_opencv()
    backend = cv2.CAP_ANY
    if sys.platform == "linux":
        _check_device(address, _DEVICES / f"video{index}")
        backend = cv2.CAP_V4L2
        # Video4Linux takes its timeout from here only, in whole seconds.
        os.environ.setdefault(
            "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(max(1, -(-options.timeout_ms // 1000)))
        )
    capture = cv2.VideoCapture(index, backend)
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{address} cannot be opened as a camera",
            "close other programs that use it, or give" + _known_cameras(),
        )
    try:
        _apply(capture, address, options)
    except BaseException:
        capture.release()
        raise
    return VideoSource(capture, address, live=True, timeout_ms=options.timeout_ms)


def _index_of(address: str) -> int:
    """The number of the camera's device, through links that udev made."""
    if address.startswith(_BY_PATH):
        link = _DEVICES / Path(address).relative_to("/dev")
        if not _exists(link):
            raise SourceError(
                f"there is no camera {address}", "plug it in or give" + _known_links()
            )
        target = link.resolve()
        match = re.fullmatch(r"video(\d{1,3})", target.name)
        if match is None:
            raise SourceError(f"{address} is not a camera", "give" + _known_links())
        return int(match[1])
    match = _NUMBERED.fullmatch(address)
    if match is None:
        raise SourceError(f"{address} is not a camera", "give camera:0 or /dev/video0")
    return int(match[1])


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is longer than names can be
        return False


def _apply(capture: cv2.VideoCapture, address: str, options: SourceOptions) -> None:
    """Set what was asked for and check what became of it."""
    code, rate_hz = options.pixel_format, options.frame_rate_hz
    # The format first: each has sizes and rates of its own.
    if code is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*code))
    if options.width is not None and options.height is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.height)
    if rate_hz is not None:
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the one four frames ago

    given_code = _text_of(int(capture.get(cv2.CAP_PROP_FOURCC)))
    if code is not None and given_code != code:
        raise _not_accepted(address, f"pixel format {code}", given_code or "another")
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if options.width is not None and (width, height) != (options.width, options.height):
        asked = f"{options.width}x{options.height}"
        raise _not_accepted(address, f"{asked} px", f"{width}x{height} px")
    given_hz = float(capture.get(cv2.CAP_PROP_FPS))
    if rate_hz is not None and abs(given_hz - rate_hz) > _RATE_TOLERANCE * rate_hz:
        raise _not_accepted(address, f"{rate_hz:g} frames per second", f"{given_hz:g}")


def _text_of(code: int) -> str:
    """A FOURCC as text: "MJPG"; empty where it is none."""
    text = code.to_bytes(4, "little", signed=code < 0).decode("latin-1")
    return text if text.isprintable() else ""


def _not_accepted(address: str, asked: str, given: str) -> SourceError:
    return SourceError(
        f"{address} does not accept {asked}; it gives {given} instead",
        f"see what it offers with: v4l2-ctl --device {address.replace('camera:', '')} "
        "--list-formats-ext",
    )


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
    devices = sorted(_DEVICES.glob("video*"), key=lambda path: (len(path.name), path.name))
    if not devices:
        return " another source (this machine has no /dev/video*)"
    return " one of " + ", ".join(f"/dev/{device.name}" for device in devices)


def _known_links() -> str:
    links = [
        f"/dev/v4l/{folder}/{link.name}"
        for folder in ("by-id", "by-path")
        for link in sorted((_DEVICES / "v4l" / folder).glob("*"))
    ]
    return " one of " + ", ".join(links) if links else _known_cameras()

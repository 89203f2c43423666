"""Local cameras through OpenCV: finding, opening and configuring them.

A driver silently takes the nearest setting it supports; here that is an error that names it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import InterruptibleSource, SourceStatus
from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS, MAX_FRAME_RATE_HZ, SourceOptions
from edgecrack.runtime.sources.stale_frames import LiveGrabs
from edgecrack.terminal.native_logs import silence_native_logs

Image = NDArray[np.uint8]

_NUMBERED = re.compile(r"(?:camera:|/dev/video)(\d{1,3})")
_BY_PATH = "/dev/v4l/"
_DEVICES = Path("/dev")
# 29.97 and 30 are the same rate to a person.
_RATE_TOLERANCE = 0.01
_FALLBACK_RATE_HZ = 30.0
# OpenCV returns the driver's timestamp in whole milliseconds.
_DRIVER_UNCERTAINTY_MS = 1.0
_OLDEST_STAMP_NS = 2_000_000_000
_FOCUS_AGAIN_FRAMES = 32  # autofocus may be switched while the camera runs


class CameraSource(InterruptibleSource):
    """The newest frame of a local camera.

    Args:
        capture: opened; the source owns it from now on.
        name: for messages.
        timeout_ms: the longest run of damaged frames.

    Raises:
        SourceError: the first frame cannot be read. The capture is released.
    """

    live = True
    frame_count: int | None = None

    def __init__(
        self, capture: cv2.VideoCapture, name: str, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> None:
        super().__init__(name)
        self._timeout_s = timeout_ms / 1000
        rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
        self.frame_rate_hz = rate_hz if 0 < rate_hz <= MAX_FRAME_RATE_HZ else None
        self._capture = capture
        self._delivered = 0
        self.corrupt_frames = 0
        self._focus_moves: bool | None = None
        self._grabs = LiveGrabs(self, self._timeout_s, self.frame_rate_hz)
        # Some cameras open but never deliver.
        try:
            first = self._next_frame()
        except BaseException:
            self.close()
            raise
        if first is None:
            self.close()
            raise SourceError(
                f"{name} opens, but no frame of it can be decoded",
                "try another `pixel_format`, and check that no other program uses it",
            )
        self._grabs.expect_backlog()  # the first frame is stale by the time it is read

    def grab(self) -> bool:
        """Grab the next frame, for `LiveGrabs`; False where the camera has stopped."""
        return bool(self._capture.grab())

    @property
    def media_s(self) -> float | None:
        """The driver's time of the grabbed frame, in s; None if it has none."""
        stamp_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return stamp_ms / 1000 if stamp_ms > 0 else None

    @property
    def status(self) -> SourceStatus:
        """Counters and notes beyond the frames."""
        return SourceStatus(passed_over=self._grabs.passed_over, focus_moves=self._focus_moves)

    def read(self) -> Frame:
        """The newest frame; waits if there is none.

        Raises:
            SourceError: the camera stopped, or the source has been closed.
        """
        frame = self._next_frame()
        if frame is None:
            raise SourceError(
                f"{self.name} stopped delivering frames after {self._delivered}",
                "check its cable, power and network, then start again",
            )
        self._delivered += 1
        return frame

    def _interrupt(self) -> None:
        self._grabs.closed = True

    def _release(self) -> None:
        self._capture.release()

    def _next_frame(self) -> Frame | None:
        try:
            with self._reading():
                return None if self._closed else self._decode()
        except cv2.error as error:
            raise SourceError(
                f"{self.name} fails to decode: {error.err}", "check that it plays elsewhere"
            ) from error

    def _decode(self) -> Frame | None:
        if not self._grabs.drain():
            return None
        deadline_s = time.monotonic() + self._timeout_s
        while not self._closed and self._grabs.grab():
            times_ns = (time.time_ns(), time.monotonic_ns())
            retrieved, image = self._capture.retrieve()
            self._grabs.read_s = time.monotonic()
            if retrieved and image is not None and image.size:
                return self._frame(np.asarray(image, dtype=np.uint8), *times_ns)
            self.corrupt_frames += 1
            if self._grabs.read_s > deadline_s:
                break
        return None

    def _frame(self, image: Image, time_ns: int, monotonic_ns: int) -> Frame:
        stamp_s = self.media_s
        if self._delivered % _FOCUS_AGAIN_FRAMES == 0:
            self._focus_moves = _focus_moves(self._capture)
        # Most drivers use the monotonic clock; others are recognised by implausible ages.
        age_ns = -1 if stamp_s is None else monotonic_ns - round(stamp_s * 1e9)
        is_stamped = -1_000_000 <= age_ns <= _OLDEST_STAMP_NS and stamp_s is not None
        age_ns = max(0, age_ns) if is_stamped else 0
        interval_ms = 1000 / (self.frame_rate_hz or _FALLBACK_RATE_HZ)
        return Frame(
            image=image,
            index=self._delivered,
            capture_time_ns=time_ns - age_ns,
            source=self.name,
            name=f"{self._delivered:06d}",
            live=True,
            monotonic_ns=monotonic_ns - age_ns,
            read_time_ns=time_ns,
            time_source="driver" if is_stamped else "arrival",
            time_uncertainty_ms=_DRIVER_UNCERTAINTY_MS if is_stamped else interval_ms,
        )


def _focus_moves(capture: cv2.VideoCapture) -> bool | None:
    """Whether autofocus is on, by the driver; None if there is no such control."""
    value = float(capture.get(cv2.CAP_PROP_AUTOFOCUS))
    return None if value < 0 else value > 0


def is_camera(address: str) -> bool:
    """Whether an address means a camera of this machine."""
    return address.startswith(("camera:", "/dev/video", _BY_PATH))


def open_camera(address: str, options: SourceOptions | None = None) -> CameraSource:
    """Open a camera by its number or its device path.

    Args:
        address: `camera:0`, `/dev/video0`, or a link under `/dev/v4l/by-id` or
            `/dev/v4l/by-path`, which is resolved at each opening: the camera's number
            changes when it is plugged in again.
        options: size, rate and pixel format to set; None keeps the camera's own.

    Raises:
        SourceError: the camera does not exist, may not be used, or rejects a
            setting.
    """
    options = options or SourceOptions()
    index = _index_of(address)
    silence_native_logs()
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
    return CameraSource(capture, address, options.timeout_ms)


def _index_of(address: str) -> int:
    """The camera's device number, through udev links."""
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
    except OSError:  # the name is too long
        return False


def _apply(capture: cv2.VideoCapture, address: str, options: SourceOptions) -> None:
    """Apply the requested settings and check them."""
    code, rate_hz = options.pixel_format, options.frame_rate_hz
    # The format first: each has its own sizes and rates.
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
    """A FOURCC as text: "MJPG"; empty if it is not one."""
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

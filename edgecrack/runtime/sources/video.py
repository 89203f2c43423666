"""Video files and network streams through OpenCV, and what cameras share with them.

Everything that is particular to OpenCV's capture lives here: back ends, timeouts,
rotation, decoding errors. Must not know what is done with the frames.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edgecrack.errors import SourceError
from edgecrack.runtime.closing import ClosesItself
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.quiet import quiet_opencv
from edgecrack.runtime.redact import redact

MAX_FRAME_COUNT = 10**9
MAX_FRAME_RATE_HZ = 1000.0
MAX_DECODE_ATTEMPTS = 5_000
MAX_DECODE_S = 5.0


class VideoSource(ClosesItself):
    """Frames of an opened `cv2.VideoCapture`.

    Args:
        capture: opened; the source owns it from now on.
        name: without credentials.
        live: True for a camera or a network stream without an end.

    Raises:
        SourceError: not even the first frame can be read. The capture is released.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str, live: bool) -> None:
        self.name = name
        self.live = live
        self.frame_rate_hz = _frame_rate_hz(capture)
        self.frame_count = None if live else _frame_count(capture)
        self._capture = capture
        self._lock = threading.Lock()
        self._closed = False
        self._delivered = 0
        self.corrupt_frames = 0
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        # Reading one frame now tells a stream that cannot be decoded from a good one.
        try:
            self._first = self._next_frame()
        except BaseException:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise SourceError(
                f"{name} opens, but no frame in it can be decoded",
                "check that it plays in a video player; it may be damaged or of an unknown codec",
            )

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a recording.

        Frames that cannot be decoded are left out: the ones after them are still delivered,
        and fewer frames than `frame_count` come out in the end.

        Raises:
            SourceError: a live source stopped, or the source has been closed.
        """
        first, self._first = self._first, None
        # A live source's first frame was taken at opening and is stale by now.
        if first is not None and not self.live:
            self._delivered += 1
            now_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
            return replace(first, capture_time_ns=now_ns, monotonic_ns=monotonic_ns)
        frame = self._next_frame()
        if frame is not None:
            self._delivered += 1
        elif self.live:
            raise SourceError(
                f"{self.name} stopped delivering frames after {self._delivered}",
                "check its cable, power and network, then start again",
            )
        return frame

    def close(self) -> None:
        """Release the device or file; waits for a read in another thread only briefly."""
        self._closed = True
        # Releasing under a running grab crashes in native code; then the read releases.
        if self._lock.acquire(timeout=0.5):
            try:
                self._capture.release()
            finally:
                self._lock.release()

    def _next_frame(self) -> Frame | None:
        with self._lock:
            try:
                return None if self._closed else self._decode()
            except cv2.error as error:
                raise SourceError(
                    f"{self.name} fails to decode: {error.err}", "check that it plays elsewhere"
                ) from error
            finally:
                if self._closed:
                    self._capture.release()

    def _decode(self) -> Frame | None:
        started_s = time.monotonic()
        for attempt in range(self._attempts()):
            if attempt and time.monotonic() - started_s > MAX_DECODE_S:
                break
            grabbed = self._capture.grab()
            capture_time_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
            if not grabbed:
                continue
            position_ms = None if self.live else self._capture.get(cv2.CAP_PROP_POS_MSEC)
            retrieved, image = self._capture.retrieve()
            if retrieved and image is not None and image.size:
                return Frame(
                    image=np.asarray(image, dtype=np.uint8),
                    index=self._delivered,
                    capture_time_ns=capture_time_ns,
                    source=self.name,
                    name=f"{self._delivered:06d}",
                    media_time_ms=position_ms,
                    live=self.live,
                    monotonic_ns=monotonic_ns,
                )
        return None

    def _attempts(self) -> int:
        """How often to try: past damaged frames of a recording, but once at its end."""
        if self.frame_count is None:
            return 1
        return min(MAX_DECODE_ATTEMPTS, max(1, self.frame_count - self._delivered))


def open_video_file(path: Path) -> VideoSource:
    """Open a video file; rotation stored in the file is applied.

    Raises:
        SourceError: the file is no video, or is damaged beyond the first frame.
    """
    capture = _open(str(path))
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{path} is not a video that can be opened",
            "check that it plays in a video player; an interrupted recording lacks its index",
        )
    return VideoSource(capture, str(path), live=False)


def open_stream(uri: str, timeout_ms: int) -> VideoSource:
    """Open an RTSP (over TCP) or HTTP address.

    Args:
        uri: with credentials if needed; they appear nowhere else.
        timeout_ms: longest wait for the connection, and for each frame.

    Raises:
        SourceError: nobody answers, or what answers is no video.
    """
    if uri.lower().startswith("rtsp"):
        # UDP loses packets on a robot's radio link, which smears frames.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    started_s = time.monotonic()
    name = redact(uri)
    capture = _open(uri, timeout_ms)
    if not capture.isOpened():
        capture.release()
        waited_s = time.monotonic() - started_s
        raise SourceError(
            f"{name} does not deliver video (gave up after {waited_s:.1f} s)",
            "check address, port, user and password, and that the camera answers a ping",
        )
    return VideoSource(capture, name, live=_frame_count(capture) is None)


def _open(uri: str, timeout_ms: int | None = None) -> cv2.VideoCapture:
    quiet_opencv()
    if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return cv2.VideoCapture(uri)
    # FFmpeg only: with any other, a missing file is tried as an image sequence as well.
    if timeout_ms is None:
        return cv2.VideoCapture(uri, cv2.CAP_FFMPEG)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms]
    timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    return cv2.VideoCapture(uri, cv2.CAP_FFMPEG, timeouts)


def _frame_rate_hz(capture: cv2.VideoCapture) -> float | None:
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    return rate_hz if 0 < rate_hz <= MAX_FRAME_RATE_HZ else None


def _frame_count(capture: cv2.VideoCapture) -> int | None:
    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if 0 < count <= MAX_FRAME_COUNT else None

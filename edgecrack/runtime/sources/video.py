"""Video files and network streams through OpenCV, and what cameras share with them.

Everything that is particular to reading OpenCV's captures lives here: rotation, decoding errors,
frames that grow old while nobody reads. Must not know what is done with the frames.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edgecrack.errors import SourceError
from edgecrack.runtime.closing import ClosesItself
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.capture import frame_count, frame_rate_hz, open_ffmpeg
from edgecrack.runtime.sources.live_grabs import LiveGrabs
from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS

MAX_DECODE_ATTEMPTS = 5_000
MAX_DECODE_S = 5.0


class VideoSource(ClosesItself):
    """Frames of an opened `cv2.VideoCapture`.

    A live source's frame has waited for us about one frame time at most, and longer only where
    the stream gives no times, or where decoding alone takes longer than a frame time: OpenCV
    decodes on the way to a newer frame as well.

    Args:
        capture: opened; the source owns it from now on.
        name: without credentials.
        live: True for a camera or a network stream without an end.
        timeout_ms: how long a live source may deliver nothing but damaged frames.

    Raises:
        SourceError: not even the first frame can be read. The capture is released.
    """

    def __init__(
        self,
        capture: cv2.VideoCapture,
        name: str,
        live: bool,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> None:
        self.name = name
        self.live = live
        self._timeout_s = timeout_ms / 1000
        self.frame_rate_hz = frame_rate_hz(capture)
        self.frame_count = None if live else frame_count(capture)
        self._capture = capture
        self._lock = threading.Lock()
        self._closed = False
        self._delivered = 0
        self.corrupt_frames = 0
        self._live_grabs = LiveGrabs(capture, timeout_ms / 1000, self.frame_rate_hz)
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
        self._live_grabs.expect_backlog()  # streams collect frames while they open

    @property
    def passed_over(self) -> int:
        """Frames so far of a live source that were left out for a newer one."""
        return self._live_grabs.passed_over

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a recording.

        Frames that cannot be decoded are left out and counted: the ones after them are still
        delivered, and fewer frames than `frame_count` come out in the end. Of a live source,
        frames that waited in its buffers while nobody read are left out, too.

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
        self._closed = self._live_grabs.closed = True
        # Releasing under a running grab crashes in native code; then the read releases.
        if self._lock.acquire(timeout=0.5):
            try:
                self._capture.release()
            finally:
                self._lock.release()

    def _next_frame(self) -> Frame | None:
        with self._lock:
            try:
                if self._closed:
                    return None
                return self._decode_live() if self.live else self._decode()
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
            times_ns = (time.time_ns(), time.monotonic_ns())
            position_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC) if grabbed else None
            if grabbed and (frame := self._retrieve(times_ns, position_ms)) is not None:
                self.corrupt_frames += attempt  # each try before was one damaged frame
                return frame
        return None

    def _decode_live(self) -> Frame | None:
        if not self._live_grabs.drain():
            return None
        deadline_s = time.monotonic() + self._timeout_s
        while not self._closed and self._live_grabs.grab():
            times_ns = (time.time_ns(), time.monotonic_ns())
            frame = self._retrieve(times_ns, None)
            self._live_grabs.read_s = time.monotonic()
            if frame is not None:
                return frame
            self.corrupt_frames += 1
            if self._live_grabs.read_s > deadline_s:
                break
        return None

    def _retrieve(self, times_ns: tuple[int, int], position_ms: float | None) -> Frame | None:
        retrieved, image = self._capture.retrieve()
        if not retrieved or image is None or not image.size:
            return None
        return Frame(
            image=np.asarray(image, dtype=np.uint8),
            index=self._delivered,
            capture_time_ns=times_ns[0],
            source=self.name,
            name=f"{self._delivered:06d}",
            media_time_ms=position_ms,
            live=self.live,
            monotonic_ns=times_ns[1],
        )

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
    capture = open_ffmpeg(str(path))
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{path} is not a video that can be opened",
            "check that it plays in a video player; an interrupted recording lacks its index",
        )
    return VideoSource(capture, str(path), live=False)

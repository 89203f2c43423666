"""MJPEG over HTTP: a camera's own JPEGs, each stamped when its last byte arrived.

Read here rather than by FFmpeg: of several pictures that have arrived only the newest is decoded, a
damaged one is counted and does not end the stream, and a camera's slips in the form of its answer
are put up with. Must not know what is done with frames.
"""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import SourceError
from edgecrack.images.decoding import UnreadableImageError, decode_image
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.arrivals import Arrivals, StreamEndedError
from edgecrack.runtime.sources.base import Source, SourceBase, SourceStatus
from edgecrack.runtime.sources.http_connection import READ_ERRORS, HttpConnection, connect
from edgecrack.runtime.sources.jpeg import read_head
from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS, STALE_AFTER_S
from edgecrack.terminal.redaction import redact

_LARGEST_SIDE_PX = 16_384
_PAGES = {
    "text/html": "a web page",
    "application/xhtml+xml": "a web page",
    "application/json": "data",
    "image/jpeg": "a single picture",
    "image/png": "a single picture",
}
# Some kilobytes may claim a picture that takes gigabytes; no camera that streams has more pixels.
_LARGEST_AREA_PX = 64_000_000


class MjpegSource(SourceBase):
    """Frames of an HTTP answer of type multipart/x-mixed-replace.

    Of several pictures that have arrived, only the newest is decoded and delivered. So a picture
    waits for us no longer than decoding the one before takes, and no longer than until the next
    has arrived; its stamp is late by no more than that.

    Args:
        connection: opened; the source owns it from now on.
        name: without credentials.
        timeout_ms: longest wait for each frame.

    Raises:
        SourceError: not even the first frame comes. The connection is closed.
    """

    live = True
    frame_rate_hz: float | None = None
    frame_count: int | None = None

    def __init__(
        self, connection: HttpConnection, name: str, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> None:
        self.name = name
        self._connection = connection
        self._timeout_ms = timeout_ms
        self._arrivals = Arrivals(connection)
        self._lock = threading.Lock()
        self._closed = False
        self._delivered = 0
        self._undecodable = 0
        self._replaced = 0
        self._read_s = time.monotonic()
        try:
            self._first: Frame | None = self._next_frame()
        except BaseException:
            self.close()
            raise

    @property
    def corrupt_frames(self) -> int:
        """Frames so far that arrived damaged and were left out."""
        return self._arrivals.damaged + self._undecodable

    @property
    def passed_over(self) -> int:
        """Frames so far that had arrived and were left out for a newer one."""
        return self._arrivals.passed_over + self._replaced

    @property
    def status(self) -> SourceStatus:
        """What it knows of how it goes."""
        return SourceStatus(passed_over=self.passed_over)

    def read(self) -> Frame:
        """The newest frame that has arrived since the last one; waits where there is none.

        Raises:
            SourceError: no frame came in time, the stream ended, or the source was closed.
        """
        first, self._first = self._first, None
        if self._closed or first is None or time.monotonic() - self._read_s > STALE_AFTER_S:
            self._replaced += first is not None
            first = self._next_frame()
        self._read_s = time.monotonic()
        self._delivered += 1
        return first

    def close(self) -> None:
        """Let go of the connection; a read in another thread ends with an error."""
        self._closed = True
        self._connection.interrupt()
        if self._lock.acquire(timeout=0.5):
            try:
                self._connection.close()
            finally:
                self._lock.release()

    def _next_frame(self) -> Frame:
        with self._lock:
            try:
                if self._closed:
                    raise ConnectionError
                self._connection.deadline_s = time.monotonic() + self._timeout_ms / 1000
                return self._decoded()
            except READ_ERRORS as error:
                reason = "it was closed" if self._closed else _reason(error, self._timeout_ms)
                raise self._stopped(reason) from error
            finally:
                if self._closed:
                    self._connection.close()

    def _decoded(self) -> Frame:
        after_pause = time.monotonic() - self._read_s > STALE_AFTER_S
        while True:
            arrival = self._arrivals.newest(after_pause)
            image = _image_of(arrival.jpeg)
            if image is None:
                self._undecodable += 1
                continue
            head = read_head(arrival.jpeg)
            return Frame(
                image=image,
                index=self._delivered,
                capture_time_ns=arrival.time_ns,
                source=self.name,
                name=f"{self._delivered:06d}",
                live=True,
                monotonic_ns=arrival.monotonic_ns,
                read_time_ns=arrival.time_ns,
                time_source="arrival",
                jpeg=arrival.jpeg if head is not None and head.is_plain else None,
            )

    def _stopped(self, reason: str) -> SourceError:
        return SourceError(
            f"{self.name} stopped delivering frames after {self._delivered}: {reason}",
            "check the camera's power and network, then start again",
        )


def open_http(address: str, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> Source:
    """Open an `http://` or `https://` address: MJPEG here, anything else through FFmpeg.

    Args:
        address: with credentials if needed; they appear nowhere else.
        timeout_ms: longest wait for the connection, and for each frame.

    Raises:
        SourceError: nobody answers, or what answers is no video.
    """
    connection = connect(address, timeout_ms)
    if connection.headers.get_content_maintype() == "multipart":
        return MjpegSource(connection, redact(address), timeout_ms)
    kind = connection.headers.get_content_type()
    what = _PAGES.get(kind) or _page_in(connection, timeout_ms)
    connection.close()
    if what is not None:
        raise SourceError(
            f"{redact(address)} answers with {what} ({kind}), not with video",
            "open it in a browser and look for the address of the stream itself",
        )
    from edgecrack.runtime.sources.network_stream import open_stream  # not for whom MJPEG is enough

    return open_stream(address, timeout_ms)


def _page_in(connection: HttpConnection, timeout_ms: int) -> str | None:
    """What an answer of another type turns out to be by its first bytes, if no video."""
    connection.deadline_s = time.monotonic() + timeout_ms / 1000
    try:
        begin = connection.read()[:512].lstrip().lower()
    except READ_ERRORS:
        return None
    return "a web page" if begin.startswith((b"<!doctype html", b"<html")) else None


def _image_of(data: bytes) -> NDArray[np.uint8] | None:
    """uint8 [H, W, 3] BGR, or None where it is damaged or of a size that no camera has."""
    head = read_head(data)
    if head is None or not all(0 < side <= _LARGEST_SIDE_PX for side in head.hw):
        return None
    if head.hw[0] * head.hw[1] > _LARGEST_AREA_PX:
        return None
    try:
        return decode_image(data)
    except UnreadableImageError:
        return None


def _reason(error: BaseException, timeout_ms: int) -> str:
    if isinstance(error, StreamEndedError):
        return "the camera ended the stream"
    if isinstance(error, TimeoutError):
        return f"nothing came for {timeout_ms / 1000:g} s"
    return getattr(error, "strerror", None) or "the connection broke"

"""MJPEG over HTTP: the newest JPEG of a multipart stream, read in a thread of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import SourceError
from edgecrack.images.decoding import UnreadableImageError, decode_image
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import EagerSource, Source, SourceStatus
from edgecrack.runtime.sources.http_connection import READ_ERRORS, HttpConnection, connect
from edgecrack.runtime.sources.jpeg import JpegParts, read_head
from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS, STALE_AFTER_S
from edgecrack.terminal.redaction import redact

# A camera that sends faster than we read must not keep us from ever decoding.
MAX_PASSED_OVER = 64
MAX_PASSING_OVER_S = 0.2
# After a pause without reading, more waits.
MAX_PASSING_OVER_AFTER_PAUSE_S = 1.0


class StreamEndedError(ConnectionError):
    """The camera ended the stream."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A picture's bytes.

    Attributes:
        jpeg: a whole JPEG, as the camera sent it.
        time_ns: when its last byte was received, in ns of `time.time_ns`.
        monotonic_ns: the same moment in ns of `time.monotonic_ns`.
    """

    jpeg: bytes
    time_ns: int
    monotonic_ns: int


class Arrivals:
    """Finds the pictures in an answer as they arrive, and passes over all but the newest.

    Args:
        connection: opened; whoever made it sets its deadline and closes it.

    Attributes:
        passed_over: pictures so far that had arrived and were left out for a newer one.
    """

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._parts = JpegParts(connection.headers.get_boundary())
        self._received_ns = (time.time_ns(), time.monotonic_ns())
        self.passed_over = 0

    @property
    def damaged(self) -> int:
        """Parts so far that were no whole JPEG."""
        return self._parts.damaged

    def newest(self, after_pause: bool = False) -> Arrival:
        """The last picture that has arrived; waits for the next one where there is none.

        Args:
            after_pause: nobody read for a while, so that many pictures may wait.

        Raises:
            OSError: the connection broke or the stream ended, or nothing came before the
                connection's deadline.
            http.client.HTTPException: the answer breaks off.
        """
        newest = self._next()
        patience_s = MAX_PASSING_OVER_AFTER_PAUSE_S if after_pause else MAX_PASSING_OVER_S
        until_s = min(time.monotonic() + patience_s, self._connection.deadline_s)
        passed_over = 0
        while after_pause or passed_over < MAX_PASSED_OVER:
            newer = self._waiting(until_s)
            if newer is None:
                break
            newest = newer
            passed_over += 1
        self.passed_over += passed_over
        return newest

    def _next(self) -> Arrival:
        while (jpeg := self._parts.next_jpeg()) is None:
            received = b"" if self._parts.ended else self._connection.read()
            if not received:
                raise StreamEndedError
            self._take(received)
        return Arrival(jpeg, *self._received_ns)

    def _waiting(self, until_s: float) -> Arrival | None:
        """The next picture if it is here; at the stream's end None, and the next read tells."""
        while time.monotonic() < until_s:
            if (jpeg := self._parts.next_jpeg()) is not None:
                return Arrival(jpeg, *self._received_ns)
            try:
                received = None if self._parts.ended else self._connection.read_waiting()
            except READ_ERRORS:
                return None
            if received is None:
                return None
            self._take(received)
        return None

    def _take(self, received: bytes) -> None:
        self._received_ns = (time.time_ns(), time.monotonic_ns())
        self._parts.feed(received)


_LARGEST_SIDE_PX = 16_384
_PAGES = {
    "text/html": "a web page",
    "application/xhtml+xml": "a web page",
    "application/json": "data",
    "image/jpeg": "a single picture",
    "image/png": "a single picture",
}
# A few kilobytes may claim an image of gigabytes; no streaming camera has more pixels.
_LARGEST_AREA_PX = 64_000_000


class MjpegSource(EagerSource):
    """Frames of an HTTP answer of type multipart/x-mixed-replace.

    Only the newest waiting image is decoded and returned. So an image waits at most for the
    decoding of the previous one, or until the next arrives; its stamp is late by at most that.

    Args:
        connection: opened; the source owns it from now on.
        name: without credentials.
        timeout_ms: longest wait for each frame.

    Raises:
        SourceError: the first frame does not arrive. The connection is closed.
    """

    live = True
    frame_rate_hz: float | None = None
    frame_count: int | None = None

    def __init__(
        self, connection: HttpConnection, name: str, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> None:
        super().__init__(name)
        self._connection = connection
        self._timeout_ms = timeout_ms
        self._arrivals = Arrivals(connection)
        self._undecodable = 0
        self._read_first()

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames skipped so far."""
        return self._arrivals.damaged + self._undecodable

    @property
    def passed_over(self) -> int:
        """Frames skipped so far for newer ones."""
        return self._arrivals.passed_over + self._replaced

    @property
    def status(self) -> SourceStatus:
        """Counters and notes beyond the frames."""
        return SourceStatus(passed_over=self.passed_over)

    def _interrupt(self) -> None:
        self._connection.interrupt()

    def _release(self) -> None:
        self._connection.close()

    def _next_frame(self) -> Frame:
        try:
            with self._reading():
                if self._closed:
                    raise ConnectionError
                self._connection.deadline_s = time.monotonic() + self._timeout_ms / 1000
                return self._decoded()
        except READ_ERRORS as error:
            reason = "it was closed" if self._closed else _reason(error, self._timeout_ms)
            raise self._stopped(reason) from error

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
        SourceError: no answer, or the answer is not video.
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
    from edgecrack.runtime.sources.network_stream import open_stream  # MJPEG needs no PyAV

    return open_stream(address, timeout_ms)


def _page_in(connection: HttpConnection, timeout_ms: int) -> str | None:
    """The kind of a non-video answer by its first bytes; None if unknown."""
    connection.deadline_s = time.monotonic() + timeout_ms / 1000
    try:
        begin = connection.read()[:512].lstrip().lower()
    except READ_ERRORS:
        return None
    return "a web page" if begin.startswith((b"<!doctype html", b"<html")) else None


def _image_of(data: bytes) -> NDArray[np.uint8] | None:
    """uint8 [H, W, 3] BGR, or None if it is damaged or too large for a camera."""
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
        return f"nothing arrived for {timeout_ms / 1000:g} s"
    return getattr(error, "strerror", None) or "the connection broke"

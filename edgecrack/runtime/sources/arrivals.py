"""The newest whole picture of an MJPEG stream, and when it arrived.

Whoever is slower than the camera would otherwise take pictures from the network's buffers one by
one, each of them older than the one before. Decodes nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from edgecrack.runtime.sources.http_connection import READ_ERRORS, HttpConnection
from edgecrack.runtime.sources.jpeg import JpegParts

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

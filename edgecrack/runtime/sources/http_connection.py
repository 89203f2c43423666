"""An HTTP answer read as it comes, with a deadline for every byte.

Knows sockets; must not know cameras, nor what the answer holds.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
from contextlib import suppress
from email.message import Message
from typing import Any

from edgecrack.runtime.sources.chunked import Dechunker
from edgecrack.runtime.sources.http_request import open_answer

# What goes wrong while an answer is read; a timeout is an OSError.
READ_ERRORS = (OSError, http.client.HTTPException)
_READ_BYTES = 1 << 18
# Of an encrypted record a part may have arrived, which gives nothing to read.
_HALF_RECORD_S = 0.01


class HttpConnection:
    """One answer, read as it comes.

    Args:
        timeout_ms: longest wait for the whole head of the answer.

    Attributes:
        deadline_s: `time.monotonic` at which every wait for the network ends.
        answers: those so far; before the last came redirects and questions for a password.
    """

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_s = timeout_ms / 1000
        self.deadline_s = time.monotonic() + self._timeout_s
        self._socket: socket.socket | None = None
        self._reader: io.BufferedReader | None = None
        self._chunks = Dechunker()
        self.answers: list[http.client.HTTPResponse] = []
        self._response: http.client.HTTPResponse | None = None

    def request(self, address: str) -> None:
        """Ask for `address`, which may hold user and password.

        Raises:
            OSError: nobody answers in time, or with an error (`urllib.error.HTTPError`).
            http.client.HTTPException: what answers does not speak HTTP.
            ValueError: the address or the kind of authentication is not understood.
        """
        self._response = open_answer(address, self, self._timeout_s)

    @property
    def headers(self) -> Message:
        """The answer's header."""
        return Message() if self._response is None else self._response.headers

    def read(self) -> bytes:
        """What has arrived, at least one byte; empty at the end.

        Raises:
            OSError: the connection broke, or nothing came before the deadline.
            http.client.HTTPException: the answer breaks off.
        """
        if self._response is None or self._reader is None:
            return b""
        if not self._response.chunked:
            return self._response.read1(_READ_BYTES)
        inside = b""
        while not (inside or self._chunks.ended) and (data := self._reader.read1(_READ_BYTES)):
            inside = self._chunks.feed(data)
        return inside

    def read_waiting(self) -> bytes | None:
        """What has arrived already, perhaps nothing; None where `read` would wait, or has ended.

        Raises:
            OSError: the connection broke.
            http.client.HTTPException: the answer breaks off.
        """
        if not self._has_waiting_bytes() or self._response is None or self._reader is None:
            return None
        patient_s, self.deadline_s = self.deadline_s, time.monotonic() + _HALF_RECORD_S
        try:
            if not self._response.chunked:
                return self._response.read1(_READ_BYTES) or None
            data = b"" if self._chunks.ended else self._reader.read1(_READ_BYTES)
            return self._chunks.feed(data) if data else None
        except TimeoutError:
            return None
        finally:
            self.deadline_s = patient_s

    def _has_waiting_bytes(self) -> bool:
        # Its buffer holds nothing: it is emptied by each read, and read past.
        if self._socket is None:
            return False
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def adopt(self, opened: socket.socket) -> io.BufferedReader:
        """Read `opened` from now on, never longer than until the deadline."""
        self._socket = opened
        self._reader = io.BufferedReader(_TimedBytes(opened, self), 1 << 16)
        return self._reader

    def interrupt(self) -> None:
        """End a read in another thread."""
        opened = self._socket  # `close` may take it away meanwhile
        if opened is not None:
            with suppress(OSError):  # the other side may have gone
                # Not the TLS socket's own, which takes its state from under the reader.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection; not while another thread reads."""
        for answer in self.answers:
            answer.close()
        # urllib's objects are a circle, which would keep the reader and its buffer.
        self.answers.clear()
        self._reader = self._socket = self._response = None


class _TimedBytes(io.RawIOBase):
    """A socket's bytes; every wait ends at the connection's deadline."""

    def __init__(self, opened: socket.socket, connection: HttpConnection) -> None:
        self._opened, self._connection = opened, connection
        self._file = opened.makefile("rb", buffering=0)  # keeps the socket open

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining_s = self._connection.deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("timed out")
        self._opened.settimeout(remaining_s)
        # Not the file's own, which gives nothing more after one timeout.
        return self._opened.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

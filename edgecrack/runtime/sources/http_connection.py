"""HTTP connections to cameras: redirects, passwords, chunked bodies and deadlines."""

from __future__ import annotations

import http.client
import io
import re
import select
import socket
import ssl
import time
import urllib.error
import urllib.request
from contextlib import suppress
from email.message import Message
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from edgecrack.errors import SourceError, first_line
from edgecrack.terminal.redaction import redact


def open_answer(address: str, reader: HttpConnection, timeout_s: float) -> Any:
    """Request an address that may contain user and password.

    Returns:
        The `http.client.HTTPResponse`.

    Raises:
        OSError: no answer in time, or an error (`urllib.error.HTTPError`).
        http.client.HTTPException: the answer is not HTTP.
        ValueError: the address or the authentication scheme is not supported.
    """
    url, passwords = _without_credentials(address)
    # Not `build_opener`, which would also open files and FTP for a redirect.
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        _TimedHandler(reader),
        _SafeRedirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ]
    if passwords is not None:
        handlers.append(urllib.request.HTTPDigestAuthHandler(passwords))
        handlers.append(urllib.request.HTTPBasicAuthHandler(passwords))
    for handler in handlers:
        opener.add_handler(handler)
    asked = urllib.request.Request(url, headers={"User-Agent": "edgecrack", "Accept": "*/*"})
    return opener.open(asked, timeout=timeout_s)


def _without_credentials(
    address: str,
) -> tuple[str, urllib.request.HTTPPasswordMgrWithDefaultRealm | None]:
    """The address without credentials, and the password for its host alone."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    if parts.username is None:
        return url, None
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    user, password = unquote(parts.username), unquote(parts.password or "")
    passwords.add_password(None, f"{parts.scheme}://{host}/", user, password)
    return url, passwords


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme.lower()
        if scheme != "https" and not (scheme == "http" == req.type):
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _TimedHandler(urllib.request.AbstractHTTPHandler):
    """Opens http and https with our own reader."""

    def __init__(self, reader: HttpConnection) -> None:
        super().__init__()
        self._reader = reader

    def http_open(self, request: urllib.request.Request) -> Any:
        """Called by urllib for http://."""
        return self.do_open(self._timed(http.client.HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> Any:
        """Called by urllib for https://."""
        return self.do_open(self._timed(http.client.HTTPSConnection), request)

    http_request = urllib.request.AbstractHTTPHandler.do_request_
    https_request = urllib.request.AbstractHTTPHandler.do_request_

    def _timed(self, kind: type[http.client.HTTPConnection]) -> Any:
        reader = self._reader

        class Response(http.client.HTTPResponse):
            def __init__(self, sock: socket.socket, *args: Any, **settings: Any) -> None:
                adopting: Any = _Adopting(sock, reader)
                super().__init__(adopting, *args, **settings)
                reader.answers.append(self)

        class Timed(kind):  # type: ignore[misc, valid-type]  # one of two classes
            response_class = Response

        return Timed


class _Adopting:
    """Stands in for the socket of `HTTPResponse`, which only calls `makefile`."""

    def __init__(self, opened: socket.socket, reader: HttpConnection) -> None:
        self._opened, self._reader = opened, reader

    def makefile(self, mode: str) -> io.BufferedReader:
        return self._reader.adopt(self._opened)


_LONGEST_HEAD = 4096


class Dechunker:
    """Decodes chunked transfer coding incrementally.

    Attributes:
        ended: the last chunk has arrived.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """The payload bytes in `data`; may be empty.

        Raises:
            http.client.HTTPException: the data is not chunked.
        """
        inside = bytearray()
        place = 0
        while place < len(data) and not self.ended:
            if self._left:
                taken = data[place : place + self._left]
                inside += taken
                self._left -= len(taken)
                place += len(taken)
            else:
                place = self._take_head(data, place)
        return bytes(inside)

    def _take_head(self, data: bytes, place: int) -> int:
        """Read the chunk size line as far as it has arrived; returns its end."""
        end = data.find(b"\n", place)
        stop = len(data) if end < 0 else end + 1
        self._head += data[place:stop]
        if len(self._head) > _LONGEST_HEAD:
            raise http.client.LineTooLong("chunk size")
        if end >= 0 and (line := bytes(self._head).strip()):  # empty: the end of the last chunk
            self._left = _length_of(line)
            self.ended = self._left == 0
        if end >= 0:
            self._head.clear()
        return stop


def _length_of(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
        raise http.client.HTTPException("the answer is not in chunks")
    return int(digits, 16)


# Errors of reading an answer; a timeout is an OSError.
READ_ERRORS = (OSError, http.client.HTTPException)
_READ_BYTES = 1 << 18
# A partial TLS record yields no data yet.
_HALF_RECORD_S = 0.01


class HttpConnection:
    """One HTTP response, read as it arrives.

    Args:
        timeout_ms: longest wait for the whole head of the answer.

    Attributes:
        deadline_s: `time.monotonic` at which every wait for the network ends.
        answers: so far; redirects and authentication challenges before the last.
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
        """Request `address`, which may contain user and password.

        Raises:
            OSError: no answer in time, or an error (`urllib.error.HTTPError`).
            http.client.HTTPException: the answer is not HTTP.
            ValueError: the address or the authentication scheme is not supported.
        """
        self._response = open_answer(address, self, self._timeout_s)

    @property
    def headers(self) -> Message:
        """The answer's header."""
        return Message() if self._response is None else self._response.headers

    def read(self) -> bytes:
        """The bytes that have arrived, at least one; empty at the end.

        Raises:
            OSError: the connection broke, or nothing arrived before the deadline.
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
        """The bytes already here, possibly none; None if `read` would block, or at the end.

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
        # The reader's buffer is empty after each read.
        if self._socket is None:
            return False
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def adopt(self, opened: socket.socket) -> io.BufferedReader:
        """Read from `opened`, up to the deadline."""
        self._socket = opened
        self._reader = io.BufferedReader(_TimedBytes(opened, self), 1 << 16)
        return self._reader

    def interrupt(self) -> None:
        """End a read in another thread."""
        opened = self._socket  # `close` may clear it
        if opened is not None:
            with suppress(OSError):  # the other side may have gone
                # Not the TLS socket's own method, which drops state that the reader uses.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; not while another thread reads."""
        for answer in self.answers:
            answer.close()
        # urllib's objects form a reference cycle that keeps the buffer alive.
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
        # Not the file's own method, which fails for good after one timeout.
        return self._opened.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


CHECK_CAMERA = "check address, port, user and password, and that the camera answers a ping"


def connect(address: str, timeout_ms: int) -> HttpConnection:
    """Request an `http://` or `https://` address.

    Args:
        address: with credentials if needed, for basic or digest authentication; they appear
            nowhere else.
        timeout_ms: longest wait for the connection and for the answer's head.

    Raises:
        SourceError: no answer in time, or an error.
    """
    connection = HttpConnection(timeout_ms)
    try:
        _request(connection, address)
    except (OSError, ValueError, http.client.HTTPException) as error:
        problem, remedy = _reason(error, timeout_ms)
        raise SourceError(f"{redact(address)} does not deliver video: {problem}", remedy) from error
    return connection


def _request(connection: HttpConnection, address: str) -> None:
    try:
        connection.request(address)
    except BaseException as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        connection.close()
        raise


def _reason(error: Exception, timeout_ms: int) -> tuple[str, str]:
    """The problem, without passwords, and the remedy."""
    cause = getattr(error, "reason", error)
    if isinstance(error, urllib.error.HTTPError):
        return _refusal(error), CHECK_CAMERA
    if isinstance(cause, ssl.SSLError):
        return (
            f"its certificate or encryption is not trusted ({cause.reason or cause})",
            "name the camera's own certificate with SSL_CERT_FILE=camera.pem, or use http://",
        )
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout_ms / 1000:g} s", CHECK_CAMERA
    if isinstance(cause, OSError):
        return cause.strerror or first_line(cause), CHECK_CAMERA
    if isinstance(cause, http.client.BadStatusLine | http.client.LineTooLong):
        return "the answer is not from a web server", CHECK_CAMERA
    # Without the error's text, which may quote a password.
    return (
        "it cannot be requested",
        "check the address; write %40 for an @ and %2F for a / in user and password",
    )


def _refusal(error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:
        return "it redirects to an address that is not http, or from https to http"
    return f"it answers {error.code} {error.reason}".rstrip()

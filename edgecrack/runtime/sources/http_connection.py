"""An HTTP connection with a deadline for every byte, passwords and safe redirects.

Knows sockets and urllib; must not know cameras, nor what the answer holds.
"""

from __future__ import annotations

import http.client
import io
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

# What goes wrong while an answer is read; a timeout is an OSError.
READ_ERRORS = (OSError, http.client.HTTPException)


class Connection:
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
        self.answers: list[http.client.HTTPResponse] = []
        self._response: http.client.HTTPResponse | None = None

    def request(self, address: str) -> None:
        """Ask for `address`, which may hold user and password.

        Raises:
            OSError: nobody answers in time, or with an error (`urllib.error.HTTPError`).
            http.client.HTTPException: what answers does not speak HTTP.
            ValueError: the address or the kind of authentication is not understood.
        """
        url, passwords = _without_credentials(address)
        # Not `build_opener`, which would also open files and FTP for a redirect.
        opener = urllib.request.OpenerDirector()
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.ProxyHandler(),
            _TimedHandler(self),
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
        self._response = opener.open(asked, timeout=self._timeout_s)

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
        return b"" if self._response is None else self._response.read1(1 << 18)

    def has_waiting_bytes(self) -> bool:
        """Whether more has arrived already."""
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
        return io.BufferedReader(_TimedBytes(opened, self), 1 << 16)

    def interrupt(self) -> None:
        """End a read in another thread."""
        if self._socket is not None:
            with suppress(OSError):  # the other side may have gone
                # Not the TLS socket's own, which takes its state from under the reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection; not while another thread reads."""
        for answer in self.answers:
            answer.close()


def _without_credentials(
    address: str,
) -> tuple[str, urllib.request.HTTPPasswordMgrWithDefaultRealm | None]:
    """The address as it may be sent, and the password for its host alone."""
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
    """Follows to http and https only, and never from the safe one to the other."""

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
    """Opens http and https through connections that keep to a deadline."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def http_open(self, request: urllib.request.Request) -> Any:
        """Called by urllib for http://."""
        return self.do_open(self._timed(http.client.HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> Any:
        """Called by urllib for https://."""
        return self.do_open(self._timed(http.client.HTTPSConnection), request)

    http_request = urllib.request.AbstractHTTPHandler.do_request_
    https_request = urllib.request.AbstractHTTPHandler.do_request_

    def _timed(self, kind: type[http.client.HTTPConnection]) -> Any:
        connection = self._connection

        class Response(http.client.HTTPResponse):
            def __init__(self, sock: socket.socket, *args: Any, **settings: Any) -> None:
                adopting: Any = _Adopting(sock, connection)
                super().__init__(adopting, *args, **settings)
                connection.answers.append(self)

        class Timed(kind):  # type: ignore[misc, valid-type]  # one of two classes
            response_class = Response

        return Timed


class _Adopting:
    """What `HTTPResponse` takes for a socket: it only asks it for a file."""

    def __init__(self, opened: socket.socket, connection: Connection) -> None:
        self._opened, self._connection = opened, connection

    def makefile(self, mode: str) -> io.BufferedReader:
        return self._connection.adopt(self._opened)


class _TimedBytes(io.RawIOBase):
    """A socket's bytes; every wait ends at the connection's deadline."""

    def __init__(self, opened: socket.socket, connection: Connection) -> None:
        self._opened, self._connection = opened, connection
        self._file = opened.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining_s = self._connection.deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("timed out")
        self._opened.settimeout(remaining_s)
        return self._file.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

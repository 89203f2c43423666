"""Asks for an HTTP address: with its password for its own host alone, and along safe redirects.

Knows urllib; must not know cameras, nor how the answer is read.
"""

from __future__ import annotations

import http.client
import io
import socket
import urllib.error
import urllib.request
from typing import IO, Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit


class Reader(Protocol):
    """Who reads the answers, instead of urllib.

    Attributes:
        answers: those so far; before the last came redirects and questions for a password.
    """

    answers: list[http.client.HTTPResponse]

    def adopt(self, opened: socket.socket) -> io.BufferedReader:
        """What to read `opened` through."""
        ...


def open_answer(address: str, reader: Reader, timeout_s: float) -> Any:
    """Ask for an address that may hold user and password.

    Returns:
        The `http.client.HTTPResponse`.

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
    """Opens http and https so that our own reader reads the answers."""

    def __init__(self, reader: Reader) -> None:
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
    """What `HTTPResponse` takes for a socket: it only asks it for a file."""

    def __init__(self, opened: socket.socket, reader: Reader) -> None:
        self._opened, self._reader = opened, reader

    def makefile(self, mode: str) -> io.BufferedReader:
        return self._reader.adopt(self._opened)

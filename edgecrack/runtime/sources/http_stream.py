"""Asks a camera for its stream over HTTP, and says in a sentence why there is none.

Must not know pictures or frames, and shows no password.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error

from edgecrack.errors import SourceError, first_line
from edgecrack.runtime.sources.http_connection import HttpConnection
from edgecrack.terminal.redaction import redact

CHECK_CAMERA = "check address, port, user and password, and that the camera answers a ping"


def connect(address: str, timeout_ms: int) -> HttpConnection:
    """Ask for an `http://` or `https://` address.

    Args:
        address: with credentials if needed, for basic or digest authentication; they appear
            nowhere else.
        timeout_ms: longest wait for the connection and for the answer's head.

    Raises:
        SourceError: nobody answers in time, or with an error.
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
    """What went wrong, in a clause without passwords, and what to do."""
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
        return "what answers is no web server", CHECK_CAMERA
    # Without the error's own words, which may quote a password.
    return (
        "it cannot be asked for",
        "check the address; write %40 for an @ and %2F for a / in user and password",
    )


def _refusal(error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:
        return "it leads to an address that is not http, or is less safe"
    return f"it answers {error.code} {error.reason}".rstrip()

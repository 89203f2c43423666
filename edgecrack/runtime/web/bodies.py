"""Reading request bodies and query strings; error responses as JSON with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgecrack.errors import ConfigError, EdgecrackError
from edgecrack.outside_text import parse_json

LONGEST_BODY = 4096
LONGEST_NUMBER = 12
_BODY_S = 5.0


class TooLongError(Exception):
    """A request's body is longer than anything the page sends, or never ends."""


async def read_body(request: Request, longest: int = LONGEST_BODY) -> bytes:
    """The body of a short request; it must arrive soon.

    Args:
        request: whose.
        longest: in bytes.

    Raises:
        TooLongError: otherwise.
    """
    body = b""
    try:
        with anyio.fail_after(_BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > longest:
                    raise TooLongError
    except TimeoutError:
        raise TooLongError from None
    return body


async def read_json(request: Request, longest: int = LONGEST_BODY) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object.

    The content type must say JSON: a form on another site cannot.

    Args:
        request: whose.
        longest: of the body, in bytes.

    Raises:
        HTTPException: it is something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send JSON, with Content-Type: application/json")
    try:
        body = await read_body(request, longest)
        value = parse_json(body or b"{}")
    except TooLongError:
        raise HTTPException(413, "the request is too long") from None
    except ValueError:
        raise HTTPException(400, "the request is not JSON") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "the request is not a JSON object")
    return value


def member(values: dict[str, Any], name: str, kinds: tuple[type, ...]) -> Any:
    """One value of a JSON object, of one of `kinds`.

    Raises:
        HTTPException: it is missing or of another kind.
    """
    value = values.get(name)
    # A bool is an int in Python, but not a threshold.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise HTTPException(400, f"{name} is {json.dumps(value)}, which is not valid")
    return value


def number_in_path(request: Request) -> int:
    """The number in the address; anything else is an unknown address.

    Python refuses to read a number of thousands of digits, for which starlette's own conversion of
    addresses is not prepared.

    Raises:
        HTTPException: it is not a number, or too long for one in use.
    """
    text: str = request.path_params["number"]
    if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER):
        raise HTTPException(404, "Not Found")
    return int(text)


async def http_error(request: Request, error: Exception) -> Response:
    """Any HTTP error as JSON."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def edgecrack_error(request: Request, error: Exception) -> Response:
    """An error of the toolkit as JSON, with its remedy."""
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, ConfigError) else 500)


async def unexpected_error(request: Request, error: Exception) -> Response:
    """A defect; the guard logs it."""
    return JSONResponse({"error": "internal error of the page; see the robot's log"}, 500)


ERROR_HANDLERS: dict[Any, Callable[[Request, Exception], Any]] = {
    HTTPException: http_error,
    EdgecrackError: edgecrack_error,
    Exception: unexpected_error,
}

"""Asking for the token: a small page with a form, and the session that a right one gives.

Knows tokens and requests; must not know what is behind them.
"""

from __future__ import annotations

import asyncio
import html
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from edgecrack.runtime.web.access import SESSION_S, TRIES_WINDOW_S, Access, Verdict
from edgecrack.runtime.web.bodies import TooLongError, read_body

LOGIN = "/login"
# How long the answer to a wrong token too many is held back.
HOLD_S = 1.0
_COOKIE = "edgecrack_session"
_LEAD_ON = (
    '<!doctype html><meta http-equiv="refresh" content="0;url=/"><title>edgecrack</title>'
    '<link rel="icon" href="/icon.svg">'
)


class Login:
    """Gives sessions.

    Args:
        access: the token.
        page: HTML with `{message}` where the reason goes.
    """

    def __init__(self, access: Access, page: str) -> None:
        self.access = access
        self._page = page

    async def endpoint(self, request: Request) -> Response:
        """GET shows the form; POST takes it."""
        if self.access.open:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return self.refuse(request, None)
        try:
            body = await read_body(request)
        except TooLongError:
            return self.refuse(request, "wrong")
        try:
            fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
        except ValueError:  # more fields than the form has
            return self.refuse(request, "wrong")
        given = fields.get("token", [""])[0].strip()
        verdict = self.access.try_token(given, client_address(request))
        if verdict != "right":
            return await self.refuse_token(request, verdict)
        return self.admit(request, RedirectResponse("/", 303))

    def admit(self, request: HTTPConnection, answer: Response) -> Response:
        """Add a session to an answer."""
        # A proxy in front of this server may be the one who encrypts; then the browser says so.
        origin = request.headers.get("origin", "")
        answer.set_cookie(
            cookie_name(request),
            self.access.new_session(),
            SESSION_S,
            httponly=True,
            samesite="strict",
            secure=is_encrypted(request) or origin.startswith("https://"),
        )
        return answer

    def is_signed_in(self, request: HTTPConnection) -> bool:
        """Whether a request brings a session."""
        return self.access.session_is_valid(request.cookies.get(cookie_name(request), ""))

    async def refuse_token(self, request: HTTPConnection, verdict: Verdict) -> Response:
        """Refuse a wrong token; after too many, late."""
        if verdict == "wait":
            await asyncio.sleep(HOLD_S)
        return self.refuse(request, verdict)

    def lead_on(self, request: HTTPConnection) -> Response:
        """To the page without the token in its address, so that it stays in no history."""
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # After a link from another site a browser sends no new strict cookie along with a
            # redirect; a page of ours that leads on is our own step.
            return HTMLResponse(_LEAD_ON)
        return RedirectResponse("/", 303)

    def refuse(self, request: HTTPConnection, verdict: Verdict | None) -> Response:
        """Ask for the token; `verdict` is of the one given, None where there was none."""
        status, message = 401, "This page asks for a token."
        headers: dict[str, str] = {}
        if verdict == "wrong":
            message = "That token is not right."
        elif verdict == "wait":
            status, message = 429, "Too many wrong tokens; this one is wrong, too."
            headers = {"Retry-After": f"{TRIES_WINDOW_S:.0f}", "Connection": "close"}
        if request.scope["path"] not in ("/", LOGIN):
            return JSONResponse(
                {"error": message}, status, {**headers, "WWW-Authenticate": "Bearer"}
            )
        return HTMLResponse(self._page.replace("{message}", html.escape(message)), status, headers)


def client_address(request: HTTPConnection) -> str:
    """The client's address without the port."""
    return request.client.host if request.client else ""


def is_encrypted(request: HTTPConnection) -> bool:
    """Whether the request came by HTTPS to this server itself."""
    return request.scope["scheme"] in ("https", "wss")


def cookie_name(request: HTTPConnection) -> str:
    """The session's cookie as the browser keeps it for this page.

    Browsers give a cookie to every port of a host, so that the live page and the review page of one
    robot, or two robots behind tunnels, would take each other's sessions away; the port is the one
    that the browser knows.
    """
    # With this prefix a browser takes it from no unencrypted page of the host.
    prefix = "__Host-" if is_encrypted(request) else ""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"{prefix}{_COOKIE}_{port}" if port.isdecimal() and port.isascii() else prefix + _COOKIE

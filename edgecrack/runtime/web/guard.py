"""The door of the live page: every request passes here before any other code sees it.

Refuses foreign hosts and origins, asks for the token where there is one, and puts the headers
on every answer that keep a browser from doing more than the page needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from edgecrack.runtime.web.access import (
    host_is_local,
    host_is_plain,
    leads_here,
    origin_is_ours,
)
from edgecrack.runtime.web.login import LOGIN, Login, client_address, is_encrypted

_LOG = logging.getLogger("edgecrack")

# In a request's scope: a function of the server, which wants to know who may use the page.
KNOWN = "edgecrack.known"
_HEALTH = "/healthz"
# What needs no token: nothing of it tells anything of the run.
_FREE = frozenset({_HEALTH, LOGIN, "/page.css", "/icon.svg"})
# Where a token may stand in the address: the page, and players that can send no header.
_QUERY_TOKEN = frozenset({"/", "/stream.mjpg"})
_POLICY = "Content-Security-Policy"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers then hide the origin of our own form, too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Wraps the application.

    Args:
        app: what is guarded.
        login: asks for the token.
    """

    def __init__(self, app: ASGIApp, login: Login) -> None:
        self._app, self._login, self._access = app, login, login.access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or let it through."""
        answered = False

        async def send_guarded(message: Message) -> None:
            nonlocal answered
            answered = message["type"] == "http.response.body" and not message.get("more_body")
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                # A report has a policy of its own; of all else there is this one.
                headers.setdefault(_POLICY, _PAGE_POLICY)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = HTTPConnection(scope)
        # Never `request.url`: it is put together with the Host header, which anybody may fill
        # with a path of his own.
        path = scope["path"]
        try:
            answer = self._refusal(request, path) or await self._admission(request, path)
            if answer is None:
                await self._app(scope, receive, send_guarded)
            elif scope["type"] == "websocket":
                await WebSocket(scope, receive, send_guarded).send_denial_response(answer)
            else:
                await answer(scope, receive, send_guarded)
        except ClientDisconnect:
            _LOG.debug("a client of the page left before its request was whole")
        except Exception:
            # The server's own log is off: it would write a line for each port scanner's noise.
            _LOG.exception("a request to the live page failed: %r", path)
            if not answered:
                raise

    def _refusal(self, request: HTTPConnection, path: str) -> Response | None:
        """Where the request comes from."""
        if path == _HEALTH:
            return None
        headers = request.headers
        host = headers.get("host")
        if self._access.open and not host_is_local(host):
            return _forbidden("this page answers to 127.0.0.1 and localhost only")
        if host is not None and not host_is_plain(host):
            return JSONResponse({"error": "the Host header is no name and no address"}, 400)
        reads = request.scope["type"] == "http" and request.scope["method"] in ("GET", "HEAD")
        # A link on another site may lead to the page itself; nothing else is used from there.
        if (
            reads
            and path == "/"
            and leads_here(headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
        ):
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if not origin_is_ours(origin, host, site, encrypted=is_encrypted(request)):
            return _forbidden("requests from other sites are refused")
        return None

    async def _admission(self, request: HTTPConnection, path: str) -> Response | None:
        """Who asks: by session, header or token in the address."""
        if path in _FREE:
            return None
        in_address = request.query_params.get("token") if path in _QUERY_TOKEN else None
        leads_on = path == "/" and in_address is not None
        if self._login.is_signed_in(request):
            self._is_known(request)
            return self._login.lead_on(request) if leads_on else None
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else in_address
        if given is None:
            return self._login.refuse(request, None)
        verdict = self._access.try_token(given, client_address(request))
        if verdict != "right":
            return await self._login.refuse_token(request, verdict)
        self._is_known(request)
        return self._login.admit(request, self._login.lead_on(request)) if leads_on else None

    def _is_known(self, request: HTTPConnection) -> None:
        """Tell the server, which keeps room for those who may use the page."""
        tell: Callable[[], None] | None = request.scope.get(KNOWN)
        if tell is not None:
            tell()


def _forbidden(message: str) -> Response:
    return JSONResponse({"error": message}, 403)

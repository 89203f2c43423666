"""Who may see a page: tokens, sessions, the login form, and the guard before every request."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import ipaddress
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from edgecrack.runtime.web.bodies import TooLongError, read_body
from edgecrack.runtime.web.config import is_loopback

SESSION_S = 24 * 3600
MOST_SESSIONS = 256
TRIES = 5
TRIES_OF_ALL = 50
TRIES_WINDOW_S = 60.0
_MOST_NETWORKS = 1024
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(:[0-9]{1,5})?\Z")
Verdict = Literal["right", "wrong", "wait"]


class Access:
    """Checks tokens and sessions.

    The right token is always accepted, from any address. Wrong tokens, whether from the same
    address or from thousands, lock out no one.

    A session is a random number, kept only in memory, for a day or until this program ends. It
    reveals nothing about the token.

    Args:
        token: the secret; None lets everybody in, for a page on the loopback.
        clock: monotonic seconds; tests may replace it.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._all_failures: deque[float] = deque(maxlen=TRIES_OF_ALL)
        self._expiries: OrderedDict[bytes, float] = OrderedDict()

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    def try_token(self, given: str, address: str) -> Verdict:
        """Whether a token is right; "wait" after too many wrong ones.

        Args:
            given: what the viewer sent.
            address: the viewer's address, to whose network failures are counted.
        """
        if self._token is None:
            return "right"
        # Digests, because comparing texts of different lengths ends early.
        if hmac.compare_digest(_digest(given), _digest(self._token)):
            return "right"
        now_s = self._clock()
        with self._lock:
            network = network_of(address)
            mine = self._failures.setdefault(network, deque(maxlen=TRIES))
            self._failures.move_to_end(network)
            if len(self._failures) > _MOST_NETWORKS:
                self._failures.popitem(last=False)
            if any(_is_full(each, now_s) for each in (mine, self._all_failures)):
                return "wait"
            mine.append(now_s)
            self._all_failures.append(now_s)
        return "wrong"

    def new_session(self) -> str:
        """A session for a client that gave the right token."""
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._expiries[_digest(session)] = self._clock() + SESSION_S
            if len(self._expiries) > MOST_SESSIONS:
                self._expiries.popitem(last=False)
        return session

    def session_is_valid(self, session: str) -> bool:
        """Whether `new_session` made it less than a day ago; then it is the last to be evicted."""
        if self._token is None:
            return True
        key = _digest(session)
        with self._lock:
            expiry_s = self._expiries.get(key)
            if expiry_s is None:
                return False
            if expiry_s <= self._clock():
                del self._expiries[key]
                return False
            self._expiries.move_to_end(key)
            return True


def network_of(address: str) -> str:
    """What counts as one address: an IPv6 customer has at least a /64 to choose addresses from."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _is_full(failures: deque[float], now_s: float) -> bool:
    return len(failures) == failures.maxlen and now_s - failures[0] < TRIES_WINDOW_S


def host_is_plain(host: str | None) -> bool:
    """Whether a request's Host is a name or an address with or without a port, as browsers send."""
    return _HOST.match(host or "") is not None


def host_is_local(host: str | None) -> bool:
    """Whether a request's Host names this machine itself.

    A page without a token trusts its own machine's browser. A foreign web site whose name is
    made to lead here (DNS rebinding) is read by that browser too, but under its own name.
    """
    found = _HOST.match(host or "")
    return found is not None and is_loopback(found["name"] or found["address"])


def origin_is_ours(
    origin: str | None, host: str | None, fetch_site: str | None, *, encrypted: bool = False
) -> bool:
    """Whether a request that changes something comes from our own page or no page at all.

    Browsers send these headers; programs such as curl do not.

    Args:
        origin: the Origin header.
        host: the Host header.
        fetch_site: the Sec-Fetch-Site header.
        encrypted: whether the request came by HTTPS; a page of this host that did not is another's.
    """
    if fetch_site not in (None, "same-origin", "none"):
        return False
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return (
        parts.scheme in (("https",) if encrypted else ("http", "https"))
        and bool(host)
        and parts.netloc.lower() == (host or "").lower()
    )


def leads_here(fetch_mode: str | None, fetch_dest: str | None) -> bool:
    """Whether a request opens the page in a tab, as a link does; not a picture, frame or script.

    Args:
        fetch_mode: the Sec-Fetch-Mode header; older browsers and programs send none.
        fetch_dest: the Sec-Fetch-Dest header.
    """
    return fetch_mode in (None, "navigate") and fetch_dest in (None, "document")


LOGIN = "/login"
# Delay of the answer after too many wrong tokens.
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
        """Redirect to the address without the token, to keep it out of the browser's history."""
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
            status, message = 429, "Too many wrong tokens; this one is wrong too."
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


_LOG = logging.getLogger("edgecrack")
# In a request's scope: a function of the server, which wants to know who may use the page.
KNOWN = "edgecrack.known"
_HEALTH = "/healthz"
# Needs no token: reveals nothing about the run.
_FREE = frozenset({_HEALTH, LOGIN, "/page.css", "/icon.svg"})
# Paths that accept a token in the address: the page, and players that cannot send headers.
_QUERY_TOKEN = frozenset({"/", "/stream.mjpg"})
_POLICY = "Content-Security-Policy"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers would then also hide the origin of our own form.
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
                # A report has its own policy; everything else gets this one.
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
            _LOG.debug("a client of the page left before its request was complete")
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
            return JSONResponse({"error": "the Host header is neither a name nor an address"}, 400)
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
        """Notify the server, which reserves connections for authorised viewers."""
        tell: Callable[[], None] | None = request.scope.get(KNOWN)
        if tell is not None:
            tell()


def _forbidden(message: str) -> Response:
    return JSONResponse({"error": message}, 403)

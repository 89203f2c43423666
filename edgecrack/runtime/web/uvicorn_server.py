"""The HTTP server and its connection limits."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import resource
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from edgecrack.runtime.web.access import KNOWN, network_of

Client = tuple[str, int]
_SHARE_OF_FILES = 4
_FEWEST = 12
# Linux's option; Python names it from 3.12 on. What a viewer does not read piles up here, where it
# is noticed, and not in the system's buffers of megabytes.
_TCP_NOTSENT_LOWAT = 25
_MOST_UNSENT_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Most connections at a time.

    Attributes:
        total: of all kinds. What strangers leave is kept for those who may use the page.
        strangers: of those who have not signed in, or have asked for nothing yet.
        of_network: strangers from one IPv4 address or one IPv6 /64.
    """

    total: int = 384
    strangers: int = 128
    of_network: int = 32

    def within(self, open_files: int) -> ConnectionLimits:
        """The same or less, so that the stream's own files find room beside the sockets.

        Args:
            open_files: what the system allows this program.
        """
        total = max(_FEWEST, min(self.total, open_files // _SHARE_OF_FILES))
        return ConnectionLimits(
            total, min(self.strangers, total // 3), min(self.of_network, total // 6)
        )


@dataclass(eq=False, slots=True)
class Connection:
    """An accepted connection, from the first moment on.

    Attributes:
        socket: closed when it is over.
        client: address and port.
        since_s: the loop's time at which it came, or was last seen to do something.
        known: whether it has made a request that was let in.
        transport: once it is open; before, TLS may still shake hands.
        network: to which it counts.
    """

    socket: socket.socket
    client: Client
    since_s: float
    known: bool = False
    transport: asyncio.Transport | None = None
    network: str = field(init=False)
    _request: object = field(default=None, init=False)
    _unsent_bytes: int = field(default=0, init=False)
    _dropped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Determine its network once."""
        self.network = network_of(self.client[0])

    @property
    def is_over(self) -> bool:
        """Whether its descriptor is closed, or will be in the loop's next turn."""
        return self._dropped or self.socket.fileno() == -1

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or a WebSocket is open."""
        return _is_busy(self._protocol())

    def look(self, now_s: float) -> None:
        """Record whether anything happened since the last check."""
        protocol = self._protocol()
        request = getattr(protocol, "cycle", None)
        unsent = 0 if self.transport is None else self.transport.get_write_buffer_size()
        # A long answer over a slow network takes its time.
        if _is_busy(protocol) or request is not self._request or unsent < self._unsent_bytes:
            self.since_s = now_s
        self._request, self._unsent_bytes = request, unsent

    def drop(self) -> None:
        """Close it immediately and discard what it has not taken."""
        self._dropped = True
        if self.transport is not None:
            self.transport.abort()
        else:
            # The handshake's transport, which asyncio does not expose, notices that.
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def _protocol(self) -> Any:
        return None if self.transport is None else self.transport.get_protocol()


class Connections:
    """All connections of one page, in its event loop.

    Args:
        limits: how many; less where the system allows this program few open files.
        clock: the loop's time; a test may give its own.
    """

    def __init__(self, limits: ConnectionLimits, clock: Callable[[], float]) -> None:
        self.limits = limits.within(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._clock = clock
        self._all: list[Connection] = []

    def __len__(self) -> int:
        """How many there are."""
        self._forget()
        return len(self._all)

    def enter(self, accepted: socket.socket, client: Client) -> Connection | None:
        """Accept a new connection, replacing another if needed; None if no place is free."""
        self._forget()
        newcomer = Connection(accepted, client, self._clock())
        if not self._make_room(newcomer.network):
            accepted.close()
            return None
        with suppress(OSError):
            accepted.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _MOST_UNSENT_BYTES)
        self._all.append(newcomer)
        return newcomer

    def know(self, client: Client | None) -> None:
        """A client has made a request that was let in."""
        for each in self._of(client):
            each.known = True

    def hang_up(self, client: Client | None) -> None:
        """Drop a client's connection and discard what it has not taken."""
        for each in self._of(client):
            each.drop()

    def drop_idle(self, idle_s: float) -> None:
        """Drop connections that have asked and taken nothing for this long."""
        self._forget()
        now_s = self._clock()
        for each in self._all:
            each.look(now_s)
            if now_s - each.since_s > idle_s:
                each.drop()

    def drop_all(self) -> None:
        """End all."""
        self._forget()
        for each in self._all:
            each.drop()

    def _of(self, client: Client | None) -> list[Connection]:
        return [each for each in self._all if each.client == client and not each.is_over]

    def _forget(self) -> None:
        self._all = [each for each in self._all if not each.is_over]

    def _make_room(self, network: str) -> bool:
        strangers = [each for each in self._all if not each.known]
        counts = Counter(each.network for each in strangers)
        if counts[network] >= self.limits.of_network:
            going = [each for each in strangers if each.network == network]
        elif len(strangers) >= self.limits.strangers:
            most = max(counts.values())
            going = [each for each in strangers if counts[each.network] == most]
        elif len(self._all) >= self.limits.total:
            going = [each for each in self._all if not each.is_busy]
        else:
            return True
        if not going:
            return False
        # The oldest that does nothing; of those that do, the oldest.
        min(going, key=lambda each: each.is_busy).drop()
        return True


def _is_busy(protocol: Any) -> bool:
    if hasattr(protocol, "close_sent"):  # a WebSocket
        return not protocol.close_sent
    request = getattr(protocol, "cycle", None)
    return request is not None and not request.response_complete


_LOG = logging.getLogger("edgecrack")
# Longest time that a connection may be open without a whole request.
IDLE_S = 15.0
_HANDSHAKE_S = 5.0
_LAST_WORDS_S = 0.3
_NO_FILES_S = 0.2
_ACCEPTED_PER_TURN = 8
_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\nInvalid HTTP request received."
)


class PageServer(uvicorn.Server):
    """Serves one application on a bound socket, in a thread other than the main one.

    Args:
        app: what is served. Its scope holds a function under `KNOWN`, to be called for a request
            that was let in.
        up: set when connections are taken.
        tls: gives the context of a new connection's TLS; None serves plain HTTP.
        limits: most connections.
    """

    def __init__(
        self,
        app: ASGIApp,
        up: threading.Event,
        tls: Callable[[], ssl.SSLContext] | None = None,
        limits: ConnectionLimits | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                self._serve_request,
                loop="asyncio",
                interface="asgi3",
                # No other installed library: error behaviour is part of the API.
                http=_PageHttp,
                ws=_PageWebSocket,
                lifespan="off",
                workers=1,
                # Its log would hold a line for every probe, and tokens in addresses.
                log_config=None,
                log_level="critical",
                access_log=False,
                # Addresses count failed logins; a header must not change them.
                proxy_headers=False,
                server_header=False,
                ws_max_size=4096,
                # JPEG does not compress, and the map is compressed already.
                ws_per_message_deflate=False,
                ws_ping_interval=10.0,
                ws_ping_timeout=10.0,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
            )
        )
        self._app, self._up, self._tls = app, up, tls
        loop = asyncio.get_running_loop()
        self.open_connections = Connections(limits or ConnectionLimits(), loop.time)
        self._taking: list[asyncio.Task[None]] = []
        self._opening: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections."""
        self.servers = []
        loop = asyncio.get_running_loop()
        # Connection errors are the client's and do not belong in the log.
        loop.set_exception_handler(_note)
        self._taking = [loop.create_task(self._take(each)) for each in sockets or []]
        self.started = True
        self._up.set()

    async def on_tick(self, counter: int) -> bool:
        """Drop, about once a second, who has been connected for long without asking anything."""
        if counter % 10 == 0:
            self.open_connections.drop_idle(IDLE_S)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; connections that do not read the last message soon are dropped."""
        loop = asyncio.get_running_loop()
        for task in self._taking:
            task.cancel()
        # Their sockets are closed next, which the loop must not watch any more.
        await asyncio.gather(*self._taking, return_exceptions=True)
        dropping = loop.call_later(_LAST_WORDS_S, self.open_connections.drop_all)
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()
            self.open_connections.drop_all()
            for task in self._opening:
                task.cancel()
            await asyncio.gather(*self._opening, return_exceptions=True)
            # One turn of the loop, in which the transports close.
            await asyncio.sleep(0)

    def hang_up(self, client: Client | None) -> None:
        """Drop a client's connection and discard what it has not taken."""
        self.open_connections.hang_up(client)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[KNOWN] = functools.partial(self.open_connections.know, scope["client"])
        await self._app(scope, receive, send)

    async def _take(self, listening: socket.socket) -> None:
        """Accept, a few connections per turn of the loop."""
        loop = asyncio.get_running_loop()
        for number in itertools.count():
            if number % _ACCEPTED_PER_TURN == 0:
                await asyncio.sleep(0)
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError:  # no descriptor is left; waiting clients are served once one is free
                await asyncio.sleep(_NO_FILES_S)
                continue
            connection = self.open_connections.enter(accepted, tuple(address[:2]))
            if connection is not None:
                opening = loop.create_task(self._open(connection))
                self._opening.add(opening)
                opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: Connection) -> None:
        tls = None if self._tls is None else self._tls()

        def protocol() -> asyncio.Protocol:
            return _PageHttp(self.config, self.server_state, {})

        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                protocol,
                connection.socket,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else _HANDSHAKE_S,
            )
        except OSError:  # no TLS, or gone, or too slow
            _LOG.debug("a connection to the page failed", exc_info=True)
            connection.drop()
            connection.socket.close()
            return
        connection.transport = transport
        if connection.is_over:  # it was dropped for another in the meantime
            transport.abort()


class _PageHttp(H11Protocol):
    def send_400_response(self, msg: str) -> None:
        """Refuse a broken request; where its answer has begun, there is nothing more to say."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()
        if self.cycle is not None:  # the body was broken; who answers the request need not know
            self.cycle.disconnected = True
            self.cycle.message_event.set()


class _PageWebSocket(WebSocketsSansIOProtocol):
    def handle_parser_exception(self) -> None:
        """Refuse a broken handshake in HTTP; what breaks later is closed in WebSocket's terms."""
        if self.handshake_initiated:
            super().handle_parser_exception()
        else:
            self.transport.write(_BAD_REQUEST)
            self.transport.close()


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    of_client = "transport" in context or "protocol" in context
    level = logging.DEBUG if of_client else logging.ERROR
    said = context.get("message")
    _LOG.log(level, "the page: %s", said, exc_info=error)  # type: ignore[arg-type]

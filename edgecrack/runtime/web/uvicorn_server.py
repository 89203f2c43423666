"""uvicorn as a page needs it: quiet, and rid of clients that hold it up.

Takes connections itself, so that it decides about each before anything is spent on it. Knows
connections only; must not know what is served.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import socket
import ssl
import threading
from collections.abc import Callable

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from edgecrack.runtime.web.connections import Client, Connection, ConnectionLimits, Connections
from edgecrack.runtime.web.guard import KNOWN

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
                # Not what else may be installed: how it fails is part of what is promised.
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
        # What goes wrong in a connection is the client's affair and fills no log.
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
        """End; whoever has not taken the last words soon is dropped."""
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
        """Drop a client's connection, with what it has not taken."""
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
            except OSError:  # no descriptor is left; who waits is served when one is
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
            _LOG.debug("a connection to the page came to nothing", exc_info=True)
            connection.drop()
            connection.socket.close()
            return
        connection.transport = transport
        if connection.is_over:  # it had to make room meanwhile
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
    _LOG.log(level, "the page: %s", context.get("message"), exc_info=error)  # type: ignore[arg-type]

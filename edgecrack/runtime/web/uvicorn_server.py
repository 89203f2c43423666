"""uvicorn as the live page needs it: quiet, and rid of clients that hold it up.

Knows connections only; must not know what is served.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp

_IDLE_S = 15.0
_MOST_CONNECTIONS = 256
_LAST_WORDS_S = 0.3


class PageServer(uvicorn.Server):
    """Serves one application on a bound socket, in a thread other than the main one.

    Args:
        app: what is served.
        up: set when connections are taken.
        idle_s: longest time that a connection may be open without a request.
    """

    def __init__(self, app: ASGIApp, up: threading.Event, idle_s: float = _IDLE_S) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                lifespan="off",
                workers=1,
                # Its log would hold a line for every probe, and tokens in addresses.
                log_config=None,
                log_level="critical",
                access_log=False,
                # Addresses count failed logins; a header must not change them.
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
                # Older versions would choose one that needs what websockets has given up.
                ws="websockets-sansio",
                ws_max_size=4096,
                # JPEG does not compress, and the map is compressed already.
                ws_per_message_deflate=False,
                ws_ping_interval=10.0,
                ws_ping_timeout=10.0,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
            )
        )
        self._up, self._idle_s = up, idle_s
        self._idle_since: dict[Any, float] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections."""
        await super().startup(sockets)
        self._up.set()

    async def on_tick(self, counter: int) -> bool:
        """Drop, about once a second, who has been connected for long without asking anything."""
        if counter % 10 == 0:
            self._drop_idle(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; whoever has not taken the last words soon is dropped."""
        loop = asyncio.get_running_loop()
        dropping = loop.call_later(_LAST_WORDS_S, self._drop_all)
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()
            self._drop_all()
            # One turn of the loop, in which the transports close.
            await asyncio.sleep(0)

    def hang_up(self, client: tuple[str, int] | None) -> None:
        """Drop a client's connection, with what it has not taken."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == client and client is not None:
                connection.transport.abort()

    def _drop_all(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    def _drop_idle(self, now_s: float) -> None:
        """Drop HTTP connections with no request under way.

        uvicorn itself waits without end for the first one.
        """
        waiting = {}
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", self)  # a WebSocket has none
            if cycle is not None and not getattr(cycle, "response_complete", False):
                continue
            since_s = waiting[connection] = self._idle_since.get(connection, now_s)
            if now_s - since_s > self._idle_s:
                connection.transport.abort()
        self._idle_since = waiting

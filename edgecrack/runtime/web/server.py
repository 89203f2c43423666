"""The live page's server: one thread with an event loop, beside the stream.

The socket is bound before the thread starts, so that a taken port is an error at once. Needs
the extra "serve" only when it starts. Knows nothing of what is served.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from typing import TYPE_CHECKING

from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError
from edgecrack.extras import require
from edgecrack.runtime.web.config import Patience, ServeConfig
from edgecrack.runtime.web.status import LiveContext

if TYPE_CHECKING:
    from edgecrack.runtime.web.page_state import PageState
    from edgecrack.runtime.web.uvicorn_server import PageServer

_LOG = logging.getLogger("edgecrack")

_START_S = 20.0
_CLOSE_S = 3.0
_ANOTHER_PORT = "give another port, e.g. `serve` 127.0.0.1:8090"
_REMEDIES = {
    errno.EADDRINUSE: _ANOTHER_PORT,
    errno.EACCES: "give a port from 1024 on",
    errno.EADDRNOTAVAIL: "give an address of this machine, or 0.0.0.0 for all of them",
}


class LiveServer(Closeable):
    """Serves the page until closed; may be started once.

    Args:
        config: where, and for whom.
        context: the stream.
        patience: how long viewers are waited for; None takes the defaults.
    """

    def __init__(
        self, config: ServeConfig, context: LiveContext, patience: Patience | None = None
    ) -> None:
        self._config, self._context, self._patience = config, context, patience
        self._socket: socket.socket | None = None
        self._address: tuple[str, int] = (config.host, config.port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: PageServer | None = None
        self._state: PageState | None = None
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="edgecrack-page", daemon=True)

    @property
    def port(self) -> int:
        """The port that is served on, also where 0 was asked for."""
        return self._address[1]

    @property
    def url(self) -> str:
        """Where to find the page from this machine; never holds the token."""
        host = self._config.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{shown}]:{self.port}/" if ":" in shown else f"http://{shown}:{self.port}/"

    @property
    def viewers(self) -> int:
        """Viewers now."""
        return self._state.viewers.taken if self._state else 0

    @property
    def pictures_made(self) -> int:
        """Pictures encoded for viewers so far."""
        return self._state.pictures_made if self._state else 0

    def start(self) -> None:
        """Bind, and serve from a thread of its own; returns when the page can be had.

        Raises:
            ConfigError: the address cannot be served on.
            MissingDependencyError: the extra "serve" is not installed.
        """
        for module in ("starlette", "uvicorn", "websockets", "prometheus_client"):
            require(module, extra="serve", purpose="the live page")
        self._socket = _bind(self._config)
        self._address = self._socket.getsockname()[:2]
        self._thread.start()
        if not self._up.wait(_START_S) or self._failure is not None:
            failure = self._failure
            self.close()
            raise ConfigError(
                f"the live page did not start on {self.url}: {failure or 'it hangs'}",
                "report it as a defect, or leave `serve` out",
            ) from failure

    def close(self) -> None:
        """Send the viewers away and let go of the port; may be called twice."""
        if self._loop is not None and self._thread.is_alive():
            try:
                self._loop.call_soon_threadsafe(self._ask_to_end)
            except RuntimeError:
                _LOG.debug("the live page had ended already")
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():
                _LOG.warning("the live page is stuck and was left behind")
        if self._socket is not None and not self._thread.is_alive():
            self._socket.close()

    def __enter__(self) -> LiveServer:
        """Started."""
        self.start()
        return self

    def _ask_to_end(self) -> None:
        if self._state is not None:
            self._state.closing.set()
        if self._server is not None:
            self._server.should_exit = True

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            if self._up.is_set():
                # The stream goes on without its page, and says so where a person looks.
                self._context.events.emit(
                    "page.failed", f"the live page failed and is gone: {error}", "error"
                )
                _LOG.error("the live page failed", exc_info=error)
        finally:
            self._up.set()

    async def _serve(self) -> None:
        from edgecrack.runtime.web.app import build_app
        from edgecrack.runtime.web.page_state import PageState
        from edgecrack.runtime.web.uvicorn_server import PageServer

        assert self._socket is not None
        self._loop = asyncio.get_running_loop()
        self._state = state = PageState(self._config, self._context)
        try:
            server = self._server = PageServer(build_app(state, self._patience), self._up)
            state.hang_up = server.hang_up
            pictures = asyncio.ensure_future(state.run())
            # Without pictures there is nothing to serve; what ended them is raised below.
            pictures.add_done_callback(lambda _: self._ask_to_end())
            await server.serve(sockets=[self._socket])
            state.closing.set()
            await pictures
        finally:
            state.close()


def _bind(config: ServeConfig) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the address is not this machine's, or the port is taken or not allowed.
    """
    where = f"{config.host}:{config.port}"
    bound: socket.socket | None = None
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        # So that a restart need not wait for the connections of the run before.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
        bound.setblocking(False)
        return bound
    except OSError as error:
        if bound is not None:
            bound.close()
        remedy = _REMEDIES.get(error.errno or 0, "give an address of this machine")
        raise ConfigError(f"cannot serve on {where}: {error.strerror or error}", remedy) from error

"""Starts, runs and ends the server of a page, in a thread of its own."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError
from edgecrack.extras import require
from edgecrack.runtime.web.config import Patience, ServeConfig
from edgecrack.runtime.web.status import LiveContext, Worker, WorkerBusyError
from edgecrack.runtime.web.tls import RenewableTls

if TYPE_CHECKING:
    from edgecrack.runtime.web.page_state import PageState
    from edgecrack.runtime.web.uvicorn_server import PageServer

_LOG = logging.getLogger("edgecrack")
Self_ = TypeVar("Self_", bound="ServedPage")
_START_S = 20.0
_CLOSE_S = 3.0
_BACKLOG = 1024
RENEW_S = 10.0
_ANOTHER_PORT = "give another port, e.g. `serve` 127.0.0.1:8091"
_REMEDIES = {
    errno.EADDRINUSE: _ANOTHER_PORT,
    errno.EACCES: "give a port from 1024 on",
    errno.EADDRNOTAVAIL: "give an address of this machine, or 0.0.0.0 for all of them",
}


class ServedPage(Closeable):
    """Serves a page from a thread of its own until closed; may be started once.

    Args:
        config: where, and for whom.
        modules: what must be installed.
        purpose: what for, as a clause.

    Raises:
        ConfigError: certificate or key cannot be used.
    """

    def __init__(self, config: ServeConfig, modules: tuple[str, ...], purpose: str) -> None:
        self.config = config
        self._tls = None if config.tls is None else RenewableTls(config.tls)
        self._modules, self._purpose = modules, purpose
        self._socket: socket.socket | None = None
        self._address: tuple[str, int] = (config.host, config.port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: PageServer | None = None
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="edgecrack-page", daemon=True)

    @property
    def port(self) -> int:
        """The port that is served on, also where 0 was asked for."""
        return self._address[1]

    @property
    def url(self) -> str:
        """The page's address on this machine; never contains the token."""
        host = self.config.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        name = f"[{shown}]" if ":" in shown else shown
        return f"{'http' if self._tls is None else 'https'}://{name}:{self.port}/"

    @property
    def tls(self) -> Callable[[], ssl.SSLContext] | None:
        """Returns the TLS context of a new connection; None for HTTP."""
        return None if self._tls is None else self._tls.context

    @abstractmethod
    async def serve(self, up: threading.Event, bound: socket.socket) -> None:
        """Serve until asked to end; `self._server` is set before `up` is."""

    def failed(self, error: BaseException) -> None:
        """Called when the page fails after it has started."""
        _LOG.error("%s failed", self._purpose, exc_info=error)

    def start(self) -> None:
        """Bind, and serve from a separate thread; returns once the page is reachable.

        Raises:
            ConfigError: the address cannot be served on.
            MissingDependencyError: the extra "serve" is not installed.
        """
        for module in self._modules:
            require(module, extra="serve", purpose=self._purpose)
        self._socket = _bind(self.config)
        self._address = self._socket.getsockname()[:2]
        self._thread.start()
        if not self._up.wait(_START_S) or self._failure is not None:
            failure = self._failure
            self.close()
            raise ConfigError(
                f"{self._purpose} did not start on {self.url}: {failure or 'it hangs'}",
                "report it as a defect, or leave `serve` out",
            ) from failure

    def close(self) -> None:
        """Disconnect the viewers and release the port; may be called twice."""
        if self._loop is not None and self._thread.is_alive():
            try:
                self._loop.call_soon_threadsafe(self.ask_to_end)
            except RuntimeError:
                _LOG.debug("%s had ended already", self._purpose)
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():
                _LOG.warning("%s is stuck and was left behind", self._purpose)
        if self._socket is not None and not self._thread.is_alive():
            self._socket.close()

    def __enter__(self: Self_) -> Self_:
        """Started."""
        self.start()
        return self

    def ask_to_end(self) -> None:
        """End soon; to be called in the event loop."""
        if self._server is not None:
            self._server.should_exit = True

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            if self._up.is_set():
                self.failed(error)
        finally:
            self._up.set()

    async def _serve(self) -> None:
        assert self._socket is not None
        self._loop = asyncio.get_running_loop()
        renewing = self._loop.create_task(_renew(self._tls))
        try:
            await self.serve(self._up, self._socket)
        finally:
            renewing.cancel()


async def _renew(tls: RenewableTls | None) -> None:
    """Check periodically for a renewed certificate; runs until cancelled."""
    if tls is None:
        return
    worker = Worker("page-certificate")
    try:
        while True:
            await asyncio.sleep(RENEW_S)
            with suppress(WorkerBusyError):
                await worker.run(tls.renew)
    finally:
        worker.close(0.0)


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
        # A client that finds the backlog full tries again a second later.
        bound.listen(_BACKLOG)
        bound.setblocking(False)
        return bound
    except OSError as error:
        if bound is not None:
            bound.close()
        remedy = _REMEDIES.get(error.errno or 0, "give an address of this machine")
        raise ConfigError(f"cannot serve on {where}: {error.strerror or error}", remedy) from error


_MODULES = ("starlette", "uvicorn", "websockets", "prometheus_client")


class LiveServer(ServedPage):
    """Serves the live page until closed; may be started once.

    Args:
        config: where, and for whom.
        context: the stream.
        patience: how long viewers are waited for; None takes the defaults.
    """

    def __init__(
        self, config: ServeConfig, context: LiveContext, patience: Patience | None = None
    ) -> None:
        super().__init__(config, _MODULES, "the live page")
        self._context, self._patience = context, patience
        self._state: PageState | None = None

    @property
    def viewers(self) -> int:
        """Viewers now."""
        return self._state.viewers.taken if self._state else 0

    @property
    def pictures_made(self) -> int:
        """Pictures encoded for viewers so far."""
        return self._state.pictures_made if self._state else 0

    async def serve(self, up: threading.Event, bound: socket.socket) -> None:
        """Serve page and pictures."""
        from edgecrack.runtime.web.app import build_app
        from edgecrack.runtime.web.page_state import PageState
        from edgecrack.runtime.web.uvicorn_server import PageServer

        self._state = state = PageState(self.config, self._context)
        try:
            server = self._server = PageServer(build_app(state, self._patience), up, self.tls)
            state.hang_up = server.hang_up
            pictures = asyncio.ensure_future(state.run())
            # Without pictures there is nothing to serve; what ended them is raised below.
            pictures.add_done_callback(lambda _: self.ask_to_end())
            await server.serve(sockets=[bound])
            state.closing.set()
            await pictures
        finally:
            state.close()

    def ask_to_end(self) -> None:
        """End soon, and let viewers go first."""
        if self._state is not None:
            self._state.closing.set()
        super().ask_to_end()

    def failed(self, error: BaseException) -> None:
        """The stream goes on without its page, and reports that as an event and in the log."""
        text = f"the live page failed and has stopped: {error}"
        self._context.events.emit("page.failed", text, "error")
        _LOG.error("the live page failed", exc_info=error)

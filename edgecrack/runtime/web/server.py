"""The live page's server, beside the stream."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING

from edgecrack.runtime.web.config import Patience, ServeConfig
from edgecrack.runtime.web.served_page import ServedPage
from edgecrack.runtime.web.status import LiveContext

if TYPE_CHECKING:
    from edgecrack.runtime.web.page_state import PageState

_LOG = logging.getLogger("edgecrack")

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
        """The stream goes on without its page, and says so where a person looks."""
        text = f"the live page failed and is gone: {error}"
        self._context.events.emit("page.failed", text, "error")
        _LOG.error("the live page failed", exc_info=error)

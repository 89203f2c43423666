"""The review page's server."""

from __future__ import annotations

import socket
import threading

from edgecrack.run_review.review_session import ReviewSession
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.runtime.web.server import ServedPage


class ReviewServer(ServedPage):
    """Serves the review of a run until closed; may be started once.

    Args:
        config: where, and for whom.
        session: the review.
    """

    def __init__(self, config: ServeConfig, session: ReviewSession) -> None:
        super().__init__(config, ("starlette", "uvicorn", "websockets"), "the review page")
        self._session = session

    async def serve(self, up: threading.Event, bound: socket.socket) -> None:
        """Serve page and pictures."""
        from edgecrack.run_review.review_app import build_app
        from edgecrack.runtime.web.uvicorn_server import PageServer

        self._server = PageServer(build_app(self._session, self.config.token), up, self.tls)
        await self._server.serve(sockets=[bound])

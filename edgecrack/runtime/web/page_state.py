"""What the requests of one live page share: the stream's parts, workers, pictures and viewers.

Lives in the server's event loop. Knows no routes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from edgecrack.runtime.web.broadcast import Broadcast
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.runtime.web.page_worker import Worker
from edgecrack.runtime.web.picture import PagePicture, overlay_jpeg, page_picture
from edgecrack.runtime.web.status import LiveContext, StatusBoard, describe

_LOG = logging.getLogger("edgecrack")

Client = tuple[str, int]


class ViewerLimit:
    """Viewers of live pictures, at most so many at a time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self) -> bool:
        """Take a seat; False where none is free."""
        if self.taken >= self.limit:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Give a seat back."""
        self.taken -= 1

    def refusal(self) -> str:
        """Why a viewer too many gets no picture."""
        watching = "one viewer watches" if self.limit == 1 else f"{self.limit} viewers watch"
        return f"{watching} already; close a page elsewhere and try again"


class PageState:
    """Made in the server's running event loop.

    Args:
        config: limits.
        context: the stream.

    Attributes:
        closing: set when the page ends.
        hang_up: drops the connection of a client at once, by its address; one that takes
            nothing cannot be waited for. Set by the server.
    """

    def __init__(self, config: ServeConfig, context: LiveContext) -> None:
        self.config, self.context = config, context
        self.hang_up: Callable[[Client | None], None] = lambda client: None
        self.closing = asyncio.Event()
        self.viewers = ViewerLimit(config.max_viewers)
        # Apart, so that a slow disk holds up no picture and a slow sensor no switch.
        self.encoder = Worker("page-encode")
        self.actions = Worker("page-action")
        self._sensors = Worker("page-status")
        self.pictures: Broadcast[PagePicture] = Broadcast(
            context.latest, page_picture, self.encoder, config.max_fps
        )
        self.overlays: Broadcast[bytes] = Broadcast(
            context.latest, overlay_jpeg, self.encoder, config.max_fps
        )
        self.status = StatusBoard(self._describe, self._sensors)

    @property
    def pictures_made(self) -> int:
        """Pictures encoded so far, for the page and for MJPEG."""
        return self.pictures.made + self.overlays.made

    async def run(self) -> None:
        """Make pictures until `closing` is set; a defect in one kind ends both, and is raised."""
        await first_of(
            asyncio.ensure_future(self.pictures.run()),
            asyncio.ensure_future(self.overlays.run()),
            asyncio.ensure_future(self.closing.wait()),
        )

    def close(self) -> None:
        """End the threads; one that is stuck in a disk is left behind."""
        for worker, timeout_s in ((self.encoder, 0.3), (self._sensors, 0.1), (self.actions, 0.1)):
            if not worker.close(timeout_s):
                _LOG.warning("a task of the live page is stuck and was left behind")

    def _describe(self) -> dict[str, Any]:
        return describe(self.context, self.viewers.taken, self.viewers.limit)


async def first_of(*tasks: asyncio.Future[Any]) -> None:
    """Wait until one ends, cancel the others, and raise what any of them raised."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome

"""What the requests of one live page share: the stream's parts, workers, pictures and viewers.

Lives in the server's event loop. Knows no routes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edgecrack.runtime.web.access import network_of
from edgecrack.runtime.web.broadcast import Broadcast
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.runtime.web.page_worker import Worker
from edgecrack.runtime.web.picture import PagePicture, overlay_jpeg, page_picture
from edgecrack.runtime.web.status import LiveContext, StatusBoard, describe

_LOG = logging.getLogger("edgecrack")

Client = tuple[str, int]

# A viewer that has not shown its picture for so long gives its seat to whoever wants one.
OWES_S = 2.0


class Seat:
    """A viewer's place among those that get live pictures.

    Args:
        network: where the viewer comes from.

    Attributes:
        lost: set when another viewer has taken it.
    """

    def __init__(self, network: str) -> None:
        self.network = network
        self.lost = asyncio.Event()
        self._owes_since_s: float | None = None

    @contextmanager
    def owing(self) -> Iterator[None]:
        """While it is waited for the viewer to take or to show what was sent."""
        self._owes_since_s = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._owes_since_s = None

    @property
    def owes_s(self) -> float:
        """How long it has been waited for by now."""
        since_s = self._owes_since_s
        return 0.0 if since_s is None else asyncio.get_running_loop().time() - since_s


class ViewerLimit:
    """Viewers of live pictures, at most so many at a time.

    Where all seats are taken, a newcomer gets that of a viewer that has taken nothing for some
    seconds, or one of the network that has the most, if it has at least two more than the
    newcomer's.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._seats: list[Seat] = []

    @property
    def taken(self) -> int:
        """How many watch."""
        return len(self._seats)

    def take(self, client: Client | None) -> Seat | None:
        """Take a seat; None where none is free."""
        newcomer = Seat(network_of(client[0]) if client else "")
        if len(self._seats) >= self.limit:
            loser = self._loser(newcomer)
            if loser is None:
                return None
            self.leave(loser)
            loser.lost.set()
        self._seats.append(newcomer)
        return newcomer

    def leave(self, seat: Seat) -> None:
        """Give a seat back; one that was lost is another's already."""
        if seat in self._seats:
            self._seats.remove(seat)

    def refusal(self) -> str:
        """Why a viewer too many gets no picture."""
        watching = "one viewer watches" if self.limit == 1 else f"{self.limit} viewers watch"
        return f"{watching} already; close a page elsewhere and try again"

    def _loser(self, newcomer: Seat) -> Seat | None:
        slowest = max(self._seats, key=lambda seat: seat.owes_s)
        if slowest.owes_s > OWES_S:
            return slowest
        counts = Counter(seat.network for seat in self._seats)
        network, most = counts.most_common(1)[0]
        if most <= counts[newcomer.network] + 1:
            return None
        return next(seat for seat in self._seats if seat.network == network)


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

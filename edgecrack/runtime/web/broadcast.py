"""Each picture made once, however many viewers want it, and only while somebody does.

Viewers ask for the next picture when they are ready for it. The newest result is then encoded
in a worker thread and handed to all who wait; results in between are never encoded. Knows no
sockets and no formats.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2

from edgecrack.errors import EdgecrackError
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.web.latest_result import LatestResult, Shown
from edgecrack.runtime.web.page_worker import Worker

Picture = TypeVar("Picture")

_LOG = logging.getLogger("edgecrack")


@dataclass(frozen=True)
class Made(Generic[Picture]):
    """An encoded result; `made_s` is the event loop's time at which it was ready."""

    shown: Shown
    picture: Picture
    made_s: float


class Broadcast(Generic[Picture]):
    """One kind of picture for all viewers of it; made and used in one running event loop.

    Args:
        results: where they come from.
        make: encodes one result; runs in the worker's thread.
        worker: its thread.
        max_fps: most pictures made per second.
    """

    def __init__(
        self,
        results: LatestResult,
        make: Callable[[FrameResult], Picture],
        worker: Worker,
        max_fps: float,
    ) -> None:
        self._results, self._make, self._worker = results, make, worker
        self._interval_s = 1 / max_fps
        self._latest: Made[Picture] | None = None
        self._waiting = 0
        self._failed = False
        self._loop = asyncio.get_running_loop()
        self._wanted, self._written = asyncio.Event(), asyncio.Event()
        self._published = asyncio.Condition()
        self.made = 0

    async def run(self) -> None:
        """Make pictures while somebody waits for them; to be cancelled."""
        unsubscribe = self._results.subscribe(self._on_write)
        try:
            await self._make_all()
        finally:
            unsubscribe()

    async def next(self, after: int) -> Made[Picture]:
        """The newest picture, once its number is above `after`; without end if none comes."""
        async with self._published:
            self._waiting += 1
            self._wanted.set()
            # While nobody waited, nobody said that results came.
            self._written.set()
            try:
                while (latest := self._latest) is None or not self._is_due(latest, after):
                    await self._published.wait()
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._wanted.clear()
            return latest

    def _is_due(self, latest: Made[Picture], after: int) -> bool:
        # What was made for others a while ago is not the newest that can be had.
        newest = self._results.newest()
        if newest is None or latest.shown.number <= after:
            return False
        current = newest.number == latest.shown.number
        recent = self._loop.time() - latest.made_s < self._interval_s
        return (current or recent) and self._results.may_be_shown(latest.shown)

    async def _make_all(self) -> None:
        last, due_s = 0, 0.0
        while True:
            await self._wanted.wait()
            self._written.clear()
            newest = self._results.newest()
            if newest is None or newest.number <= last:
                await self._written.wait()
                continue
            if (wait_s := due_s - self._loop.time()) > 0:
                await asyncio.sleep(wait_s)
                newest = self._results.newest()
            if newest is None:  # it has become too old meanwhile
                continue
            due_s = self._loop.time() + self._interval_s
            last = newest.number
            await self._make_one(newest)

    async def _make_one(self, shown: Shown) -> None:
        try:
            picture = await self._worker.run(self._make, shown.result)
        except (EdgecrackError, cv2.error) as error:
            if not self._failed:  # once, not ten times a second
                _LOG.error("the live page cannot show frame %s: %s", shown.result.frame.name, error)
            self._failed = True
            return
        self._failed = False
        self.made += 1
        async with self._published:
            self._latest = Made(shown, picture, self._loop.time())
            self._published.notify_all()

    def _on_write(self) -> None:
        # In the stream's thread: as good as nothing to do while nobody waits.
        if self._waiting:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._written.set)

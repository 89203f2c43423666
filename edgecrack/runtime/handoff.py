"""Bounded queues between the threads of a stream, which pass errors on and never block forever.

One producer puts, one consumer gets. A recording uses a queue that makes the producer wait; a live
camera uses one slot that always has the newest item and counts the items it replaced.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL_S = 0.1


class Abandoned(Exception):  # noqa: N818 - a signal between threads, not an error
    """The consumer takes nothing more; the producer should end without an error."""


class TimedOut(Exception):  # noqa: N818 - a signal to the consumer, not an error
    """Nothing arrived in the time given."""


class Handoff(Generic[Item]):
    """A bounded queue between two threads.

    Args:
        capacity: items it holds, at least 1.
        keep_newest: replace the oldest item instead of making the producer wait.
    """

    def __init__(self, capacity: int, *, keep_newest: bool = False) -> None:
        self._capacity = capacity
        self._keep_newest = keep_newest
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._newest: Item | None = None
        self._producer_error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._abandoned = False
        self._consumer_error: BaseException | None = None
        self._replaced = 0

    @property
    def replaced(self) -> int:
        """Number of items that newer ones replaced before they were taken."""
        with self._changed:
            return self._replaced

    @property
    def waiting(self) -> int:
        """Number of items that wait to be taken."""
        with self._changed:
            return len(self._items)

    def put(self, item: Item, timeout_s: float | None = None) -> None:
        """Add one item; waits for room, unless newer items replace older ones.

        Raises:
            Abandoned: the consumer stopped without an error.
            BaseException: the consumer's error, if it stopped with one.
            TimedOut: `timeout_s` passed without room.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._raise_if_abandoned()
                if len(self._items) < self._capacity:
                    break
                if self._keep_newest:
                    self._items.popleft()
                    self._replaced += 1
                    break
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    raise TimedOut
                self._changed.wait(_POLL_S)
            self._items.append(item)
            if self._keep_newest:
                self._newest = item
            self._changed.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """Signal that no more items come; `get` raises `error` after the last item.

        The error is ignored after `abandon`.
        """
        with self._changed:
            self._finished = True
            if not self._abandoned and error is not None:
                self._producer_error, self._traceback = error, error.__traceback__
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> Item | None:
        """Take the oldest item; None when the producer has finished.

        Raises:
            TimedOut: nothing came within `timeout_s`.
            BaseException: the producer's error, after its last item.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._items:
                self._raise_producer_error()
                if self._finished or self._abandoned:
                    return None
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    raise TimedOut
                self._changed.wait(_POLL_S if timeout_s is None else min(_POLL_S, timeout_s))
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def newest(self) -> Item | None:
        """The newest item, taken before or not, where newer items replace older ones.

        It counts as taken. Never waits; None before the first item.

        Raises:
            BaseException: the producer's error, even if an item is left.
        """
        with self._changed:
            self._raise_producer_error()
            self._items.clear()
            return self._newest

    def raise_producer_error(self) -> None:
        """Raise the error that the producer finished with, even if an item is left."""
        with self._changed:
            self._raise_producer_error()

    def abandon(self, error: BaseException | None = None) -> None:
        """Take nothing more: `put` raises from now on, and all items are released."""
        with self._changed:
            self._abandoned = True
            self._consumer_error = self._consumer_error or error
            self._items.clear()
            self._newest = None
            # Its traceback refers to the producer's locals with the last item, and these refer to
            # this object: a cycle that would last until the garbage collector runs, which takes
            # thousands of frames.
            self._producer_error = self._traceback = None
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what `put` would raise, without putting anything."""
        with self._changed:
            self._raise_if_abandoned()

    def _raise_producer_error(self) -> None:
        if self._producer_error is not None:
            # Each raise would extend the traceback that the last one left.
            raise self._producer_error.with_traceback(self._traceback)

    def _raise_if_abandoned(self) -> None:
        if self._consumer_error is not None:
            raise self._consumer_error
        if self._abandoned:
            raise Abandoned


def pump(take: Callable[[], Item | None], target: Handoff[Item]) -> None:
    """Put what `take` returns into `target` until it returns None; its error goes to `target`."""
    try:
        while (item := take()) is not None:
            target.put(item)
        target.finish()
    except Abandoned:
        pass
    except BaseException as error:
        target.finish(error)


class Worker(Handoff[Item]):
    """A hand-over whose items a thread passes to a function, one by one.

    An error in the thread ends it, and is raised by `put` and `check`.

    Args:
        name: of the thread.
        work: called with each item in the thread.
        capacity: items that may wait, at least 1.
        keep_newest: replace the oldest item instead of making the producer wait.
        at_start: called in the thread before the first item.
        at_end: called in the thread after the last item, unless there was an error.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Item], None],
        capacity: int = 1,
        *,
        keep_newest: bool = False,
        at_start: Callable[[], None] = lambda: None,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(capacity, keep_newest=keep_newest)
        self._work, self._at_start, self._at_end = work, at_start, at_end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float | None) -> bool:
        """Wait for the thread to end; False if it still runs after `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def raise_error(self) -> None:
        """Raise the error that ended the thread, if there was one."""
        with suppress(Abandoned):
            self.check()

    def _run(self) -> None:
        try:
            self._at_start()
            while (item := self.get()) is not None:
                self._work(item)
            self._at_end()
        except BaseException as error:
            self.abandon(error)

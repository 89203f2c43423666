"""The hand-over between two threads of a stream: bounded, with errors, never forever.

One producer puts, one consumer gets. A recording uses a queue that makes the producer
wait; a live camera uses one place that always holds the newest item and counts what it
replaced. Knows nothing of what is handed over.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL_S = 0.1


class Abandoned(Exception):  # noqa: N818 - a signal between threads, not an error
    """The consumer takes nothing more; the producer should end quietly."""


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
        self._producer_error: BaseException | None = None
        self._abandoned = False
        self._consumer_error: BaseException | None = None
        self._replaced = 0

    @property
    def replaced(self) -> int:
        """How many items were replaced by newer ones before anybody took them."""
        with self._changed:
            return self._replaced

    @property
    def waiting(self) -> int:
        """How many items wait to be taken."""
        with self._changed:
            return len(self._items)

    def put(self, item: Item, timeout_s: float | None = None) -> None:
        """Hand one item over; waits for room, unless newer items replace older ones.

        Raises:
            Abandoned: the consumer gave up without an error.
            BaseException: the consumer's own error, if it gave up with one.
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
            self._changed.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """Say that no more comes; `error` is raised by `get` after the last item.

        Nobody hears of it after `abandon`.
        """
        with self._changed:
            self._finished = True
            if not self._abandoned:
                self._producer_error = error
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> Item | None:
        """Take the oldest item; None when the producer has finished.

        Raises:
            TimedOut: `timeout_s` passed and nothing came.
            BaseException: the producer's own error, after its last item.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._items:
                if self._producer_error is not None:
                    raise self._producer_error
                if self._finished or self._abandoned:
                    return None
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    raise TimedOut
                self._changed.wait(_POLL_S if timeout_s is None else min(_POLL_S, timeout_s))
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def abandon(self, error: BaseException | None = None) -> None:
        """Take nothing more: `put` raises from now on, and what is held is let go."""
        with self._changed:
            self._abandoned = True
            self._consumer_error = self._consumer_error or error
            self._items.clear()
            # Its traceback holds the producer's thread with the last item, and that holds this: a
            # circle that stays until the collector comes by, which takes thousands of frames.
            self._producer_error = None
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what `put` would raise, without putting anything."""
        with self._changed:
            self._raise_if_abandoned()

    def _raise_if_abandoned(self) -> None:
        if self._consumer_error is not None:
            raise self._consumer_error
        if self._abandoned:
            raise Abandoned

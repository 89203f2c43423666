"""One thread that does blocking work for an event loop: encoding, writing, reading sensors.

asyncio's own pool waits for its threads at the end of the program, so a stuck disk would keep
the robot from stopping; this thread is left behind instead. Knows nothing of the work.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

Value = TypeVar("Value")

_MOST_WAITING = 32


class WorkerBusyError(Exception):
    """More work waits than will be done in any useful time."""


class Worker:
    """A daemon thread that runs functions one after the other.

    Args:
        name: of the thread, after "edgecrack-".
    """

    def __init__(self, name: str) -> None:
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name=f"edgecrack-{name}", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., Value], *arguments: Any) -> Value:
        """What `function(*arguments)` returns or raises, without holding up the event loop.

        Raises:
            WorkerBusyError: too much waits already.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Value] = loop.create_future()

        def settle(value: Value | None, error: BaseException | None) -> None:
            if outcome.done():  # whoever waited gave up
                return
            if error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(value)  # type: ignore[arg-type]

        def work() -> None:
            value, failure = None, None
            try:
                value = function(*arguments)
            except BaseException as error:
                failure = error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, value, failure)

        try:
            self._work.put_nowait(work)
        except queue.Full:
            raise WorkerBusyError from None
        return await outcome

    def close(self, timeout_s: float) -> bool:
        """End after the work under way; whether that was done in time."""
        with suppress(queue.Empty):
            while True:
                self._work.get_nowait()
        with suppress(queue.Full):
            self._work.put_nowait(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # Waits without a timeout: `close` always ends it, and as a daemon it holds up nobody.
        while (work := self._work.get()) is not None:
            work()

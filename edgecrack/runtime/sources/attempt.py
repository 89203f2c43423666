"""One attempt at a live source: opened and read in a thread of its own, and left if it hangs.

Drivers and network libraries can hang in a call that no timeout reaches. So nobody waits for
such a call: it is waited for with a deadline, and given up by leaving its thread behind, which
closes the source whenever the call returns. Knows no policy of when to try again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from edgecrack.errors import SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.handoff import Abandoned, Handoff, TimedOut
from edgecrack.runtime.sources.base import Source

_CLOSE_WAIT_S = 0.3


class SourceAttempt:
    """A source being opened and read.

    Args:
        open_: opens the source; called once, in the connection's thread.
        number: counts connections, for the thread's name.
    """

    def __init__(self, open_: Callable[[], Source], number: int) -> None:
        self._open = open_
        self._accept: Callable[[Frame], Frame] = lambda frame: frame
        self._opened = threading.Event()
        self._may_read = threading.Event()
        self._left = threading.Event()
        self._failure: BaseException | None = None
        self._newest = Handoff[Frame](1, keep_newest=True)
        self.source: Source | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"edgecrack-source-{number}", daemon=True
        )
        self._thread.start()

    @property
    def is_stuck(self) -> bool:
        """Whether it was left and its thread still hangs in a call."""
        return self._left.is_set() and self._thread.is_alive()

    @property
    def replaced(self) -> int:
        """Frames replaced by newer ones before anybody took them, or before they were decoded."""
        passed_over = 0 if self.source is None else self.source.status.passed_over
        return self._newest.replaced + passed_over

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames of this connection so far."""
        return 0 if self.source is None else self.source.corrupt_frames

    def wait_open(self, timeout_s: float) -> Source:
        """Wait until the source is open.

        Raises:
            SourceError: it cannot be opened.
            TimedOut: it neither opened nor failed in time.
        """
        if not self._opened.wait(timeout_s):
            raise TimedOut
        if self._failure is not None:
            raise self._failure
        if self.source is None:
            raise SourceError("the source was closed while it opened", "open it again")
        return self.source

    def hand_over(self) -> Source:
        """Give the open source away unread; the connection ends without closing it."""
        source, self.source = self.wait_open(0), None
        self._left.set()
        self._may_read.set()
        return source

    def start_reading(self, accept: Callable[[Frame], Frame]) -> None:
        """Read from now on, keeping the newest frame.

        Args:
            accept: called with each frame in the connection's thread; what it returns is kept.
        """
        self._accept = accept
        self._may_read.set()

    def get(self, timeout_s: float) -> Frame | None:
        """The newest frame that was not taken yet; None when the connection was left.

        Raises:
            SourceError: the source failed.
            TimedOut: nothing came in time.
        """
        return self._newest.get(timeout_s)

    def leave(self) -> None:
        """Close the source, or have it closed as soon as its call returns; waits briefly."""
        self._left.set()
        self._may_read.set()
        self._newest.abandon()
        self._failure = None  # as in `Handoff.abandon`
        source = self.source
        if source is not None:
            source.close()
        self._thread.join(_CLOSE_WAIT_S)

    def _run(self) -> None:
        try:
            source = self._open()
        except BaseException as error:
            if not self._left.is_set():
                self._failure = error
            self._opened.set()
            return
        self.source = source
        self._opened.set()
        self._may_read.wait()
        if self.source is None:
            return  # handed over
        try:
            while not self._left.is_set() and (frame := source.read()) is not None:
                self._newest.put(self._accept(frame))
            self._newest.finish(
                SourceError(f"{source.name} ended", "check the sender; it is tried again")
            )
        except Abandoned:
            pass
        except BaseException as error:
            self._newest.finish(error)
        finally:
            source.close()

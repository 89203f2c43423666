"""Reading a source in a thread of its own, and the newest frame of a live source.

Drivers and network libraries can hang in a call that no timeout reaches. `SourceReader` waits for
such a call with a deadline and then leaves its thread behind, which closes the source when the call
returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.handoff import Abandoned, Handoff, TimedOut
from edgecrack.runtime.sources.base import Source

_CLOSE_WAIT_S = 0.3
_CLOSE_S = 2.0


class SourceReader:
    """Opens a source and reads it, in a thread.

    Args:
        open_: opens the source; called once, in the thread.
        name: of the thread, after "edgecrack-".
        capacity: frames that may wait to be taken.
        keep_newest: newer frames replace those that wait; otherwise reading waits.
        closes: the thread closes the source at its end.
        may_end: the source may end; otherwise its end is an error.
    """

    def __init__(
        self,
        open_: Callable[[], Source],
        name: str,
        *,
        capacity: int = 1,
        keep_newest: bool = True,
        closes: bool = True,
        may_end: bool = False,
    ) -> None:
        self._open, self._closes, self._may_end = open_, closes, may_end
        self._accept: Callable[[Frame], Frame | None] = lambda frame: frame
        self._opened = threading.Event()
        self._may_read = threading.Event()
        self._left = threading.Event()
        self._failure: BaseException | None = None
        self._frames = Handoff[Frame](capacity, keep_newest=keep_newest)
        self.source: Source | None = None
        self._thread = threading.Thread(target=self._run, name=f"edgecrack-{name}", daemon=True)
        self._thread.start()

    @property
    def is_stuck(self) -> bool:
        """Whether it was left and its thread still hangs in a call."""
        return self._left.is_set() and self._thread.is_alive()

    @property
    def replaced(self) -> int:
        """Frames that newer ones replaced before they were taken."""
        return self._frames.replaced

    @property
    def passed_over(self) -> int:
        """Frames that the source left out for newer ones."""
        return 0 if self.source is None else self.source.status.passed_over

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames so far."""
        return 0 if self.source is None else self.source.corrupt_frames

    def wait_open(
        self, timeout_s: float, given_up: threading.Event, clock: Callable[[], float]
    ) -> Source:
        """Wait until the source is open.

        Args:
            timeout_s: longest wait.
            given_up: ends the wait early.
            clock: seconds, monotonic.

        Raises:
            SourceError: it cannot be opened.
            TimedOut: it neither opened nor failed in time.
        """
        deadline_s = clock() + timeout_s
        while not self._opened.wait(0.1):
            if given_up.is_set() or clock() >= deadline_s:
                raise TimedOut
        if self._failure is not None:
            raise self._failure
        if self.source is None:
            raise SourceError("the source was closed while it opened", "open it again")
        return self.source

    def release(self) -> None:
        """End the thread without reading or closing the source, which is open."""
        self.source = None
        self._left.set()
        self._may_read.set()

    def start_reading(self, accept: Callable[[Frame], Frame | None] | None = None) -> None:
        """Start to read.

        Args:
            accept: called with each frame in the thread; the frame that it returns is kept, and
                none is for None. Without it, all frames are kept.
        """
        self._accept = accept or self._accept
        self._may_read.set()

    def get(self, timeout_s: float | None = None) -> Frame | None:
        """The next frame, None at the end of the source or after `leave`.

        Raises:
            SourceError: the source failed.
            TimedOut: no frame came in time.
        """
        return self._frames.get(timeout_s)

    def newest(self) -> Frame | None:
        """The newest frame, taken before or not; None before the first.

        Raises:
            SourceError: the source failed.
        """
        return self._frames.newest()

    def raise_failure(self) -> None:
        """Raise the source's error, if it failed, even if a frame is left."""
        self._frames.raise_producer_error()

    def leave(self, wait_s: float = _CLOSE_WAIT_S) -> None:
        """Close the source, or have it closed as soon as its call returns; waits briefly."""
        self._left.set()
        self._may_read.set()
        self._frames.abandon()
        self._failure = None  # as in `Handoff.abandon`
        source = self.source
        if source is not None and self._closes:
            source.close()
        self.join(wait_s)

    def join(self, wait_s: float) -> bool:
        """Wait for the thread; False if it still runs after `wait_s`."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

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
            return  # released
        try:
            while not self._left.is_set() and (frame := source.read()) is not None:
                if self._left.is_set():
                    break
                accepted = self._accept(frame)
                if accepted is not None:
                    self._frames.put(accepted)
            ended = SourceError(f"{source.name} ended", "check the sender and open it again")
            self._frames.finish(None if self._may_end else ended)
        except Abandoned:
            pass
        except BaseException as error:
            self._frames.finish(error)
        finally:
            if self._closes:
                source.close()


class NewestFrames(Closeable):
    """Reads a live source in a thread and keeps its newest frame.

        with NewestFrames(open_source("camera:0")) as camera:
            frame = camera.read(timeout_ms=500)            # a frame that was not returned before
            frame = camera.read_latest(max_age_ms=100)     # may be the same one, but never older

    For programs that need a camera's frame now and then, such as a robot's controller. Safe to use
    from several threads; `read` then returns each frame to one of them.

    Args:
        source: open and live; this object closes it.
        clock_ns: what `Frame.monotonic_ns` is compared with.

    Raises:
        ConfigError: the source is a recording, of which no frame may be lost. It is closed.
    """

    def __init__(self, source: Source, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        if not source.live:
            source.close()
            raise ConfigError(
                f"{source.name} is a recording, and reading its newest frame would lose the others",
                "read it with open_source(...).read()",
            )
        self._source = source
        self.name = source.name
        self._clock_ns = clock_ns
        self._closed = False
        self._reader = SourceReader(lambda: source, "newest", closes=False)
        self._reader.start_reading()

    @property
    def drops(self) -> int:
        """Frames so far that newer ones replaced before they were taken."""
        return self._reader.replaced + self._source.status.passed_over

    def read(self, timeout_ms: float) -> Frame:
        """The newest frame that was not returned before; waits for one if necessary.

        Args:
            timeout_ms: longest wait; 0 does not wait.

        Raises:
            SourceError: none came in time, or the source failed; every later call raises the
                source's error, too, even if a frame is left.
        """
        self._raise_if_over()
        try:
            frame = self._reader.get(timeout_ms / 1000)
        except TimedOut:
            raise SourceError(
                f"{self.name} gave no new frame within {timeout_ms:g} ms",
                "allow more time, or check the camera",
            ) from None
        if frame is None:
            raise self._closed_error()
        return frame

    def read_latest(self, max_age_ms: float) -> Frame:
        """The newest frame, returned before or not, if it is no older than `max_age_ms`.

        Never waits. The age runs from `Frame.monotonic_ns`, the moment of capture, to this call.

        Args:
            max_age_ms: largest age, at least 0.

        Raises:
            SourceError: there is no frame yet, the newest is older, or the source failed.
        """
        self._raise_if_over()
        frame = self._reader.newest()
        if frame is None:
            raise SourceError(f"{self.name} has given no frame yet", "wait with read() first")
        age_ms = (self._clock_ns() - frame.monotonic_ns) / 1e6
        if age_ms > max_age_ms:
            raise SourceError(
                f"the newest frame of {self.name} is {age_ms:.0f} ms old, "
                f"and at most {max_age_ms:g} ms are allowed",
                "allow more, or check why the camera is late",
            )
        return frame

    def close(self) -> None:
        """Stop reading and close the source; waits at most two seconds for the thread."""
        self._closed = True
        self._source.close()
        self._reader.leave(_CLOSE_S)

    def _raise_if_over(self) -> None:
        if self._closed:
            raise self._closed_error()
        self._reader.raise_failure()

    def _closed_error(self) -> SourceError:
        return SourceError(f"{self.name} was closed", "open it again")

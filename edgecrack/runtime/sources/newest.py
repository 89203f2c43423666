"""The newest frame of a live source, whenever somebody asks.

A thread reads all the time, so that what is handed out is never a backlog; for programs that
look at a camera now and then, such as a robot's controller. Knows no detector and no stream.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source

_POLL_S = 0.1
_CLOSE_S = 2.0


class NewestFrames(Closeable):
    """Reads a live source in a thread and keeps its newest frame.

        with NewestFrames(open_source("camera:0")) as camera:
            frame = camera.read(timeout_ms=500)            # one that was not handed out yet
            frame = camera.read_latest(max_age_ms=100)     # perhaps again, but never older

    Safe to use from several threads; each frame is then given by `read` to one of them.

    Args:
        source: opened and live; this object owns it from now on and closes it.
        clock_ns: what `Frame.monotonic_ns` is compared with; a test may give its own.

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
        self._clock_ns = clock_ns
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._was_handed_out = False
        self._drops = 0
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._closed = False
        self._reader = threading.Thread(target=self._run, name="edgecrack-newest", daemon=True)
        self._reader.start()

    @property
    def name(self) -> str:
        """The source's name, without credentials."""
        return self._source.name

    @property
    def drops(self) -> int:
        """Frames so far that a newer one replaced before anybody took them."""
        with self._changed:
            return self._drops + self._source.status.passed_over

    def read(self, timeout_ms: float) -> Frame:
        """The newest frame that was not handed out before; waits for it where there is none.

        Args:
            timeout_ms: longest wait; 0 only looks.

        Raises:
            SourceError: none came in time, or the source failed; its own error is raised by
                every call from then on, also where a frame is left.
        """
        deadline_s = time.monotonic() + timeout_ms / 1000
        with self._changed:
            while True:
                self._raise_if_over()
                if self._frame is not None and not self._was_handed_out:
                    self._was_handed_out = True
                    return self._frame
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0:
                    raise SourceError(
                        f"{self.name} gave no new frame within {timeout_ms:g} ms",
                        "allow more time, or check the camera",
                    )
                self._changed.wait(min(_POLL_S, remaining_s))

    def read_latest(self, max_age_ms: float) -> Frame:
        """The newest frame, handed out before or not, if it is no older than `max_age_ms`.

        Never waits. The age runs from `Frame.monotonic_ns`, the moment of capture, to this call.

        Args:
            max_age_ms: the oldest that is wanted, at least 0.

        Raises:
            SourceError: there is no frame yet, the newest is older, or the source failed.
        """
        with self._changed:
            self._raise_if_over()
            if self._frame is None:
                raise SourceError(f"{self.name} has given no frame yet", "wait with read() first")
            age_ms = (self._clock_ns() - self._frame.monotonic_ns) / 1e6
            if age_ms > max_age_ms:
                raise SourceError(
                    f"the newest frame of {self.name} is {age_ms:.0f} ms old, "
                    f"and at most {max_age_ms:g} ms are allowed",
                    "allow more, or check why the camera is late",
                )
            self._was_handed_out = True
            return self._frame

    def close(self) -> None:
        """Stop reading and close the source; waits for the thread for two seconds at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._source.close()
        self._reader.join(_CLOSE_S)

    def _raise_if_over(self) -> None:
        if self._closed:
            raise SourceError(f"{self.name} was closed", "open it again")
        if self._error is not None:
            # Each raise would add to the traceback that the last one left behind.
            raise self._error.with_traceback(self._traceback)

    def _run(self) -> None:
        try:
            while not self._closed:
                frame = self._source.read()
                if frame is None:
                    raise SourceError(f"{self.name} ended", "open it again")
                with self._changed:
                    self._drops += self._frame is not None and not self._was_handed_out
                    self._frame, self._was_handed_out = frame, False
                    self._changed.notify_all()
        except BaseException as error:  # raised by the next read, in whose thread it is seen
            with self._changed:
                self._error, self._traceback = error, error.__traceback__
                self._changed.notify_all()

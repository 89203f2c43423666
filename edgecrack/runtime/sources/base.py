"""The interface of frame sources. A source does not drop, resize or preprocess frames."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

from edgecrack.closeable import Closeable
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.options import STALE_AFTER_S
from edgecrack.runtime.telemetry.stats import SourceHealth


class Unreadable(NamedTuple):
    """An image that was skipped.

    Attributes:
        path: of the file.
        problem: why; follows the file name.
        remedy: what to do about it.
    """

    path: Path
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Counters and notes of a source, beyond its frames.

    Attributes:
        drops: frames of a live source that this program lost.
        passed_over: frames of a live source that were skipped for newer ones.
        size_changes: times that the frames' size changed.
        unreadable: images that could not be read, in order.
        counts_exactly: whether `frame_count` is a count rather than an estimate, and the
            source detects truncation; None if unknown.
        is_cut_short: whether a recording is damaged or ends early.
        health: of a source that reconnects; None for others.
        note: a message for the user about how the source is read; None for none.
        focus_moves: whether the driver reports autofocus; None if unknown.
    """

    drops: int = 0
    passed_over: int = 0
    size_changes: int = 0
    unreadable: Sequence[Unreadable] = ()
    counts_exactly: bool | None = None
    is_cut_short: bool = False
    health: SourceHealth | None = None
    note: str | None = None
    focus_moves: bool | None = None


class Source(Protocol):
    """Delivers frames one by one.

    Attributes:
        live: frames that are not read in time are lost: a camera or a network stream. A live
            source has no end; when it stops, `read` raises.
        name: what to call it in messages and results; never holds credentials.
        frame_rate_hz: frames per second of the recording or camera, None if unknown.
        frame_count: frames in the recording or folder, None if unknown or endless.
        corrupt_frames: damaged frames skipped so far.
    """

    @property
    def live(self) -> bool:
        """Whether frames that are not read in time are lost."""
        ...

    @property
    def name(self) -> str:
        """The source's name, without credentials."""
        ...

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames per second, None if unknown."""
        ...

    @property
    def frame_count(self) -> int | None:
        """Number of frames, None if unknown."""
        ...

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames skipped so far."""
        ...

    @property
    def status(self) -> SourceStatus:
        """Counters and notes; thread-safe."""
        ...

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a recording.

        Waits no longer than the options' timeout.

        Raises:
            SourceError: the frame cannot be read, or a live source stopped.
        """
        ...

    def close(self) -> None:
        """Release the device or file. May be called twice and from another thread."""
        ...

    def __enter__(self) -> Source:
        """The source itself; leaving the block closes it."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        ...


class SourceBase(Closeable):
    """The `with` statement and an empty status, for sources to inherit."""

    @property
    def status(self) -> SourceStatus:
        """Counters and notes beyond the frames."""
        return SourceStatus()


class InterruptibleSource(SourceBase):
    """A source that another thread may close during `read`.

    `read` uses the device or file inside `with self._reading()`. `close` interrupts it, waits half
    a second, and otherwise leaves the release to `read`: a release during a native call crashes.

    Args:
        name: without credentials.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._closed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Release the device or file; waits only briefly for a read in another thread."""
        self._closed = True
        self._interrupt()
        if self._lock.acquire(timeout=0.5):
            try:
                self._release()
            finally:
                self._lock.release()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            finally:
                if self._closed:
                    self._release()

    def _interrupt(self) -> None:
        """Make a read in another thread end soon."""

    @abstractmethod
    def _release(self) -> None:
        """Release the device or file; may be called twice."""


class EagerSource(InterruptibleSource):
    """A live source whose first frame is read while it is opened, so that failures show there.

    A subclass calls `_read_first` at the end of `__init__`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._delivered = 0
        self._replaced = 0
        self._read_s = time.monotonic()
        self._first: Frame | None = None

    def read(self) -> Frame:
        """The next frame; after a pause in reading, a fresh one.

        Raises:
            SourceError: no frame arrived in time, the stream ended, or the source was closed.
        """
        frame, self._first = self._first, None
        if self._closed or frame is None or time.monotonic() - self._read_s > STALE_AFTER_S:
            self._replaced += frame is not None
            frame = self._next_frame()
        self._read_s = time.monotonic()
        self._delivered += 1
        return frame

    def _read_first(self) -> None:
        try:
            self._first = self._next_frame()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _next_frame(self) -> Frame:
        """Wait for the next frame."""

"""Wrappers around a source: flipped, delayed, looped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, SourceError
from edgecrack.images.nodata import masked_pixels, with_mask
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source, SourceBase, SourceStatus, Unreadable
from edgecrack.runtime.sources.options import Flip

_CODES = {"vertical": 0, "horizontal": 1, "both": -1}


class WrappedSource(SourceBase):
    """Passes another source's properties through.

    Args:
        source: opened; owned from now on.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.live = source.live
        self.name = source.name

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames per second, None if unknown."""
        return self._source.frame_rate_hz

    @property
    def frame_count(self) -> int | None:
        """Number of frames, None if unknown."""
        return self._source.frame_count

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames skipped so far."""
        return self._source.corrupt_frames

    @property
    def status(self) -> SourceStatus:
        """The status of the other source."""
        return self._source.status

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class TurnedSource(WrappedSource):
    """Another source's frames, flipped.

    Args:
        source: opened; owned from now on.
        flip: as in `SourceOptions`, other than "none".
    """

    def __init__(self, source: Source, flip: Flip) -> None:
        super().__init__(source)
        self._code = _CODES[flip]

    def read(self) -> Frame | None:
        """The next frame, flipped; without the source's JPEG.

        Raises:
            SourceError: as the source does.
        """
        frame = self._source.read()
        if frame is None:
            return None
        return replace(frame, image=self._flipped(frame.image), jpeg=None)

    def _flipped(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        flipped = np.asarray(cv2.flip(image, self._code), dtype=np.uint8)
        hidden = masked_pixels(image)  # which OpenCV drops
        if hidden is None:
            return flipped
        turned = cv2.flip(hidden.astype(np.uint8), self._code)
        return with_mask(flipped, np.asarray(turned, dtype=np.bool_))


class DelayedSource(WrappedSource):
    """A live source's frames, timed earlier by a delay unless they carry their own time.

    Args:
        source: opened and live; owned from now on.
        delay_ms: from exposure to arrival here.
    """

    def __init__(self, source: Source, delay_ms: float) -> None:
        super().__init__(source)
        self._delay_ns = round(delay_ms * 1e6)

    def read(self) -> Frame | None:
        """The next frame, with the delay subtracted.

        Raises:
            SourceError: as the source does.
        """
        frame = self._source.read()
        if frame is None or frame.time_source != "arrival" or frame.capture_time_ns is None:
            return frame
        return replace(
            frame,
            capture_time_ns=frame.capture_time_ns - self._delay_ns,
            monotonic_ns=frame.monotonic_ns - self._delay_ns,
        )


_FALLBACK_RATE_HZ = 25.0


class LoopedSource(SourceBase):
    """Repeats a recording endlessly; index and media time keep rising.

    Args:
        open_recording: opens the recording at its beginning; called once per round.

    Raises:
        ConfigError: the source is live, which has no end. It is closed.
        SourceError: as `open_recording`.
    """

    live = False
    frame_count: int | None = None

    def __init__(self, open_recording: Callable[[], Source]) -> None:
        self._open_recording = open_recording
        self._source = open_recording()
        if self._source.live:
            self._source.close()
            raise ConfigError(
                f"{self._source.name} is live and never ends", "leave out `loop` for it"
            )
        self.name = self._source.name
        self._lock = threading.Lock()
        self._closed = False
        self._unreadable: dict[Path, Unreadable] = {}
        self._round = 0
        self._delivered = 0
        self._delivered_before_round = 0
        self._corrupt_before_round = 0
        self._round_starts_ms = 0.0
        self._last_ms = 0.0

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames per second, None if unknown."""
        return self._source.frame_rate_hz

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames skipped in all rounds so far."""
        return self._corrupt_before_round + self._source.corrupt_frames

    @property
    def status(self) -> SourceStatus:
        """The recording's status, with the unreadable images of all rounds."""
        self._keep_unreadable()
        return replace(self._source.status, unreadable=tuple(self._unreadable.values()))

    def read(self) -> Frame | None:
        """The next frame; None only after `close`.

        Raises:
            SourceError: as the recording does, or a whole round had no frame.
        """
        while not self._closed:
            frame = self._source.read()
            if frame is not None:
                return self._continued(frame)
            if not self._closed:
                self._begin_again()
        return None

    def close(self) -> None:
        """Close the recording."""
        with self._lock:
            self._closed = True
            self._source.close()

    def _keep_unreadable(self) -> None:
        for one in self._source.status.unreadable:
            self._unreadable.setdefault(one.path, one)

    def _continued(self, frame: Frame) -> Frame:
        """The frame as one of an endless recording."""
        index = self._delivered
        self._delivered += 1
        media_time_ms = frame.media_time_ms
        if media_time_ms is not None:
            media_time_ms += self._round_starts_ms
            self._last_ms = media_time_ms
        name = frame.name
        if name == f"{frame.index:06d}":
            name = f"{index:06d}"
        elif self._round:  # names are unique within a source
            name = f"{index:06d}_{name}"
        return replace(frame, index=index, name=name, media_time_ms=media_time_ms)

    def _begin_again(self) -> None:
        if self._delivered == self._delivered_before_round:
            raise SourceError(f"{self.name} gives no frame any more", "check the file or folder")
        self._corrupt_before_round += self._source.corrupt_frames
        rate_hz = self._source.frame_rate_hz or _FALLBACK_RATE_HZ
        self._round_starts_ms = self._last_ms + 1000.0 / rate_hz
        self._delivered_before_round = self._delivered
        self._round += 1
        self._keep_unreadable()
        self._source.close()
        opened = self._open_recording()
        with self._lock:
            self._source = opened
            if self._closed:
                opened.close()

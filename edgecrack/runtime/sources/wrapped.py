"""What sources that change another one's frames have in common: all that they leave as it is."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.images.nodata import masked_pixels, with_mask
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source, SourceBase, SourceStatus
from edgecrack.runtime.sources.options import Flip

_CODES = {"vertical": 0, "horizontal": 1, "both": -1}


class WrappedSource(SourceBase):
    """Another source; what it knows of itself is told as it is.

    Args:
        source: opened; this one owns it from now on.
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
        """Frames so far that arrived damaged and were left out."""
        return self._source.corrupt_frames

    @property
    def status(self) -> SourceStatus:
        """What the other source knows."""
        return self._source.status

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class TurnedSource(WrappedSource):
    """Another source's frames, each one flipped.

    Args:
        source: opened; this one owns it from now on.
        flip: as in `SourceOptions`, other than "none".
    """

    def __init__(self, source: Source, flip: Flip) -> None:
        super().__init__(source)
        self._code = _CODES[flip]

    def read(self) -> Frame | None:
        """The next frame, flipped; without the source's own JPEG, which is not.

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
    """Another live source's frames, dated back by a delay unless they carry a time of their own.

    Args:
        source: opened and live; this one owns it from now on.
        delay_ms: from light to arrival here.
    """

    def __init__(self, source: Source, delay_ms: float) -> None:
        super().__init__(source)
        self._delay_ns = round(delay_ms * 1e6)

    def read(self) -> Frame | None:
        """The next frame, dated back.

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

"""A source whose pictures are mirrored or turned, for a camera that hangs upside down."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.nodata import masked_pixels, with_mask
from edgecrack.runtime.closing import ClosesItself
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.source import Source
from edgecrack.runtime.sources.options import Flip

_CODES = {"vertical": 0, "horizontal": 1, "both": -1}


class TurnedSource(ClosesItself):
    """Another source's frames, each one flipped.

    Args:
        source: opened; this one owns it from now on.
        flip: as in `SourceOptions`, other than "none".
    """

    def __init__(self, source: Source, flip: Flip) -> None:
        self._source = source
        self._code = _CODES[flip]
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
    def note(self) -> str | None:
        """What is to be told of how the source is read, or None."""
        return getattr(self._source, "note", None)

    @property
    def size_changes(self) -> int:
        """Times so far that the frames' size changed."""
        return int(getattr(self._source, "size_changes", 0))

    @property
    def counts_exactly(self) -> bool:
        """Whether `frame_count` is a count, not a guess."""
        return bool(getattr(self._source, "counts_exactly", True))

    @property
    def is_cut_short(self) -> bool:
        """Whether the source knows that it is damaged or ends early."""
        return bool(getattr(self._source, "is_cut_short", False))

    @property
    def passed_over(self) -> int:
        """Frames so far that a live source left out for a newer one."""
        return int(getattr(self._source, "passed_over", 0))

    @property
    def corrupt_frames(self) -> int:
        """Frames so far that arrived damaged and were left out."""
        return self._source.corrupt_frames

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

    def close(self) -> None:
        """Close the source."""
        self._source.close()

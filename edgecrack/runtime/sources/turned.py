"""A source whose pictures are mirrored or turned, for a camera that hangs upside down."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.images.nodata import masked_pixels, with_mask
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.options import Flip
from edgecrack.runtime.sources.wrapped import WrappedSource

_CODES = {"vertical": 0, "horizontal": 1, "both": -1}


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

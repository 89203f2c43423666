"""Encodes a result's images once; recording, page and mask files share the JPEG and PNG."""

from __future__ import annotations

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError

JPEG_QUALITY = 90


class Encodings:
    """Bytes made on first use, from any thread."""

    __slots__ = ("_jpeg", "_lock", "_mask_png")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jpeg: bytes | None = None
        self._mask_png: bytes | None = None

    def jpeg(self, image: NDArray[np.uint8]) -> bytes:
        """The frame as JPEG.

        Args:
            image: uint8 [H, W, 3] BGR, always the same one.
        """
        with self._lock:
            if self._jpeg is None:
                self._jpeg = encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            return self._jpeg

    def mask_png(self, mask: NDArray[np.uint8]) -> bytes:
        """The mask as PNG.

        Args:
            mask: uint8 [H, W], always the same one.
        """
        with self._lock:
            if self._mask_png is None:
                self._mask_png = encode(".png", mask)
            return self._mask_png


def encode(suffix: str, image: NDArray[np.uint8], settings: list[int] | None = None) -> bytes:
    """An image in the format of a file suffix.

    Raises:
        OutputError: it cannot be encoded.
    """
    encoded, buffer = cv2.imencode(suffix, image, settings or [])
    if not encoded:
        raise OutputError(
            f"an image of shape {image.shape} cannot be encoded as {suffix}",
            "leave this output out, or report it as a defect",
        )
    return buffer.tobytes()

"""Image files: which count as images, and how their bytes become pixels.

A decoder fills the missing part of a torn file with gray and says nothing; here that is an
error, for training data and camera folders alike. Knows bytes and pixels, no paths.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class DamagedImageError(ValueError):
    """The bytes are no whole image; the text says how so, to be put behind the file's name."""


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Decode the bytes of an image file, turned upright where its EXIF data say so.

    Returns:
        uint8 [H, W, 3] in BGR order.

    Raises:
        DamagedImageError: the data is no image, or is cut short.
    """
    return np.asarray(decode_pixels(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def decode_pixels(data: bytes, flags: int) -> NDArray[Any]:
    """Decode the bytes of an image file as OpenCV's `IMREAD_` flags say.

    Returns:
        Shape and dtype as the flags and the file have them.

    Raises:
        DamagedImageError: the data is no image, or is cut short.
    """
    if not data:
        raise DamagedImageError("is empty")
    if _is_cut_short(data):
        raise DamagedImageError("is cut short")
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise DamagedImageError(f"cannot be decoded: {error.err}") from error
    if image is None:
        raise DamagedImageError("is damaged or not an image")
    return np.asarray(image)


def _is_cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end, which decoders fill with gray without a word."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in data
    if data.startswith(b"\xff\xd8"):
        # Before the picture lies a thumbnail with an end of its own, and after it, in some phones'
        # photos, a film with any bytes at all: the first end after the first scan is the picture's.
        scan = _first_scan(data)
        return scan >= 0 and data.find(b"\xff\xd9", scan) < 0
    return False


def _first_scan(data: bytes) -> int:
    """Where a JPEG's picture data begin, past the segments of its header; -1 for nowhere."""
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        if data[place + 1 : place + 2] == b"\xff":
            place += 1  # a fill byte
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return data.find(b"\xff\xda", place)

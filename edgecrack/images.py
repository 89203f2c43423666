"""Image files: which count as images, and how their bytes become pixels.

A decoder fills the missing part of a torn file with gray and says nothing; here that is an
error, for training data and camera folders alike. Knows bytes and pixels, no paths.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.bit_depth import to_8_bits
from edgecrack.nodata import with_mask

_PNG = b"\x89PNG\r\n\x1a\n"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class DamagedImageError(ValueError):
    """The bytes are no whole image; the text says how so, to be put behind the file's name."""


def decode_image(data: bytes, *, upright: bool = True) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as a picture.

    16-bit files are cut to 8 bits by `to_8_bits`, that is, by the bits that they use.

    Args:
        data: the file's bytes.
        upright: turn the picture where its EXIF data say so.

    Returns:
        uint8 [H, W, 3] in BGR order; a `numpy.ma.MaskedArray` where pixels of the file are
        transparent, masked there.

    Raises:
        DamagedImageError: the data is no image, or is cut short.
    """
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    stored = _stored_pixels(data)
    is_deep = stored is not None and stored.dtype == np.uint16
    picture = decode_pixels(data, flags | cv2.IMREAD_ANYDEPTH if is_deep else flags)
    hidden = None if stored is None else _transparent(picture, stored)
    pixels = to_8_bits(picture) if is_deep else np.asarray(picture, dtype=np.uint8)
    return pixels if hidden is None else with_mask(pixels, hidden)


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


def _stored_pixels(data: bytes) -> NDArray[Any] | None:
    """A picture as it is stored, where that may be more than 8 bits in three colours."""
    if not _may_hold_more(data):
        return None
    try:
        return decode_pixels(data, cv2.IMREAD_UNCHANGED)
    except DamagedImageError:
        return None  # decoding it as a picture says what is wrong, or succeeds


def _may_hold_more(data: bytes) -> bool:
    """Whether the head of a file allows for 16 bits or transparency; BMP's is mostly unused."""
    if data.startswith(_PNG):
        depth, colour_type = data[24:25], data[25:26]
        return depth == b"\x10" or colour_type in (b"\x04", b"\x06") or b"tRNS" in data[:4096]
    return data.startswith((b"II*\0", b"MM\0*")) or data[8:12] == b"WEBP"


def _transparent(picture: NDArray[Any], stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where a picture is transparent, bool [H, W]; None for nowhere, or everywhere.

    Args:
        picture: [H, W, 3], which EXIF data may have turned.
        stored: the same as it is stored.
    """
    if stored.ndim != 3 or stored.shape[2] != 4:
        return None
    hidden = stored[..., 3] == 0
    if not hidden.any() or hidden.all():  # some programs leave the fourth channel empty
        return None
    for turned in (np.rot90(stored, quarter) for quarter in range(4)):
        for pixels in (turned, turned[:, ::-1]):
            if np.array_equal(pixels[..., :3], picture):
                return np.asarray(pixels[..., 3] == 0)
    return None


def _is_cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end, which decoders fill with gray without a word."""
    if data.startswith(_PNG):
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

"""Converts ROS 2's pixel formats to BGR, for replayed recordings and the ROS 2 node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.images.decoding import DamagedImageError, decode_image, to_8_bits

# Any object with a buffer: bytes, memoryview, array.array.
Buffer = Any
_Conversion = Callable[[NDArray[Any]], NDArray[Any]]


class UnsupportedEncodingError(ValueError):
    """A pixel format that does not show a surface, or that is not supported."""


def _by_code(code: int) -> _Conversion:
    return lambda pixels: np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code))


def _deep(to_bgr: _Conversion) -> _Conversion:
    # Cut before conversion to colours, so that 10 bits give exactly the picture of 8.
    return lambda pixels: to_bgr(to_8_bits(pixels))


# Sample type, samples per pixel in a row, and the conversion to BGR. OpenCV names a Bayer pattern
# by the second row's second and third pixel, ROS by the first row's first two and the second row's.
_ENCODINGS: dict[str, tuple[str, int, _Conversion]] = {
    "bgr8": ("u1", 3, np.copy),
    "8UC3": ("u1", 3, np.copy),
    "rgb8": ("u1", 3, _by_code(cv2.COLOR_RGB2BGR)),
    "mono8": ("u1", 1, _by_code(cv2.COLOR_GRAY2BGR)),
    "8UC1": ("u1", 1, _by_code(cv2.COLOR_GRAY2BGR)),
    "mono16": ("u2", 1, _deep(_by_code(cv2.COLOR_GRAY2BGR))),
    "bgr16": ("u2", 3, to_8_bits),
    "rgb16": ("u2", 3, _deep(_by_code(cv2.COLOR_RGB2BGR))),
    "bgra8": ("u1", 4, _by_code(cv2.COLOR_BGRA2BGR)),
    "8UC4": ("u1", 4, _by_code(cv2.COLOR_BGRA2BGR)),
    "rgba8": ("u1", 4, _by_code(cv2.COLOR_RGBA2BGR)),
    "yuv422": ("u1", 2, _by_code(cv2.COLOR_YUV2BGR_UYVY)),
    "uyvy": ("u1", 2, _by_code(cv2.COLOR_YUV2BGR_UYVY)),
    "yuv422_yuy2": ("u1", 2, _by_code(cv2.COLOR_YUV2BGR_YUY2)),
    "yuyv": ("u1", 2, _by_code(cv2.COLOR_YUV2BGR_YUY2)),
    "bayer_rggb8": ("u1", 1, _by_code(cv2.COLOR_BayerBG2BGR)),
    "bayer_bggr8": ("u1", 1, _by_code(cv2.COLOR_BayerRG2BGR)),
    "bayer_gbrg8": ("u1", 1, _by_code(cv2.COLOR_BayerGR2BGR)),
    "bayer_grbg8": ("u1", 1, _by_code(cv2.COLOR_BayerGB2BGR)),
    "bayer_rggb16": ("u2", 1, _deep(_by_code(cv2.COLOR_BayerBG2BGR))),
    "bayer_bggr16": ("u2", 1, _deep(_by_code(cv2.COLOR_BayerRG2BGR))),
    "bayer_gbrg16": ("u2", 1, _deep(_by_code(cv2.COLOR_BayerGR2BGR))),
    "bayer_grbg16": ("u2", 1, _deep(_by_code(cv2.COLOR_BayerGB2BGR))),
}
ENCODINGS = tuple(_ENCODINGS)


def pixels_to_bgr(
    data: Buffer, hw: tuple[int, int], encoding: str, step: int, is_bigendian: bool
) -> NDArray[np.uint8]:
    """The picture in a `sensor_msgs/Image`.

    Args:
        data: the rows, one after another.
        hw: height and width in pixels.
        encoding: one of `ENCODINGS`. Those of 16 bits are cut to 8 by `to_8_bits`, for each picture
            by the bits that it uses.
        step: bytes from one row to the next; more than the pixels need where rows are padded.
        is_bigendian: byte order of 16-bit samples.

    Returns:
        uint8 [H, W, 3] BGR, a copy.

    Raises:
        UnsupportedEncodingError: the encoding is not one of these.
        DamagedImageError: size, step and data contradict each other.
    """
    if encoding not in _ENCODINGS:
        raise UnsupportedEncodingError(f"has the encoding {encoding[:40]!r}")
    kind, samples, to_bgr = _ENCODINGS[encoding]
    height, width = hw
    sample_bytes = int(kind[1])
    row_bytes = width * samples * sample_bytes
    rows = np.frombuffer(data, np.uint8)
    if height < 1 or width < 1 or step < row_bytes or rows.size < step * (height - 1) + row_bytes:
        raise DamagedImageError(
            f"says {width}x{height} px of {encoding} in rows of {step} bytes, "
            f"but holds {rows.size} bytes"
        )
    smallest = 2 if encoding.startswith("bayer") else 1
    if (samples == 2 and width % 2) or min(hw) < smallest:
        raise DamagedImageError(f"is {width}x{height} px, which {encoding} cannot be")
    rows = np.lib.stride_tricks.as_strided(rows, (height, row_bytes), (step, 1), writeable=False)
    pixels = np.ascontiguousarray(rows).view((">" if is_bigendian else "<") + kind)
    if samples > 1:
        pixels = pixels.reshape(height, width, samples)
    return np.asarray(to_bgr(pixels.astype(pixels.dtype.newbyteorder("="), copy=False)), np.uint8)


def compressed_to_bgr(data: Buffer, message_format: str) -> NDArray[np.uint8]:
    """The picture in a `sensor_msgs/CompressedImage`.

    Args:
        data: a JPEG or PNG file.
        message_format: as image_transport writes it: "jpeg", "bgr8; png compressed bgr8".

    Returns:
        uint8 [H, W, 3] BGR.

    Raises:
        UnsupportedEncodingError: the data are neither JPEG nor PNG, or show depth.
        DamagedImageError: they are damaged or cut short.
    """
    if "compresseddepth" in message_format.lower():
        raise UnsupportedEncodingError("shows depth, not a surface")
    content = bytes(data)
    if not content:
        raise DamagedImageError("is empty")
    if not content.startswith((b"\xff\xd8", b"\x89PNG")):
        if not any(name in message_format.lower() for name in ("jpeg", "jpg", "png")):
            raise UnsupportedEncodingError(f"has the format {message_format[:40]!r}")
        raise DamagedImageError("is damaged")
    return decode_image(content)

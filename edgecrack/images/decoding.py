"""Decodes image files to 8-bit BGR, detects damage, and applies EXIF orientation.

16-bit images are reduced by the bits they use: cameras put 10 or 12 bits at the low end of 16, and
thermal images use a small part of the range; the upper byte alone would be nearly black.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Mapping
from typing import IO, Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from edgecrack.images.kinds import (
    DEFAULT_MEGAPIXELS,
    TIFFS,
    DamagedImageError,
    ImageKind,
    RefusedImageError,
    UnreadableImageError,
    check_samples,
    check_size,
    directories,
    kind_of,
    opened,
    png_chunks,
)
from edgecrack.images.nodata import constant_margins, masked_pixels, with_mask

__all__ = [
    "DATASET_SUFFIXES",
    "DEFAULT_MEGAPIXELS",
    "IMAGE_SUFFIXES",
    "OTHER_SUFFIXES",
    "DamagedImageError",
    "RefusedImageError",
    "UnreadableImageError",
    "decode_image",
    "decode_pixels",
    "exif_orientation",
]

# Share of pixels at either end that may be stuck and does not count.
_STRAY_SHARE = 0.001
_FEW_LEVELS = 64


def to_8_bits(image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Reduce an image to the 8 bits below its highest bit in use.

    So 12 bits at the low end of 16 lose their lowest 4, and a picture that uses all 16 keeps its
    upper byte. Where fewer than 64 levels of contrast would remain, the darkest level is
    subtracted first. Constant margins and stray pixels do not count; what lies above the
    range becomes 255.

    Args:
        image: uint16 [H, W] or [H, W, 3], gray or any three colours.

    Returns:
        uint8 of the same shape; masked where `image` is.
    """
    darkest, brightest = _range(np.asarray(image))
    offset, shift = 0, max(0, brightest.bit_length() - 8)
    span = brightest - darkest
    if span >> shift < _FEW_LEVELS:
        offset, shift = max(0, darkest - span // 2), max(0, (2 * span).bit_length() - 8)
    levels = np.arange(1 << 16)
    table = np.clip((levels - offset) >> shift, 0, 255).astype(np.uint8)
    cut = table[np.asarray(image)]
    hidden = masked_pixels(image)
    return cut if hidden is None else with_mask(cut, hidden)


def _range(image: NDArray[np.uint16]) -> tuple[int, int]:
    """The levels that enclose nearly all pixels."""
    low, high = (image, image) if image.ndim == 2 else (image.min(axis=2), image.max(axis=2))
    counts = ~constant_margins(high)
    if not counts.any():
        counts[:] = True
    darkest, brightest = _level(low[counts], _STRAY_SHARE), _level(high[counts], 1 - _STRAY_SHARE)
    if darkest < brightest:
        return darkest, brightest
    return int(low.min()), int(high.max())  # of a flat picture, the strays are all there is to see


def _level(values: NDArray[np.uint16], share: float) -> int:
    """The level below or at which a share of the values lies, without those at the limits."""
    counted: NDArray[Any] = np.bincount(values, minlength=1 << 16)
    if counted[1:-1].any():
        counted[[0, -1]] = 0
    reached = np.cumsum(counted)
    return int(np.searchsorted(reached, share * reached[-1]))


_SUBFILE, _COMPRESSION, _TABLES = 254, 259, 347
_MASK = 4
_PIECES = ((273, 279), (324, 325))  # places and lengths of strips, or of tiles
_JPEG, _DEFLATE = 7, (8, 32946)
_END = b"\xff\xd9"
_READ_BYTES = 1 << 20


def are_strips_sound(file: IO[bytes]) -> bool:
    """Whether each strip or tile of a TIFF's first image and mask is whole, where detectable.

    Args:
        file: open, seekable; read piece by piece.
    """
    return all(
        _are_pieces_sound(file, tags)
        for number, tags in enumerate(directories(file))
        if number == 0 or _int(tags.get(_SUBFILE, 0)) & _MASK
    )


def _are_pieces_sound(file: IO[bytes], tags: Mapping[int, Any]) -> bool:
    compression = tags.get(_COMPRESSION, 1)
    if compression != _JPEG and compression not in _DEFLATE:
        return True
    tables = bytes(tags.get(_TABLES, b""))
    for place_tag, length_tag in _PIECES:
        pairs = zip(_list(tags.get(place_tag)), _list(tags.get(length_tag)), strict=False)
        for place, length in pairs:
            if not length:  # nothing was written there
                continue
            file.seek(place)
            if compression in _DEFLATE:
                is_sound = _is_deflate_sound(file, length)
            else:
                is_sound = _is_jpeg_sound(file.read(length), tables)
            if not is_sound:
                return False
    return True


def _int(value: Any) -> int:
    return int(value[0] if isinstance(value, (tuple, list)) else value)


def _list(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (tuple, list)) else (int(value),)


def _is_deflate_sound(file: IO[bytes], length: int) -> bool:
    """Whether so many bytes from here on are one whole stream, its checksum included."""
    decoder = zlib.decompressobj()
    try:
        while length > 0 and not decoder.eof:
            piece = file.read(min(length, _READ_BYTES))
            if not piece:
                return False
            length -= len(piece)
            while piece:
                decoder.decompress(piece, _READ_BYTES)
                piece = decoder.unconsumed_tail
    except zlib.error:
        return False
    return decoder.eof


def _is_jpeg_sound(piece: bytes, tables: bytes) -> bool:
    whole = tables.removesuffix(_END) + piece[2:] if tables else piece
    try:
        simplejpeg.decode_jpeg(whole, colorspace="GRAY", strict=True)
    except ValueError as error:
        # A colour space or sampling that this interface has no name for.
        return not any(word in str(error) for word in ("premature", "Premature", "orrupt"))
    return True


DATASET_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
IMAGE_SUFFIXES = (*DATASET_SUFFIXES, ".gif", ".avif", ".heic", ".heif")
# Image formats that are reported and not read.
OTHER_SUFFIXES = (
    ".pdf", ".jxl", ".jp2", ".psd", ".exr", ".svg", ".tga", ".dcm",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
)  # fmt: skip
_ORIENTATION = 0x0112
# How the pixels of each EXIF orientation become upright.
_TURNS: dict[int, tuple[bool, bool, bool]] = {  # transpose, then mirror left-right, top-bottom
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
_UNUSUAL = ("determine subsampling level", "color conversion", "colorspace")
# Many cameras leave a few bytes before the end of an image; damage usually leaves more.
_FILLING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MOST_FILLING_BYTES = 16


def decode_image(
    data: bytes, *, upright: bool = True, max_megapixels: float = DEFAULT_MEGAPIXELS
) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as a picture.

    16-bit files are cut to 8 bits by `to_8_bits`, that is, by the bits that they use.

    Args:
        data: the file's bytes.
        upright: turn the picture where its EXIF data say so.
        max_megapixels: a larger picture is refused.

    Returns:
        uint8 [H, W, 3] in BGR order; a `numpy.ma.MaskedArray` where pixels of the file are
        transparent, masked there.

    Raises:
        DamagedImageError: the data is not an image, or is damaged or truncated.
        RefusedImageError: the format is not supported, or the image is too large.
    """
    kind = kind_of(data, max_megapixels)
    if kind.name == "JPEG":
        if kind.hw is None:
            check_size(_jpeg_header_hw(data), max_megapixels)
        return _decode_jpeg(data, upright)
    if kind.name in ("HEIC", "AVIF", "GIF"):  # OpenCV reads no GIF before 4.11, as on a Jetson.
        # Pillow leaves AVIF as it is stored; pillow-heif turns HEIC, and says so in its EXIF data.
        pixels = _decode_by_pillow(data)
        return _turned(pixels, exif_orientation(data)) if upright else pixels
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    stored = _stored_pixels(data)
    is_deep = stored is not None and stored.dtype == np.uint16
    picture = _decode_by_opencv(data, kind, flags | cv2.IMREAD_ANYDEPTH if is_deep else flags)
    hidden = None if stored is None else _transparent(picture, stored)
    pixels = to_8_bits(picture) if is_deep else np.asarray(picture, dtype=np.uint8)
    return pixels if hidden is None else with_mask(pixels, hidden)


def decode_pixels(data: bytes, flags: int) -> NDArray[Any]:
    """Decode the bytes of an image file as OpenCV's `IMREAD_` flags say.

    Returns:
        Shape and dtype as the flags and the file have them.

    Raises:
        DamagedImageError: the data is not an image, or is damaged or truncated.
        RefusedImageError: the format is not supported, or the image is too large.
    """
    kind = kind_of(data)
    if kind.name == "JPEG":
        _jpeg_pixels(data, "GRAY")  # reports damage that OpenCV hides
    return _decode_by_opencv(data, kind, flags)


def _decode_jpeg(data: bytes, upright: bool) -> NDArray[np.uint8]:
    """Decode a JPEG by libjpeg-turbo, which says where data are missing or wrong."""
    pixels = _jpeg_pixels(data, "BGR")
    if pixels is None:
        flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        return np.asarray(_decode_by_opencv(data, ImageKind("JPEG", None), flags), np.uint8)
    picture = np.asarray(pixels, np.uint8)
    if not upright or b"Exif\0\0" not in data[: 1 << 16]:
        return picture
    return _turned(picture, exif_orientation(data))


def _jpeg_header_hw(data: bytes) -> tuple[int, int]:
    """Height and width by libjpeg.

    Raises:
        DamagedImageError: the header cannot be read.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise _damaged_jpeg(error) from error
    return int(height), int(width)


def _jpeg_pixels(data: bytes, colours: str) -> NDArray[np.uint8] | None:
    """A sound JPEG's pixels; None where it is of a form that only OpenCV may know.

    Raises:
        DamagedImageError: data are missing or wrong.
    """
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace=colours, strict=True), np.uint8)
    except ValueError as error:
        text = str(error)
        if any(word in text for word in _UNUSUAL):
            return None
        filling = _FILLING.fullmatch(text.strip())
        if filling is None or int(filling[1]) > _MOST_FILLING_BYTES:
            raise _damaged_jpeg(error) from error
    return np.asarray(simplejpeg.decode_jpeg(data, colorspace=colours, strict=False), np.uint8)


def _damaged_jpeg(error: ValueError) -> DamagedImageError:
    text = str(error)
    if text.startswith("Premature end of JPEG file"):
        return DamagedImageError("is cut short")
    return DamagedImageError(f"is damaged ({text[:1].lower()}{text[1:]})")


def exif_orientation(data: bytes) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where it does not say."""
    try:
        with opened(data) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # what cannot be read says nothing
        return 1


def _turned(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation not in _TURNS:
        return picture
    swaps_axes, mirrors_x, mirrors_y = _TURNS[orientation]

    def turned(pixels: NDArray[Any]) -> NDArray[Any]:
        pixels = pixels.swapaxes(0, 1) if swaps_axes else pixels
        pixels = pixels[:, ::-1] if mirrors_x else pixels
        return np.ascontiguousarray(pixels[::-1] if mirrors_y else pixels)

    hidden = masked_pixels(picture)
    upright = turned(np.asarray(picture))
    return upright if hidden is None else with_mask(upright, turned(hidden))


def _decode_by_pillow(data: bytes) -> NDArray[np.uint8]:
    """HEIC, AVIF and GIF, masked where they are transparent."""
    try:
        with opened(data) as image:
            image.load()
            pixels = np.asarray(image.convert("RGBA"), np.uint8)
    except Exception as error:
        raise DamagedImageError(f"is damaged ({type(error).__name__})") from error
    picture, hidden = np.ascontiguousarray(pixels[..., 2::-1]), pixels[..., 3] == 0
    return with_mask(picture, hidden) if hidden.any() and not hidden.all() else picture


def _decode_by_opencv(data: bytes, kind: ImageKind, flags: int) -> NDArray[Any]:
    if kind.name == "TIFF":
        _check_tiff_data(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise DamagedImageError(f"cannot be decoded: {error.err}") from error
    if image is None:
        is_torn = kind.name == "PNG" and b"IEND" not in data
        raise DamagedImageError("is cut short" if is_torn else "is damaged or not an image")
    return np.asarray(image)


def _check_tiff_data(data: bytes) -> None:
    """Detect damage in a TIFF's compressed data, which OpenCV ignores."""
    try:
        with opened(data) as image:
            image.load()
    except UnidentifiedImageError:
        _check_unknown_tiff(data)
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedImageError("is damaged or cut short") from error
    if not are_strips_sound(io.BytesIO(data)):
        raise DamagedImageError("is damaged")


def _check_unknown_tiff(data: bytes) -> None:
    """Refuse a TIFF that Pillow does not know by what OpenCV finds in it."""
    try:
        stored = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return
    if stored is None:
        return
    bands = 1 if stored.ndim == 2 else stored.shape[2]
    sample_format = {"f": 3, "i": 2}.get(stored.dtype.kind, 1)
    check_samples(sample_format, 8 * stored.dtype.itemsize, bands)


def _stored_pixels(data: bytes) -> NDArray[Any] | None:
    """A picture as it is stored, where that may be more than 8 bits in three colours."""
    if not _may_hold_more(data):
        return None
    stored = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    return None if stored is None else np.asarray(stored)


def _may_hold_more(data: bytes) -> bool:
    """Whether the head of a file allows for 16 bits or transparency; BMP's is mostly unused."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        depth, colour_type = data[24:25], data[25:26]
        is_more = depth == b"\x10" or colour_type in (b"\x04", b"\x06")
        return is_more or b"tRNS" in png_chunks(data)
    return data.startswith(TIFFS) or data[8:12] == b"WEBP"


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

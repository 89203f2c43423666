"""Image formats and sizes from file headers, without decoding; unsupported files are refused."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_DIRECTORIES = 64
_BIG = (b"II+\0", b"MM\0+")
# Python's filter of warnings is one for all threads.
_filter = threading.Lock()


def read_tags(file: IO[bytes]) -> Mapping[int, Any]:
    """The tags of the first image by number, with values as Pillow returns them.

    Args:
        file: open, at any place; seekable.

    Returns:
        Empty if they cannot be read.
    """
    return next(directories(file), {})


def directories(file: IO[bytes], most: int = _MOST_DIRECTORIES) -> Iterator[Mapping[int, Any]]:
    """The tags of each picture: the first, its mask, smaller versions, further pages.

    Args:
        file: open, at any place; seekable.
        most: how many are read; damaged ones may form a cycle.
    """
    file.seek(0)
    head = file.read(8)
    if head[:4] in _BIG:
        head += file.read(8)
    place = -1
    for _ in range(most):
        with _filter, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                directory = ImageFileDirectory_v2(_known_head(head), prefix=head[:2])
                file.seek(directory.next if place < 0 else place)
                directory.load(file)
                tags, place = dict(directory), directory.next
            except Exception:  # Pillow's readers raise all kinds of errors
                return
        yield tags
        if place <= 0:
            return


def _known_head(head: bytes) -> bytes:
    """The header that Pillow accepts for BigTIFF: little-endian, whatever the file is."""
    return b"II+\0" + head[4:] if head[:4] in _BIG else head


# Any camera frame and most mosaics; the image and its maps take about 8 bytes per pixel.
DEFAULT_MEGAPIXELS = 250.0
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
# First bytes, place, name, what to do.
_FOREIGN: tuple[tuple[bytes, int, str, str], ...] = (
    (b"%PDF", 0, "a PDF", "save its pages as images: pdftoppm -png -r 300 FILE page"),
    (b"8BPS", 0, "a Photoshop file", "save it as PNG or JPEG"),
    (b"\xff\x0a", 0, "a JPEG XL file", "convert it: djxl FILE new.png"),
    (b"\0\0\0\x0cJXL ", 0, "a JPEG XL file", "convert it: djxl FILE new.png"),
    (b"v/1\x01", 0, "an OpenEXR file", "save it with 8 or 16 bits, as PNG or TIFF"),
    (b"DICM", 128, "a DICOM file", "export it as PNG or TIFF"),
    *(
        (magic, place, "a camera's raw file", "develop it to JPEG or TIFF")
        for magic, place in (
            (b"FUJIFILMCCD-RAW", 0), (b"CR\x02", 8), (b"ftypcrx ", 4), (b"IIRO", 0),
            (b"IIRS", 0), (b"IIU\0", 0), (b"FOVb", 0),
        )
    ),
    *(
        (magic, 0, "a Radiance HDR file", "save it with 8 or 16 bits, as PNG or TIFF")
        for magic in (b"#?RADIANCE", b"#?RGBE")
    ),
    *(
        (magic, place, "a video", "look at it with: edgecrack stream --source FILE")
        for magic, place in (
            (b"ftypiso", 4), (b"ftypmp4", 4), (b"ftypavc1", 4), (b"ftypqt  ", 4),
            (b"ftypM4V", 4), (b"ftyp3gp", 4), (b"\x1a\x45\xdf\xa3", 0), (b"AVI LIST", 8),
        )
    ),
    *(
        (magic, 0, "an archive", "unpack it")
        for magic in (b"PK\x03\x04", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b")
    ),
    *(
        (magic, 0, "a web page", "download the picture itself; a page may ask for a password")
        for magic in (b"<!DOCTYPE html", b"<!doctype html", b"<html", b"<HTML")
    ),
    (b"<svg", 0, "a drawing (SVG)", "save it as PNG"),
    (b"version https://git-lfs", 0, "a pointer of Git LFS, not the picture", "run: git lfs pull"),
)  # fmt: skip
# JPEG frame headers that photo decoders do not support: lossless and hierarchical.
_RARE_JPEGS = (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)
_SUBFILE, _BITS, _BANDS, _FORMAT, _DNG = 254, 258, 277, 339, 50706
_INTEGERS = (1,)
_LARGEST_BANDS = 4
_pillow = threading.Lock()


class UnreadableImageError(ValueError):
    """An image cannot be used; the text says why and follows the file's name.

    Attributes:
        remedy: what to do about it; empty if the file can only be replaced.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy


class DamagedImageError(UnreadableImageError):
    """The bytes are not a complete image."""


class RefusedImageError(UnreadableImageError):
    """The image is whole, as far as known, but not supported."""


class ImageKind(NamedTuple):
    """What a file's header says.

    Attributes:
        name: "JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "HEIC" or another of Pillow's.
        hw: height and width in pixels as stored; None if only decoding shows it.
    """

    name: str
    hw: tuple[int, int] | None


def kind_of(data: bytes, max_megapixels: float = DEFAULT_MEGAPIXELS) -> ImageKind:
    """What a file is.

    Args:
        data: the file's bytes.
        max_megapixels: a larger picture is refused.

    Raises:
        DamagedImageError: it is empty or not an image.
        RefusedImageError: the format is not supported, or the image is too large.
    """
    if not data:
        raise DamagedImageError("is empty")
    for magic, place, name, remedy in _FOREIGN:
        if data[place : place + len(magic)] == magic:
            raise RefusedImageError(f"is {name}, which is not read", remedy)
    kind = _kind(data)
    if kind.hw is not None:
        check_size(kind.hw, max_megapixels)
    return kind


def _kind(data: bytes) -> ImageKind:
    if data.startswith(_JPEG):
        return ImageKind("JPEG", _jpeg_hw(data))
    if data.startswith(_PNG):
        if len(data) < 24:
            raise DamagedImageError("is cut short")
        width, height = struct.unpack(">II", data[16:24])
        if b"acTL" in png_chunks(data):
            raise RefusedImageError("is an animation", "save the pictures one by one")
        return ImageKind("PNG", (height, width))
    if data[4:8] == b"ftyp" and data[8:12] in (*_HEIC_BRANDS, *_AVIF_BRANDS):
        return _kind_of_heif(data)
    return _kind_by_pillow(data)


def png_chunks(data: bytes) -> frozenset[bytes]:
    """The names of a PNG's chunks before its picture."""
    found, place = set(), len(_PNG)
    while place + 8 <= len(data):
        name = data[place + 4 : place + 8]
        if name == b"IDAT":
            break
        found.add(name)
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return frozenset(found)


def _jpeg_hw(data: bytes) -> tuple[int, int] | None:
    """Height and width in a JPEG's first frame header; None if it has none."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # these stand alone
            place += 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits = data[place + 4]
            if marker in _RARE_JPEGS or bits == 12:
                how = "of 12 bits" if bits == 12 else "lossless or hierarchical"
                raise RefusedImageError(
                    f"is a JPEG that is {how}, which is not read", "save it as PNG or TIFF"
                )
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return height, width
        if marker == 0xDA:
            return None
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _kind_of_heif(data: bytes) -> ImageKind:
    name = "AVIF" if data[8:12] in _AVIF_BRANDS or b"avif" in data[:64] else "HEIC"
    if name == "HEIC" and not can_read_heic():
        raise RefusedImageError(
            "is a HEIC photo, for which pillow-heif is not installed",
            "run: pip install pillow-heif, or convert it: heif-convert FILE new.jpg",
        )
    kind = _kind_by_pillow(data)
    return ImageKind(name, kind.hw)


def can_read_heic() -> bool:
    """Whether HEIC photos can be read: pillow-heif is installed; registers it with Pillow."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _kind_by_pillow(data: bytes) -> ImageKind:
    is_tiff = data.startswith(TIFFS)
    try:
        with opened(data) as image:
            name, hw = str(image.format), (image.height, image.width)
            if is_tiff:
                _check_tiff(image)
            elif name in ("GIF", "WEBP", "AVIF") and getattr(image, "n_frames", 1) > 1:
                raise RefusedImageError(
                    f"is an animation of {getattr(image, 'n_frames', 1)} pictures",
                    "save the pictures one by one",
                )
            return ImageKind(name, hw)
    except UnidentifiedImageError as error:
        if is_tiff:  # a form that Pillow does not know; check its tags
            _check_tags(read_tags(io.BytesIO(data)))
            return ImageKind("TIFF", None)
        raise DamagedImageError("is damaged or not an image") from error
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow's readers raise all kinds of errors
        raise DamagedImageError(f"is damaged ({type(error).__name__})") from error


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture opened by Pillow, its pixels not yet decoded; without Pillow's own size limit."""
    with _pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(io.BytesIO(data)) as image:
                yield image
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_tiff(image: Image.Image) -> None:
    """Refuse a TIFF that is not a single image of 8 or 16 bits."""
    tags: Any = getattr(image, "tag_v2", {})
    _check_tags(tags)
    pages = 0
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        # Overviews of a smaller size and masks are pages, too.
        pages += not int(getattr(image, "tag_v2", {}).get(_SUBFILE, 0)) & 5
    image.seek(0)
    if pages > 1:
        raise RefusedImageError(
            f"holds {pages} pages", "split it: tiffsplit FILE, or convert FILE page-%03d.tif"
        )


def _check_tags(tags: Mapping[int, Any]) -> None:
    if _DNG in tags:
        raise RefusedImageError("is a camera's raw file (DNG)", "develop it to JPEG or TIFF")
    bands = _first(tags.get(_BANDS, 1))
    check_samples(_first(tags.get(_FORMAT, 1)), _first(tags.get(_BITS, 1)), bands)


def check_samples(sample_format: int, bits: int, bands: int) -> None:
    """Refuse samples other than gray or colour of 8 or 16 bits.

    Args:
        sample_format: TIFF's: 1 unsigned, 2 signed, 3 floating point.
        bits: of one sample.
        bands: samples of a pixel.

    Raises:
        RefusedImageError: they are something else.
    """
    if bands > _LARGEST_BANDS:
        raise RefusedImageError(
            f"has {bands} bands",
            "take the three of visible light: gdal_translate -b 1 -b 2 -b 3 FILE new.tif",
        )
    if sample_format not in _INTEGERS or bits > 16:
        kind = {2: "signed numbers", 3: "floating-point numbers"}.get(sample_format, "numbers")
        raise RefusedImageError(
            f"holds {kind} of {bits} bits, no gray levels",
            "scale it to 16 bits: gdal_translate -ot UInt16 -scale FILE new.tif",
        )


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


def check_size(hw: tuple[int, int], max_megapixels: float) -> None:
    """Check that an image is not too large.

    Raises:
        RefusedImageError: it is too large.
    """
    megapixels = hw[0] * hw[1] / 1e6
    if megapixels > max_megapixels:
        raise RefusedImageError(
            f"is {hw[1]}x{hw[0]} px, {megapixels:.4g} megapixels where at most "
            f"{max_megapixels:g} are allowed",
            "cut it into parts, or allow more with `max_megapixels`, which takes some 8 bytes of "
            "memory a pixel",
        )

"""Image files told by their first bytes: which are read, and what is said of the others."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgecrack.images.decoding import decode_image
from edgecrack.images.kinds import (
    DamagedImageError,
    RefusedImageError,
    UnreadableImageError,
    kind_of,
)

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (48, 64, 3), np.uint8)


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, kind, **options)
    return file.getvalue()


def tiff(bands: int, bits: int, sample_format: int) -> bytes:
    """An uncompressed TIFF with any samples, written by hand: 4 rows of 6 pixels."""
    data = bytes(4 * 6 * bands * bits // 8)
    entries = {
        256: (4, 6), 257: (4, 4), 258: (3, bits), 259: (3, 1), 262: (3, 1), 273: (4, 8),
        277: (3, bands), 278: (4, 4), 279: (4, len(data)), 284: (3, 1), 339: (3, sample_format),
    }  # fmt: skip
    directory = struct.pack("<H", len(entries))
    for tag, (kind, value) in entries.items():
        directory += struct.pack("<HHII", tag, kind, 1, value)
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + directory + bytes(4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "AVIF", "MPO"])
def test_what_is_read(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode_image(saved(kind, **options))
    assert found.shape == PICTURE.shape
    assert found.dtype == np.uint8
    if kind in ("PNG", "TIFF", "BMP", "WEBP"):
        assert np.array_equal(found, PICTURE[..., ::-1])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7 ...", "a PDF"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"\xff\x0a....", "a JPEG XL file"),
        (b"v/1\x01\2\0\0\0", "an OpenEXR file"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (tiff(1, 32, 3), "floating-point numbers of 32 bits"),
        (tiff(1, 64, 3), "floating-point numbers of 64 bits"),
        (tiff(1, 32, 1), "32 bits"),
        (tiff(5, 8, 1), "5 bands"),
        (saved("TIFF", save_all=True, append_images=[Image.fromarray(PICTURE)] * 2), "3 pages"),
        (saved("GIF", save_all=True, append_images=[Image.fromarray(PICTURE[::-1])]), "animation"),
    ],
)
def test_what_is_refused_by_its_own_name(data: bytes, words: str) -> None:
    with pytest.raises(RefusedImageError, match=words) as caught:
        decode_image(data)
    assert "damaged" not in str(caught.value)
    assert caught.value.remedy


def test_overviews_are_no_pages() -> None:
    overview = Image.fromarray(PICTURE[::2, ::2])
    overview.encoderinfo = {"tiffinfo": {254: 1}}
    data = saved("TIFF", save_all=True, append_images=[overview])
    assert decode_image(data).shape == PICTURE.shape


def bomb(side: int) -> bytes:
    """A PNG of some kilobytes that would take gigabytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 7) // 8 + 1) * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_that_would_take_gigabytes_meets_a_limit_that_can_be_raised() -> None:
    with pytest.raises(RefusedImageError, match=r"30000x30000 px, 900 megapixels") as caught:
        decode_image(bomb(30_000))
    assert "`max_megapixels`" in caught.value.remedy
    small = saved("PNG")
    with pytest.raises(RefusedImageError, match="megapixels"):
        decode_image(small, max_megapixels=0.001)
    assert decode_image(small, max_megapixels=1).shape == PICTURE.shape


@pytest.mark.parametrize("filling", [b"\0", b"\x12\x34", b"abcdefgh"])
def test_a_few_bytes_before_the_end_of_a_jpeg_are_no_damage(filling: bytes) -> None:
    data = saved("JPEG", quality=90)
    expected = decode_image(data)
    assert np.array_equal(decode_image(data[:-2] + filling + data[-2:]), expected)


def test_a_jpeg_of_unusual_subsampling_is_read() -> None:
    data = bytearray(saved("JPEG", quality=90, subsampling=0))
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == 0x11
    try:
        decode_image(bytes(data))
    except UnreadableImageError as error:  # pragma: no cover - says what went wrong
        pytest.fail(str(error))


def test_the_field_case_of_a_damaged_picture_in_a_folder(data_folder: Path) -> None:
    folder = data_folder / "field_cases" / "09-damaged-in-folder" / "f"
    for path in sorted(folder.glob("*.jpg")):
        if path.name == "i3.jpg":
            with pytest.raises(DamagedImageError, match="cut short"):
                decode_image(path.read_bytes())
        else:
            assert decode_image(path.read_bytes()).ndim == 3


@given(st.binary(max_size=300), st.sampled_from(
    (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"GIF89a", b"BM",
     b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypheic")
))  # fmt: skip
def test_whatever_bytes_there_are_one_error_says_so(tail: bytes, head: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decode_image(head + tail)


def test_damage_at_random_is_heard_or_leaves_a_picture_of_the_size() -> None:
    data = cv2.imencode(".jpg", np.kron(PICTURE, np.ones((4, 4, 1), np.uint8)))[1].tobytes()
    rng = np.random.default_rng(3)
    heard = 0
    for _ in range(60):
        place = int(rng.integers(700, len(data) - 300))
        spoiled = data[:place] + rng.bytes(200) + data[place + 200 :]
        try:
            assert decode_image(spoiled).shape == (192, 256, 3)
        except DamagedImageError:
            heard += 1
    assert heard > 40


def test_heic_is_read_where_it_can_be_and_else_named(monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    heif.register_heif_opener()
    pixels = np.kron(RNG.integers(0, 256, (6, 8, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "HEIF", quality=95)
    found = decode_image(file.getvalue())
    assert np.abs(found[..., ::-1].astype(int) - pixels).mean() < 3
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(RefusedImageError, match="pillow-heif is not installed") as caught:
        decode_image(file.getvalue())
    assert "pip install pillow-heif" in caught.value.remedy


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 2\n", "Radiance"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw file"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "a video"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86", "a video"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video"),
        (b"PK\x03\x04\x14\0", "an archive"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"\xff\xd8\xff\xc1\0\x0b\x0c\0\x10\0\x10\1\1\x11\0", "12 bits"),
        (b"\xff\xd8\xff\xc3\0\x0b\x08\0\x10\0\x10\1\1\x11\0", "lossless"),
    ],
)
def test_what_lies_beside_photos_is_refused_by_its_name(head: bytes, name: str) -> None:
    with pytest.raises(RefusedImageError, match=name) as caught:
        kind_of(head + bytes(64))
    assert caught.value.remedy

"""Image files as pictures: bit depths, transparency, orientation."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.data.reading import read_image, read_labelled_image
from edgecrack.errors import DataError
from edgecrack.images.decoding import decode_image
from edgecrack.images.nodata import masked_pixels
from edgecrack.runtime.sources.folder import ImagesSource
from edgecrack.runtime.sources.wrapped import TurnedSource
from tests.margins import wall

Picture = NDArray[np.uint8]


def colours(hw: tuple[int, int] = (60, 80)) -> Picture:
    return np.dstack([wall(*hw, seed=seed) for seed in range(3)])


def encode(suffix: str, image: NDArray[np.generic]) -> bytes:
    quality = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []  # lossless
    return cv2.imencode(suffix, image, quality)[1].tobytes()  # type: ignore[arg-type]


def with_alpha(picture: Picture, hidden: NDArray[np.bool_]) -> Picture:
    return np.dstack([picture, np.where(hidden, 0, 255).astype(np.uint8)])


def hole(hw: tuple[int, int] = (60, 80)) -> NDArray[np.bool_]:
    hidden = np.zeros(hw, dtype=np.bool_)
    hidden[:20, 50:] = True
    return hidden


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_of_16_bits_is_the_picture_that_it_holds(
    suffix: str, bits: int, channels: int
) -> None:
    picture = colours()
    stored = (picture[..., :channels].astype(np.uint16) << (bits - 8)).astype(np.uint16)
    image = decode_image(encode(suffix, stored.squeeze()))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, picture if channels == 3 else picture[..., [0, 0, 0]])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_of_8_bits_is_read_as_opencv_reads_it(suffix: str, channels: int) -> None:
    data = encode(suffix, colours()[..., :channels].squeeze())
    image = decode_image(data)
    expected = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert not isinstance(image, np.ma.MaskedArray)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_transparent_pixels_are_masked_and_keep_their_colour(suffix: str) -> None:
    image = decode_image(encode(suffix, with_alpha(colours(), hole())))
    # OpenCV's encoder of WebP does not keep what cannot be seen.
    kept = ~hole() if suffix == ".webp" else np.ones((60, 80), dtype=np.bool_)
    np.testing.assert_array_equal(np.asarray(image)[kept], colours()[kept])
    found = masked_pixels(image)
    assert found is not None
    np.testing.assert_array_equal(found, hole())


def test_transparency_in_16_bits() -> None:
    stored = with_alpha(colours(), hole()).astype(np.uint16) * 16
    image = decode_image(encode(".png", stored))
    found = masked_pixels(image)
    assert found is not None
    np.testing.assert_array_equal(found, hole())
    np.testing.assert_array_equal(np.asarray(image), colours())


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("hidden", [np.zeros((60, 80), bool), np.ones((60, 80), bool)])
def test_an_alpha_channel_that_says_nothing_is_passed_over(
    suffix: str, hidden: NDArray[np.bool_]
) -> None:
    assert masked_pixels(decode_image(encode(suffix, with_alpha(colours(), hidden)))) is None


def png(colour_type: int, rows: NDArray[np.uint8], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file as OpenCV does not write it: with any colour type and further chunks."""
    height, width = rows.shape[:2]

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def test_a_transparent_colour_of_a_palette() -> None:
    rows = np.random.default_rng(0).integers(0, 4, (30, 40), dtype=np.uint8)
    palette = (b"PLTE", bytes(range(0, 120, 10)))
    image = decode_image(png(3, rows, palette, (b"tRNS", bytes([255, 0]))))
    found = masked_pixels(image)
    assert found is not None
    np.testing.assert_array_equal(found, rows == 1)


def exif(orientation: int) -> tuple[bytes, bytes]:
    head = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01"
    return b"eXIf", head + struct.pack(">HHI", orientation, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_transparency_is_turned_with_the_picture(orientation: int) -> None:
    stored = with_alpha(colours(), hole())
    marked = stored.copy()
    marked[hole(), :3] = (0, 0, 255)
    data = png(6, marked[..., [2, 1, 0, 3]], exif(orientation))
    image = decode_image(data)
    found = masked_pixels(image)
    assert found is not None
    np.testing.assert_array_equal(found, (np.asarray(image) == (0, 0, 255)).all(axis=2))
    assert image.shape[:2] == ((60, 80) if orientation <= 4 else (80, 60))
    as_stored = decode_image(data, upright=False)
    np.testing.assert_array_equal(np.asarray(as_stored), marked[..., :3])


def test_every_reader_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    path.write_bytes(encode(".png", with_alpha(colours(), hole()).astype(np.uint16) * 4))
    with ImagesSource.of_image(path) as source:
        frame = source.read()
    assert frame is not None
    for image in (read_image(path), read_labelled_image(path), frame.image):
        np.testing.assert_array_equal(np.asarray(image), colours())
        found = masked_pixels(image)
        assert found is not None
        np.testing.assert_array_equal(found, hole())


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_a_damaged_file_is_named_as_before(tmp_path: Path, suffix: str) -> None:
    data = encode(suffix, with_alpha(colours(), hole()))
    path = tmp_path / f"wall{suffix}"
    path.write_bytes(data[:40])
    with pytest.raises(DataError, match=r"wall\.(png|tif|webp) is (cut short|damaged)"):
        read_image(path)


@pytest.mark.parametrize(
    ("flip", "turn"),
    [("horizontal", np.s_[:, ::-1]), ("vertical", np.s_[::-1]), ("both", np.s_[::-1, ::-1])],
)
def test_transparency_is_flipped_with_the_picture(
    tmp_path: Path, flip: Any, turn: tuple[slice, ...]
) -> None:
    path = tmp_path / "wall.png"
    path.write_bytes(encode(".png", with_alpha(colours(), hole())))
    with TurnedSource(ImagesSource.of_image(path), flip) as source:
        frame = source.read()
    assert frame is not None
    np.testing.assert_array_equal(np.asarray(frame.image), colours()[turn])
    found = masked_pixels(frame.image)
    assert found is not None
    np.testing.assert_array_equal(found, hole()[turn])

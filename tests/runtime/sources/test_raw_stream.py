"""GStreamer's framing of raw pictures, written here a second time, whole and spoilt."""

from __future__ import annotations

import struct
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.runtime.sources.gstreamer import BrokenStreamError, RawFormat, RawFrames
from tests.runtime.fakes import Image


def packets(payload: bytes, caps: str = "", is_event: bool = False, mtu: int = 900) -> bytes:
    """One picture or event as `rtpgstpay ! rtpstreampay` sends it."""
    if caps:
        text = caps.encode() + b"\0"
        payload = bytes([0x80 | len(text) >> 7, len(text) & 0x7F]) + text + payload
    stream = b""
    for offset in range(0, len(payload), mtu):
        content = payload[offset : offset + mtu]
        marker = 0x80 if offset + mtu >= len(payload) else 0
        packet = struct.pack(">BBHII", 0x80, marker | 96, 0, 0, 0)
        packet += struct.pack(">BBHI", 0x80 if caps else 0, int(is_event), 0, offset) + content
        stream += struct.pack(">H", len(packet)) + packet
    return stream


def caps_of(width: int, height: int, rate: str = "30/1", code: str = "I420") -> str:
    return (
        f"video/x-raw, format=(string){code}, width=(int){width}, height=(int){height}, "
        f"framerate=(fraction){rate}, colorimetry=(string)bt601"
    )


def i420(image: Image) -> bytes:
    """As GStreamer lays it out: rows padded to four bytes, sides to even numbers."""
    height, width = image.shape[:2]
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    rows, columns = even.shape[:2]
    flat = cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420)
    luma, chroma = flat[:rows], flat[rows:].reshape(rows, columns // 2)
    pad = ((0, 0), (0, -columns % 4)), ((0, 0), (0, -(columns // 2) % 4))
    return np.pad(luma, pad[0]).tobytes() + np.pad(chroma, pad[1]).tobytes()


def wall(height: int, width: int, shade: int = 90) -> Image:
    """Smooth, so that half the resolution in colour loses nothing."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = (shade, shade + 20, shade + 60)
    image[: height // 2] //= 2
    return image


def read(frames: RawFrames, stream: bytes, step: int) -> list[Image]:
    found = []
    for start in range(0, len(stream), step):
        frames.feed(stream[start : start + step])
        while (data := frames.next_picture()) is not None:
            assert frames.format is not None
            found.append(frames.format.to_bgr(data))
    return found


@pytest.mark.parametrize("step", [1, 333, 1 << 30])
def test_pictures_of_changing_size_are_read(step: int) -> None:
    images = [wall(24, 32), wall(24, 32, 120), wall(16, 40), wall(40, 16), wall(24, 32, 30)]
    stream = packets(b"GstEventStreamStart", is_event=True)
    before: tuple[int, ...] = ()
    for image in images:
        is_new, before = image.shape != before, image.shape
        caps = caps_of(image.shape[1], image.shape[0]) if is_new else ""
        stream += packets(i420(image), caps)
    frames = RawFrames()
    found = read(frames, stream, step)
    assert [one.shape for one in found] == [one.shape for one in images]
    for one, image in zip(found, images, strict=True):
        assert np.abs(one.astype(int) - image).max() <= 4
    assert not frames.is_inside_picture
    assert frames.format == RawFormat(32, 24, 30.0)


@given(st.integers(1, 70), st.integers(1, 70))
def test_sides_of_any_length_keep_every_pixel_in_its_place(height: int, width: int) -> None:
    image = np.tile(np.linspace(60, 200, width, dtype=np.uint8)[None, :, None], (height, 1, 3))
    found = RawFormat(width, height, None).to_bgr(i420(image))
    assert found.shape == image.shape
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - image).max() <= 3


@pytest.mark.parametrize(
    ("rate", "expected"), [("30/1", 30.0), ("30000/1001", 29.97), ("0/1", None), ("x", None)]
)
def test_the_rate_is_read_where_there_is_one(rate: str, expected: float | None) -> None:
    frames = RawFrames()
    read(frames, packets(i420(wall(8, 8)), caps_of(8, 8, rate)), 99)
    assert frames.format is not None
    assert frames.format.frame_rate_hz == (
        None if expected is None else pytest.approx(expected, 1e-4)
    )


@pytest.mark.parametrize(
    "stream",
    [
        b"\0\0",
        b"\0\x20" + bytes(32),
        b"YUV4MPEG2 W640 H480\n" * 2000,
        packets(b"no caps before"),
        packets(bytes(96), caps_of(8, 8, code="RGB")),
        packets(bytes(96), caps_of(0, 8)),
        packets(bytes(96), caps_of(99_999, 8)),
        packets(bytes(95), caps_of(8, 8)),
        packets(bytes(96), "audio/x-raw"),
        packets(bytes(2000), caps_of(32, 32))[922:],
    ],
)
def test_other_bytes_are_refused(stream: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        read(RawFrames(), stream + packets(b"x", caps_of(8, 8)), 500)


@settings(max_examples=200)
@given(st.binary(max_size=3000), st.integers(1, 999), st.booleans(), st.integers(0, 400))
def test_garbage_is_refused_or_waited_for_and_never_breaks_it(
    garbage: bytes, step: int, after_picture: bool, place: int
) -> None:
    start = packets(i420(wall(8, 8)), caps_of(8, 8)) if after_picture else b""
    good = bytearray(packets(i420(wall(8, 8, 50)), caps_of(8, 8)))
    good[place : place + len(garbage)] = garbage
    with suppress(BrokenStreamError):
        read(RawFrames(), start + bytes(good), step)

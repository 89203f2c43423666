"""Bytes of messages, and pixel formats: against rosbags, and against slow references."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.images.decoding import DamagedImageError
from edgecrack.mcap import cdr, message_types
from edgecrack.runtime.sources.ros_images import (
    ENCODINGS,
    UnsupportedEncodingError,
    compressed_to_bgr,
    pixels_to_bgr,
)
from tests.margins import wall
from tests.runtime.sources import bags
from tests.runtime.sources.bags import STORE, jpeg_of, picture, png_of

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
STAMPS = st.integers(0, 2**31 - 1).flatmap(
    lambda seconds: st.integers(0, 10**9 - 1).map(lambda rest: seconds * 10**9 + rest)
)
REALS = st.floats(allow_nan=False)


def packed(message: Any, little: bool = True) -> memoryview:
    data = STORE.serialize_cdr(message, message.__msgtype__, little_endian=little)
    return memoryview(bytes(data))


@given(STAMPS, NAMES, NAMES, st.binary(max_size=40), st.booleans())
def test_compressed_image_as_rosbags_writes_it(
    stamp_ns: int, frame_id: str, kind: str, data: bytes, little: bool
) -> None:
    message = bags.compressed(data, stamp_ns, kind)
    message.header.frame_id = frame_id
    found = cdr.read_compressed_image(packed(message, little))
    assert (found.stamp_ns, found.format, bytes(found.data)) == (stamp_ns, kind, data)


@given(
    STAMPS, NAMES, NAMES, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans(),
    st.binary(max_size=40), st.booleans(),
)  # fmt: skip
def test_image_as_rosbags_writes_it(
    stamp_ns: int,
    frame_id: str,
    encoding: str,
    height: int,
    step: int,
    big: bool,
    data: bytes,
    little: bool,
) -> None:
    message = bags.raw(data, (height, step), encoding, step, big, stamp_ns)
    message.header.frame_id = frame_id
    found = cdr.read_image(packed(message, little))
    assert found[:-1] == (stamp_ns, height, step, encoding, big, step)
    assert bytes(found.data) == data


@given(
    STAMPS, NAMES, NAMES, st.tuples(REALS, REALS, REALS), st.tuples(REALS, REALS, REALS, REALS),
    st.booleans(),
)  # fmt: skip
def test_poses_as_rosbags_writes_them(
    stamp_ns: int,
    frame_id: str,
    child: str,
    xyz: tuple[float, float, float],
    turn: tuple[float, float, float, float],
    little: bool,
) -> None:
    odometry = bags.odometry(xyz, turn, stamp_ns)
    odometry.header.frame_id, odometry.child_frame_id = frame_id, child
    posed = STORE.types[message_types.POSE](odometry.header, odometry.pose.pose)
    covariant = STORE.types[message_types.POSE_WITH_COVARIANCE](odometry.header, odometry.pose)
    for message in (odometry, posed, covariant):
        found = cdr.read_pose(packed(message, little), message.__msgtype__)
        assert found == (stamp_ns, xyz, turn)


@given(STAMPS, NAMES, st.integers(-1, 2), REALS, REALS, REALS, st.booleans())
def test_fix_as_rosbags_writes_it(
    stamp_ns: int, frame_id: str, status: int, a: float, b: float, c: float, little: bool
) -> None:
    message = bags.fix(a, b, c, stamp_ns, status)
    message.header.frame_id = frame_id
    assert cdr.read_fix(packed(message, little)) == (stamp_ns, status, a, b, c)


def test_a_stamp_before_1970_counts_as_none() -> None:
    message = bags.compressed(b"x")
    message.header.stamp.sec = -5
    assert cdr.read_compressed_image(packed(message)).stamp_ns == 0


def read_all(data: memoryview) -> None:
    for read in (cdr.read_image, cdr.read_compressed_image, cdr.read_fix):
        try:
            read(data)
        except cdr.MalformedMessageError:
            continue
    for kind in (message_types.ODOMETRY, message_types.POSE):
        try:
            cdr.read_pose(data, kind)
        except cdr.MalformedMessageError:
            continue


@given(st.binary(max_size=120), st.sampled_from([b"", b"\0\1\0\0", b"\0\0\0\0"]))
def test_any_bytes_are_a_message_or_malformed(data: bytes, head: bytes) -> None:
    read_all(memoryview(head + data))


def test_a_message_cut_anywhere_is_malformed() -> None:
    whole = packed(bags.compressed(b"0123456789", 7))
    for length in range(len(whole) - 3):
        with pytest.raises(cdr.MalformedMessageError):
            cdr.read_compressed_image(whole[:length] if length < len(whole) - 3 else whole)


# --- pixels ---


def padded(rows: NDArray[Any], padding: int) -> tuple[bytes, int]:
    """Rows [H, ...] as bytes with as many bytes of noise behind each, and the step."""
    flat = np.ascontiguousarray(rows).view(np.uint8).reshape(rows.shape[0], -1)
    noise = np.full((flat.shape[0], padding), 0xA5, np.uint8)
    return np.hstack([flat, noise]).tobytes(), flat.shape[1] + padding


IMAGE = picture(3, (10, 14))
GRAY = np.ascontiguousarray(IMAGE[..., 0])
ALPHA = np.full((*IMAGE.shape[:2], 1), 77, np.uint8)
GRAY_BGR = np.repeat(GRAY[..., None], 3, axis=2)
RGB = np.ascontiguousarray(IMAGE[..., ::-1])

PLAIN = {
    "bgr8": (IMAGE, IMAGE),
    "8UC3": (IMAGE, IMAGE),
    "rgb8": (RGB, IMAGE),
    "mono8": (GRAY, GRAY_BGR),
    "8UC1": (GRAY, GRAY_BGR),
    "bgra8": (np.concatenate([IMAGE, ALPHA], axis=2), IMAGE),
    "8UC4": (np.concatenate([IMAGE, ALPHA], axis=2), IMAGE),
    "rgba8": (np.concatenate([RGB, ALPHA], axis=2), IMAGE),
}


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", PLAIN)
def test_plain_encodings_come_out_as_they_are(encoding: str, big: bool, padding: int) -> None:
    pixels, expected = PLAIN[encoding]
    data, step = padded(pixels, padding)
    found = pixels_to_bgr(data, (10, 14), encoding, step, big)
    assert np.array_equal(found, expected)
    assert found.flags.c_contiguous
    found[:] = 0  # a copy, which may be written to


SIXTEEN_BITS = {
    "mono16": "mono8",
    "bgr16": "bgr8",
    "rgb16": "rgb8",
    **{f"bayer_{name}16": f"bayer_{name}8" for name in ("rggb", "bggr", "gbrg", "grbg")},
}


def of_8_bits(encoding: str) -> NDArray[np.uint8]:
    """Pixels up to 255 for one of the encodings of 8 bits."""
    colours = picture(3, (60, 80)) if encoding in ("bgr8", "rgb8") else wall()
    return np.ascontiguousarray(colours)


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(("encoding", "plain"), SIXTEEN_BITS.items())
def test_10_bits_in_16_are_the_picture_of_8_bits(
    encoding: str, plain: str, bits: int, big: bool, padding: int
) -> None:
    pixels = of_8_bits(plain)
    hw = (pixels.shape[0], pixels.shape[1])
    deep = pixels.astype(np.uint16) << (bits - 8)
    data, step = padded(deep.astype(">u2" if big else "<u2"), padding)
    found = pixels_to_bgr(data, hw, encoding, step, big)
    data, step = padded(pixels, padding)
    assert np.array_equal(found, pixels_to_bgr(data, hw, plain, step, False))
    found[:] = 0  # a copy, which may be written to


def test_a_picture_of_all_16_bits_keeps_its_upper_byte() -> None:
    levels = np.random.default_rng(0).integers(0, 1 << 16, (60, 80), dtype=np.uint16)
    data, step = padded(levels, 0)
    found = pixels_to_bgr(data, (60, 80), "mono16", step, False)
    assert np.array_equal(found, np.repeat((levels >> 8)[..., None], 3, axis=2))


def yuv_to_bgr(y: float, u: float, v: float) -> list[float]:
    """ITU-R BT.601, studio range."""
    luma = 1.164 * (y - 16)
    blue, red = luma + 2.018 * (u - 128), luma + 1.596 * (v - 128)
    return [blue, luma - 0.391 * (u - 128) - 0.813 * (v - 128), red]


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_yuv_against_its_definition(encoding: str, order: str, padding: int) -> None:
    generator = np.random.default_rng(5)
    luma = generator.integers(60, 190, (6, 8))
    chroma = generator.integers(108, 148, (6, 4, 2))  # u, v of each pair of pixels
    rows = np.zeros((6, 16), np.uint8)
    seen: dict[str, int] = {"y": 0, "u": 0, "v": 0}
    for place, letter in enumerate(order):
        if letter == "y":
            rows[:, place::4] = luma[:, seen["y"] :: 2]
        else:
            rows[:, place::4] = chroma[:, :, "uv".index(letter)]
        seen[letter] += 1
    data, step = padded(rows, padding)
    found = pixels_to_bgr(data, (6, 8), encoding, step, False)
    for y in range(6):
        for x in range(8):
            expected = yuv_to_bgr(luma[y, x], *chroma[y, x // 2])
            assert np.abs(found[y, x] - np.array(expected)).max() <= 1.5


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_mosaic_of_one_colour_is_that_colour(pattern: str) -> None:
    bgr = {"b": 30, "g": 120, "r": 220}
    mosaic = np.zeros((8, 10), np.uint8)
    for place, letter in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = bgr[letter]
    data, step = padded(mosaic, 3)
    found = pixels_to_bgr(data, (8, 10), f"bayer_{pattern}8", step, False)
    assert np.array_equal(found[1:-1, 1:-1], np.full((6, 8, 3), list(bgr.values())))


@given(
    st.sampled_from(ENCODINGS),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 60),
    st.binary(max_size=200),
    st.booleans(),
)
def test_any_size_step_and_data_give_a_picture_or_damage(
    encoding: str, height: int, width: int, step: int, data: bytes, big: bool
) -> None:
    try:
        found = pixels_to_bgr(data, (height, width), encoding, step, big)
    except DamagedImageError:
        return
    assert found.shape == (height, width, 3)
    assert found.dtype == np.uint8


def test_the_last_row_s_padding_may_be_missing() -> None:
    data, step = padded(IMAGE, 6)
    assert np.array_equal(pixels_to_bgr(data[:-6], (10, 14), "bgr8", step, False), IMAGE)
    with pytest.raises(DamagedImageError, match="14x10 px of bgr8 in rows of 48 bytes"):
        pixels_to_bgr(data[:-7], (10, 14), "bgr8", step, False)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1", "nv12", "", "BGR8"])
def test_other_encodings_are_named(encoding: str) -> None:
    with pytest.raises(UnsupportedEncodingError, match=f"the encoding '{encoding}'"):
        pixels_to_bgr(bytes(400), (10, 10), encoding, 40, False)


# --- compressed ---


@pytest.mark.parametrize("message_format", ["jpeg", "bgr8; jpeg compressed bgr8", ""])
def test_jpeg_is_recognised_by_its_bytes(message_format: str) -> None:
    data = jpeg_of(picture())
    expected = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    assert np.array_equal(compressed_to_bgr(data, message_format), expected)


def test_png_in_gray_and_16_bits_becomes_8_bit_colour() -> None:
    assert np.array_equal(compressed_to_bgr(png_of(GRAY), "mono8; png compressed"), GRAY_BGR)
    bright = GRAY.copy()
    bright[:2] = 255  # so that the picture needs all 16 bits, and its upper byte is what stays
    deep = (bright.astype(np.uint16) << 8) + 12
    expected = np.repeat(bright[..., None], 3, axis=2)
    assert np.array_equal(compressed_to_bgr(png_of(deep), "png"), expected)


@pytest.mark.parametrize("make", [jpeg_of, png_of])
def test_an_image_cut_anywhere_is_damaged(make: Any) -> None:
    data = make(picture(1, (16, 16)))
    for length in range(0, len(data) - 2, 7):
        with pytest.raises(DamagedImageError):
            compressed_to_bgr(data[:length], "jpeg")


def test_importing_a_replay_loads_no_optional_package() -> None:
    import subprocess

    code = (
        "import sys, edgecrack.runtime.sources.mcap_recording, edgecrack.runtime.position.replay, "
        "edgecrack.ros.inspection_worker, edgecrack.ros.conversions; "
        "print([n for n in ('mcap', 'mcap_ros2', 'rclpy', 'torch') if n in sys.modules])"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

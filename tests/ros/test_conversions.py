"""Messages to arrays and back. The messages are stand-ins, checked by rosbags."""

from __future__ import annotations

from array import array
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.images.decoding import DamagedImageError
from edgecrack.ros.conversions import (
    DetectionTypes,
    compressed_image_to_bgr,
    findings_to_detections,
    image_to_bgr,
    mask_to_image,
    overlay_to_compressed,
)
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.sources.ros_images import ENCODINGS, UnsupportedEncodingError
from tests.ros.ros_messages import SLOW_ASSIGNMENTS, message_class, read_back
from tests.runtime.fakes import frame, picture, result_of

IMAGE: Any = message_class("sensor_msgs/msg/Image")
COMPRESSED: Any = message_class("sensor_msgs/msg/CompressedImage")
TYPES = DetectionTypes(
    message_class("vision_msgs/msg/Detection2DArray"),
    message_class("vision_msgs/msg/Detection2D"),
    message_class("vision_msgs/msg/ObjectHypothesisWithPose"),
)


def header(seconds: int = 5, nanoseconds: int = 6, frame_id: str = "camera") -> Any:
    made = message_class("std_msgs/msg/Header")()
    made.stamp.sec, made.stamp.nanosec, made.frame_id = seconds, nanoseconds, frame_id
    return made


def image(pixels: np.ndarray[Any, Any], encoding: str, padding: int = 0, big: bool = False) -> Any:
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    noise = np.full((rows.shape[0], padding), 0x5A, np.uint8)
    message = IMAGE()
    message.header = header()
    message.height, message.width = pixels.shape[:2]
    message.encoding, message.is_bigendian = encoding, int(big)
    message.step = rows.shape[1] + padding
    message.data = array("B", np.hstack([rows, noise]).tobytes())
    return message


BGR = np.random.default_rng(3).integers(0, 256, (6, 10, 3), np.uint8)
GRAY = BGR[..., 0]
WITH_ALPHA = np.dstack([BGR, np.full((6, 10), 9, np.uint8)])


@pytest.mark.parametrize("padding", [0, 2, 7])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("bgr8", BGR, BGR),
        ("rgb8", BGR[..., ::-1], BGR),
        ("bgra8", WITH_ALPHA, BGR),
        ("rgba8", WITH_ALPHA[..., [2, 1, 0, 3]], BGR),
        ("mono8", GRAY, np.dstack([GRAY] * 3)),
        ("8UC1", GRAY, np.dstack([GRAY] * 3)),
        ("8UC3", BGR, BGR),
    ],
)
def test_an_image_in_each_encoding(
    encoding: str, pixels: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], padding: int
) -> None:
    message = image(pixels, encoding, padding)
    assert np.array_equal(image_to_bgr(message), expected)
    # As another program would receive it, where the data is an array of numpy.
    assert np.array_equal(image_to_bgr(read_back(message)), expected)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 4])
def test_the_order_of_bytes_matters_for_16_bits_alone(big: bool, padding: int) -> None:
    deep = GRAY.astype(np.uint16) * 257
    message = image(deep.astype(">u2" if big else "<u2"), "mono16", padding, big)
    assert np.array_equal(image_to_bgr(message), np.dstack([GRAY] * 3))
    assert np.array_equal(image_to_bgr(image(BGR, "bgr8", padding, big)), BGR)


@pytest.mark.parametrize(("encoding", "columns"), [("yuv422", (0, 2)), ("yuv422_yuy2", (1, 3))])
def test_gray_in_yuv_is_gray(encoding: str, columns: tuple[int, int]) -> None:
    rows = np.full((4, 16), 120, np.uint8)
    rows[:, columns[0] :: 4] = rows[:, columns[1] :: 4] = 128  # no colour
    message = image(rows.reshape(4, 8, 2), encoding, 3)
    found = image_to_bgr(message)
    assert found.shape == (4, 8, 3)
    assert np.ptp(found) == 0
    assert abs(int(found[0, 0, 0]) - round(1.164 * (120 - 16))) <= 1


def test_every_encoding_that_is_promised_takes_an_image() -> None:
    for encoding in ENCODINGS:
        message = image(np.full((8, 8, 6), 100, np.uint8), encoding)  # the widest pixel
        assert image_to_bgr(message).shape == (8, 8, 3)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(UnsupportedEncodingError, match="32FC1"):
        image_to_bgr(image(np.zeros((4, 4), np.float32), "32FC1"))
    short = image(BGR, "bgr8")
    short.data = short.data[:-1]
    with pytest.raises(DamagedImageError, match="10x6 px of bgr8 in rows of 30 bytes"):
        image_to_bgr(short)
    narrow = image(BGR, "bgr8")
    narrow.step = 29
    with pytest.raises(DamagedImageError):
        image_to_bgr(narrow)
    empty = image(BGR, "bgr8")
    empty.height = 0
    with pytest.raises(DamagedImageError):
        image_to_bgr(empty)


@pytest.mark.parametrize(
    ("suffix", "message_format"),
    [(".jpg", "jpeg"), (".png", "png"), (".png", "rgb8; png compressed bgr8")],
)
def test_a_compressed_image(suffix: str, message_format: str) -> None:
    data = cv2.imencode(suffix, BGR)[1].tobytes()
    message = COMPRESSED()
    message.format, message.data = message_format, array("B", data)
    expected = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    assert np.array_equal(compressed_image_to_bgr(message), expected)
    assert np.array_equal(compressed_image_to_bgr(read_back(message)), expected)


def test_a_mask_comes_back_from_its_message() -> None:
    mask = (np.random.default_rng(1).random((7, 9)) > 0.5).astype(np.uint8) * 255
    stamp = header()
    message = mask_to_image(mask, stamp, IMAGE)
    received = read_back(message)
    assert (received.height, received.width, received.step) == (7, 9, 9)
    assert (received.encoding, received.is_bigendian) == ("mono8", 0)
    assert (received.header.stamp.sec, received.header.frame_id) == (5, "camera")
    assert np.array_equal(image_to_bgr(received)[..., 1], mask)
    assert np.array_equal(mask_to_image(mask[:, ::2], stamp, IMAGE).data, mask[:, ::2].ravel())


def test_an_overlay_comes_back_from_its_message() -> None:
    shown = picture(5)
    message = overlay_to_compressed(shown, header(), COMPRESSED)
    received = read_back(message)
    assert received.format == "jpeg"
    assert received.header.stamp.nanosec == 6
    assert np.abs(compressed_image_to_bgr(received).astype(int) - shown).mean() < 3


def findings(result: FrameResult) -> Any:
    return read_back(findings_to_detections(result, header(), TYPES))


def test_findings_are_boxes_with_the_mean_probability() -> None:
    shown = np.full((40, 60, 3), 20, np.uint8)
    shown[10:14, 5:45] = 250  # 160 px
    shown[30:36, 50:60] = 200  # 60 px, at the right edge
    received = findings(result_of(frame(0, shown)))
    assert received.header.frame_id == "camera"
    first, second = received.detections
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (25.0, 12.0)
    assert (first.bbox.size_x, first.bbox.size_y, first.bbox.center.theta) == (40.0, 4.0, 0.0)
    assert (second.bbox.center.position.x, second.bbox.size_x) == (55.0, 10.0)
    assert [found.id for found in received.detections] == ["0", "1"]
    assert {found.results[0].hypothesis.class_id for found in received.detections} == {"crack"}
    assert first.results[0].hypothesis.score == pytest.approx(250 / 255)
    assert second.results[0].hypothesis.score == pytest.approx(200 / 255)
    assert first.header.stamp.sec == 5


def test_no_crack_is_an_empty_list() -> None:
    assert findings(result_of(frame(0, np.full((20, 20, 3), 20, np.uint8)))).detections == []


def test_large_data_is_never_given_to_rclpy_byte_by_byte() -> None:
    SLOW_ASSIGNMENTS.clear()
    mask_to_image(np.zeros((4, 4), np.uint8), header(), IMAGE)
    overlay_to_compressed(picture(), header(), COMPRESSED)
    assert not SLOW_ASSIGNMENTS

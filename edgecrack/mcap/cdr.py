"""ROS 2's wire format, written and read by the descriptions in `message_types`: plain CDR.

    data = encode(LOG, {"stamp": time_ns, "level": 20, "msg": "a crack"})
    decode(LOG, memoryview(data))["msg"]    # "a crack"

The definitions in a file need not be trusted, as the types that are read have not changed in any
ROS 2. Pixels are not copied. A message that `ros2 bag record --compression-mode message` packed is
unpacked first.

Source: OMG CORBA 3.3, part 2, 9.3, as ROS 2's default middleware writes it: a value of n bytes
begins at a multiple of n, counted from behind the four bytes that name the encoding.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from edgecrack.mcap.bag_compression import unpack_message
from edgecrack.mcap.format import DamagedRecordError
from edgecrack.mcap.message_types import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    FIX,
    IMAGE,
    RANGE,
    TIME,
    TRANSFORMS,
    Field,
    fields_of,
    short_name,
)

_ENCAPSULATION = b"\x00\x01\x00\x00"  # little-endian
_FIRST = len(_ENCAPSULATION)
_CODES = {
    "bool": "B", "byte": "B", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h",
    "uint32": "I", "int32": "i", "float32": "f", "float64": "d",
}  # fmt: skip
_TIME = short_name(TIME)
# What int32 seconds and the nanoseconds beside them can hold: until January 2038.
_EARLIEST_NS, _LATEST_NS = -(2**31) * 10**9, 2**31 * 10**9 - 1
_MOST_NUMBERS, _MOST_MESSAGES = 64, 10_000


class MalformedMessageError(ValueError):
    """The bytes are not such a message."""


def encode(message_type: str, value: Any) -> bytes:
    """The bytes of a message, little-endian.

    Args:
        message_type: such as "sensor_msgs/msg/Range".
        value: a mapping of field names; a field left out is 0 or empty. A time is in nanoseconds. A
            message of float64 only, such as a pose, is the sequence of its numbers, and an array of
            such messages an array of numbers [N, numbers of one].
    """
    data = bytearray(_ENCAPSULATION)
    _put(data, short_name(message_type), value)
    return bytes(data)


def decode(message_type: str, data: memoryview, optional: str = "") -> Any:
    """The value of a message, as `encode` takes it; uint8[] as views of the data.

    Args:
        message_type: as in `encode`.
        data: of either byte order; may be packed by rosbag2.
        optional: a field that may be missing at the end.

    Raises:
        MalformedMessageError: the bytes are not such a message.
    """
    return _Reader(data, optional).value(short_name(message_type))


@cache
def _float_count(kind: str) -> int:
    """How many float64 a message of nothing else has; 0 for others."""
    if kind in _CODES or kind in (_TIME, "string"):
        return int(kind == "float64")
    counts = [
        0 if each.is_sequence else _float_count(each.kind) * (each.length or 1)
        for each in fields_of(kind)
    ]
    return sum(counts) if all(counts) else 0


def _put(data: bytearray, kind: str, value: Any) -> None:
    """Append a value that is no array; None is 0 or empty."""
    if kind == _TIME:
        seconds, nanoseconds = divmod(min(max(value or 0, _EARLIEST_NS), _LATEST_NS), 10**9)
        _pack(data, "i", seconds)
        _pack(data, "I", nanoseconds)
    elif kind == "string":
        # What is not a character becomes "?", and so does a NUL, which would end the string.
        text = (value or "").replace("\0", "?").encode("utf-8", "replace") + b"\0"
        _pack(data, "I", len(text))
        data += text
    elif kind in _CODES:
        _pack(data, _CODES[kind], 0 if value is None else value)
    elif count := _float_count(kind):
        _pack(data, f"{count}d", *([0.0] * count if value is None else value))
    else:
        found: Mapping[str, Any] = value or {}
        for each in fields_of(kind):
            _put_field(data, each, found.get(each.name))


def _put_field(data: bytearray, field: Field, value: Any) -> None:
    if not field.is_sequence and not field.length:
        _put(data, field.kind, value)
    elif count := _float_count(field.kind):
        absent = np.zeros((field.length or 0, count))
        numbers = np.reshape(absent if value is None else value, (field.length or -1, count))
        if field.is_sequence:
            _pack(data, "I", len(numbers))
        if numbers.size:
            data += bytes(-(len(data) - _FIRST) % 8) + numbers.astype("<f8").tobytes()
    elif field.kind == "uint8":
        _pack(data, "I", len(value or b""))
        data += value or b""
    else:
        _pack(data, "I", len(value or ()))
        for each in value or ():
            _put(data, field.kind, each)


def _pack(data: bytearray, code: str, *values: float) -> None:
    size = struct.calcsize(f"<{code[-1]}")
    data += bytes(-(len(data) - _FIRST) % size) + struct.pack(f"<{code}", *values)


class _Reader:
    """Reads values one after another; each is aligned to its own size."""

    def __init__(self, data: memoryview, optional: str) -> None:
        try:
            data = unpack_message(data)
        except DamagedRecordError as error:
            raise MalformedMessageError(str(error)) from error
        # The second byte of the encapsulation: 0 for big endian, 1 for little.
        if len(data) < _FIRST or data[0] != 0 or data[1] > 1:
            raise MalformedMessageError("it does not begin as CDR does")
        self._order = "<" if data[1] else ">"
        self._data = data[_FIRST:]
        self._optional = optional
        self._place = 0

    def value(self, kind: str) -> Any:
        if kind == _TIME:
            return self._number("i") * 10**9 + self._number("I")
        if kind == "string":
            # The length counts the zero at the end.
            return bytes(self._bytes()).rstrip(b"\0").decode("utf-8", "replace")
        if kind in _CODES:
            return self._number(_CODES[kind])
        if count := _float_count(kind):
            return self._numbers("d", count)
        found = {}
        for each in fields_of(kind):
            if each.name == self._optional and self._place >= len(self._data):
                break
            found[each.name] = self._field(each)
        return found

    def _field(self, field: Field) -> Any:
        if not field.is_sequence and not field.length:
            return self.value(field.kind)
        if field.is_sequence and field.kind == "uint8":
            return self._bytes()
        is_number = field.kind in _CODES
        count = field.length or self._number("I")
        if field.is_sequence and count > (_MOST_NUMBERS if is_number else _MOST_MESSAGES):
            raise MalformedMessageError(f"its {field.name} has {count} elements")
        if is_number:
            return self._numbers(_CODES[field.kind], count)
        return [self.value(field.kind) for _ in range(count)]

    def _bytes(self) -> memoryview:
        length = self._number("I")
        end = self._place + length
        if end > len(self._data):
            raise MalformedMessageError("it is cut short")
        taken = self._data[self._place : end]
        self._place = end
        return taken

    def _number(self, code: str) -> Any:
        return self._numbers(code, 1)[0]

    def _numbers(self, code: str, count: int) -> tuple[Any, ...]:
        if not count:
            return ()
        size = struct.calcsize(f"<{code}")
        place = -(-self._place // size) * size
        end = place + size * count
        if end > len(self._data):
            raise MalformedMessageError("it is cut short")
        self._place = end
        return struct.unpack_from(f"{self._order}{count}{code}", self._data, place)


class ImageMessage(NamedTuple):
    """`sensor_msgs/msg/Image`; `stamp_ns` is 0 where none was set, here and below."""

    stamp_ns: int
    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: memoryview


class CompressedImageMessage(NamedTuple):
    """`sensor_msgs/msg/CompressedImage`."""

    stamp_ns: int
    format: str
    data: memoryview


class PoseMessage(NamedTuple):
    """The pose in an Odometry, PoseStamped or PoseWithCovarianceStamped."""

    stamp_ns: int
    xyz_m: tuple[float, float, float]
    quaternion_xyzw: tuple[float, float, float, float]


class FixMessage(NamedTuple):
    """`sensor_msgs/msg/NavSatFix`; `status` below 0 means that there is no fix."""

    stamp_ns: int
    status: int
    latitude_deg: float
    longitude_deg: float
    altitude_m: float


class RangeMessage(NamedTuple):
    """`sensor_msgs/msg/Range`.

    Attributes:
        stamp_ns: 0 where none was set.
        range_m: None where the sensor read nothing: the value is not finite or out of its limits.
        deviation_m: standard uncertainty; None where the message has no variance, as before ROS 2
            Iron, or an unknown one.
    """

    stamp_ns: int
    range_m: float | None
    deviation_m: float | None


class CameraInfoMessage(NamedTuple):
    """`sensor_msgs/msg/CameraInfo`, for pictures of the camera's full size.

    Attributes:
        stamp_ns: 0 where none was set.
        width: pixels, of the camera's whole picture.
        height: pixels.
        distortion_model: such as "plumb_bob".
        distortion: its coefficients.
        matrix: K, row by row; all 0 where the camera is not calibrated.
        projection: P, three rows of four: of rectified pictures.
        binning: columns and rows of the camera per pixel; 0 means 1.
        region: left, top, width and height of what was read out; all 0 for the whole picture.
    """

    stamp_ns: int
    width: int
    height: int
    distortion_model: str
    distortion: tuple[float, ...]
    matrix: tuple[float, ...]
    projection: tuple[float, ...]
    binning: tuple[int, int]
    region: tuple[int, int, int, int]


class TransformMessage(NamedTuple):
    """One of the transforms in a `tf2_msgs/msg/TFMessage`: of the child's frame in the parent's."""

    parent: str
    child: str
    xyz_m: tuple[float, float, float]
    quaternion_xyzw: tuple[float, float, float, float]


def read_image(data: memoryview) -> ImageMessage:
    """Parse an Image.

    Raises:
        MalformedMessageError: the bytes are not such a message.
    """
    found = decode(IMAGE, data)
    return ImageMessage(
        _stamp_ns(found), found["height"], found["width"], found["encoding"],
        found["is_bigendian"] != 0, found["step"], found["data"],
    )  # fmt: skip


def read_compressed_image(data: memoryview) -> CompressedImageMessage:
    """Parse a CompressedImage; errors as in `read_image`."""
    found = decode(COMPRESSED_IMAGE, data)
    return CompressedImageMessage(_stamp_ns(found), found["format"], found["data"])


def read_pose(data: memoryview, message_type: str) -> PoseMessage:
    """Parse the pose of one of the three types that have one; errors as in `read_image`."""
    found = decode(message_type, data)
    return PoseMessage(_stamp_ns(found), found["pose"][:3], found["pose"][3:])


def read_fix(data: memoryview) -> FixMessage:
    """Parse a NavSatFix; errors as in `read_image`."""
    found = decode(FIX, data)
    place = found["latitude"], found["longitude"], found["altitude"]
    return FixMessage(_stamp_ns(found), found["status"]["status"], *place)


def read_range(data: memoryview) -> RangeMessage:
    """Parse a Range; errors as in `read_image`."""
    found = decode(RANGE, data, optional="variance")
    least, most, range_m = found["min_range"], found["max_range"], found["range"]
    variance = found.get("variance", 0.0)
    # Equal limits are those of a sensor that only says near or far, or were never set.
    within = least <= range_m <= most or not least < most
    is_read = math.isfinite(range_m) and range_m > 0 and within
    is_known = math.isfinite(variance) and variance > 0
    return RangeMessage(
        _stamp_ns(found), range_m if is_read else None, math.sqrt(variance) if is_known else None
    )


def read_camera_info(data: memoryview) -> CameraInfoMessage:
    """Parse a CameraInfo; errors as in `read_image`."""
    found = decode(CAMERA_INFO, data)
    region = found["roi"]
    return CameraInfoMessage(
        _stamp_ns(found), found["width"], found["height"], found["distortion_model"], found["d"],
        found["k"], found["p"], (found["binning_x"], found["binning_y"]),
        (region["x_offset"], region["y_offset"], region["width"], region["height"]),
    )  # fmt: skip


def read_transforms(data: memoryview) -> list[TransformMessage]:
    """Parse a TFMessage; errors as in `read_image`."""
    return [
        TransformMessage(
            each["header"]["frame_id"], each["child_frame_id"],
            each["transform"][:3], each["transform"][3:],
        )
        for each in decode(TRANSFORMS, data)["transforms"]
    ]  # fmt: skip


def _stamp_ns(message: Mapping[str, Any]) -> int:
    return max(0, int(message["header"]["stamp"]))

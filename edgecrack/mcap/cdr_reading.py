"""The few ROS 2 messages that are replayed, out of their CDR bytes.

These types have not changed in any ROS 2, so they are read directly, in the order of their
fields: the definitions in a file need not be trusted, only the fields that are used are read,
and pixels are not copied. A message that `ros2 bag record --compression-mode message` packed is
unpacked first. Knows bytes; must not know files or pixels.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from edgecrack.mcap.bag_compression import unpack_message
from edgecrack.mcap.format import DamagedRecordError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
ODOMETRY = "nav_msgs/msg/Odometry"
POSE = "geometry_msgs/msg/PoseStamped"
POSE_WITH_COVARIANCE = "geometry_msgs/msg/PoseWithCovarianceStamped"
FIX = "sensor_msgs/msg/NavSatFix"

_ENCAPSULATION_BYTES = 4


class MalformedMessageError(ValueError):
    """The bytes are not such a message."""


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


def read_image(data: memoryview) -> ImageMessage:
    """Parse an Image.

    Raises:
        MalformedMessageError: the bytes are no such message.
    """
    reader = _Reader(data)
    stamp_ns = reader.header()
    height, width = reader.uint32(), reader.uint32()
    encoding = reader.string()
    is_bigendian = reader.uint8() != 0
    return ImageMessage(
        stamp_ns, height, width, encoding, is_bigendian, reader.uint32(), reader.byte_array()
    )


def read_compressed_image(data: memoryview) -> CompressedImageMessage:
    """Parse a CompressedImage; errors as in `read_image`."""
    reader = _Reader(data)
    return CompressedImageMessage(reader.header(), reader.string(), reader.byte_array())


def read_pose(data: memoryview, type_name: str) -> PoseMessage:
    """Parse the pose of one of the three types that have one; errors as in `read_image`."""
    reader = _Reader(data)
    stamp_ns = reader.header()
    if type_name == ODOMETRY:
        reader.string()  # child_frame_id
    x, y, z, *quaternion = reader.doubles(7)
    qx, qy, qz, qw = quaternion
    return PoseMessage(stamp_ns, (x, y, z), (qx, qy, qz, qw))


def read_fix(data: memoryview) -> FixMessage:
    """Parse a NavSatFix; errors as in `read_image`."""
    reader = _Reader(data)
    stamp_ns, status = reader.header(), reader.int8()
    reader.uint16()  # which satellites
    latitude, longitude, altitude = reader.doubles(3)
    return FixMessage(stamp_ns, status, latitude, longitude, altitude)


class _Reader:
    """Takes values one after another; each is aligned to its own size."""

    def __init__(self, data: memoryview) -> None:
        try:
            data = unpack_message(data)
        except DamagedRecordError as error:
            raise MalformedMessageError(str(error)) from error
        # The second byte of the encapsulation: 0 for big endian, 1 for little.
        if len(data) < _ENCAPSULATION_BYTES or data[0] != 0 or data[1] > 1:
            raise MalformedMessageError("it does not begin as CDR does")
        self._order = "<" if data[1] else ">"
        self._data = data[_ENCAPSULATION_BYTES:]
        self._place = 0

    def header(self) -> int:
        """A std_msgs/Header; returns its stamp in ns, 0 if not set."""
        seconds, nanoseconds = self.int32(), self.uint32()
        self.string()  # frame_id
        return max(0, seconds * 10**9 + nanoseconds)

    def int8(self) -> int:
        return int(self._take("b", 1)[0])

    def uint8(self) -> int:
        return int(self._take("B", 1)[0])

    def uint16(self) -> int:
        return int(self._take("H", 2)[0])

    def int32(self) -> int:
        return int(self._take("i", 4)[0])

    def uint32(self) -> int:
        return int(self._take("I", 4)[0])

    def doubles(self, count: int) -> tuple[float, ...]:
        return self._take(f"{count}d", 8)

    def string(self) -> str:
        # The length counts the zero at the end.
        return bytes(self.byte_array()).rstrip(b"\0").decode("utf-8", "replace")

    def byte_array(self) -> memoryview:
        length = self.uint32()
        end = self._place + length
        if end > len(self._data):
            raise MalformedMessageError("it is cut short")
        taken = self._data[self._place : end]
        self._place = end
        return taken

    def _take(self, code: str, alignment: int) -> tuple[float, ...]:
        place = -(-self._place // alignment) * alignment
        values = struct.Struct(self._order + code)
        if place + values.size > len(self._data):
            raise MalformedMessageError("it is cut short")
        self._place = place + values.size
        return values.unpack_from(self._data, place)

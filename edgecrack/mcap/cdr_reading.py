"""The few ROS 2 messages that are replayed, out of their CDR bytes.

These types have not changed in any ROS 2, so they are read directly, in the order of their
fields: the definitions in a file need not be trusted, only the fields that are used are read,
and pixels are not copied. A message that `ros2 bag record --compression-mode message` packed is
unpacked first. Knows bytes; must not know files or pixels.
"""

from __future__ import annotations

import math
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
RANGE = "sensor_msgs/msg/Range"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

_ENCAPSULATION_BYTES = 4
_MOST_COEFFICIENTS = 64
_MOST_TRANSFORMS = 10_000


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


class RangeMessage(NamedTuple):
    """`sensor_msgs/msg/Range`.

    Attributes:
        stamp_ns: 0 where none was set.
        range_m: None where the sensor read nothing: what is not finite or out of its limits.
        deviation_m: standard uncertainty; None where the message has no variance, as none has
            before ROS 2 Iron, or an unknown one.
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
        binning: columns and rows of the camera that one pixel stands for; 0 means 1.
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


def read_range(data: memoryview) -> RangeMessage:
    """Parse a Range; errors as in `read_image`."""
    reader = _Reader(data)
    stamp_ns = reader.header()
    reader.uint8()  # ultrasound or infrared
    reader.floats(1)  # field of view
    least, most, found = reader.floats(3)
    variance = reader.floats(1)[0] if reader.has_more(4) else 0.0
    # Equal limits are those of a sensor that only says near or far, or were never set.
    within = least <= found <= most or not least < most
    is_read = math.isfinite(found) and found > 0 and within
    is_known = math.isfinite(variance) and variance > 0
    return RangeMessage(
        stamp_ns, found if is_read else None, math.sqrt(variance) if is_known else None
    )


def read_camera_info(data: memoryview) -> CameraInfoMessage:
    """Parse a CameraInfo; errors as in `read_image`."""
    reader = _Reader(data)
    stamp_ns, height, width = reader.header(), reader.uint32(), reader.uint32()
    model = reader.string()
    count = reader.uint32()
    if count > _MOST_COEFFICIENTS:
        raise MalformedMessageError(f"it has {count} distortion coefficients")
    distortion = reader.doubles(count)
    matrix, _, projection = reader.doubles(9), reader.doubles(9), reader.doubles(12)
    binning = reader.uint32(), reader.uint32()
    left, top = reader.uint32(), reader.uint32()
    rows, columns = reader.uint32(), reader.uint32()
    return CameraInfoMessage(
        stamp_ns, width, height, model, distortion, matrix, projection, binning,
        (left, top, columns, rows),
    )  # fmt: skip


def read_transforms(data: memoryview) -> list[TransformMessage]:
    """Parse a TFMessage; errors as in `read_image`."""
    reader = _Reader(data)
    count = reader.uint32()
    if count > _MOST_TRANSFORMS:
        raise MalformedMessageError(f"it has {count} transforms")
    found = []
    for _ in range(count):
        _, parent = reader.stamp_and_frame()
        child = reader.string()
        x, y, z, qx, qy, qz, qw = reader.doubles(7)
        found.append(TransformMessage(parent, child, (x, y, z), (qx, qy, qz, qw)))
    return found


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
        return self.stamp_and_frame()[0]

    def stamp_and_frame(self) -> tuple[int, str]:
        """A std_msgs/Header; its stamp as above, and its frame."""
        seconds, nanoseconds = self.int32(), self.uint32()
        return max(0, seconds * 10**9 + nanoseconds), self.string()

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
        return self._take(f"{count}d", 8) if count else ()

    def floats(self, count: int) -> tuple[float, ...]:
        return self._take(f"{count}f", 4)

    def has_more(self, count: int) -> bool:
        return len(self._data) - self._place >= count

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

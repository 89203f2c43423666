"""Recordings for tests, written by libraries that are not ours: rosbags, and the mcap package."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore

STORE: Any = get_typestore(Stores.ROS2_HUMBLE)
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 40_000_000

# Topic, log time, type, and the message.
Entry = tuple[str, int, str, Any]


def picture(index: int = 0, hw: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """A picture that differs from its neighbours in every row, column and colour."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    planes = [(3 * y + 7 * index) % 256, (2 * x + y) % 256, (x + 11 * index) % 256]
    return np.stack(planes, axis=-1).astype(np.uint8)


def jpeg_of(image: NDArray[np.uint8], quality: int = 95, progressive: int = 0) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    return cv2.imencode(".jpg", image, settings)[1].tobytes()


def png_of(image: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def header(time_ns: int, frame_id: str = "camera") -> Any:
    seconds, nanoseconds = divmod(time_ns, 10**9)
    stamp = STORE.types["builtin_interfaces/msg/Time"](seconds, nanoseconds)
    return STORE.types["std_msgs/msg/Header"](stamp, frame_id)


def compressed(data: bytes, time_ns: int = 0, message_format: str = "jpeg") -> Any:
    kind = STORE.types["sensor_msgs/msg/CompressedImage"]
    return kind(header(time_ns), message_format, np.frombuffer(data, np.uint8))


def raw(
    data: bytes, hw: tuple[int, int], encoding: str, step: int, big: bool = False, time_ns: int = 0
) -> Any:
    kind = STORE.types["sensor_msgs/msg/Image"]
    pixels = np.frombuffer(data, np.uint8)
    return kind(header(time_ns), hw[0], hw[1], encoding, int(big), step, pixels)


def odometry(
    xyz: Sequence[float], quaternion: Sequence[float] = (0, 0, 0, 1), time_ns: int = 0
) -> Any:
    types, zeros = STORE.types, np.zeros(36)
    vector = types["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    twist = types["geometry_msgs/msg/TwistWithCovariance"](
        types["geometry_msgs/msg/Twist"](vector, vector), zeros
    )
    posed = types["geometry_msgs/msg/PoseWithCovariance"](pose(xyz, quaternion), zeros)
    return types["nav_msgs/msg/Odometry"](header(time_ns, "odom"), "base_link_1", posed, twist)


def pose(xyz: Sequence[float], quaternion: Sequence[float] = (0, 0, 0, 1)) -> Any:
    point = STORE.types["geometry_msgs/msg/Point"](*map(float, xyz))
    turn = STORE.types["geometry_msgs/msg/Quaternion"](*map(float, quaternion))
    return STORE.types["geometry_msgs/msg/Pose"](point, turn)


def fix(
    latitude: float, longitude: float, altitude: float, time_ns: int = 0, status: int = 0
) -> Any:
    state = STORE.types["sensor_msgs/msg/NavSatStatus"](status, 1)
    kind = STORE.types["sensor_msgs/msg/NavSatFix"]
    return kind(header(time_ns, "gnss"), state, latitude, longitude, altitude, np.zeros(9), 0)


def range_of(range_m: float, time_ns: int = 0, limits_m: tuple[float, float] = (0.1, 40.0)) -> Any:
    kind = STORE.types["sensor_msgs/msg/Range"]
    return kind(header(time_ns, "laser"), 1, 0.01, *limits_m, range_m)


def camera_info(
    focal_px: float, size: tuple[int, int] = (64, 48), time_ns: int = 0, **changes: Any
) -> Any:
    """A CameraInfo without distortion; `changes` replaces d, k, p or distortion_model."""
    width, height = size
    middle = (width - 1) / 2, (height - 1) / 2
    k = np.array([focal_px, 0, middle[0], 0, focal_px, middle[1], 0, 0, 1.0])
    p = np.insert(k, [3, 6, 9], 0.0)
    fields: dict[str, Any] = {
        "distortion_model": "plumb_bob",
        "d": np.zeros(5),
        "k": k,
        "p": p,
        "binning": 0,
    }
    fields |= {"roi": (0, 0, 0, 0), **changes}
    left, top, columns, rows = fields["roi"]
    roi = STORE.types["sensor_msgs/msg/RegionOfInterest"](top, left, rows, columns, False)
    kind = STORE.types["sensor_msgs/msg/CameraInfo"]
    return kind(
        header(time_ns), height, width, fields["distortion_model"], fields["d"], fields["k"],
        np.eye(3).ravel(), fields["p"], fields["binning"], fields["binning"], roi,
    )  # fmt: skip


def cdr_of(message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def images(count: int, topic: str = "/camera/image/compressed") -> list[Entry]:
    """JPEG images 40 ms apart, stamped 5 ms before they were recorded."""
    kind = "sensor_msgs/msg/CompressedImage"
    return [
        (
            topic,
            START_NS + index * PERIOD_NS + 5_000_000,
            kind,
            compressed(jpeg_of(picture(index)), START_NS + index * PERIOD_NS),
        )
        for index in range(count)
    ]


def write_bag(
    folder: Path, entries: Sequence[Entry], compression: CompressionMode = CompressionMode.NONE
) -> Path:
    """An MCAP by rosbags, as `ros2 bag record -s mcap` would make it; gives the file's path."""
    writer = Writer(folder / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
    if compression != CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {
            (topic, kind): writer.add_connection(topic, kind, typestore=STORE)
            for topic, kind in dict.fromkeys((topic, kind) for topic, _, kind, _ in entries)
        }
        for topic, time_ns, kind, message in entries:
            writer.write(connections[topic, kind], time_ns, cdr_of(message))
    suffix = ".mcap.zstd" if compression == CompressionMode.FILE else ".mcap"
    return folder / "bag" / f"bag{suffix}"


def mcap_of(
    entries: Sequence[tuple[str, int, str, bytes]],
    *,
    compression: CompressionType = CompressionType.NONE,
    chunk_size: int = 4096,
    encoding: str = "cdr",
    schema_encoding: str = "ros2msg",
    **settings: Any,
) -> bytes:
    """An MCAP by the mcap package, with whatever oddity its settings allow."""
    file = io.BytesIO()
    writer = McapWriter(file, chunk_size=chunk_size, compression=compression, **settings)
    writer.start("ros2", "test")
    channels: dict[str, int] = {}
    for topic, time_ns, kind, data in entries:
        if topic not in channels:
            schema = writer.register_schema(kind, schema_encoding, b"")
            channels[topic] = writer.register_channel(topic, encoding, schema)
        writer.add_message(channels[topic], time_ns, data, time_ns)
    writer.finish()  # type: ignore[no-untyped-call]
    return file.getvalue()


def write_mcap(path: Path, entries: Sequence[Entry], **settings: Any) -> Path:
    """`mcap_of` messages of ROS 2 as a file."""
    packed = [(topic, time_ns, kind, cdr_of(message)) for topic, time_ns, kind, message in entries]
    path.write_bytes(mcap_of(packed, **settings))
    return path

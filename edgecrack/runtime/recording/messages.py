"""Results, events and counters as the messages of a recording.

Boxes are in pixels, with the top left corner of the top left pixel as origin, so that a region
over all of a frame is as wide as the frame. Knows no file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.mcap import message_schemas
from edgecrack.mcap.cdr_writing import CdrWriter
from edgecrack.measurement.regions import Region
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.position.interpolate import LONGEST_RANGE_M
from edgecrack.runtime.telemetry.events import Event
from edgecrack.runtime.telemetry.stats import StatsSnapshot

CAMERA = "camera"
ODOMETRY = "odom"
GNSS = "gnss"
CLASS_ID = "crack"

_IDENTITY_XYZW = (0.0, 0.0, 0.0, 1.0)
_NO_POSE = (0.0, 0.0, 0.0, *_IDENTITY_XYZW, *[0.0] * 36)
_OUTLINE_RGBA = (1.0, 0.25, 0.1, 1.0)
_LINE_RGBA = (1.0, 0.9, 0.0, 1.0)
_CLEAR_RGBA = (0.0, 0.0, 0.0, 0.0)
_LINE_LIST = 4
_OUTLINE_PX = 2.0
_SERVICE_GPS = 1
_INFRARED = 1
_LOG_LEVELS = {"detail": 10, "info": 20, "warning": 30, "error": 40}
_OK, _WARN = 0, 1

Messages = list[tuple[str, bytes]]


def frame_messages(result: FrameResult) -> Messages:
    """All messages of one result, as (topic, bytes).

    Raises:
        OutputError: the frame or mask cannot be encoded.
    """
    time_ns = result.frame.stamp_ns
    messages = [
        (message_schemas.IMAGE, compressed_image(time_ns, "jpeg", result.jpeg())),
        (message_schemas.MASK, compressed_image(time_ns, "png", result.mask_png())),
        (message_schemas.FINDINGS, detections(result)),
        (message_schemas.ANNOTATIONS, outlines(time_ns, result.regions, result.centre_lines())),
    ]
    if result.position is not None:
        messages += position_messages(result.position)
    return messages


def compressed_image(time_ns: int, image_format: str, data: bytes) -> bytes:
    """A sensor_msgs/msg/CompressedImage."""
    writer = CdrWriter()
    writer.header(time_ns, CAMERA)
    writer.string(image_format)
    writer.octets(data)
    return writer.finish()


def detections(result: FrameResult) -> bytes:
    """A vision_msgs/msg/Detection2DArray with one detection per region, largest area first.

    A detection's score is the mean probability, 0 to 1, of the crack pixels in its box; its
    pose is not used.
    """
    time_ns = result.frame.stamp_ns
    writer = CdrWriter()
    writer.header(time_ns, CAMERA)
    writer.uint32(len(result.regions))
    for region in result.regions:
        left, top, right, bottom = region.xyxy
        writer.header(time_ns, CAMERA)
        writer.uint32(1)
        writer.string(CLASS_ID)
        writer.float64(score(result, region), *_NO_POSE)
        center = (left + right) / 2, (top + bottom) / 2
        writer.float64(*center, 0.0, right - left, bottom - top)
        writer.string("")
    return writer.finish()


def score(result: FrameResult, region: Region) -> float:
    """Mean probability, 0 to 1, of the crack pixels in a region's box."""
    left, top, right, bottom = region.xyxy
    window = np.s_[top:bottom, left:right]
    return float(cv2.mean(result.probability[window], result.mask[window])[0]) / 255


def outlines(
    time_ns: int, regions: tuple[Region, ...], lines: tuple[NDArray[np.float64], ...]
) -> bytes:
    """A foxglove_msgs/msg/ImageAnnotations: the outlines of all boxes, and all centre lines."""
    boxes = np.array([region.xyxy for region in regions], "<f8").reshape(-1, 4)
    # Corners in a ring, each line from one to the next: columns of left, top, right, bottom.
    corners = [0, 1, 2, 1, 2, 1, 2, 3, 2, 3, 0, 3, 0, 3, 0, 1]
    # From each point to the next.
    steps = [np.stack([line[:-1], line[1:]], axis=1).reshape(-1, 2) for line in lines]
    points = np.concatenate([np.zeros((0, 2)), *steps]).astype("<f8")
    writer = CdrWriter()
    writer.uint32(0)  # circles
    writer.uint32(2)  # lists of lines; without any, Foxglove would keep those of the frame before
    for ends, colour in ((boxes[:, corners], _OUTLINE_RGBA), (points, _LINE_RGBA)):
        writer.time(time_ns)
        writer.uint8(_LINE_LIST)
        writer.uint32(ends.size // 2)
        writer.float64_bytes(ends.tobytes())
        writer.float64(*colour)
        writer.uint32(0)  # a colour for each line
        writer.float64(*_CLEAR_RGBA, _OUTLINE_PX)
    writer.uint32(0)  # texts
    return writer.finish()


def position_messages(position: Position) -> Messages:
    """What is known of a position: pose, fix, distance, range; as (topic, bytes)."""
    messages: Messages = []
    if position.xyz_m is not None:
        writer = CdrWriter()
        writer.header(position.time_ns, ODOMETRY)
        writer.float64(*position.xyz_m, *(position.quaternion_xyzw or _IDENTITY_XYZW))
        messages.append((message_schemas.POSE, writer.finish()))
    if position.latitude_deg is not None and position.longitude_deg is not None:
        altitude_m = math.nan if position.altitude_m is None else position.altitude_m
        writer = CdrWriter()
        writer.header(position.time_ns, GNSS)
        writer.uint8(0)  # a fix
        writer.uint16(_SERVICE_GPS)
        writer.float64(position.latitude_deg, position.longitude_deg, altitude_m, *[0.0] * 9)
        writer.uint8(0)  # covariance unknown
        messages.append((message_schemas.FIX, writer.finish()))
    if position.distance_m is not None:
        writer = CdrWriter()
        writer.float64(position.distance_m)
        messages.append((message_schemas.DISTANCE, writer.finish()))
    if position.range_m is not None:
        variance = (position.range_deviation_m or 0.0) ** 2  # 0 is unknown
        writer = CdrWriter()
        writer.header(position.time_ns, CAMERA)
        writer.uint8(_INFRARED)
        writer.float32(0.0, 0.0, LONGEST_RANGE_M, position.range_m, variance)
        messages.append((message_schemas.RANGE, writer.finish()))
    return messages


def json_text(record: Mapping[str, Any]) -> bytes:
    """A std_msgs/msg/String with a record of widths or of a crack as JSON."""
    writer = CdrWriter()
    writer.string(json.dumps(record, allow_nan=False))
    return writer.finish()


def diagnostics(time_ns: int, source: str, stats: StatsSnapshot, dropped: int, stale: int) -> bytes:
    """A diagnostic_msgs/msg/DiagnosticArray with every counter as a key and value.

    Args:
        time_ns: wall clock.
        source: name of the source, as hardware.
        stats: the counters.
        dropped: frames that this recording left out since the disk was too slow.
        stale: those of them that it took, and that had grown too old by then.
    """
    values = {
        **stats.to_dict(),
        "recording_dropped": dropped,
        "recording_stale": stale,
    }
    slowed = stats.shedding != "nothing" or stats.throttling == "throttled"
    well = stats.source_state != "lost" and not slowed
    throttled = ", the machine is throttled" if stats.throttling == "throttled" else ""
    writer = CdrWriter()
    writer.header(time_ns, CAMERA)
    writer.uint32(1)
    writer.uint8(_OK if well else _WARN)
    writer.string("edgecrack")
    writer.string(f"source {stats.source_state}, {stats.fps:.1f} frames/s{throttled}")
    writer.string(source)
    writer.uint32(len(values))
    for key, value in values.items():
        writer.string(key)
        writer.string(str(value))
    return writer.finish()


def log(event: Event) -> bytes:
    """A rcl_interfaces/msg/Log; the event's kind stands as its function."""
    writer = CdrWriter()
    writer.time(event.time_ns)
    writer.uint8(_LOG_LEVELS[event.level])
    writer.string("edgecrack")
    writer.string(event.message)
    writer.string("")
    writer.string(event.kind)
    writer.uint32(0)
    return writer.finish()

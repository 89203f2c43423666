"""Results, events and counters as the messages of a recording.

Boxes are in pixels, with the top left corner of the top left pixel as origin, so a region over all
of a frame is as wide as the frame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.mcap import message_types as types
from edgecrack.mcap.cdr import encode
from edgecrack.measurement.regions import Region
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.position.interpolate import LONGEST_RANGE_M
from edgecrack.runtime.telemetry.events import Event
from edgecrack.runtime.telemetry.stats import StatsSnapshot

_CAMERA, _ODOMETRY, _GNSS = "camera", "odom", "gnss"
_CLASS_ID = "crack"
_IDENTITY_XYZW = (0.0, 0.0, 0.0, 1.0)
# Not used: at the origin, with a covariance of zeros.
_NO_POSE = (0.0, 0.0, 0.0, *_IDENTITY_XYZW, *[0.0] * 36)
_OUTLINE_RGBA = (1.0, 0.25, 0.1, 1.0)
_LINE_RGBA = (1.0, 0.9, 0.0, 1.0)
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
    drawing = outlines(time_ns, result.regions, result.centre_lines())
    messages = [
        (types.IMAGE_TOPIC, compressed_image(time_ns, "jpeg", result.jpeg())),
        (types.MASK_TOPIC, compressed_image(time_ns, "png", result.mask_png())),
        (types.FINDINGS_TOPIC, detections(result)),
        (types.ANNOTATIONS_TOPIC, drawing),
    ]
    if result.position is not None:
        messages += position_messages(result.position)
    return messages


def compressed_image(time_ns: int, image_format: str, data: bytes) -> bytes:
    """A sensor_msgs/msg/CompressedImage."""
    header = _header(time_ns, _CAMERA)
    return encode(types.COMPRESSED_IMAGE, {"header": header, "format": image_format, "data": data})


def detections(result: FrameResult) -> bytes:
    """A vision_msgs/msg/Detection2DArray with one detection per region, largest area first.

    A detection's score is the mean probability, 0 to 1, of the crack pixels in its box; its pose is
    not used.
    """
    header = _header(result.frame.stamp_ns, _CAMERA)
    found = []
    for region in result.regions:
        left, top, right, bottom = region.xyxy
        hypothesis = {"class_id": _CLASS_ID, "score": _score(result, region)}
        found.append(
            {
                "header": header,
                "results": [{"hypothesis": hypothesis, "pose": _NO_POSE}],
                "bbox": ((left + right) / 2, (top + bottom) / 2, 0.0, right - left, bottom - top),
            }
        )
    return encode(types.DETECTIONS, {"header": header, "detections": found})


def _score(result: FrameResult, region: Region) -> float:
    """Mean probability, 0 to 1, of the crack pixels in a region's box."""
    left, top, right, bottom = region.xyxy
    window = np.s_[top:bottom, left:right]
    return float(cv2.mean(result.probability[window], result.mask[window])[0]) / 255


def outlines(
    time_ns: int, regions: tuple[Region, ...], lines: tuple[NDArray[np.float64], ...]
) -> bytes:
    """A foxglove_msgs/msg/ImageAnnotations: the outlines of all boxes, and all centre lines.

    Both lists of lines are always there: without any, Foxglove would keep those of the last frame.
    """
    boxes = np.array([region.xyxy for region in regions], np.float64).reshape(-1, 4)
    # Corners in a ring, each line from one to the next: columns of left, top, right, bottom.
    corners = [0, 1, 2, 1, 2, 1, 2, 3, 2, 3, 0, 3, 0, 3, 0, 1]
    # From each point to the next.
    steps = [np.stack([line[:-1], line[1:]], axis=1).reshape(-1, 2) for line in lines]
    drawn = (
        (boxes[:, corners], _OUTLINE_RGBA),
        (np.concatenate([np.zeros((0, 2)), *steps]), _LINE_RGBA),
    )
    points = [
        {
            "timestamp": time_ns,
            "type": _LINE_LIST,
            "points": ends,
            "outline_color": colour,
            "thickness": _OUTLINE_PX,
        }
        for ends, colour in drawn
    ]
    return encode(types.ANNOTATIONS, {"points": points})


def position_messages(position: Position) -> Messages:
    """What is known of a position: pose, fix, distance, range; as (topic, bytes)."""
    messages: Messages = []
    if position.xyz_m is not None:
        pose = (*position.xyz_m, *(position.quaternion_xyzw or _IDENTITY_XYZW))
        header = _header(position.time_ns, _ODOMETRY)
        messages.append((types.POSE_TOPIC, encode(types.POSE, {"header": header, "pose": pose})))
    if position.latitude_deg is not None and position.longitude_deg is not None:
        fix = {
            "header": _header(position.time_ns, _GNSS),
            "status": {"service": _SERVICE_GPS},
            "latitude": position.latitude_deg,
            "longitude": position.longitude_deg,
            "altitude": math.nan if position.altitude_m is None else position.altitude_m,
        }
        messages.append((types.FIX_TOPIC, encode(types.FIX, fix)))
    if position.distance_m is not None:
        messages.append((types.DISTANCE_TOPIC, encode(types.FLOAT, (position.distance_m,))))
    if position.range_m is not None:
        reading = {
            "header": _header(position.time_ns, _CAMERA),
            "radiation_type": _INFRARED,
            "max_range": LONGEST_RANGE_M,
            "range": position.range_m,
            "variance": (position.range_deviation_m or 0.0) ** 2,  # 0 is unknown
        }
        messages.append((types.RANGE_TOPIC, encode(types.RANGE, reading)))
    return messages


def json_text(record: Mapping[str, Any]) -> bytes:
    """A std_msgs/msg/String with a record of widths or of a crack as JSON."""
    return encode(types.STRING, {"data": json.dumps(record, allow_nan=False)})


def diagnostics(time_ns: int, source: str, stats: StatsSnapshot, dropped: int, stale: int) -> bytes:
    """A diagnostic_msgs/msg/DiagnosticArray with every counter as a key and value.

    Args:
        time_ns: wall clock.
        source: name of the source, as hardware.
        stats: the counters.
        dropped: frames that this recording left out because the disk was too slow.
        stale: those of them that had grown too old when their turn came.
    """
    values = {**stats.to_dict(), "recording_dropped": dropped, "recording_stale": stale}
    slowed = stats.shedding != "nothing" or stats.throttling == "throttled"
    well = stats.source_state != "lost" and not slowed
    throttled = ", the machine is throttled" if stats.throttling == "throttled" else ""
    status = {
        "level": _OK if well else _WARN,
        "name": "edgecrack",
        "message": f"source {stats.source_state}, {stats.fps:.1f} frames/s{throttled}",
        "hardware_id": source,
        "values": [{"key": key, "value": str(value)} for key, value in values.items()],
    }
    message = {"header": _header(time_ns, _CAMERA), "status": [status]}
    return encode(types.DIAGNOSTICS, message)


def log(event: Event) -> bytes:
    """A rcl_interfaces/msg/Log; its function is the event's kind."""
    message = {
        "stamp": event.time_ns,
        "level": _LOG_LEVELS[event.level],
        "name": "edgecrack",
        "msg": event.message,
        "function": event.kind,
    }
    return encode(types.LOG, message)


def _header(time_ns: int, frame_id: str) -> dict[str, Any]:
    return {"stamp": time_ns, "frame_id": frame_id}

"""The ROS 2 message types that are read and written, and the topics of a recording.

One description serves all: the definitions are written into recordings, and `cdr` reads and writes
messages by them. They are those of ROS 2 Humble, vision_msgs 4 and foxglove_msgs, without comments;
Range has the variance that it has had since Iron, at its end, which earlier readers pass over. A
reader decodes by the definition in the file, so it needs none of these packages.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
ODOMETRY = "nav_msgs/msg/Odometry"
POSE = "geometry_msgs/msg/PoseStamped"
POSE_WITH_COVARIANCE = "geometry_msgs/msg/PoseWithCovarianceStamped"
FIX = "sensor_msgs/msg/NavSatFix"
RANGE = "sensor_msgs/msg/Range"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
DETECTIONS = "vision_msgs/msg/Detection2DArray"
ANNOTATIONS = "foxglove_msgs/msg/ImageAnnotations"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
LOG = "rcl_interfaces/msg/Log"
FLOAT = "std_msgs/msg/Float64"
STRING = "std_msgs/msg/String"
TIME = "builtin_interfaces/msg/Time"

IMAGE_TOPIC = "/edgecrack/image"
MASK_TOPIC = "/edgecrack/mask"
FINDINGS_TOPIC = "/edgecrack/findings"
ANNOTATIONS_TOPIC = "/edgecrack/annotations"
STATS_TOPIC = "/edgecrack/stats"
EVENTS_TOPIC = "/edgecrack/events"
POSE_TOPIC = "/edgecrack/pose"
FIX_TOPIC = "/edgecrack/fix"
DISTANCE_TOPIC = "/edgecrack/odometry_distance"
RANGE_TOPIC = "/edgecrack/range"
WIDTHS_TOPIC = "/edgecrack/widths"
CRACKS_TOPIC = "/edgecrack/cracks"

# Each topic of a recording and the type of its messages, in the order of their channels, which
# count from 1.
TOPICS = {
    IMAGE_TOPIC: COMPRESSED_IMAGE,
    MASK_TOPIC: COMPRESSED_IMAGE,
    FINDINGS_TOPIC: DETECTIONS,
    ANNOTATIONS_TOPIC: ANNOTATIONS,
    STATS_TOPIC: DIAGNOSTICS,
    EVENTS_TOPIC: LOG,
    POSE_TOPIC: POSE,
    FIX_TOPIC: FIX,
    DISTANCE_TOPIC: FLOAT,
    RANGE_TOPIC: RANGE,
    # A line of widths.jsonl. As a JSON channel it could not be replayed by ROS 2, whose recordings
    # have CDR only.
    WIDTHS_TOPIC: STRING,
    # A line of findings.jsonl.
    CRACKS_TOPIC: STRING,
}

_SEPARATOR = "=" * 80
# Type, brackets of an array, length, and name. Constants have a value behind their name.
_FIELD = re.compile(r"^([A-Za-z0-9_/]+)(\[(\d*)\])? ([a-z0-9_]+)$", re.MULTILINE)

# Below the line "MSG: NAME", each type's fields as in ROS 2's own .msg files. Odometry and
# PoseWithCovarianceStamped are described up to the pose, as nothing behind it is read.
_DEFINITIONS: dict[str, str] = {}
for _section in Path(__file__).with_name("message_definitions.txt").read_text().split("MSG: ")[1:]:
    _name, _fields = _section.split("\n", 1)
    _DEFINITIONS[_name] = _fields.strip() + "\n"


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        name: as in its definition.
        kind: its type or, of an array, that of its elements, such as "float64".
        length: of an array of fixed length; None otherwise.
        is_sequence: it is an array of any length.
    """

    name: str
    kind: str
    length: int | None
    is_sequence: bool


@cache
def fields_of(kind: str) -> tuple[Field, ...]:
    """The fields of a message type such as "std_msgs/Header", in their order."""
    return tuple(
        Field(name, part, int(length) if length else None, bool(brackets) and not length)
        for part, brackets, length, name in _FIELD.findall(_DEFINITIONS[kind])
    )


def short_name(message_type: str) -> str:
    """The name of a type inside definitions: "sensor_msgs/Image" for "sensor_msgs/msg/Image"."""
    return message_type.replace("/msg/", "/")


def definition(message_type: str) -> str:
    """The whole definition of a message as ROS 2 writes it into a recording.

    Args:
        message_type: as in `TOPICS`, e.g. "sensor_msgs/msg/NavSatFix".

    Returns:
        Its fields, then each type that they need, once, behind a line of 80 "=" and its name.
    """
    top = short_name(message_type)
    needed: dict[str, None] = {}
    _collect(top, needed)
    parts = [f"{_SEPARATOR}\nMSG: {name}\n{_DEFINITIONS[name]}" for name in needed if name != top]
    return _DEFINITIONS[top] + "".join(parts)


def _collect(name: str, needed: dict[str, None]) -> None:
    if name in _DEFINITIONS and name not in needed:
        needed[name] = None
        for each in fields_of(name):
            _collect(each.kind, needed)

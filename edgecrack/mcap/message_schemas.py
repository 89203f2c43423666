"""The topics of a recording and the ROS 2 definitions of their messages.

Definitions are those of ROS 2 Humble, vision_msgs 4 and foxglove_msgs, without comments; Range has
the variance that it has since Iron, at its end, which earlier ones pass over. A reader decodes by
the definition in the file, so it needs none of these packages.
"""

from __future__ import annotations

import re

IMAGE = "/edgecrack/image"
MASK = "/edgecrack/mask"
FINDINGS = "/edgecrack/findings"
ANNOTATIONS = "/edgecrack/annotations"
STATS = "/edgecrack/stats"
EVENTS = "/edgecrack/events"
POSE = "/edgecrack/pose"
FIX = "/edgecrack/fix"
DISTANCE = "/edgecrack/odometry_distance"
RANGE = "/edgecrack/range"
WIDTHS = "/edgecrack/widths"
CRACKS = "/edgecrack/cracks"

# Each topic and the type of its messages, in the order of their channels, which count from 1.
TOPICS = {
    IMAGE: "sensor_msgs/msg/CompressedImage",
    MASK: "sensor_msgs/msg/CompressedImage",
    FINDINGS: "vision_msgs/msg/Detection2DArray",
    ANNOTATIONS: "foxglove_msgs/msg/ImageAnnotations",
    STATS: "diagnostic_msgs/msg/DiagnosticArray",
    EVENTS: "rcl_interfaces/msg/Log",
    POSE: "geometry_msgs/msg/PoseStamped",
    FIX: "sensor_msgs/msg/NavSatFix",
    DISTANCE: "std_msgs/msg/Float64",
    RANGE: "sensor_msgs/msg/Range",
    # A line of widths.jsonl. As a JSON channel it could not be replayed by ROS 2, whose recordings
    # hold CDR alone.
    WIDTHS: "std_msgs/msg/String",
    # A line of findings.jsonl.
    CRACKS: "std_msgs/msg/String",
}

_SEPARATOR = "=" * 80
_FIELD_TYPE = re.compile(r"^([a-z0-9_]+/[A-Za-z0-9]+)", re.MULTILINE)

_DEFINITIONS = {
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec\n",
    "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id\n",
    "std_msgs/Float64": "float64 data\n",
    "std_msgs/String": "string data\n",
    "geometry_msgs/Point": "float64 x\nfloat64 y\nfloat64 z\n",
    "geometry_msgs/Quaternion": "float64 x\nfloat64 y\nfloat64 z\nfloat64 w\n",
    "geometry_msgs/Pose": ("geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation\n"),
    "geometry_msgs/PoseStamped": "std_msgs/Header header\ngeometry_msgs/Pose pose\n",
    "geometry_msgs/PoseWithCovariance": "geometry_msgs/Pose pose\nfloat64[36] covariance\n",
    "sensor_msgs/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data\n",
    "sensor_msgs/NavSatStatus": """\
int8 STATUS_NO_FIX=-1
int8 STATUS_FIX=0
int8 STATUS_SBAS_FIX=1
int8 STATUS_GBAS_FIX=2
int8 status
uint16 SERVICE_GPS=1
uint16 SERVICE_GLONASS=2
uint16 SERVICE_COMPASS=4
uint16 SERVICE_GALILEO=8
uint16 service
""",
    "sensor_msgs/NavSatFix": """\
std_msgs/Header header
sensor_msgs/NavSatStatus status
float64 latitude
float64 longitude
float64 altitude
float64[9] position_covariance
uint8 COVARIANCE_TYPE_UNKNOWN=0
uint8 COVARIANCE_TYPE_APPROXIMATED=1
uint8 COVARIANCE_TYPE_DIAGONAL_KNOWN=2
uint8 COVARIANCE_TYPE_KNOWN=3
uint8 position_covariance_type
""",
    "sensor_msgs/Range": """\
std_msgs/Header header
uint8 ULTRASOUND=0
uint8 INFRARED=1
uint8 radiation_type
float32 field_of_view
float32 min_range
float32 max_range
float32 range
float32 variance
""",
    "vision_msgs/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/Point2D": "float64 x\nfloat64 y\n",
    "vision_msgs/Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "vision_msgs/BoundingBox2D": ("vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n"),
    "vision_msgs/Detection2D": """\
std_msgs/Header header
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox2D bbox
string id
""",
    "vision_msgs/Detection2DArray": (
        "std_msgs/Header header\nvision_msgs/Detection2D[] detections\n"
    ),
    "foxglove_msgs/Color": "float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n",
    "foxglove_msgs/Point2": "float64 x\nfloat64 y\n",
    "foxglove_msgs/CircleAnnotation": """\
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position
float64 diameter
float64 thickness
foxglove_msgs/Color fill_color
foxglove_msgs/Color outline_color
""",
    "foxglove_msgs/PointsAnnotation": """\
builtin_interfaces/Time timestamp
uint8 UNKNOWN=0
uint8 POINTS=1
uint8 LINE_LOOP=2
uint8 LINE_STRIP=3
uint8 LINE_LIST=4
uint8 type
foxglove_msgs/Point2[] points
foxglove_msgs/Color outline_color
foxglove_msgs/Color[] outline_colors
foxglove_msgs/Color fill_color
float64 thickness
""",
    "foxglove_msgs/TextAnnotation": """\
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position
string text
float64 font_size
foxglove_msgs/Color text_color
foxglove_msgs/Color background_color
""",
    "foxglove_msgs/ImageAnnotations": """\
foxglove_msgs/CircleAnnotation[] circles
foxglove_msgs/PointsAnnotation[] points
foxglove_msgs/TextAnnotation[] texts
""",
    "diagnostic_msgs/KeyValue": "string key\nstring value\n",
    "diagnostic_msgs/DiagnosticStatus": """\
byte OK=0
byte WARN=1
byte ERROR=2
byte STALE=3
byte level
string name
string message
string hardware_id
diagnostic_msgs/KeyValue[] values
""",
    "diagnostic_msgs/DiagnosticArray": (
        "std_msgs/Header header\ndiagnostic_msgs/DiagnosticStatus[] status\n"
    ),
    "rcl_interfaces/Log": """\
byte DEBUG=10
byte INFO=20
byte WARN=30
byte ERROR=40
byte FATAL=50
builtin_interfaces/Time stamp
uint8 level
string name
string msg
string file
string function
uint32 line
""",
}


def definition(message_type: str) -> str:
    """The whole definition of a message as ROS 2 writes it into a recording.

    Args:
        message_type: as in `TOPICS`, e.g. "sensor_msgs/msg/NavSatFix".

    Returns:
        Its fields, then each type that they need, once, behind a line of 80 "=" and its name.
    """
    top = message_type.replace("/msg/", "/")
    needed: dict[str, None] = {}
    _collect(top, needed)
    parts = [f"{_SEPARATOR}\nMSG: {name}\n{_DEFINITIONS[name]}" for name in needed if name != top]
    return _DEFINITIONS[top] + "".join(parts)


def _collect(name: str, needed: dict[str, None]) -> None:
    if name not in needed:
        needed[name] = None
        for part in _FIELD_TYPE.findall(_DEFINITIONS[name]):
            _collect(part, needed)

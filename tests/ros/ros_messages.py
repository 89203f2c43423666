"""Stand-ins for ROS 2's generated message classes, as strict as those are.

Made from the message definitions: a field that does not exist, or a value of another type, is
refused as rclpy refuses it. `cdr_of` serializes one by rosbags, so that what is made here is
known to be a message that ROS 2 would send.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

VISION = {
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}


def _store() -> Any:
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in VISION.items():
        store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    return store


STORE: Any = _store()
_LIMITS = {"uint8": 2**8, "uint32": 2**32, "uint16": 2**16}
_CLASSES: dict[str, type] = {}
SLOW_ASSIGNMENTS: Counter[str] = Counter()


def message_class(type_name: str) -> Any:
    """The stand-in for a type such as `sensor_msgs/msg/Image`."""
    if type_name not in _CLASSES:
        fields = dict(STORE.fielddefs[type_name][1])
        _CLASSES[type_name] = type(
            type_name.rpartition("/")[2], (_Message,), {"TYPE": type_name, "FIELDS": fields}
        )
    return _CLASSES[type_name]


class _Message:
    TYPE = ""
    FIELDS: dict[str, Any]

    def __init__(self) -> None:
        for name, kind in self.FIELDS.items():
            object.__setattr__(self, name, _default(kind))

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FIELDS:
            raise AttributeError(f"{self.TYPE} has no field {name}")
        _check(f"{self.TYPE}.{name}", self.FIELDS[name], value)
        object.__setattr__(self, name, value)


def _kind(kind: Any) -> tuple[str, Any]:
    node, argument = kind
    return node.name, argument


def _default(kind: Any) -> Any:
    node, argument = _kind(kind)
    if node == "NAME":
        return message_class(argument)()
    if node == "BASE":
        return {"string": "", "float64": 0.0, "float32": 0.0, "bool": False}.get(argument[0], 0)
    if node == "ARRAY":
        return np.zeros(argument[1])
    is_bytes = _kind(argument[0]) == ("BASE", ("uint8", 0))
    return array("B") if is_bytes else []


def _check(what: str, kind: Any, value: Any) -> None:
    node, argument = _kind(kind)
    if node == "NAME":
        expected: Any = message_class(argument)
    elif node == "BASE":
        expected = {"string": str, "float64": float, "float32": float, "bool": bool}.get(
            argument[0], int
        )
        if expected is int and not 0 <= value < _LIMITS.get(argument[0], 2**63):
            raise AssertionError(f"{what} is {value}")
    elif isinstance(_default(kind), array):
        expected = (array, bytes, bytearray, list)
        if not isinstance(value, array):
            SLOW_ASSIGNMENTS[what] += 1  # rclpy checks such values one by one
    else:
        expected = list
        for item in value:
            _check(f"{what}[]", argument[0], item)
    if not isinstance(value, expected):
        raise AssertionError(f"{what} is {type(value).__name__}, not {expected}")


def cdr_of(message: Any) -> bytes:
    """What ROS 2 would send."""
    return bytes(STORE.serialize_cdr(_for_rosbags(message), message.TYPE))


def read_back(message: Any) -> Any:
    """The message as who receives it sees it: sent and read by rosbags."""
    return STORE.deserialize_cdr(cdr_of(message), message.TYPE)


def _for_rosbags(message: Any) -> Any:
    values = {name: _value(getattr(message, name)) for name in message.FIELDS}
    return STORE.types[message.TYPE](**values)


def _value(value: Any) -> Any:
    if isinstance(value, _Message):
        return _for_rosbags(value)
    if isinstance(value, array | bytes):
        return np.frombuffer(value, np.uint8) if len(value) else np.zeros(0, np.uint8)
    return [_value(item) for item in value] if isinstance(value, list) else value

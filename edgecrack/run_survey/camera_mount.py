"""The camera's pose on the robot, from six numbers or from the transforms of a ROS 2 bag."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, SourceError
from edgecrack.mcap.cdr import MalformedMessageError, read_transforms
from edgecrack.mcap.message_types import TRANSFORMS
from edgecrack.mcap.reader import McapFile
from edgecrack.mcap.topics import channels_of

_MOST_M = 1e7
_EXAMPLE = (
    "give x,y,z in metres and roll,pitch,yaw in degrees, such as 0.3,0,0.8,0,-15,90, or "
    "FILE.mcap:base_link:camera_link to read the bag's /tf_static"
)
_STATIC_TOPIC = "tf_static"
# REP 103: optical frames look along z, with x to the right and y downwards.
_OPTICAL = "_optical"
# From axes that look along x to optical axes.
_LOOKING = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
_MOST_NAMED = 8

Links = dict[str, tuple[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class Mount:
    """The camera's pose on the robot; with zero angles it looks along the robot's x.

    Attributes:
        xyz_m: in the robot's base frame, x forwards, y to the left, z up.
        roll_pitch_yaw_deg: about x, y and z, in that order, as in static_transform_publisher.
    """

    xyz_m: tuple[float, float, float]
    roll_pitch_yaw_deg: tuple[float, float, float]

    @property
    def rotation(self) -> NDArray[np.float64]:
        """float64 [3, 3], from the camera's axes to the base's."""
        roll, pitch, yaw = map(math.radians, self.roll_pitch_yaw_deg)
        return _about("z", yaw) @ _about("y", pitch) @ _about("x", roll)


def parse_mount(text: str) -> Mount:
    """Parse a mount from six comma-separated numbers, or from FILE.mcap:BASE:CAMERA.

    Raises:
        ConfigError: it is neither.
        SourceError: the recording cannot be read, or lacks the transform.
        MissingDependencyError: the extra "record" is not installed.
    """
    words = text.rsplit(":", 2)
    if len(words) == 3 and all(words):
        return mount_of_recording(Path(words[0]), words[1], words[2])
    try:
        numbers = [float(each) for each in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not all(abs(each) < _MOST_M for each in numbers):
        raise ConfigError(f"the mount is {text!r}", _EXAMPLE)
    x, y, z, roll, pitch, yaw = numbers
    return Mount((x, y, z), (roll, pitch, yaw))


def mount_of_recording(path: Path, base: str, camera: str) -> Mount:
    """Read the mount from the static transforms of a ROS 2 recording.

    Args:
        path: MCAP file with `/tf_static`.
        base: the frame whose position the robot reports, such as base_link.
        camera: the camera's frame. According to REP 103, a frame with "_optical" in its name looks
            along z, others along x.

    Raises:
        SourceError: the file cannot be read, or has no fixed transform between the two.
        MissingDependencyError: the extra "record" is not installed.
    """
    base, camera = base.strip("/"), camera.strip("/")
    links, moving = _transforms(path)
    matrix = _between(path, links, moving, base, camera)
    rotation = matrix[:3, :3]
    if _OPTICAL in camera:
        rotation = rotation @ _LOOKING
    x, y, z = (float(each) for each in matrix[:3, 3])
    pitch = math.asin(float(np.clip(-rotation[2, 0], -1, 1)))
    if math.cos(pitch) > 1e-6:
        roll = math.atan2(rotation[2, 1], rotation[2, 2])
        yaw = math.atan2(rotation[1, 0], rotation[0, 0])
    else:  # straight up or down: roll and yaw have the same axis
        roll, yaw = 0.0, math.atan2(-rotation[0, 1], rotation[1, 1])
    return Mount((x, y, z), (math.degrees(roll), math.degrees(pitch), math.degrees(yaw)))


def _transforms(path: Path) -> tuple[Links, set[str]]:
    """Each fixed frame's parent and the transform into it, and the moving frames."""
    file = McapFile(path)
    try:
        channels = [each for found in channels_of(file, (TRANSFORMS,)).values() for each in found]
        topics = {channel.id: channel.topic for channel in channels}
        links: Links = {}
        moving: set[str] = set()
        for message in file.messages(topics):
            is_static = topics[message.channel_id].rstrip("/").endswith(_STATIC_TOPIC)
            try:
                found = read_transforms(message.data)
            except MalformedMessageError:
                continue  # missing transforms are reported by `_between`
            for each in found:
                parent, child = each.parent.strip("/"), each.child.strip("/")
                if not is_static:
                    moving.add(child)
                    continue
                matrix = np.eye(4)
                matrix[:3, :3] = rotation_of(each.quaternion_xyzw)
                matrix[:3, 3] = each.xyz_m
                if np.isfinite(matrix).all() and np.any(each.quaternion_xyzw):
                    links[child] = parent, matrix
    finally:
        file.close()
    return links, moving


def _between(
    path: Path, links: Mapping[str, tuple[str, NDArray[np.float64]]], moving: set[str], base: str,
    camera: str,
) -> NDArray[np.float64]:  # fmt: skip
    """The transform from the camera's frame into the base's, float64 [4, 4]."""
    known = sorted({*links, *(parent for parent, _ in links.values())})
    for name in (base, camera):
        if name not in known and name not in moving:
            some = ", ".join(known[:_MOST_NAMED]) or "none"
            raise SourceError(
                f"{path} has no fixed transform of {name!r}; it has those of {some}",
                "use the frame names of the bag's /tf_static, or give the mount as six numbers",
            )
    to_root = [_to_root(links, name) for name in (base, camera)]
    (base_root, of_base), (camera_root, of_camera) = to_root
    if base_root != camera_root:
        cause = "no transform links them"
        moved = sorted({base_root, camera_root} & moving)
        if moved:
            cause = f"{moved[0]!r} moves, but a mount must be fixed"
        raise SourceError(
            f"{path} does not say where {camera!r} is on {base!r}: {cause}",
            "choose frames that are fixed to each other, or give the mount as six numbers",
        )
    return np.asarray(np.linalg.inv(of_base) @ of_camera, np.float64)


def _to_root(
    links: Mapping[str, tuple[str, NDArray[np.float64]]], name: str
) -> tuple[str, NDArray[np.float64]]:
    """The root of a frame's tree of fixed transforms, and the transform into it."""
    matrix, seen = np.eye(4), {name}
    while name in links:
        parent, step = links[name]
        if parent in seen:
            break  # a cycle is not a tree; the frames then have no common root
        seen.add(parent)
        name, matrix = parent, step @ matrix
    return name, matrix


def _about(axis: str, angle: float) -> NDArray[np.float64]:
    cosine, sine = math.cos(angle), math.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]),
        "y": np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]),
        "z": np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]),
    }[axis]


def rotation_of(xyzw: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Rotation matrix, float64 [3, 3], of a quaternion x, y, z, w of any length."""
    x, y, z, w = np.array(xyzw) / max(float(np.linalg.norm(xyzw)), 1e-12)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )

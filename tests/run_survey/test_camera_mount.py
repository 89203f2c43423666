"""A camera's mount out of bags that rosbags wrote, against SciPy's rotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from edgecrack.errors import ConfigError, SourceError
from edgecrack.run_survey.camera_mount import mount_of_recording, parse_mount
from tests.runtime.sources import bags
from tests.runtime.sources.bags import START_NS, STORE

TYPE = "tf2_msgs/msg/TFMessage"
# The optical frame of a camera that looks along its own x: z forwards, x to the right.
OPTICAL = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
Link = tuple[str, str, tuple[float, float, float], Rotation]


def transforms(links: list[Link]) -> Any:
    found = []
    for parent, child, xyz, turn in links:
        vector = STORE.types["geometry_msgs/msg/Vector3"](*map(float, xyz))
        quaternion = STORE.types["geometry_msgs/msg/Quaternion"](*turn.as_quat().tolist())
        transform = STORE.types["geometry_msgs/msg/Transform"](vector, quaternion)
        kind = STORE.types["geometry_msgs/msg/TransformStamped"]
        found.append(kind(bags.header(START_NS, parent), child, transform))
    return STORE.types[TYPE](found)


def bag(folder: Path, static: list[Link], moving: list[Link] | None = None) -> Path:
    entries = [("/tf_static", START_NS, TYPE, transforms(static))]
    if moving:
        entries.append(("/tf", START_NS + 1, TYPE, transforms(moving)))
    return bags.write_bag(folder, entries)


def turned(roll: float, pitch: float, yaw: float) -> Rotation:
    """Fixed axes: about x first, then y, then z."""
    return Rotation.from_euler("xyz", [roll, pitch, yaw], degrees=True)


@given(roll=st.floats(-180, 180), pitch=st.floats(-90, 90), yaw=st.floats(-180, 180))
def test_angles_make_the_rotation_that_scipy_has(roll: float, pitch: float, yaw: float) -> None:
    mount = parse_mount(f"0.1,0.2,0.3,{roll!r},{pitch!r},{yaw!r}")
    assert mount.rotation == pytest.approx(turned(roll, pitch, yaw).as_matrix(), abs=1e-9)


@pytest.mark.parametrize("angles", [(0, -15, 90), (5, 20, -170), (30, 90, 0), (0, -90, 45)])
def test_a_chain_of_fixed_frames_is_followed_both_ways(
    tmp_path: Path, angles: tuple[float, float, float]
) -> None:
    chassis, mast, own = turned(0, 0, 30), turned(*angles), turned(10, 0, 0)
    path = bag(
        tmp_path,
        [
            ("chassis", "base_link", (0.5, 0, 0.1), chassis),
            ("chassis", "mast", (0.2, 0.1, 1.0), mast),
            ("mast", "camera_link", (0.05, 0, 0), own),
            ("camera_link", "camera_optical_frame", (0, 0.01, 0), OPTICAL),
        ],
    )
    place = mast.apply([0.05, 0, 0]) + np.array([0.2 - 0.5, 0.1, 1.0 - 0.1])
    turn = chassis.inv() * mast * own
    mount = mount_of_recording(path, "/base_link", "camera_link")
    assert mount.xyz_m == pytest.approx(chassis.inv().apply(place), abs=1e-9)
    assert mount.rotation == pytest.approx(turn.as_matrix(), abs=1e-7)
    optical = parse_mount(f"{path}:base_link:camera_optical_frame")
    assert optical.rotation == pytest.approx(turn.as_matrix(), abs=1e-7)
    moved = (chassis.inv() * mast * own).apply([0, 0.01, 0])
    assert np.subtract(optical.xyz_m, mount.xyz_m) == pytest.approx(moved, abs=1e-9)


def test_a_mount_that_moves_or_is_not_there_is_refused(tmp_path: Path) -> None:
    none = Rotation.identity()
    path = bag(
        tmp_path,
        [("base_link", "mast", (0, 0, 1), none), ("head", "camera_link", (0, 0, 0), none)],
        [("mast", "head", (0, 0, 0), none)],
    )
    with pytest.raises(SourceError, match="'head' moves, but a mount must be fixed"):
        parse_mount(f"{path}:base_link:camera_link")
    with pytest.raises(
        SourceError, match=r"no fixed transform of 'cam'; it has those of base_link"
    ):
        parse_mount(f"{path}:base_link:cam")
    with pytest.raises(SourceError):
        parse_mount(f"{tmp_path / 'none.mcap'}:base_link:camera_link")
    with pytest.raises(ConfigError, match=r"or FILE\.mcap:base_link:camera_link"):
        parse_mount("base_link:camera_link")


def test_frames_without_a_link_or_in_a_circle_are_refused(tmp_path: Path) -> None:
    none = Rotation.identity()
    path = bag(
        tmp_path,
        [
            ("base_link", "mast", (0, 0, 1), none),
            ("b", "a", (0, 0, 0), none),
            ("a", "b", (0, 0, 0), none),
        ],
    )
    with pytest.raises(SourceError, match="no transform links them"):
        parse_mount(f"{path}:base_link:a")

"""Cameras out of recordings that rosbags wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.errors import SourceError
from edgecrack.runtime.measuring.recorded_camera import recorded_camera
from tests.runtime.sources import bags
from tests.runtime.sources.bags import PERIOD_NS, START_NS, Entry, images

INFO = "sensor_msgs/msg/CameraInfo"


def infos(count: int = 2, topic: str = "/camera/camera_info", **changes: Any) -> list[Entry]:
    return [
        (topic, START_NS + index * PERIOD_NS, INFO, bags.camera_info(500.0, **changes))
        for index in range(count)
    ]


def bag(folder: Path, *groups: list[Entry]) -> Path:
    entries = [entry for group in (images(2), *groups) for entry in group]
    return bags.write_bag(folder, sorted(entries, key=lambda entry: entry[1]))


def test_a_camera_is_read_beside_its_images(tmp_path: Path) -> None:
    lens = np.array([-0.3, 0.1, 0.001, -0.002, 0.05])
    found = recorded_camera(bag(tmp_path, infos(d=lens), infos(1, "/rear/camera_info")))
    assert found.image_size == (64, 48)
    assert found.matrix[0, 0] == found.matrix[1, 1] == 500.0
    assert found.distortion.tolist() == lens.tolist()
    assert (found.focal_deviation, found.fixed_focus) == (None, None)


def test_another_topic_may_be_named(tmp_path: Path) -> None:
    path = bag(tmp_path, infos(), infos(1, "/rear/camera_info", distortion_model=""))
    assert "/rear/camera_info" in recorded_camera(path, "/rear/camera_info").name
    with pytest.raises(SourceError, match=r"no CameraInfo on /gone; choose of /camera/camera_info"):
        recorded_camera(path, "/gone")


def test_several_of_which_none_is_beside_the_images_have_to_be_chosen_from(tmp_path: Path) -> None:
    path = bag(tmp_path, infos(1, "/left/camera_info"), infos(1, "/right/camera_info"))
    with pytest.raises(SourceError, match=r"on /left/camera_info, /right/camera_info; choose one"):
        recorded_camera(path)


def test_rectified_images_have_no_distortion_left(tmp_path: Path) -> None:
    projection = np.array([480.0, 0, 30.0, 0, 0, 470.0, 20.0, 0, 0, 0, 1.0, 0])
    entries = [
        *images(2, "/camera/image_rect/compressed"),
        *infos(d=np.array([-0.3, 0.1, 0, 0, 0]), p=projection),
    ]
    path = bags.write_bag(tmp_path, sorted(entries, key=lambda entry: entry[1]))
    found = recorded_camera(path)
    assert found.distortion.size == 0
    assert (found.matrix[0, 0], found.matrix[1, 1], found.matrix[0, 2]) == (480.0, 470.0, 30.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": np.zeros(9)}, "is not calibrated"),
        ({"k": np.full(9, np.nan)}, "is not calibrated"),
        ({"roi": (8, 8, 32, 32)}, "was cropped to 32x32 pixels"),
        ({"distortion_model": "equidistant", "d": np.full(4, 0.1)}, "model 'equidistant'"),
        ({"d": np.full(7, 0.1)}, "with 7 coefficients"),
    ],
)
def test_what_gives_no_right_millimetres_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=said):
        recorded_camera(bag(tmp_path, infos(**changes)))


def test_the_whole_picture_as_a_region_is_no_crop(tmp_path: Path) -> None:
    assert recorded_camera(bag(tmp_path, infos(roi=(0, 0, 64, 48)))).image_size == (64, 48)


def test_a_camera_that_was_zoomed_meanwhile_is_refused(tmp_path: Path) -> None:
    later = [("/camera/camera_info", START_NS + 10 * PERIOD_NS, INFO, bags.camera_info(700.0))]
    with pytest.raises(SourceError, match="was zoomed or adjusted while it was recorded"):
        recorded_camera(bag(tmp_path, infos(), later))


def test_a_recording_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no sensor_msgs/msg/CameraInfo; .*`camera_file`"):
        recorded_camera(bag(tmp_path))

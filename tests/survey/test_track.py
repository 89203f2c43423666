from __future__ import annotations

import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.survey.plane_geometry import corners, inverse, moved
from edgecrack.survey.track import FrameTracker
from tests.survey.small_walls import HW, rough_wall, seen, shifted


def test_the_homography_is_the_camera_s_own() -> None:
    wall = rough_wall()
    before = shifted(100, 90)
    after = shifted(113, 95, 1.03, 0.02) + np.array([[0, 0, 0], [0, 0, 0], [4e-5, 0, 0]])
    tracker = FrameTracker()
    assert tracker.add(seen(wall, before), 5).state == "first"
    step = tracker.add(seen(wall, after), 6)
    assert (step.state, step.number, step.time_ns, step.hw) == ("tracked", 1, 6, HW)
    assert step.homography is not None
    truth = inverse(after) @ before
    away = moved(corners(HW), step.homography) - moved(corners(HW), truth)
    assert np.abs(away).max() < 0.6
    assert step.inliers >= 50
    assert step.error_px < 1


def test_nothing_is_followed_where_there_is_nothing() -> None:
    tracker = FrameTracker()
    plain = np.full(HW, 120, np.uint8)
    tracker.add(plain)
    step = tracker.add(plain)
    assert (step.state, step.homography) == ("lost", None)
    assert "0 corners" in step.reason


def test_it_goes_on_after_a_loss() -> None:
    wall, other = rough_wall(seed=1), rough_wall(seed=2)
    tracker = FrameTracker()
    images = [seen(wall, shifted(50, 50)), seen(other, shifted(50, 50))]
    images.append(seen(other, shifted(55, 50)))
    assert [tracker.add(image).state for image in images] == ["first", "lost", "tracked"]


def test_another_size_is_said() -> None:
    tracker = FrameTracker()
    wall = rough_wall()
    tracker.add(seen(wall, shifted(0, 0)))
    step = tracker.add(seen(wall, shifted(0, 0), (180, 260)))
    assert step.reason == "the frame has 260x180 px and the one before 300x200"


def test_odd_sizes_are_followed_exactly() -> None:
    wall, hw = rough_wall(), (201, 303)
    tracker = FrameTracker()
    tracker.add(seen(wall, shifted(40, 30), hw))
    step = tracker.add(seen(wall, shifted(48, 33), hw))
    assert step.homography is not None
    assert np.abs(moved(corners(hw), step.homography) - corners(hw) + (8, 3)).max() < 0.4


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((100, 100), np.float32),
        np.zeros((100, 100, 3), np.uint8),
        np.zeros((20, 100), np.uint8),
    ],
)
def test_what_is_no_gray_frame_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="cannot be followed"):
        FrameTracker().add(image)

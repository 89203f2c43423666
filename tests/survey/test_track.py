from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.survey.plane_geometry import corners, inverse, moved
from edgecrack.survey.track import FrameTracker
from tests.survey.small_walls import HW, Image, rough_wall, seen, shifted


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
    assert step.reason == "the frame has 260x180 px and the previous one 300x200"


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
    with pytest.raises(ConfigError, match="cannot be tracked"):
        FrameTracker().add(image)


def brick_wall(rng: np.random.Generator) -> Image:
    """Bricks of 64x32 px, alike but for a little texture."""
    height, width = 700, 1100
    rows, columns = np.mgrid[:height, :width]
    shifted_columns = columns + 32 * ((rows // 32) % 2)
    mortar = (rows % 32 < 5) | (shifted_columns % 64 < 5)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 1.5) * 12
    return np.clip(np.where(mortar, 175, 110) + texture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_what_repeats_itself_is_never_followed_one_repetition_too_far(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wall = brick_wall(rng)
    ways = [
        *((30.0 + 37 * n, 40.0) for n in range(8)),
        *((289.0, 40.0 + 35 * n) for n in range(1, 7)),
        *((289.0 - 38 * n, 250.0) for n in range(1, 7)),
    ]
    tracker, last = FrameTracker(), None
    tracked = 0
    for x, y in ways:
        step = tracker.add(seen(wall, shifted(x, y)))
        if step.homography is not None and last is not None:
            moved_by = moved(np.array([[150.0, 100.0]]), step.homography)[0] - (150, 100)
            assert moved_by == pytest.approx((last[0] - x, last[1] - y), abs=1.0)
            tracked += 1
        last = x, y
    assert tracked >= 16


def test_few_corners_tell_no_perspective() -> None:
    """A frame's corners stay where they are although all that is followed lies in its middle."""
    rng = np.random.default_rng(5)
    wall = np.full((400, 500), 120, np.uint8)
    for x, y in rng.uniform((170, 120), (330, 220), (30, 2)).astype(int):
        cv2.rectangle(wall, (x, y), (x + 3, y + 3), int(rng.integers(20, 230)), -1)
    wall = np.clip(wall + rng.normal(0, 1.5, wall.shape), 0, 255).astype(np.uint8)
    tracker = FrameTracker()
    for n in range(6):
        step = tracker.add(seen(wall, shifted(100 + 4.0 * n, 70)))
        if n and step.homography is not None:
            there = moved(corners(HW), step.homography) - corners(HW)
            assert np.abs(there - (-4, 0)).max() < 4

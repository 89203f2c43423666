"""Frames with cracks become findings: opened, extended, closed, each with its best picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.outputs.findings import Finding, FindingTracker, thumbnail
from edgecrack.runtime.outputs.snapshots import FindingsSink
from tests.runtime.fakes import Image, frame, picture, result_of


def seen(index: int, media_ms: float, size: int = 1) -> FrameResult:
    """A frame with a bar of crack whose length grows with `size`; none for 0."""
    image = picture(size) if size else np.full_like(picture(), 40)
    return result_of(replace(frame(index, image), media_time_ms=media_ms))


def test_frames_in_a_row_are_one_finding() -> None:
    closed: list[Finding] = []
    tracker = FindingTracker(on_closed=closed.append)
    for index in range(10):
        tracker.update(seen(index, 40.0 * index))
    assert (tracker.count, closed) == (1, [])
    tracker.update(seen(10, 3000.0, size=0))
    assert [finding.id for finding in closed] == [1]
    (finding,) = closed
    assert (finding.frames, finding.first_frame, finding.last_frame) == (10, 0, 9)
    assert finding.closed


def test_a_short_break_does_not_end_it_and_a_long_one_does() -> None:
    tracker = FindingTracker(gap_s=1.0)
    for index, media_ms in enumerate((0.0, 900.0, 1800.0, 3000.0)):
        tracker.update(seen(index, media_ms))
        tracker.update(seen(index, media_ms + 1, size=0))
    assert tracker.count == 2
    assert [finding.frames for finding in tracker.recent()] == [1, 3]


def test_a_long_crack_is_cut_into_findings() -> None:
    tracker = FindingTracker(longest_s=5.0)
    for index in range(301):
        tracker.update(seen(index, 40.0 * index))
    assert tracker.count == 3


def test_the_best_frame_is_the_one_with_the_most_crack() -> None:
    tracker = FindingTracker()
    for index, size in enumerate((1, 3, 12, 4, 2)):
        tracker.update(seen(index, 40.0 * index, size))
    (finding,) = tracker.recent()
    assert (finding.best_frame, finding.first_frame, finding.last_frame) == (2, 0, 4)
    assert finding.crack_pixels == result_of(frame(0, picture(12))).crack_pixels
    assert finding.largest.area_px == finding.crack_pixels


def test_the_position_of_the_best_frame_goes_along() -> None:
    tracker = FindingTracker()
    where = Position(5, latitude_deg=48.1, longitude_deg=11.5)
    tracker.update(replace(seen(0, 0.0), position=where))
    assert tracker.recent()[0].to_dict()["position"]["latitude_deg"] == 48.1


def test_the_last_48_are_kept_newest_first() -> None:
    tracker = FindingTracker(gap_s=0.001)
    for index in range(60):
        tracker.update(seen(index, 1000.0 * index))
    assert tracker.count == 60
    assert [finding.id for finding in tracker.recent()] == list(range(60, 12, -1))
    assert [finding.id for finding in tracker.recent(2)] == [60, 59]


def test_closing_closes_the_open_one_once() -> None:
    closed: list[Finding] = []
    sink = FindingsSink(FindingTracker(on_closed=closed.append))
    sink.write(seen(0, 0.0))
    sink.close()
    sink.close()
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("hw", "box"),
    [
        ((480, 640), (5, 5, 9, 30)),
        ((480, 640), (0, 0, 640, 480)),
        ((480, 640), (600, 470, 640, 480)),
        ((480, 640), (0, 200, 640, 204)),
        ((20, 30), (3, 3, 8, 9)),
        ((2000, 100), (50, 0, 53, 2000)),
    ],
)
def test_a_thumbnail_shows_the_crack_and_is_small(
    hw: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    left, top, right, bottom = box
    image: Image = np.full((*hw, 3), 60, np.uint8)
    image[top:bottom, left:right] = 255
    shown = cv2.imdecode(np.frombuffer(thumbnail(result_of(frame(0, image))), np.uint8), 1)
    assert shown is not None
    assert max(shown.shape) <= 240
    red = shown[..., 2].astype(int) - shown[..., 0]
    assert (red > 40).any()

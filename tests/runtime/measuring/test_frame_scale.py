"""The scale of frames, and where millimetres would be wrong: none, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.measuring.frame_scale import AUTOFOCUS, NO_RANGE, FrameScale, flipped
from edgecrack.runtime.measuring.stream_scale import StreamScale
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.scale.applied import middle_scale
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.quantity import Quantity
from tests.runtime.measuring.cameras import FOCAL_PX, HW, camera, ranged, wall

FIXED = StreamScale(camera=camera(), distance_m=Quantity(1.5, 0.01))
RANGED = StreamScale(camera=camera())


def in_the_middle(scale: FrameScale, result: FrameResult) -> float:
    found = scale.of(result)
    assert found.scale is not None
    assert found.reason == ""
    height, width = result.frame.hw
    return float(middle_scale(found.scale, width, height).mm_per_px.mean())


def test_a_figure_is_the_scale_of_all_frames() -> None:
    scale = FrameScale(StreamScale(Quantity(0.12, 0.0025)))
    assert in_the_middle(scale, wall()) == pytest.approx(0.12)
    assert in_the_middle(scale, wall(hw=(90, 90))) == pytest.approx(0.12)


def test_a_distance_over_the_focal_length() -> None:
    scale = FrameScale(FIXED, camera())
    assert in_the_middle(scale, wall()) == pytest.approx(1500 / FOCAL_PX, rel=0.003)
    double = wall(hw=(2 * HW[0], 2 * HW[1]))
    assert in_the_middle(scale, double) == pytest.approx(750 / FOCAL_PX, rel=0.003)


def test_the_range_of_each_frame_is_its_distance() -> None:
    scale = FrameScale(RANGED, camera())
    for range_m in (0.8, 1.6):
        result = wall(position=ranged(range_m, 0.01))
        assert in_the_middle(scale, result) == pytest.approx(1000 * range_m / FOCAL_PX, rel=0.003)
    stated, not_stated = (
        scale.of(wall(position=ranged(1.0, deviation))).scale for deviation in (0.01, None)
    )
    assert stated is not None
    assert not_stated is not None
    assert middle_scale(stated, *HW[::-1]).is_stated
    assert not middle_scale(not_stated, *HW[::-1]).is_stated


@pytest.mark.parametrize(
    ("config", "seen_by", "result", "reason"),
    [
        (FIXED, camera(fixed_focus=False), wall(), "the camera bench focuses or zooms by itself"),
        (FIXED, camera(), wall(hw=(120, 160)), "another shape"),
        (RANGED, camera(), wall(), NO_RANGE),
        (RANGED, camera(), wall(position=ranged(None)), NO_RANGE),
        (RANGED, camera(), wall(position=ranged(1.0, 0.6)), "no surer than it is long"),
    ],
)
def test_where_millimetres_would_be_wrong_there_are_none(
    config: StreamScale, seen_by: CameraFile, result: FrameResult, reason: str
) -> None:
    events = EventLog()
    scale = FrameScale(config, seen_by, events=events)
    for _ in range(3):
        found = scale.of(result)
        assert found.scale is None
        assert reason in found.reason
    (event,) = events.recent()  # once, not once a frame
    assert (event.kind, event.level) == ("scale.refused", "warning")
    assert reason in event.message


def test_autofocus_is_asked_for_at_each_frame() -> None:
    moves: list[bool | None] = [None, False, True, False]
    scale = FrameScale(FIXED, camera(), focus_moves=lambda: moves.pop(0))
    assert [scale.of(wall()).reason for _ in range(4)] == ["", "", AUTOFOCUS, ""]
    # A figure that the user measured holds as it is.
    given = FrameScale(StreamScale(Quantity(0.1)), focus_moves=lambda: True)
    assert given.of(wall()).reason == ""


@pytest.mark.parametrize(
    ("flip", "signs"),
    [("horizontal", (-1, 1)), ("vertical", (1, -1)), ("both", (-1, -1)), ("none", (1, 1))],
)
def test_a_mirrored_picture_has_a_mirrored_camera(flip: str, signs: tuple[int, int]) -> None:
    lens = np.array([-0.3, 0.1, 0.01, -0.02, 0.02, 0.03, -0.01, 0.005, 0.004, -0.003, 0.002, 0.001])
    matrix = np.array([[300.0, 0, 131.0], [0, 310.0, 52.0], [0, 0, 1]])
    plain = replace(camera(), matrix=matrix, distortion=lens)
    points = np.array([[3.5, 7.25], [120.0, 60.0], [231.0, 101.5]])
    sides = np.array(HW[::-1])
    mirrored = np.where(np.array(signs) < 0, sides - points, points)
    assert flipped(plain, flip).rays(mirrored) == pytest.approx(
        plain.rays(points) * np.array(signs), abs=1e-9
    )


def test_a_position_without_a_range_does_not_hide_the_place() -> None:
    place = Position(1, xyz_m=(1.0, 2.0, 3.0))
    assert FrameScale(RANGED, camera()).of(wall(position=place)).reason == NO_RANGE

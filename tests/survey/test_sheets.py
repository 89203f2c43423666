from __future__ import annotations

import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.survey.plane_geometry import Matrix, corners, moved
from edgecrack.survey.sheets import SheetBuilder, Sheets
from edgecrack.survey.track import FrameTracker
from tests.survey.small_walls import HW, along, followed, rough_wall, seen, shifted


def _errors(sheets: Sheets, truth: list[Matrix]) -> list[float]:
    """How far each frame's corners are from where they should be by the reference frame."""
    errors = []
    for sheet in sheets.sheets:
        back = np.linalg.inv(truth[sheet.reference_frame])
        for frame in sheet.frames:
            placed = moved(corners(HW), sheets.placements[frame].homography)
            errors.append(float(np.abs(placed - moved(corners(HW), back @ truth[frame])).max()))
    return errors


def test_there_and_back_is_one_sheet() -> None:
    wall = rough_wall()
    path = [*along(0, 440, 10), *along(440, 0, 110)]
    builder, steps = followed(seen(wall, each) for each in path)
    assert all(step.state == "tracked" for step in steps[1:22])
    (sheet,) = builder.finish().sheets
    assert sheet.frames == tuple(range(len(path)))
    assert 6 <= len(sheet.key_frames) < len(path) / 2
    errors = _errors(builder.finish(), path)
    assert np.median(errors) < 1.5
    assert max(errors) < sheet.drift_px
    assert sheet.sigma_px < 1


def test_no_motion_is_one_key_frame() -> None:
    image = seen(rough_wall(), shifted(50, 50))
    builder, _ = followed([image] * 12)
    (sheet,) = builder.finish().sheets
    assert (sheet.key_frames, sheet.frames) == ((0,), tuple(range(12)))
    assert _errors(builder.finish(), [shifted(50, 50)] * 12) == pytest.approx([0] * 12, abs=0.5)


def test_a_frame_alone_is_a_sheet() -> None:
    builder, _ = followed([seen(rough_wall(), shifted(0, 0))])
    (sheet,) = builder.finish().sheets
    assert sheet.frames == (0,)


def test_no_frames_are_no_sheets() -> None:
    assert SheetBuilder().finish().sheets == ()


def test_what_shows_nothing_is_sheets_that_are_not_linked() -> None:
    builder, _ = followed([np.full(HW, level, np.uint8) for level in (100, 120, 140)])
    sheets = builder.finish().sheets
    assert [sheet.frames for sheet in sheets] == [(0,), (1,), (2,)]
    assert "tracking was lost" in sheets[1].begins


def test_another_place_is_another_sheet() -> None:
    one, two = rough_wall(seed=1), rough_wall(seed=2)
    images = [*(seen(one, each) for each in along(0, 200, 10))]
    images += [seen(two, each) for each in along(0, 200, 10)]
    builder, _ = followed(images)
    sheets = builder.finish().sheets
    assert [sheet.frames for sheet in sheets] == [tuple(range(11)), tuple(range(11, 22))]


def test_another_camera_in_the_middle_is_linked_where_it_shows_the_same() -> None:
    wall = rough_wall()
    images = [seen(wall, each) for each in along(0, 200, 60)]
    images += [seen(wall, each, (160, 240)) for each in along(200, 0, 60)]
    images += [seen(wall, each) for each in along(0, 200, 60)]
    builder, steps = followed(images)
    assert [step.state for step in steps].count("lost") == 2
    sheets = builder.finish()
    assert len(sheets.sheets) == 1
    assert {placement.hw for placement in sheets.placements.values()} == {HW, (160, 240)}


def test_frames_that_are_missing_break_the_track_and_not_the_sheet() -> None:
    wall = rough_wall()
    path = [*along(0, 200, 60), *along(330, 440, 60), *along(440, 180, 70)]
    builder, _ = followed(seen(wall, each) for each in path)
    sheets = builder.finish()
    assert len(sheets.sheets) == 1
    assert np.median(_errors(sheets, path)) < 1.5


def test_frames_may_come_after_the_sheets_were_asked_for() -> None:
    wall, path = rough_wall(), along(0, 440, 60)
    tracker, builder = FrameTracker(), SheetBuilder()
    counts = []
    for each in path:
        image = seen(wall, each)
        builder.add(tracker.add(image), image)
        counts.append(len(builder.finish().placements))
    assert counts == list(range(1, len(path) + 1))
    once, _ = followed(seen(wall, each) for each in path)
    together, alone = builder.finish().placements, once.finish().placements
    for frame in together:
        assert together[frame].homography == pytest.approx(alone[frame].homography, abs=1e-9)


def test_brightness_that_changes_is_known() -> None:
    wall = rough_wall() // 2
    path = along(0, 300, 60)
    levels = np.linspace(1, 1.6, len(path))
    images = [
        np.clip(seen(wall, each) * level, 0, 255).astype(np.uint8)
        for each, level in zip(path, levels, strict=True)
    ]
    builder, _ = followed(images)
    (sheet,) = builder.finish().sheets
    gains = [sheet.gains[frame] for frame in sheet.key_frames]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] / gains[-1] == pytest.approx(1.6, rel=0.15)


def test_a_step_of_another_frame_is_refused() -> None:
    step = FrameTracker().add(np.zeros(HW, np.uint8))
    with pytest.raises(ConfigError, match="but the step has"):
        SheetBuilder().add(step, np.zeros((100, 100), np.uint8))

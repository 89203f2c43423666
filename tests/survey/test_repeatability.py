"""What two halves of a run's frames agree on, and of what nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from edgecrack.measurement.fitness import Verdict
from edgecrack.survey.inventory import Count, FrameCracks, InventoryKeeper
from edgecrack.survey.plane_geometry import Matrix
from edgecrack.survey.repeatability import (
    Repeatability,
    dealt,
    repeatability,
    width_difference,
)
from edgecrack.survey.sheets import Placement, Sheet, Sheets
from tests.survey.small_walls import HW, along, crack_mask, found_in, seen, shifted

WALL_HW = (420, 760)
LONG = [(60, 150), (200, 140), (380, 170), (560, 150), (700, 160)]
FAR = [(520, 60), (560, 110), (640, 115)]


def laid(path: Sequence[Matrix]) -> Sheets:
    """Frames that lie exactly where they are, on one sheet."""
    frames = tuple(range(len(path)))
    placements = {frame: Placement(0, each, HW) for frame, each in enumerate(path)}
    return Sheets((Sheet(0, frames, frames, 0, "", 0.5, 3.0),), placements)


def found_on(
    path: Sequence[Matrix], lines: Sequence[Sequence[tuple[int, int]]]
) -> list[FrameCracks]:
    mask = crack_mask(WALL_HW, lines)
    return [found_in(frame, seen(mask, each)) for frame, each in enumerate(path)]


def compared(path: Sequence[Matrix], found: Sequence[FrameCracks]) -> Repeatability:
    sheets = laid(path)
    inventory = InventoryKeeper().update(sheets, found)
    return repeatability(sheets, inventory, lambda sheet: found)


def test_every_fit_frame_is_in_one_half_and_measured_ones_are_shared_out() -> None:
    verdicts: list[Verdict] = ["measure", "detect", "measure", "detect", "unfit", "measure"]
    verdicts += ["detect", "measure"]
    found = [FrameCracks(n, [], verdict) for n, verdict in enumerate(verdicts)]
    odd, even = dealt(reversed(found))
    assert [each.frame for each in odd] == [0, 1, 5, 6]
    assert [each.frame for each in even] == [2, 3, 7]
    odd, even = dealt(found[:2])
    assert ([each.frame for each in odd], [each.frame for each in even]) == ([0], [1])


def test_both_halves_find_what_every_frame_shows() -> None:
    path = along(0, 440, 20, step=10)
    found = compared(path, found_on(path, [LONG, FAR]))
    assert found.frames == (23, 22)
    assert found.confirmed == (Count(2, 2), Count(2, 2))
    assert (len(found.known), found.in_both) == (2, 2)
    assert found.length_ratio == pytest.approx(1, abs=0.03)
    assert found.width_px is None  # true masks have no widths
    assert found.width_mm is None


def test_what_flickers_is_found_in_one_half_alone() -> None:
    path = [shifted(100, 60)] * 12
    found = found_on(path, [LONG])
    found = [each if each.frame % 2 == 0 else replace(each, cracks=[]) for each in found]
    result = compared(path, found)
    (crack,) = result.cracks
    assert crack.is_known
    assert crack.views == (6, 6)
    assert crack.confirmed == (True, False)
    assert crack.length_ratio is None
    assert result.in_both == 0
    assert result.length_ratio is None
    assert result.confirmed == (Count(1, 1), Count(0, 0))


@pytest.mark.parametrize(("frames", "known"), [(3, 0), (5, 0), (6, 1)])
def test_of_a_run_too_short_for_halves_nothing_is_known(frames: int, known: int) -> None:
    path = [shifted(100, 60)] * frames
    found = compared(path, found_on(path, [LONG]))
    assert len(found.cracks) == 1
    assert (len(found.known), found.in_both) == (known, known)


def test_a_run_without_cracks_has_nothing_to_compare() -> None:
    path = [shifted(100, 60)] * 8
    found = compared(path, found_on(path, []))
    assert (found.frames, found.cracks, found.length_ratio) == ((4, 4), (), None)


def test_differences_over_all_places() -> None:
    found = width_difference([np.array([0.1, 0.2]), np.array([]), np.array([0.3, 4.0])])
    assert found is not None
    assert found.median == pytest.approx(0.25)
    assert 0.3 < found.percentile_95 < 4.0
    assert found.places == 4
    assert width_difference([]) is None

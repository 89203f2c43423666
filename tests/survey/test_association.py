from __future__ import annotations

import numpy as np
import pytest

from edgecrack.survey.association import bridged, grouped, tolerance_px
from edgecrack.survey.plane_geometry import CrackCurve, Points, curve_of, middle_lines, near

SIDE_PX = 200.0


def _line(*points: tuple[float, float]) -> Points:
    return np.array(points, np.float64)


@pytest.mark.parametrize(
    ("other", "is_one"),
    [
        (_line((110, 50), (200, 50)), True),  # straight on
        (_line((115, 54), (200, 60)), True),
        (_line((108, 56), (200, 56)), True),  # beside, close by
        (_line((95, 56), (200, 56)), True),  # past each other
        (_line((125, 50), (200, 50)), False),  # too far
        (_line((104, 52), (104, 150)), False),  # another direction
        (_line((106, 62), (200, 62)), False),  # too far aside
        (_line((96, 55), (10, 55)), False),  # back along it
    ],
)
def test_which_gaps_are_bridged(other: Points, is_one: bool) -> None:
    pairs = bridged([[_line((0, 50), (100, 50))], [other]], lambda crack, xy: SIDE_PX)
    assert [(one, two) for one, two, _ in pairs] == ([(0, 1)] if is_one else [])


def test_a_gap_is_not_longer_than_half_of_the_shorter_crack() -> None:
    crack, piece = [_line((0, 50), (100, 50))], [_line((112, 50), (130, 50))]
    assert bridged([crack, piece], lambda crack, xy: SIDE_PX) == []


def test_where_lines_meet_there_is_no_end() -> None:
    fork = [_line((0, 0), (50, 50)), _line((50, 50), (100, 50)), _line((50, 50), (50, 100))]
    straight_on = [_line((58, 58), (120, 120))]
    assert bridged([fork, straight_on], lambda crack, xy: SIDE_PX) == []


def test_groups() -> None:
    assert grouped(5, [(3, 1), (4, 3)]) == [[0], [1, 3, 4], [2]]
    assert grouped(0, []) == []


def test_tolerance() -> None:
    assert (tolerance_px(0.4), tolerance_px(2.5)) == (3.0, 5.0)


@pytest.mark.parametrize(("offset", "turn_deg", "share"), [(2, 0, 1), (4, 0, 0), (0, 40, 0)])
def test_near_is_close_and_along(offset: float, turn_deg: float, share: float) -> None:
    angle = np.radians(turn_deg)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    one = curve_of([_line((0, 0), (90, 0))])
    other = curve_of([np.stack([-90 * ahead, 180 * ahead]) + np.array([0, offset])])
    assert near(one, other, 3.0, 25.0).any(axis=1).mean() == share


def test_nothing_is_near_nothing() -> None:
    empty = CrackCurve(np.zeros((0, 2)), np.zeros((0, 2)))
    assert near(empty, empty, 3.0, 25.0).shape == (0, 0)
    assert curve_of([_line((5, 5), (5, 5))]).length_px == 0


def test_the_middle_of_several_drawings() -> None:
    drawings = [[_line((0, 20 + each), (100, 20 + each))] for each in (-2, -1, 0, 1, 2)]
    drawings.append([_line((40, 20), (40, 80))])
    lasting = curve_of([_line((0, 20), (100, 20))])
    (line,) = middle_lines(drawings, lasting, least=2, fill_px=3.0)
    assert np.abs(line[:, 1] - 20).max() < 1.6
    assert np.ptp(line[:, 0]) == pytest.approx(100, abs=8)

from __future__ import annotations

import numpy as np
import pytest

from edgecrack.survey.plane_geometry import (
    Matrix,
    corners,
    implausible,
    inverse,
    local_scale,
    moved,
    overlap,
    through_corners,
)
from tests.survey.small_walls import HW, shifted


@pytest.mark.parametrize(
    ("homography", "share"),
    [
        (np.eye(3), 1.0),
        (shifted(150, 0), 0.5),
        (shifted(0, -100), 0.5),
        (shifted(300, 0), 0.0),
        (shifted(75, 50, 0.5), 0.25),
        (np.diag([-1.0, 1.0, 1.0]), 0.0),
    ],
)
def test_overlap(homography: Matrix, share: float) -> None:
    assert overlap(HW, HW, homography) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    ("homography", "reason"),
    [
        (np.eye(3), ""),
        (np.array([[1, 0, 0], [0, 1, 0], [-1 / 100, 0, 1]]), "behind"),
        (np.array([[1, 0, 0], [0, 1, 0], [1 / 100, 0, 1]]), "edge-on"),
        (np.diag([1.0, -1.0, 1.0]), "mirrored"),
        (np.diag([8.0, 8.0, 1.0]), "scale"),
        (np.full((3, 3), np.nan), "behind"),
    ],
)
def test_what_no_camera_sees(homography: Matrix, reason: str) -> None:
    found = implausible(HW, homography)
    assert reason in found
    assert bool(found) == bool(reason)


def test_there_and_back() -> None:
    way = shifted(10, -5, 1.2, 0.1) + np.array([[0, 0, 0], [0, 0, 0], [1e-4, 2e-4, 0]])
    assert moved(moved(corners(HW), way), inverse(way)) == pytest.approx(corners(HW), abs=1e-6)
    assert through_corners(HW, moved(corners(HW), way)) == pytest.approx(way, abs=1e-3)


def test_local_scale_is_the_growth_of_a_small_square() -> None:
    way = np.array([[1.5, 0, 0], [0, 1.5, 0], [1e-3, 0, 1]])
    square = np.array([[100, 50], [100.01, 50], [100.01, 50.01], [100, 50.01]])
    places = moved(square, way)
    side = np.hypot(*(places[2] - places[0])) / np.hypot(0.01, 0.01)
    assert local_scale(way, square[:1])[0] == pytest.approx(side, rel=0.05)

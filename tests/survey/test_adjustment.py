from __future__ import annotations

import numpy as np

from edgecrack.survey.plane_geometry import Matrix, corners, inverse, moved
from edgecrack.survey.registration import Tie, adjust, place_covariance
from tests.survey.small_walls import HW, shifted

UNIT = 150.0


def _truth(count: int) -> dict[int, Matrix]:
    tilt = np.array([[0, 0, 0], [0, 0, 0], [3e-5, -2e-5, 0]])
    return {
        key: shifted(60 * key, 10 * key, 1 + 0.03 * key, 0.02 * key) + (tilt if key else 0)
        for key in range(count)
    }


def _ties(truth: dict[int, Matrix], noise_px: float) -> list[Tie]:
    rng = np.random.default_rng(1)
    ties = []
    for key in range(len(truth) - 1):
        first = rng.uniform((80, 10), (290, 190), (40, 2))
        second = moved(first, inverse(truth[key + 1]) @ truth[key])
        noise = rng.normal(0, 1, (40, 2)) * noise_px
        ties.append(Tie(key, key + 1, first, second + noise, max(noise_px, 0.1)))
    return ties


def _worst(found: dict[int, Matrix], truth: dict[int, Matrix]) -> float:
    return max(
        float(np.abs(moved(corners(HW), found[key]) - moved(corners(HW), truth[key])).max())
        for key in truth
    )


def test_frames_find_back_to_where_they_are() -> None:
    truth = _truth(5)
    start = {key: each @ shifted(4, -3, 1.01) if key else each for key, each in truth.items()}
    adjusted = adjust(start, _ties(truth, 0.0), [1, 2, 3, 4], UNIT)
    assert _worst(adjusted.homographies, truth) < 0.01
    assert adjusted.sigma_px < 0.01
    assert np.array_equal(adjusted.homographies[0], start[0])


def test_a_few_wrong_points_do_little() -> None:
    truth = _truth(3)
    ties = _ties(truth, 0.3)
    ties[0].second_xy[:3] += 40
    adjusted = adjust(truth, ties, [1, 2], UNIT)
    assert _worst(adjusted.homographies, truth) < 3


def test_the_further_from_the_fixed_frame_the_less_sure() -> None:
    truth = _truth(6)
    adjusted = adjust(truth, _ties(truth, 0.5), [1, 2, 3, 4, 5], UNIT)
    spread = [
        float(
            np.sqrt(
                np.trace(
                    place_covariance(
                        adjusted.homographies[key],
                        adjusted.covariances[key],
                        np.array([[150.0, 100.0]]),
                        UNIT,
                    )[0]
                )
            )
        )
        for key in (1, 3, 5)
    ]
    assert spread[0] < spread[1] < spread[2]
    assert 0.3 < adjusted.sigma_px < 0.7


def test_without_ties_nothing_moves() -> None:
    truth = _truth(2)
    adjusted = adjust(truth, [], [1], UNIT)
    assert _worst(adjusted.homographies, truth) < 1e-9
    assert adjusted.covariances == {}

"""Expected calibration error against a loop over pixels and bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.evaluation.strata.detection import BINS, LEAST_LEVEL, Reliability
from edgecrack.metrics import uint8_level


def slow_error(levels: list[int], truth: list[bool]) -> float | None:
    """Pixel by pixel: bins of equal width, an edge belongs to the upper one."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for level, crack in zip(levels, truth, strict=True):
        if level >= LEAST_LEVEL:
            bins[min(level * BINS // 255, BINS - 1)].append((level / 255, crack))
    counted = sum(map(len, bins))
    if not counted:
        return None
    error = 0.0
    for own in bins:
        if own:
            mean = sum(probability for probability, _ in own) / len(own)
            share = sum(crack for _, crack in own) / len(own)
            error += len(own) / counted * abs(share - mean)
    return error


@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=200))
def test_the_error_is_that_of_a_loop(pixels: list[tuple[int, bool]]) -> None:
    levels, truth = (list(part) for part in zip(*pixels, strict=True))
    found = Reliability.of(np.array([levels], np.uint8), np.array([truth], bool))
    expected = slow_error(levels, truth)
    if expected is None:
        assert found.expected_error() is None
    else:
        assert found.expected_error() == pytest.approx(expected)


def test_the_least_level_is_that_of_the_lowest_threshold() -> None:
    assert uint8_level(0.01) == LEAST_LEVEL


@pytest.mark.parametrize(
    ("level", "place"),
    [(3, 0), (16, 0), (17, 1), (33, 1), (34, 2), (237, 13), (238, 14), (255, 14)],
)
def test_bins_and_their_edges(level: int, place: int) -> None:
    rows = Reliability.of(np.full((2, 3), level, np.uint8), np.ones((2, 3), bool)).bins()
    assert [row["pixels"] for row in rows] == [6 * (index == place) for index in range(BINS)]
    assert rows[place]["from"] <= level / 255 + 1e-4
    assert level / 255 <= rows[place]["to"]
    assert rows[place]["mean_probability"] == pytest.approx(level / 255)
    assert rows[place]["crack_share"] == 1


def test_sure_and_right_is_zero_and_sure_and_wrong_is_one() -> None:
    truth = np.zeros((20, 20), bool)
    truth[5:9] = True
    right = np.where(truth, 255, 0).astype(np.uint8)
    assert Reliability.of(right, truth).expected_error() == 0
    assert Reliability.of(255 - right, truth).expected_error() == 1
    assert Reliability.of(np.zeros_like(right), truth).expected_error() is None
    assert Reliability.none().expected_error() is None


def test_a_probability_that_is_right_as_often_as_it_says() -> None:
    level = 51  # 0.2
    truth = np.zeros((10, 10), bool)
    truth[:2] = True
    found = Reliability.of(np.full((10, 10), level, np.uint8), truth)
    assert found.expected_error() == pytest.approx(0)


@given(st.integers(0, 2**32 - 1))
def test_pictures_add_up_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 256, (3, 8, 9)).astype(np.uint8)
    truths = rng.random((3, 8, 9)) < 0.4
    whole = Reliability.of(maps.reshape(-1, 9), truths.reshape(-1, 9))
    first, second, third = (Reliability.of(*pair) for pair in zip(maps, truths, strict=True))
    for total in (first + second + third, third + Reliability.none() + first + second):
        assert np.array_equal(total.pixels, whole.pixels)
        assert np.array_equal(total.crack, whole.crack)

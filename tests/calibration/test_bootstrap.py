"""The bootstrap over images: draws, their bound, and a slow reference that pools in loops."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.calibration.accuracy import draw_images, upper_bound

# Student's one-sided 95 % quantiles, from a printed table.
STUDENT = {1: 6.314, 2: 2.920, 4: 2.132, 7: 1.895, 11: 1.796, 19: 1.729, 29: 1.699, 120: 1.658}


@given(images=st.integers(1, 60), seed=st.integers(0, 99))
def test_each_draw_has_as_many_images_as_there_are(images: int, seed: int) -> None:
    drawn = draw_images(images, seed, 20)
    assert drawn.shape == (20, images)
    assert (drawn >= 0).all()
    assert (drawn.sum(1) == images).all()


def test_every_image_is_as_likely_as_every_other() -> None:
    means = draw_images(10, 3, 20_000).mean(0)
    np.testing.assert_allclose(means, 1.0, atol=0.04)


def test_the_seed_decides_the_draws() -> None:
    np.testing.assert_array_equal(draw_images(9, 1), draw_images(9, 1))
    assert (draw_images(9, 1) != draw_images(9, 2)).any()


@given(value=st.floats(-100, 100), images=st.integers(2, 400))
def test_what_is_the_same_in_every_draw_is_its_own_bound(value: float, images: int) -> None:
    assert upper_bound(np.full(50, value), images) == value


@given(
    values=st.lists(st.floats(-100, 100), min_size=2, max_size=200),
    images=st.integers(2, 400),
    shift=st.floats(-50, 50),
)
def test_the_bound_is_one_of_the_values_at_least_their_95_percent_point_and_moves_with_them(
    values: list[float], images: int, shift: float
) -> None:
    drawn = np.array(values)
    bound = upper_bound(drawn, images)
    assert bound in values
    assert (drawn <= bound).mean() >= 0.95
    assert upper_bound(drawn + shift, images) == pytest.approx(bound + shift)


@pytest.mark.parametrize("images", [2, 3, 5, 8, 12, 20, 30, 121])
def test_few_images_widen_it_as_student_s_distribution_says(images: int) -> None:
    """Of a normal distribution of draws the bound is at sqrt(n / (n - 1)) t."""
    normal = np.array(statistics.NormalDist().samples(200_000, seed=5))
    wanted = math.sqrt(images / (images - 1)) * STUDENT[images - 1]
    share = statistics.NormalDist().cdf(wanted)
    assert upper_bound(normal, images) >= np.quantile(normal, 0.95)
    found = float((normal <= upper_bound(normal, images)).mean())
    assert found == pytest.approx(share, abs=0.001)


def test_draws_pool_to_what_a_loop_over_drawn_images_gives() -> None:
    """The same distribution, by another generator: means and bounds of a ratio agree."""
    hits, total = [3, 0, 9, 4, 7, 1, 8, 2], [9, 4, 11, 10, 8, 6, 12, 5]
    weights = draw_images(8, 0, 20_000)
    fast = (weights @ np.array(hits)) / (weights @ np.array(total))
    drawn = random.Random(7)
    slow = []
    for _ in range(20_000):
        chosen = [drawn.randrange(8) for _ in range(8)]
        slow.append(sum(hits[i] for i in chosen) / sum(total[i] for i in chosen))
    assert fast.mean() == pytest.approx(statistics.fmean(slow), abs=0.004)
    assert upper_bound(fast, 8) == pytest.approx(upper_bound(np.array(slow), 8), abs=0.01)

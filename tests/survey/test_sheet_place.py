"""Sheets are placed by known places: exactly where these agree, and in spite of some that jump."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.survey.sheet_place import fit_place

FINITE = st.floats(-5, 5)


def places_of(points: np.ndarray, axes: np.ndarray, origin: np.ndarray) -> np.ndarray:
    return np.asarray(origin + points @ axes.T, np.float64)


@given(st.lists(FINITE, min_size=9, max_size=9), st.integers(0, 1000))
def test_places_that_agree_are_met(numbers: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes, origin = np.array(numbers[:6]).reshape(3, 2) / 1000, np.array(numbers[6:])
    points = rng.uniform(0, 2000, (12, 2))
    place = fit_place(points, places_of(points, axes, origin))
    assert place is not None
    other = rng.uniform(-500, 2500, (5, 2))
    assert place.of(other) == pytest.approx(places_of(other, axes, origin), abs=1e-6)
    assert not place.along_only


def test_places_that_jump_do_not_count() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1000, (40, 2))
    axes = np.array([[0.001, 0], [0, 0], [0, -0.001]])
    places = places_of(points, axes, np.zeros(3)) + rng.normal(0, 0.01, (40, 3))
    places[5:13] += [30.0, -20.0, 5.0]
    place = fit_place(points, places)
    assert place is not None
    assert place.left_out == pytest.approx(8, abs=2)
    assert place.spread_m == pytest.approx(0.01, rel=0.35)
    assert place.of(np.array([[500.0, 500.0]]))[0] == pytest.approx([0.5, 0, -0.5], abs=0.01)


def test_along_a_line_what_is_beside_it_is_placed_on_it() -> None:
    points = np.c_[np.linspace(0, 1000, 20), np.full(20, 100.0)]
    place = fit_place(points, np.c_[points[:, 0] / 1000, np.zeros(20), np.ones(20)])
    assert place is not None
    assert place.along_only
    assert place.of(np.array([[300.0, 700.0]]))[0] == pytest.approx([0.3, 0, 1.0], abs=1e-6)


@pytest.mark.parametrize(
    "places",
    [
        np.zeros((2, 3)),
        np.full((6, 3), np.nan),
        np.random.default_rng(2).normal(0, 100, (1, 3)),
    ],
)
def test_too_few_places_place_nothing(places: np.ndarray) -> None:
    points = np.random.default_rng(3).uniform(0, 100, (len(places), 2))
    assert fit_place(points, places) is None


def test_a_camera_that_did_not_move_places_nothing() -> None:
    assert fit_place(np.full((9, 2), 50.0), np.zeros((9, 3))) is None

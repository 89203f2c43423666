"""Detection by width and its bound: exact tails, shares per photo, classes of width."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from edgecrack.errors import ConfigError
from edgecrack.evaluation.strata.detection import (
    EDGES_PX,
    DetectionConfig,
    Trial,
    detection_document,
    lower_bound,
)
from edgecrack.metrics import uint8_level

CONFIG = DetectionConfig(0.25, 0.8, 0.5)


def upper_tail(found: int, photos: int, probability: float) -> float:
    """P(at least `found` of `photos`), summed term by term."""
    p = Fraction(probability)
    terms = (
        math.comb(photos, k) * p**k * (1 - p) ** (photos - k) for k in range(found, photos + 1)
    )
    return float(sum(terms, Fraction(0)))


@pytest.mark.parametrize(("found", "photos"), [(1, 1), (3, 3), (5, 9), (28, 29), (1, 40)])
def test_at_the_bound_what_was_found_has_a_chance_of_five_percent(found: int, photos: int) -> None:
    bound = lower_bound([1.0] * found + [0.0] * (photos - found))
    assert upper_tail(found, photos, bound) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize(
    ("shares", "expected"), [([], 0.0), ([0.0] * 9, 0.0), ([1.0], 0.05), ([1.0] * 29, 0.9019)]
)
def test_known_bounds(shares: list[float], expected: float) -> None:
    assert lower_bound(shares) == pytest.approx(expected, abs=1e-4)


@given(st.lists(st.sampled_from([k / 20 for k in range(21)]), min_size=1, max_size=40))
def test_the_bound_lies_below_the_mean_and_grows_with_what_is_found(shares: list[float]) -> None:
    bound = lower_bound(shares)
    assert 0 <= bound <= np.mean(shares) + 1e-12
    assert bound < 1
    better = [min(1.0, share + 0.1) for share in shares]
    assert lower_bound(better) >= bound
    assert lower_bound(shares[::-1]) == pytest.approx(bound)


@pytest.mark.parametrize("photos", [1, 2, 5, 20])
@pytest.mark.parametrize(
    ("values", "weights"),
    [
        ((0.0, 1.0), (0.85, 0.15)),
        ((0.0, 1.0), (0.1, 0.9)),
        ((0.5, 1.0), (0.4, 0.6)),
        ((0.0, 0.25, 0.75), (0.2, 0.3, 0.5)),
    ],
)
def test_the_bound_is_wrong_in_at_most_five_percent_of_draws(
    photos: int, values: tuple[float, ...], weights: tuple[float, ...]
) -> None:
    truth = float(np.dot(values, weights))
    rng = np.random.default_rng(5)
    drawn = rng.choice(values, p=weights, size=(4000, photos)).sum(axis=1)
    totals, times = np.unique(drawn.round(6), return_counts=True)
    bounds = [
        lower_bound([total / photos] * photos) if total > 0 else 0.0 for total in totals.tolist()
    ]
    wrong = sum(
        int(count) for bound, count in zip(bounds, times, strict=True) if bound > truth + 1e-9
    )
    assert wrong / 4000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_a_photo_counts_once_however_many_cracks_it_has() -> None:
    trials = [Trial("many", 2.2, 255)] * 30 + [Trial("few", 2.2, 0)]
    (row,) = detection_document(trials, CONFIG)["widths"]
    assert (row["cracks"], row["photos"], row["found"]) == (31, 2, 30)
    assert row["probability"] == 0.5
    assert row["lower_95"] == pytest.approx(beta.ppf(0.05, 1, 2))


@pytest.mark.parametrize("threshold", [0.01, 0.2, 0.5, 0.6, 0.99])
def test_found_is_at_the_level_and_not_just_below(threshold: float) -> None:
    level = uint8_level(threshold)
    trials = [Trial("a", 2.2, level), Trial("b", 2.2, level - 1)]
    config = DetectionConfig(0.25, None, threshold)
    assert detection_document(trials, config)["widths"][0]["found"] == 1


@pytest.mark.parametrize(
    ("width_px", "low"),
    [(0.5, 0.5), (0.74, 0.5), (0.75, 0.75), (3.0, 3.0), (39.99, 20.0), (80.0, 40.0)],
)
def test_an_edge_belongs_to_the_wider_class_and_the_last_to_the_last(
    width_px: float, low: float
) -> None:
    document = detection_document([Trial("a", width_px, 255)], CONFIG)
    (row,) = document["widths"]
    assert row["width_px"][0] == low
    assert row["width_mm"] == [round(0.25 * edge, 4) for edge in row["width_px"]]
    assert document["cracks_of_other_widths"] == 0


def test_cracks_of_other_widths_are_counted() -> None:
    trials = [Trial("a", width_px, 255) for width_px in (0.4, 80.5, 2.0)]
    document = detection_document(trials, CONFIG)
    assert document["cracks_of_other_widths"] == 2
    assert sum(row["cracks"] for row in document["widths"]) == 1
    assert detection_document([], CONFIG)["widths"] == []


def found_in(*classes: int, photos: int = 30, missed_in: tuple[int, ...] = ()) -> list[Trial]:
    return [
        Trial(f"p{photo}", EDGES_PX[index], 0 if index in missed_in else 255)
        for index in (*classes, *missed_in)
        for photo in range(photos)
    ]


@pytest.mark.parametrize(
    ("trials", "expected_px"),
    [
        (found_in(4, 5, 6), EDGES_PX[4]),
        (found_in(5, 6, missed_in=(4,)), EDGES_PX[5]),
        (found_in(4, 6, missed_in=(5,)), EDGES_PX[6]),
        (found_in(4, 6), EDGES_PX[6]),
        (found_in(4, 5, missed_in=(6,)), None),
        (found_in(4, 5, photos=10), None),
        ([], None),
    ],
    ids=["all", "narrow missed", "middle missed", "gap", "widest missed", "few photos", "nothing"],
)
def test_the_smallest_width_that_is_surely_found(
    trials: list[Trial], expected_px: float | None
) -> None:
    found = detection_document(trials, CONFIG)["smallest_width_mm_with_bound_above_target"]
    assert found == (None if expected_px is None else 0.25 * expected_px)


def test_the_document_is_json_of_its_own_conditions() -> None:
    document = json.loads(json.dumps(detection_document(found_in(4), CONFIG), allow_nan=False))
    assert (document["mm_per_px"], document["blur_px"], document["threshold"]) == (0.25, 0.8, 0.5)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, 1001.0])
def test_a_scale_that_is_none(scale: float) -> None:
    with pytest.raises(ConfigError, match=r"mm/px; give a number above 0"):
        DetectionConfig(scale, None, 0.5)

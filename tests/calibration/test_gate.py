"""The gate: literal drops, at the limit and beyond, and what a refusal says."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.calibration.accuracy import Accuracy
from edgecrack.calibration.gate import Gate
from edgecrack.errors import AccuracyError, ConfigError

NAN = math.nan


def scores(ods: float, thin: float) -> Accuracy:
    return Accuracy(ods, 50.0, thin)


@pytest.mark.parametrize(
    ("before", "after", "limit", "passes"),
    [
        ((90, 80), (90, 80), 0.5, True),
        ((90, 80), (90, 80), 0.0, True),
        ((90, 80), (89.5, 79.5), 0.5, True),
        ((86.86, 80), (86.36, 80), 0.5, True),  # 0.5 and a hair, in floats
        ((90, 80), (89.49, 80), 0.5, False),
        ((90, 80), (90, 79.49), 0.5, False),
        ((90, 80), (95, 79.49), 0.5, False),  # a gain in one does not pay for the other
        ((90, 80), (89.49, 85), 0.5, False),
        ((90, 80), (91, 81), 0.0, True),
        ((90, 80), (89.999, 80), 0.0, False),
        ((100, 100), (0, 0), 100, True),
        ((90, 80), (NAN, 80), 0.5, False),
        ((90, 80), (90, NAN), 0.5, False),
        ((NAN, 80), (90, 80), 0.5, False),
        ((90, NAN), (90, 80), 0.5, False),
        ((90, 80), (NAN, NAN), 100, False),
    ],
)
def test_a_drop_within_the_limit_passes(
    before: tuple[float, float], after: tuple[float, float], limit: float, passes: bool
) -> None:
    gate = Gate(limit)
    assert gate.passes(scores(*before), scores(*after)) is passes
    assert (gate.excess(scores(*before), scores(*after)) <= 0) is passes
    if passes:
        gate.require(scores(*before), scores(*after), "")
    else:
        with pytest.raises(AccuracyError):
            gate.require(scores(*before), scores(*after), "")


@given(whole=st.integers(5000, 10_000), drop=st.integers(0, 500))
def test_a_drop_of_exactly_the_limit_passes_and_a_hundredth_more_does_not(
    whole: int, drop: int
) -> None:
    before = scores(whole / 100, 80)
    assert Gate(drop / 100).passes(before, scores((whole - drop) / 100, 80))
    assert not Gate(drop / 100).passes(before, scores((whole - drop - 1) / 100, 80))


@pytest.mark.parametrize(
    ("after", "passes"), [(50.0, True), (49.5, True), (49.49, False), (60.0, True), (NAN, False)]
)
def test_a_drop_of_strict_f1_counts_too(after: float, passes: bool) -> None:
    assert Gate(0.5).passes(scores(90, 80), Accuracy(90, after, 80)) is passes


def test_the_excess_is_of_the_worst_score() -> None:
    assert Gate(0.5).excess(scores(90, 80), Accuracy(88, 45, 79)) == pytest.approx(4.5)
    assert Gate(0.5).excess(scores(90, 80), scores(88, 70)) == pytest.approx(9.5)
    assert Gate(0.5).excess(scores(90, 80), scores(88, 80)) == pytest.approx(1.5)
    assert Gate(0.5).excess(scores(90, 80), Accuracy(91, 52, 80.2)) == pytest.approx(-0.7)


def test_a_refusal_says_all_four_numbers_the_limit_and_what_was_tried() -> None:
    with pytest.raises(AccuracyError) as caught:
        Gate(0.75).require(scores(88.123, 79.987), scores(85.4, 60), "3 of 45 mixes tried")
    problem = caught.value.problem
    for words in (
        "ODS 88.12 -> 85.40",
        "50.00 -> 50.00",
        "79.99 -> 60.00",
        "0.75 points",
        "3 of 45 mixes tried",
    ):
        assert words in problem
    for words in ("--method", "--max-drop", "--precision fp16"):
        assert words in caught.value.remedy


@pytest.mark.parametrize("limit", [-0.01, -1, 100.5, math.inf, -math.inf, NAN])
def test_a_limit_out_of_range_is_refused(limit: float) -> None:
    expected = f"the allowed drop is {re.escape(str(limit))} points; give 0 to 100"
    with pytest.raises(ConfigError, match=expected):
        Gate(limit)

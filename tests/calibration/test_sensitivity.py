"""The order of layers, and how few of them stay in floating point: functions made up here."""

from __future__ import annotations

import pytest

from edgecrack.calibration.calibrating import Choice, LayerCost, rank_layers, smallest_kept_set
from edgecrack.calibration.gate import Judged, Verdict


def verdict(excess: float) -> Verdict:
    """One that exceeds its limit of 1 point by so much."""
    return Verdict("labels", 20, 8, (Judged("ods", 90.0, 90.0, 0.0, 1.0 + excess, 1.0),))


@pytest.mark.parametrize(
    ("errors", "order"),
    [
        ({"a": 1.0, "b": 3.0, "c": 2.0}, "bca"),
        ({"a": 1.0, "b": 1.0, "c": 2.0}, "cab"),
        ({"c": 0.0, "a": 0.0, "b": 0.0}, "cab"),
        ({"a": 0.5}, "a"),
        ({}, ""),
    ],
)
def test_layers_are_ranked_by_what_they_cost(errors: dict[str, float], order: str) -> None:
    told: list[tuple[int, int]] = []
    costs = rank_layers(
        list(errors), errors.__getitem__, lambda done, total: told.append((done, total))
    )
    assert costs == [LayerCost(name, errors[name]) for name in order]
    assert told == [(done, len(errors)) for done in range(1, len(errors) + 1)]


@pytest.mark.parametrize(
    ("excesses", "kept", "passed", "tried"),
    [
        # By how much the limit is exceeded with 1, 2, 3 of the four layers kept.
        ((-0.1, -0.2, -0.3), 1, True, 1),
        ((0.4, 0.0, -0.1), 2, True, 2),
        ((9.0, 8.0, -0.5), 3, True, 3),
        ((5.0, 8.0, 7.0), 1, False, 3),
        ((9.0, 8.0, 7.0), 3, False, 3),
        ((5.0, 5.0, 5.0), 1, False, 3),  # of equals the one that keeps fewest
    ],
)
def test_the_first_choice_that_passes_is_taken_else_the_nearest(
    excesses: tuple[float, ...], kept: int, passed: bool, tried: int
) -> None:
    costs = [LayerCost(name, error) for name, error in zip("dbca", (9, 4, 2, 1), strict=True)]
    asked: list[tuple[str, ...]] = []
    told: list[tuple[int, int]] = []

    def judge(names: tuple[str, ...]) -> Verdict:
        asked.append(names)
        return verdict(excesses[len(names) - 1])

    choice = smallest_kept_set(costs, judge, lambda done, total: told.append((done, total)))
    assert choice == Choice(tuple("dbca"[:kept]), verdict(excesses[kept - 1]), tried)
    assert choice.verdict.passed is passed
    assert asked == [tuple("dbca"[:count]) for count in range(1, tried + 1)]
    assert told == [(done, 3) for done in range(1, tried + 1)]


@pytest.mark.parametrize("costs", [[], [LayerCost("a", 1.0)]])
def test_fewer_than_two_layers_are_a_mistake_of_the_caller(costs: list[LayerCost]) -> None:
    with pytest.raises(ValueError, match="fewer than two layers"):
        smallest_kept_set(costs, lambda kept: verdict(1.0))

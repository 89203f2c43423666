"""The order of layers, and how few of them stay in floating point: functions made up here."""

from __future__ import annotations

import pytest

from edgecrack.calibration.accuracy import Accuracy
from edgecrack.calibration.gate import Gate
from edgecrack.calibration.sensitivity import Choice, LayerCost, fewest_kept, rank_layers

REFERENCE = Accuracy(90.0, 70.0, 80.0)


def scores(ods: float) -> Accuracy:
    return Accuracy(ods, 70.0, 80.0)


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
    ("ods", "kept", "passed", "tried"),
    [
        # Scores with 0, 1, 2, 3 of the four layers kept.
        ((89.8, 90.0, 90.0, 90.0), 0, True, 1),
        ((80.0, 89.6, 90.0, 90.0), 1, True, 2),
        ((80.0, 81.0, 82.0, 89.5), 3, True, 4),
        ((80.0, 85.0, 82.0, 83.0), 1, False, 4),
        ((89.0, 85.0, 82.0, 83.0), 0, False, 4),
        ((80.0, 81.0, 82.0, 83.0), 3, False, 4),
        ((85.0, 85.0, 85.0, 85.0), 0, False, 4),  # of equals the one that keeps fewest
    ],
)
def test_the_first_choice_that_passes_is_taken_else_the_nearest(
    ods: tuple[float, ...], kept: int, passed: bool, tried: int
) -> None:
    costs = [LayerCost(name, error) for name, error in zip("dbca", (9, 4, 2, 1), strict=True)]
    asked: list[tuple[str, ...]] = []
    told: list[tuple[int, int]] = []

    def accuracy_of(names: tuple[str, ...]) -> Accuracy:
        asked.append(names)
        return scores(ods[len(names)])

    choice = fewest_kept(
        costs,
        accuracy_of,
        REFERENCE,
        Gate(0.5),
        lambda done, total: told.append((done, total)),
    )
    assert choice == Choice(tuple("dbca"[:kept]), scores(ods[kept]), passed, tried)
    assert asked == [tuple("dbca"[:count]) for count in range(tried)]
    assert told == [(done, 4) for done in range(1, tried + 1)]


def test_a_network_of_one_layer_keeps_none() -> None:
    choice = fewest_kept([LayerCost("a", 1.0)], lambda kept: scores(10), REFERENCE, Gate(0.5))
    assert choice == Choice((), scores(10), False, 1)


def test_no_layers_at_all_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no layers"):
        fewest_kept([], lambda kept: scores(10), REFERENCE, Gate(0.5))

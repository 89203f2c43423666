"""Which layers cost most accuracy in INT8, and how few of them must stay in FP16.

Each layer is quantized alone and judged by what it does to the output; then layers are kept in
that order, one more at a time, until the gate is passed. Knows names and two functions; must
not know graphs or tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecrack.calibration.accuracy import Accuracy
from edgecrack.calibration.gate import Gate

Advance = Callable[[int, int], None]
"""Told (done, total)."""


@dataclass(frozen=True)
class LayerCost:
    """What a layer does to the output when it alone is INT8.

    Attributes:
        name: the layer.
        error: mean squared difference from the FP32 output, in squared levels of 255.
    """

    name: str
    error: float


@dataclass(frozen=True)
class Choice:
    """The layers that stay in floating point, and what that gives.

    Attributes:
        kept: their names, the most costly first.
        accuracy: of the graph with all other layers in INT8.
        passed: whether the gate lets it through.
        tried: how many graphs were judged.
    """

    kept: tuple[str, ...]
    accuracy: Accuracy
    passed: bool
    tried: int


def rank_layers(
    layers: Sequence[str],
    error_of: Callable[[str], float],
    advance: Advance = lambda done, total: None,
) -> list[LayerCost]:
    """Layers by their cost, the greatest first; of equals the earlier layer first.

    Args:
        layers: all layers that can be quantized.
        error_of: the output's error with that layer alone in INT8.
        advance: told how many are done.
    """
    costs = []
    for index, name in enumerate(layers):
        costs.append(LayerCost(name, error_of(name)))
        advance(index + 1, len(layers))
    return sorted(costs, key=lambda cost: -cost.error)


def fewest_kept(
    costs: Sequence[LayerCost],
    accuracy_of: Callable[[tuple[str, ...]], Accuracy],
    reference: Accuracy,
    gate: Gate,
    advance: Advance = lambda done, total: None,
) -> Choice:
    """Keep layers in the order of their cost until the gate is passed.

    At least one layer is left in INT8. Where nothing passes, the choice that came nearest is
    given, with `passed` False.

    Args:
        costs: from `rank_layers`.
        accuracy_of: the scores with these layers kept.
        reference: of the FP32 model.
        gate: what is allowed.
        advance: told how many graphs were judged, of how many at most.
    """
    nearest: Choice | None = None
    nearest_excess = 0.0
    for count in range(len(costs)):
        kept = tuple(cost.name for cost in costs[:count])
        accuracy = accuracy_of(kept)
        advance(count + 1, len(costs))
        excess = gate.excess(reference, accuracy)
        if nearest is None or excess < nearest_excess:
            nearest, nearest_excess = Choice(kept, accuracy, excess <= 0, count + 1), excess
        if excess <= 0:
            return Choice(kept, accuracy, True, count + 1)
    if nearest is None:
        raise ValueError("there are no layers")
    return Choice(nearest.kept, nearest.accuracy, False, len(costs))

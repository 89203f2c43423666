"""Which layers cost most accuracy in INT8, and how few of them must stay in FP16.

Each layer is quantized alone and judged by what it does to the output; then layers are kept in
that order, one more at a time, until the gate is passed. Knows names and two functions; must
not know graphs or tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecrack.calibration.gate import Verdict

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
        verdict: the gate's, of the graph with all other layers in INT8.
        tried: how many graphs were judged.
    """

    kept: tuple[str, ...]
    verdict: Verdict
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


def smallest_kept_set(
    costs: Sequence[LayerCost],
    judge: Callable[[tuple[str, ...]], Verdict],
    advance: Advance = lambda done, total: None,
) -> Choice:
    """Keep layers in the order of their cost until the gate is passed.

    One layer at least is kept, for the graph with none kept was judged before there was anything
    to search for, and one at least is left in INT8. Where nothing passes, the choice that came
    nearest is given.

    Args:
        costs: from `rank_layers`, of two layers or more.
        judge: the gate's verdict with these layers kept.
        advance: told how many graphs were judged, of how many at most.
    """
    nearest: Choice | None = None
    for count in range(1, len(costs)):
        kept = tuple(cost.name for cost in costs[:count])
        verdict = judge(kept)
        advance(count, len(costs) - 1)
        if verdict.passed:
            return Choice(kept, verdict, count)
        if nearest is None or verdict.excess < nearest.verdict.excess:
            nearest = Choice(kept, verdict, count)
    if nearest is None:
        raise ValueError("there are fewer than two layers")
    return Choice(nearest.kept, nearest.verdict, len(costs) - 1)

"""Crack width statistics and their uncertainty budget.

Follows the Guide to the Expression of Uncertainty in Measurement (JCGM 100:2008): each source is a
standard uncertainty, and they add in quadrature. Noise is independent between rows and averages
out. Light from inside the crack, blur, model error and scale are the same error in all rows and do
not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.width import Width

# 95 % of a normal distribution is within this many standard deviations.
WITHIN_95 = 1.96
# Not in the bar model: resampling, the camera's tone curve, sharpening.
_MODEL_PX, _MODEL_SHARE = 0.05, 0.01
# Standard error of a median relative to that of a mean.
_OF_MEDIAN = math.sqrt(math.pi / 2)


@dataclass(frozen=True)
class Figure:
    """One figure of a crack with its 95 % interval, in pixels or millimetres.

    Attributes:
        value: best estimate.
        low: lower end of the interval, 0 or more.
        high: upper end.
        terms: standard uncertainties by source, in the unit of the value.
    """

    value: float
    low: float
    high: float
    terms: Mapping[str, float] = field(default_factory=dict)

    @property
    def deviation(self) -> float:
        """Combined standard uncertainty."""
        return math.sqrt(sum(term**2 for term in self.terms.values()))


class WidthFigures(NamedTuple):
    """Width statistics over the rows of a crack."""

    mean: Figure
    median: Figure
    percentile_95: Figure
    largest: Figure


def width_figures(
    widths: Sequence[Width],
    mm_per_px: NDArray[np.float64] | None = None,
    scale_terms: Mapping[str, NDArray[np.float64]] | None = None,
) -> WidthFigures | None:
    """Mean, median, 95th percentile and largest width over the rows of a crack.

    Args:
        widths: of all rows; rows that could not be measured are ignored.
        mm_per_px: float [N], the scale across the crack in each row; None for figures in pixels.
        scale_terms: by source, the scale's relative standard uncertainty in each row, float [N].

    Returns:
        None where no row could be measured.
    """
    chosen = [number for number, width in enumerate(widths) if width.width_px is not None]
    if not chosen:
        return None
    factors = np.ones(len(widths)) if mm_per_px is None else np.asarray(mm_per_px, np.float64)
    factor = factors[chosen]
    values, noise, depth, blur, step = (
        factor * np.array([getattr(widths[number], f"{name}_px") for number in chosen], np.float64)
        for name in ("width", "noise", "depth", "blur", "step")
    )
    scale = {
        name: float((values * np.asarray(term)[chosen]).mean())
        for name, term in (scale_terms or {}).items()
    }
    common = {
        "depth": float(depth.mean()),
        "blur": float(blur.mean()),
        "model": _model(float(values.mean()), float(factor.mean()), float(step.mean())),
        **scale,
    }
    # Averaging makes the mean and the median more certain, but hardly the extremes.
    single = math.sqrt(float((noise**2).mean()) / len(values))
    mean = _about(float(values.mean()), {"noise": single, **common})
    median = _about(float(np.median(values)), {"noise": _OF_MEDIAN * single, **common})
    high = float(np.percentile(values, 95))
    near, widest = int(np.argmin(abs(values - high))), int(np.argmax(values))
    percentile, largest = (
        _of_row(
            value,
            widths[chosen[row]],
            float(factor[row]),
            {name: float(term[chosen[row]]) for name, term in (scale_terms or {}).items()},
        )
        for value, row in ((high, near), (float(values.max()), widest))
    )
    return WidthFigures(mean, median, percentile, largest)


def _model(value: float, factor: float, step: float) -> float:
    return math.hypot(_MODEL_PX * factor + _MODEL_SHARE * value, step)


def _about(value: float, terms: dict[str, float]) -> Figure:
    spread = WITHIN_95 * math.sqrt(sum(term**2 for term in terms.values()))
    return Figure(value, max(0.0, value - spread), value + spread, terms)


def _of_row(value: float, width: Width, factor: float, scale_terms: Mapping[str, float]) -> Figure:
    """From the interval of one row, which may be asymmetric."""
    middle, low, high, noise, depth, blur, step = (
        factor * (each or 0.0)
        for each in (
            width.width_px, width.low_px, width.high_px,
            width.noise_px, width.depth_px, width.blur_px, width.step_px,
        )
    )  # fmt: skip
    scale = {name: value * term for name, term in scale_terms.items()}
    common = {"model": _model(value, factor, step), **scale}
    spread = WITHIN_95 * math.sqrt(sum(term**2 for term in common.values()))
    terms = {"noise": noise, "depth": depth, "blur": blur, **common}
    return Figure(
        value,
        max(0.0, value - math.hypot(middle - low, spread)),
        value + math.hypot(high - middle, spread),
        terms,
    )

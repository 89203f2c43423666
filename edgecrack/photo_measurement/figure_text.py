"""Widths and lengths as a person reads them: `0.38 mm [0.33, 0.43]`."""

from __future__ import annotations

from edgecrack.photo_measurement.crack_records import MeasuredCrack
from edgecrack.photo_measurement.crack_table import MM_PER_INCH, Units
from edgecrack.terminal.wording import interval


def width_text(found: MeasuredCrack, units: Units = "metric") -> str:
    """A crack's mean width with its 95 % interval, or that it could not be measured."""
    figures = found.width
    if figures is None:
        return "not measured"
    mean, unit, factor = figures.mean, "px", 1.0
    if found.in_mm is not None:
        unit, factor = ("in", 1 / MM_PER_INCH) if units == "imperial" else ("mm", 1.0)
    return interval(factor * mean.value, factor * mean.low, factor * mean.high, unit)


def length_text(found: MeasuredCrack, units: Units = "metric") -> str:
    """A crack's length."""
    if found.in_mm is None:
        return f"{found.crack.length_px:.0f} px"
    value = found.in_mm.length_mm.value
    return f"{value / MM_PER_INCH:.1f} in" if units == "imperial" else f"{value:.0f} mm"

"""Widths and lengths as a person reads them: `0.38 mm [0.33, 0.43]`."""

from __future__ import annotations

from edgecrack.measurement.budget import Figure
from edgecrack.photo_measurement.crack_records import MeasuredCrack
from edgecrack.photo_measurement.crack_table import MM_PER_INCH, Units


def width_text(found: MeasuredCrack, units: Units = "metric") -> str:
    """A crack's mean width with its 95 % interval, or that it could not be measured."""
    figures = found.width
    if figures is None:
        return "not measured"
    return figure_text(figures.mean, "px" if found.in_mm is None else "mm", units)


def figure_text(figure: Figure, unit: str, units: Units = "metric") -> str:
    """A width with its interval."""
    factor, unit, digits = _unit(unit, units, 1 if unit == "px" else 2)
    value, low, high = (each * factor for each in (figure.value, figure.low, figure.high))
    return f"{value:.{digits}f} {unit} [{low:.{digits}f}, {high:.{digits}f}]"


def length_text(found: MeasuredCrack, units: Units = "metric") -> str:
    """A crack's length."""
    if found.in_mm is None:
        return f"{found.crack.length_px:.0f} px"
    value = found.in_mm.length_mm.value
    factor, unit, digits = _unit("mm", units, 0)
    return f"{value * factor:.{digits}f} {unit}"


def _unit(unit: str, units: Units, digits: int) -> tuple[float, str, int]:
    if unit == "mm" and units == "imperial":
        return 1 / MM_PER_INCH, "in", digits + 1
    return 1.0, unit, digits

"""Quantities with uncertainty, as written on the command line and in files."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgecrack.errors import ConfigError

COVERAGE = 2.0
# Longer names first, because each is searched for as a substring.
_MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "inch": 25.4, "in": 25.4, '"': 25.4}
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_WRITTEN = re.compile(
    rf"\s*(?P<value>{_NUMBER})\s*(?P<first_unit>[^\d\s+±-][^+±-]*?)?\s*"
    rf"(?:(?:\+/?-|±)\s*(?P<spread>{_NUMBER})\s*(?P<unit>%|[^\d\s+±-][^+±-]*?)?)?\s*"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its uncertainty.

    Attributes:
        value: best estimate.
        deviation: standard uncertainty, half of the number after `+-`; None if not stated, which is
            not the same as 0.
    """

    value: float
    deviation: float | None = None

    @property
    def spread(self) -> float | None:
        """The number after `+-`: the half-width of the 95 % interval."""
        return None if self.deviation is None else COVERAGE * self.deviation

    def __str__(self) -> str:
        return f"{self.value:g}" + ("" if self.spread is None else f"+-{self.spread:g}")


def parse_quantity(
    text: str,
    name: str,
    units: tuple[str, ...] = ("",),
    *,
    least: float = 0.0,
    most: float = math.inf,
    may_be_least: bool = False,
) -> Quantity:
    """Parse a value with its uncertainty.

        >>> parse_quantity("1.5+-0.02", "the distance", ("m", ""))
        Quantity(value=1.5, deviation=0.01)

    Args:
        text: the value, optionally followed by `+-`, `+/-` or `±` and the half-width of its 95 %
            interval, as a number or with `%` as a share of the value.
        name: name of the quantity for error messages.
        units: accepted units; errors recommend the first.
        least: the value must be above this.
        most: the value must be at most this.
        may_be_least: the value may also equal `least`.

    Raises:
        ConfigError: the text is not a quantity, has the wrong unit, or is out of range.
    """
    example = f"give a number such as 1.5{units[0]} or 1.5+-0.02{units[0]}"
    match = _WRITTEN.fullmatch(text)
    if re.search(r"\d,\d", text):
        raise ConfigError(f"{name} is {text!r}, with a comma", "write a decimal point, as in 0.12")
    if match is None:
        raise ConfigError(f"{name} is {text!r}", example)
    value, unit = float(match["value"]), (match["unit"] or "").strip()
    first_unit = (match["first_unit"] or "").strip()
    is_share = unit == "%"
    for written in (first_unit, "" if is_share else unit):
        if written and written not in units:
            wanted = ", ".join(repr(each) for each in units if each) or "none"
            raise ConfigError(f"{name} has the unit {written!r}", f"accepted units: {wanted}")
    if "" not in units and not first_unit and (is_share or not unit):
        raise ConfigError(f"{name} is {text!r}, without a unit", example)
    if not math.isfinite(value) or not (least < value <= most or (may_be_least and value == least)):
        upper = "" if math.isinf(most) else f", up to {most:g}"
        lower = f"{least:g} or more" if may_be_least else f"more than {least:g}"
        raise ConfigError(f"{name} is {value:g}", f"give {lower}{upper}")
    if match["spread"] is None:
        return Quantity(value)
    spread = float(match["spread"]) * (abs(value) / 100 if is_share else 1.0)
    if not math.isfinite(spread) or spread < 0:
        raise ConfigError(f"the uncertainty of {name} is {spread:g}", "give 0 or more")
    if least >= 0 and not may_be_least and spread >= value:
        raise ConfigError(
            f"the uncertainty of {name}, {spread:g}, is not smaller than its value, {value:g}",
            "measure it more accurately: this is too uncertain for results in millimetres",
        )
    return Quantity(value, spread / COVERAGE)


def parse_length_mm(text: str, name: str, *, most: float = math.inf) -> Quantity:
    """Parse a length in mm, cm or inches.

        >>> parse_length_mm("2.5cm", "the side")
        Quantity(value=25.0, deviation=None)

    Args:
        text: as for `parse_quantity`, with a unit.
        name: name of the quantity for error messages.
        most: largest length in millimetres.

    Raises:
        ConfigError: the text is not a length, has no unit, or is out of range.
    """
    unit = next((each for each in _MM_PER_UNIT if each in text), "mm")
    factor = _MM_PER_UNIT[unit]
    found = parse_quantity(text.replace(unit, "mm"), name, ("mm",), most=most / factor)
    deviation = None if found.deviation is None else factor * found.deviation
    return Quantity(factor * found.value, deviation)


# From microscopes to satellites.
_MM_PER_PIXEL = (1e-4, 50.0)
_LONGEST_DISTANCE_M = 200.0


def read_mm_per_pixel(text: str | None) -> Quantity | None:
    """Parse millimetres per pixel, such as 0.12+-0.005; None for None.

    Raises:
        ConfigError: the text is invalid or out of range.
    """
    least, most = _MM_PER_PIXEL
    return _read(text, "`mm_per_pixel`", ("", "mm", "mm/px"), least, most)


def read_distance_m(text: str | None) -> Quantity | None:
    """Parse metres from the camera to the wall, such as 1.5+-0.02; None for None.

    Raises:
        ConfigError: the text is invalid or out of range.
    """
    return _read(text, "`distance_m`", ("", "m"), 0.0, _LONGEST_DISTANCE_M)


def read_tilt_deg(text: str | None) -> Quantity | None:
    """Parse degrees between the view and the wall's perpendicular, such as 20+-2; None for None.

    Raises:
        ConfigError: the text is invalid or out of range.
    """
    return _read(text, "`tilt_deg`", ("", "deg"), -90.0, 90.0)


def check_towards(towards_deg: float | None, tilt_deg: Quantity | None) -> None:
    """Check the direction in which the wall recedes, which needs a tilt.

    Raises:
        ConfigError: the direction is out of range, or there is no tilt.
    """
    if towards_deg is None:
        return
    if tilt_deg is None:
        raise ConfigError(
            f"the wall recedes towards {towards_deg:g} degrees, but its tilt is not given",
            "give `tilt_deg` as well",
        )
    if not 0 <= towards_deg <= 360:
        raise ConfigError(
            f"the wall recedes towards {towards_deg:g} degrees", "give 0 to 360 degrees"
        )


def _read(
    text: str | None, name: str, units: tuple[str, ...], least: float, most: float
) -> Quantity | None:
    return None if text is None else parse_quantity(text, name, units, least=least, most=most)

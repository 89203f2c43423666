"""What a user writes about the scale, read and kept within what cameras and walls are."""

from __future__ import annotations

from edgecrack.errors import ConfigError
from edgecrack.scale.quantity import Quantity, parse_quantity

# A pixel of a microscope, and one of a satellite.
_MM_PER_PIXEL = (1e-4, 50.0)
_LONGEST_DISTANCE_M = 200.0


def read_mm_per_pixel(text: str | None) -> Quantity | None:
    """Millimetres that a pixel shows, such as 0.12+-0.005; None of None.

    Raises:
        ConfigError: it is not that.
    """
    least, most = _MM_PER_PIXEL
    return _read(text, "`mm_per_pixel`", ("", "mm", "mm/px"), least, most)


def read_distance_m(text: str | None) -> Quantity | None:
    """Metres from the camera to the wall, such as 1.5+-0.02; None of None.

    Raises:
        ConfigError: it is not that.
    """
    return _read(text, "`distance_m`", ("", "m"), 0.0, _LONGEST_DISTANCE_M)


def read_tilt_deg(text: str | None) -> Quantity | None:
    """Degrees between the view and the wall's perpendicular, such as 20+-2; None of None.

    Raises:
        ConfigError: it is not that.
    """
    return _read(text, "`tilt_deg`", ("", "deg"), -90.0, 90.0)


def check_towards(towards_deg: float | None, tilt_deg: Quantity | None) -> None:
    """That where the wall recedes is a direction, and goes with a tilt.

    Raises:
        ConfigError: it is not so.
    """
    if towards_deg is None:
        return
    if tilt_deg is None:
        raise ConfigError(
            f"the wall recedes towards {towards_deg:g} degrees, but its tilt is not given",
            "give `tilt_deg`, too",
        )
    if not 0 <= towards_deg <= 360:
        raise ConfigError(
            f"the wall recedes towards {towards_deg:g} degrees", "give 0 to 360 degrees"
        )


def _read(
    text: str | None, name: str, units: tuple[str, ...], least: float, most: float
) -> Quantity | None:
    return None if text is None else parse_quantity(text, name, units, least=least, most=most)

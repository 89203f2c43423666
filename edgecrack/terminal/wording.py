"""Phrases that many messages share."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 frame`, `0 frames`, `2 changes of size`.

    Args:
        count: the number.
        noun: singular.
        plural: default: the noun with an s.
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def all_of(count: int, noun: str, whose: str = "") -> str:
    """All items as the subject of a sentence.

        all_of(3, "mask")           # all 3 masks are
        all_of(1, "mask", "CFD")    # the only mask of CFD is

    Args:
        count: number of items.
        noun: singular.
        whose: owner of the items.
    """
    owner = f" of {whose}" if whose else ""
    return f"the only {noun}{owner} is" if count == 1 else f"all {counted(count, noun)}{owner} are"


def interval(value: float, low: float, high: float, unit: str) -> str:
    """A width with its interval, rounded to the digits that matter in its unit.

        >>> interval(0.3812, 0.312, 0.4466, "mm")
        '0.38 mm [0.31, 0.45]'

    Args:
        value: best estimate.
        low: lower end.
        high: upper end.
        unit: "px", "mm" or "in".
    """
    digits = {"px": 1, "mm": 2, "in": 3}[unit]
    return f"{value:.{digits}f} {unit} [{low:.{digits}f}, {high:.{digits}f}]"


def damaged(what: Sequence[str]) -> str:
    """A clause that names the damaged parts of a recording; empty if there are none."""
    return f"damaged: {', '.join(what)}; " if what else ""


def without_checksum(what: Sequence[str]) -> str:
    """A clause that names the parts of a recording without a checksum; empty if there are none."""
    return f"; no checksum would reveal damage in: {', '.join(what)}" if what else ""

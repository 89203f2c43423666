"""How messages say things that every one of them has to say."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number and what it counts: `1 frame`, `0 frames`, `2 changes of size`.

    Args:
        count: the number.
        noun: what one of them is called.
        plural: what several are called, where that is not the noun with an s.
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def all_of(count: int, noun: str, whose: str = "") -> str:
    """All of some things as the subject of a sentence.

        all_of(3, "mask")           # all 3 masks are
        all_of(1, "mask", "CFD")    # the only mask of CFD is

    Args:
        count: how many there are.
        noun: what one of them is called.
        whose: what they belong to.
    """
    owner = f" of {whose}" if whose else ""
    return f"the only {noun}{owner} is" if count == 1 else f"all {counted(count, noun)}{owner} are"


def interval(value: float, low: float, high: float, unit: str) -> str:
    """A width with what it may be: as many digits as are worth reading in its unit.

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
    """A clause on what of a recording is damaged; empty for nothing."""
    return f"damaged: {', '.join(what)}; " if what else ""


def without_checksum(what: Sequence[str]) -> str:
    """A clause on what of a recording could be damaged unnoticed; empty for nothing."""
    return f"; no checksum tells of damage in: {', '.join(what)}" if what else ""

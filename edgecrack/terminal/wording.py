"""How messages say things that every one of them has to say."""

from __future__ import annotations


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

"""When a crack counts as one: the same rule while a robot drives and in its survey."""

from __future__ import annotations

LEAST_FRAMES = 3
# Of the fit frames that show a crack's place, so many have to show the crack.
_LEAST_SHARE = 0.5
# Shorter ones, as a share of a frame's shorter side, are pits as often as cracks.
_LEAST_LENGTH = 0.2


def is_confirmed(frames: int, views: int, length_px: float, side_px: float) -> bool:
    """Whether a crack is confirmed.

        >>> is_confirmed(3, 6, 100.0, 480.0), is_confirmed(3, 7, 100.0, 480.0)
        (True, False)

    Args:
        frames: fit frames that show it.
        views: fit frames that show its place.
        length_px: how long it is.
        side_px: shorter side of a frame, in the same pixels.
    """
    is_seen = frames >= max(LEAST_FRAMES, _LEAST_SHARE * views)
    return is_seen and is_long(length_px, side_px)


def is_long(length_px: float, side_px: float) -> bool:
    """Whether a crack is long enough to be confirmed; see `is_confirmed`."""
    return length_px >= _LEAST_LENGTH * side_px

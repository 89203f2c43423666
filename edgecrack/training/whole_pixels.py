"""Cut plain windows of images, and mirror and turn them: whole pixels, byte for byte.

What needs interpolation is in `resampling.py`. Knows nothing of why a window was chosen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgecrack.training.partial_batch import change_members
from edgecrack.training.patch_placement import Placements
from edgecrack.training.resident import ResidentImages


def cut_plain(resident: ResidentImages, places: Placements, side: int) -> Tensor:
    """Windows as they are: uint8 [N, 2, side, side], gray values, and truth as 0 or 1."""
    y, x = (places.y - places.at_y).long(), (places.x - places.at_x).long()
    return resident.cut(places.image, y, x, side)


def turn_over(patches: Tensor, turn: NDArray[np.int64]) -> None:
    """Mirror and turn by quarter turns, exactly and in place.

    Args:
        patches: [N, ..., side, side].
        turn: int64 [N], which of the eight ways, 0 to 7; 0 changes nothing.
    """
    ways: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda chosen: chosen.flip(-1),
        lambda chosen: chosen.flip(-2),
        lambda chosen: chosen.transpose(-1, -2),
    )
    for bit, way in enumerate(ways):
        change_members(patches, (turn >> bit) & 1 == 1, way)

"""How far a tile's output changes where the border ratio is left out, and how near its border.

Knows arrays alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edgecrack.constants import OVERLAP_PX

IGNORED_PX = OVERLAP_PX // 4  # of a tile's side that has a neighbour, nothing of it is used
_SAME_LEVELS = 1  # of 255


@dataclass(frozen=True)
class BorderDifference:
    """Two outputs compared on the outermost 8 px of their tiles, and inside of these.

    Attributes:
        tiles: number of tiles.
        share_at_border: share of the pixels there that differ by more than 1/255, 0 to 1.
        share_inside: the same of the pixels inside.
        mean_at_border: mean difference there, in levels of 255.
        mean_inside: the same inside.
        largest_at_border: largest difference there, in levels of 255.
        largest_inside: the same inside.
        reach_px: distance from the border within which all lie that differ by more than 1/255.
    """

    tiles: int
    share_at_border: float
    share_inside: float
    mean_at_border: float
    mean_inside: float
    largest_at_border: int
    largest_inside: int
    reach_px: int

    def to_dict(self) -> dict[str, float]:
        """The figures as they stand in a sidecar."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


def depth_px(height: int, width: int) -> NDArray[np.int64]:
    """Distance of each pixel from the nearest side, int64 [height, width], 0 at the border."""
    rows, columns = (np.minimum(np.arange(n), n - 1 - np.arange(n)) for n in (height, width))
    return np.asarray(np.minimum(rows[:, None], columns[None, :]), np.int64)


def border_difference(own: NDArray[np.uint8], exact: NDArray[np.uint8]) -> BorderDifference:
    """Compare two outputs, uint8 [N, H, W] each."""
    levels = np.abs(own.astype(np.int16) - exact.astype(np.int16))
    depth = depth_px(*levels.shape[1:])
    zones = [levels[:, depth < IGNORED_PX], levels[:, depth >= IGNORED_PX]]
    shares = [float((zone > _SAME_LEVELS).mean()) if zone.size else 0.0 for zone in zones]
    means = [float(zone.mean()) if zone.size else 0.0 for zone in zones]
    largest = [int(zone.max(initial=0)) for zone in zones]
    changed = depth[(levels > _SAME_LEVELS).any(axis=0)]
    reach_px = int(changed.max(initial=-1)) + 1
    return BorderDifference(
        len(levels),
        share_at_border=shares[0],
        share_inside=shares[1],
        mean_at_border=means[0],
        mean_inside=means[1],
        largest_at_border=largest[0],
        largest_inside=largest[1],
        reach_px=reach_px,
    )

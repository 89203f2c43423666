"""How a picture too large for memory is cut: cores that cover it once, each with a margin around.

What is found in a core counts; the margin lets the network and the thinning see what lies beside
it. Knows numbers only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# A core's sides are multiples of a block of the GeoTIFFs, so that each block is written once.
BLOCK_PX = 512


@dataclass(frozen=True, slots=True)
class Box:
    """Rows and columns of a picture.

    Attributes:
        top: first row.
        left: first column.
        height: number of rows.
        width: number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """Row behind the last."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """Column behind the last."""
        return self.left + self.width

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Where this box lies in an array of what another holds, as an index."""
        top, left = self.top - outer.top, self.left - outer.left
        return slice(top, top + self.height), slice(left, left + self.width)

    def grown(self, margin_px: int, hw: tuple[int, int]) -> Box:
        """This box with a margin around, as far as a picture of a size goes."""
        top, left = max(0, self.top - margin_px), max(0, self.left - margin_px)
        bottom, right = min(hw[0], self.bottom + margin_px), min(hw[1], self.right + margin_px)
        return Box(top, left, bottom - top, right - left)


def cores(hw: tuple[int, int], largest_px: int) -> list[list[Box]]:
    """Rows of boxes that cover a picture once.

        >>> [(box.top, box.left, box.hw) for row in cores((700, 1100), 1024) for box in row]
        [(0, 0, (700, 1024)), (0, 1024, (700, 76))]

    Args:
        hw: height and width of the picture.
        largest_px: longest side of a box; a multiple of `BLOCK_PX`.
    """
    across = list(_parts(hw[1], largest_px))
    return [
        [Box(top, left, height, width) for left, width in across]
        for top, height in _parts(hw[0], largest_px)
    ]


def _parts(length: int, largest: int) -> Iterator[tuple[int, int]]:
    """Begin and length of parts that are about equally long, but for what blocks ask."""
    count = -(-length // largest)
    part = -(-length // (count * BLOCK_PX)) * BLOCK_PX
    for begin in range(0, length, part):
        yield begin, min(part, length - begin)

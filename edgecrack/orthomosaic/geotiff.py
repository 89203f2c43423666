"""Read and write GeoTIFFs in windows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.images.kinds import RefusedImageError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader, DatasetWriter

# Core sides are multiples of the GeoTIFF block size, so that each block is written once.
BLOCK_PX = 512


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of rows and columns in an image.

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
        """Row after the last."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """Column after the last."""
        return self.left + self.width

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Index of this box in an array that covers `outer`."""
        top, left = self.top - outer.top, self.left - outer.left
        return slice(top, top + self.height), slice(left, left + self.width)

    def grown(self, margin_px: int, hw: tuple[int, int]) -> Box:
        """This box with a margin, clipped to an image size."""
        top, left = max(0, self.top - margin_px), max(0, self.left - margin_px)
        bottom, right = min(hw[0], self.bottom + margin_px), min(hw[1], self.right + margin_px)
        return Box(top, left, bottom - top, right - left)


def cores(hw: tuple[int, int], largest_px: int) -> list[list[Box]]:
    """Rows of boxes that cover an image once.

        >>> [(box.top, box.left, box.hw) for row in cores((700, 1100), 1024) for box in row]
        [(0, 0, (700, 1024)), (0, 1024, (700, 76))]

    Args:
        hw: height and width of the image.
        largest_px: longest side of a box; a multiple of `BLOCK_PX`.
    """
    across = list(_parts(hw[1], largest_px))
    return [
        [Box(top, left, height, width) for left, width in across]
        for top, height in _parts(hw[0], largest_px)
    ]


def _parts(length: int, largest: int) -> Iterator[tuple[int, int]]:
    """Start and length of about equal parts, aligned to blocks."""
    count = -(-length // largest)
    part = -(-length // (count * BLOCK_PX)) * BLOCK_PX
    for begin in range(0, length, part):
        yield begin, min(part, length - begin)


_SMALLEST_OVERVIEW_PX = 512


class GeoTiff:
    """An open one-byte map with a validity mask."""

    def __init__(self, dataset: DatasetReader | DatasetWriter) -> None:
        self._dataset = dataset

    def write(self, box: Box, values: NDArray[np.uint8], shown: NDArray[np.bool_]) -> None:
        """Write a window.

        Args:
            box: the window.
            values: uint8 [H, W].
            shown: bool [H, W], True where the map has data.
        """
        self._dataset.write(values, 1, window=_window(box))
        self._dataset.write_mask(shown, window=_window(box))

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Read a window, uint8 [H, W]."""
        return np.asarray(self._dataset.read(1, window=_window(box)), np.uint8)

    def shown(self, box: Box) -> NDArray[np.bool_]:
        """Where a window has data, bool [H, W]."""
        return np.asarray(self._dataset.read_masks(1, window=_window(box)), np.bool_)


@contextmanager
def written(path: Path, hw: tuple[int, int], crs: Any, transform: Any) -> Iterator[GeoTiff]:
    """Create a map, to be written block by block.

    Raises:
        OutputError: it cannot be written.
    """
    import rasterio

    profile = {
        "driver": "GTiff", "height": hw[0], "width": hw[1], "count": 1, "dtype": "uint8",
        "crs": crs, "transform": transform, "tiled": True, "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX, "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip
    with (
        _failure_told(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(gdal_path(path), "w", **profile) as dataset,
    ):
        yield GeoTiff(dataset)


@contextmanager
def opened(path: Path) -> Iterator[GeoTiff]:
    """Open a written map for reading.

    Raises:
        OutputError: it was not written completely.
    """
    import rasterio

    with _failure_told(), rasterio.open(gdal_path(path)) as dataset:
        yield GeoTiff(dataset)


def add_overviews(path: Path) -> None:
    """Add overviews, so that a GIS displays a map of any size immediately.

    Raises:
        OutputError: they cannot be written.
    """
    import rasterio
    from rasterio.enums import Resampling

    options = {"GDAL_TIFF_INTERNAL_MASK": True, "COMPRESS_OVERVIEW": "DEFLATE"}
    with _failure_told(), rasterio.Env(**options), rasterio.open(gdal_path(path), "r+") as dataset:
        longest, factors = max(dataset.shape), [2]
        while longest // factors[-1] > _SMALLEST_OVERVIEW_PX:
            factors.append(2 * factors[-1])
        if longest > _SMALLEST_OVERVIEW_PX:
            dataset.build_overviews(factors, Resampling.average)


@contextmanager
def _failure_told() -> Iterator[None]:
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        raise not_whole() from error


def not_whole() -> OutputError:
    """The error for an incomplete GeoTIFF, which GDAL does not always report."""
    return OutputError(
        "a result GeoTIFF was not written completely", "free some space or give another folder"
    )


def gdal_path(path: Path) -> str:
    """An absolute path for GDAL, which may treat others as archives or addresses.

    Raises:
        RefusedImageError: a name in it is not valid UTF-8.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 - links stay
    try:
        absolute.encode()
    except UnicodeEncodeError as error:
        raise RefusedImageError(
            "has a name, a folder or results whose path is not valid UTF-8, which GDAL cannot open",
            "rename the file or folder, or give another `out`",
        ) from error
    return absolute


def _window(box: Box) -> Any:
    from rasterio.windows import Window

    return Window(box.left, box.top, box.width, box.height)

"""Maps of one byte a pixel as tiled GeoTIFFs, written window by window.

By rasterio (GDAL), which is imported here only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.images.kinds import RefusedImageError
from edgecrack.orthomosaic.windows import BLOCK_PX, Box

if TYPE_CHECKING:
    from rasterio.io import DatasetReader, DatasetWriter

_SMALLEST_OVERVIEW_PX = 512


class GeoTiff:
    """An open map of one byte a pixel, with a mask that says where it holds something."""

    def __init__(self, dataset: DatasetReader | DatasetWriter) -> None:
        self._dataset = dataset

    def write(self, box: Box, values: NDArray[np.uint8], shown: NDArray[np.bool_]) -> None:
        """Write a part.

        Args:
            box: where.
            values: uint8 [H, W].
            shown: bool [H, W], True where the map holds something.
        """
        self._dataset.write(values, 1, window=_window(box))
        self._dataset.write_mask(shown, window=_window(box))

    def read(self, box: Box) -> NDArray[np.uint8]:
        """A part, uint8 [H, W]."""
        return np.asarray(self._dataset.read(1, window=_window(box)), np.uint8)

    def shown(self, box: Box) -> NDArray[np.bool_]:
        """Where a part holds something, bool [H, W]."""
        return np.asarray(self._dataset.read_masks(1, window=_window(box)), np.bool_)


@contextmanager
def written(path: Path, hw: tuple[int, int], crs: Any, transform: Any) -> Iterator[GeoTiff]:
    """A new map, to be written block by block.

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
    """A map that has been written, to be read.

    Raises:
        OutputError: it was not written whole.
    """
    import rasterio

    with _failure_told(), rasterio.open(gdal_path(path)) as dataset:
        yield GeoTiff(dataset)


def add_overviews(path: Path) -> None:
    """Add smaller versions, with which a GIS shows a map of any size at once.

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
    """The error of a GeoTIFF that was not written whole, of which GDAL tells only sometimes."""
    return OutputError(
        "a GeoTIFF of the results was not written whole", "free some space or give another folder"
    )


def gdal_path(path: Path) -> str:
    """A path as GDAL takes it: absolute, for it takes others for archives and addresses.

    Raises:
        RefusedImageError: a name in it is no UTF-8.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 - links stay
    try:
        absolute.encode()
    except UnicodeEncodeError as error:
        raise RefusedImageError(
            "has a name or folder, or results in one, that is no UTF-8, which GDAL cannot open",
            "rename the file or folder, or give another `out`",
        ) from error
    return absolute


def _window(box: Box) -> Any:
    from rasterio.windows import Window

    return Window(box.left, box.top, box.width, box.height)

"""Read a georeferenced TIFF in windows, with rasterio (GDAL), imported only when needed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import EdgecrackError
from edgecrack.extras import require
from edgecrack.images.decoding import are_strips_sound
from edgecrack.images.kinds import (
    TIFFS,
    DamagedImageError,
    RefusedImageError,
    UnreadableImageError,
    check_samples,
    read_tags,
)
from edgecrack.images.nodata import with_mask
from edgecrack.orthomosaic.geotiff import Box, gdal_path
from edgecrack.orthomosaic.map_grid import MapGrid

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_PURPOSE = "an orthomosaic"
_CACHE_MIB = 256
# GeoTIFF's tags: pixel scale, tie points, transformation, directory of keys.
_GEOREFERENCE = (33550, 33922, 34264, 34735)
_WORLD_FILES = (".tfw", ".tifw", ".tiffw", ".wld")
_GDALS_OWN = ".aux.xml"
_GDALS_GRID = b"<GeoTransform>"
_SAMPLES = {"uint8": (1, 8), "uint16": (1, 16), "int8": (2, 8), "int16": (2, 16)}
# Some data are kept per pixel of a side.
_LONGEST_SIDE_PX = 1_000_000


def is_georeferenced(picture: Path | bytes) -> bool:
    """Whether a file is a TIFF with a georeference, valid or not.

    Args:
        picture: a file, or its bytes. A file may have a world file or GDAL's `.aux.xml` beside it.
    """
    try:
        with _file(picture) as file:
            if file.read(4) not in TIFFS:
                return False
            tags = read_tags(file)
        return any(tag in tags for tag in _GEOREFERENCE) or (
            isinstance(picture, Path) and _is_placed_beside(picture)
        )
    except OSError:
        return False


def _is_placed_beside(path: Path) -> bool:
    endings = (*_WORLD_FILES, *(ending.upper() for ending in _WORLD_FILES))
    if any(path.with_suffix(ending).is_file() for ending in endings):
        return True
    beside = path.with_name(path.name + _GDALS_OWN)
    return beside.is_file() and _GDALS_GRID in beside.read_bytes()


@contextmanager
def reading(picture: Path | bytes) -> Iterator[Orthomosaic]:
    """Open a georeferenced TIFF.

        with reading(Path("deck.tif")) as orthomosaic:
            pixels = orthomosaic.read(Box(0, 0, 512, 512))

    Args:
        picture: a file, or its bytes.

    Raises:
        MissingDependencyError: rasterio is not installed.
        DamagedImageError: it cannot be opened, or a block is incomplete.
        RefusedImageError: it has no georeference, or no gray levels or colours.
    """
    rasterio = require("rasterio", extra="maps", purpose=_PURPOSE)
    # GDAL's errors are raised as well; its warnings about odd tags do not concern the user.
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    with _file(picture) as file:
        if not are_strips_sound(file):
            raise DamagedImageError("is damaged")
    source: Any = BytesIO(picture) if isinstance(picture, bytes) else gdal_path(picture)
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB, GDAL_ERROR_ON_LIBJPEG_WARNING="TRUE"):
        with _damage_told():
            dataset = rasterio.open(source, driver="GTiff")
        with dataset:
            with _damage_told():
                orthomosaic = Orthomosaic(dataset)
            yield orthomosaic


@dataclass(frozen=True, slots=True)
class _Bands:
    """The gray or colour bands, and how to interpret their values.

    Attributes:
        numbers: band numbers, from 1.
        palette: colours uint8 [values, 3] BGR of a palette band; None for gray and colours.
        factor: multiplier for values with fewer than 8 bits.
        inverted_from: the value for black; None if 0 is black.
    """

    numbers: tuple[int, ...]
    palette: NDArray[np.uint8] | None
    factor: int
    inverted_from: int | None


class Orthomosaic:
    """An open georeferenced TIFF, made by `reading`.

    Attributes:
        hw: height and width in pixels.
        grid: map coordinates of its pixels.
    """

    def __init__(self, dataset: DatasetReader) -> None:
        self._dataset = dataset
        self.hw: tuple[int, int] = (dataset.height, dataset.width)
        self._check()
        self.grid = MapGrid(dataset.crs, dataset.transform, self.hw)
        self._bands = self._find_bands()

    def read(self, box: Box) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Read the pixels of a window.

        Returns:
            uint8 or uint16, [H, W] gray or [H, W, 3] BGR; a masked array if the file declares
            missing data with an alpha band, a mask or a value.

        Raises:
            DamagedImageError: the file is damaged there.
        """
        from rasterio.windows import Window

        window = Window(box.left, box.top, box.width, box.height)
        with _damage_told():
            bands: NDArray[Any] = self._dataset.read(self._bands.numbers, window=window)
            hidden = np.asarray(self._dataset.dataset_mask(window=window)) == 0
        if self._bands.factor > 1:
            bands = bands * np.asarray(self._bands.factor, bands.dtype)
        if self._bands.inverted_from is not None:
            bands = np.asarray(self._bands.inverted_from, bands.dtype) - bands
        pixels = (
            bands[0] if len(bands) == 1 else np.ascontiguousarray(bands[::-1].transpose(1, 2, 0))
        )
        if self._bands.palette is not None:
            pixels = self._bands.palette[pixels]
        return with_mask(pixels, hidden) if hidden.any() else pixels

    def _check(self) -> None:
        dataset = self._dataset
        if dataset.subdatasets:
            raise RefusedImageError(
                f"contains {len(dataset.subdatasets)} images",
                "split it: gdal_translate -sds FILE part.tif",
            )
        if max(self.hw) > _LONGEST_SIDE_PX:
            raise RefusedImageError(
                f"is {self.hw[1]}x{self.hw[0]} px; a side may have at most {_LONGEST_SIDE_PX}",
                "cut it: gdal_translate -srcwin X Y WIDTH HEIGHT FILE part.tif",
            )
        if dataset.transform.is_identity:
            if dataset.gcps[0] or dataset.rpcs:
                raise RefusedImageError(
                    "is placed by control points instead of a grid", "run: gdalwarp FILE new.tif"
                )
            raise RefusedImageError(
                "is a GeoTIFF without georeference: neither its tags nor a file beside it give "
                "its map coordinates",
                "export it again with one, or add one: "
                "gdal_translate -a_srs EPSG:CODE -a_ullr LEFT TOP RIGHT BOTTOM FILE new.tif",
            )

    def _find_bands(self) -> _Bands:
        from rasterio.enums import ColorInterp

        dataset = self._dataset
        meaning = list(dataset.colorinterp)
        colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
        numbers = tuple(meaning.index(one) + 1 for one in colours if one in meaning)
        if len(numbers) < len(colours):
            shown = [number for number, one in enumerate(meaning, 1) if one != ColorInterp.alpha]
            check_samples(1, 8, len(shown))
            numbers = tuple(shown[:3] if len(shown) >= 3 else (shown or [1])[:1])
        for number in numbers:
            sample = dataset.dtypes[number - 1]
            kind, bits = _SAMPLES.get(sample, (3 if "float" in sample else 2, 32))
            check_samples(kind, bits, len(numbers))
        first = numbers[0]
        levels = 1 << (8 * np.dtype(dataset.dtypes[first - 1]).itemsize)
        palette = None
        if meaning[first - 1] == ColorInterp.palette:
            palette = np.zeros((levels, 3), np.uint8)
            for value, colour in dataset.colormap(first).items():
                palette[value] = colour[2::-1]
        used_bits = int(dataset.tags(first, ns="IMAGE_STRUCTURE").get("NBITS", 8))
        is_small = palette is None and used_bits < 8
        is_inverted = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        return _Bands(
            tuple(numbers),
            palette,
            255 // ((1 << used_bits) - 1) if is_small else 1,
            levels - 1 if is_inverted and palette is None else None,
        )


def _file(picture: Path | bytes) -> IO[bytes]:
    return BytesIO(picture) if isinstance(picture, bytes) else picture.open("rb")


@contextmanager
def _damage_told() -> Iterator[None]:
    """Report GDAL's errors as damage; its warnings are covered by our own checks.

    GDAL's errors have no public common base class.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (UnreadableImageError, EdgecrackError, MemoryError):
            raise
        except Exception as error:
            raise DamagedImageError("is damaged, or is not a GeoTIFF") from error

"""A georeferenced TIFF as a picture that is read in windows, and where its pixels lie.

By rasterio (GDAL), which is imported here only, when such a file comes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.extras import require
from edgecrack.image_kinds import (
    DamagedImageError,
    RefusedImageError,
    UnreadableImageError,
    check_samples,
)
from edgecrack.nodata import with_mask
from edgecrack.orthomosaic.windows import Box
from edgecrack.tiff_strips import are_strips_sound
from edgecrack.tiff_tags import TIFFS, read_tags

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_PURPOSE = "an orthomosaic"
_CACHE_MIB = 256
# GeoTIFF's tags: pixel scale, tie points, transformation, directory of keys.
_GEOREFERENCE = (33550, 33922, 34264, 34735)
_WORLD_FILES = (".tfw", ".tifw", ".tiffw", ".wld")
_WGS84 = "EPSG:4326"
_WGS84_RADIUS_M, _WGS84_ECCENTRICITY_2 = 6_378_137.0, 6.694379990141e-3
_UNIT = re.compile(r'UNIT\["[^"]*",([0-9.eE+-]+)')
_SAMPLES = {"uint8": (1, 8), "uint16": (1, 16), "int8": (2, 8), "int16": (2, 16)}


def is_georeferenced(picture: Path | bytes) -> bool:
    """Whether a file is a TIFF that says where on a map its pixels lie, or tries to.

    Args:
        picture: a file, or its bytes. A file may have a world file beside it.
    """
    try:
        with _file(picture) as file:
            if file.read(4) not in TIFFS:
                return False
            tags = read_tags(file)
    except OSError:
        return False
    if isinstance(picture, Path):
        names = (picture.with_suffix(suffix) for suffix in _WORLD_FILES)
        if any(name.is_file() for name in names):
            return True
    return any(tag in tags for tag in _GEOREFERENCE)


@contextmanager
def reading(picture: Path | bytes) -> Iterator[Orthomosaic]:
    """Open a georeferenced TIFF.

        with reading(Path("deck.tif")) as orthomosaic:
            pixels = orthomosaic.read(Box(0, 0, 512, 512))

    Args:
        picture: a file, or its bytes.

    Raises:
        MissingDependencyError: rasterio is not installed.
        DamagedImageError: it cannot be opened, or a block of it is not whole.
        RefusedImageError: it has no georeference, or holds no gray levels or colours.
    """
    rasterio = require("rasterio", extra="maps", purpose=_PURPOSE)
    # Its errors are raised, too, and its warnings of odd tags are nothing to a user.
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    with _file(picture) as file:
        if not are_strips_sound(file):
            raise DamagedImageError("is damaged")
    source = BytesIO(picture) if isinstance(picture, bytes) else picture
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB, GDAL_ERROR_ON_LIBJPEG_WARNING="TRUE"):
        with _damage_told(), _quiet(rasterio):
            dataset = rasterio.open(source, driver="GTiff")
        with dataset:
            yield Orthomosaic(dataset)


@dataclass(frozen=True, slots=True)
class _Bands:
    """Which bands are gray or colours, from 1; with the colours of a palette."""

    numbers: tuple[int, ...]
    palette: NDArray[np.uint8] | None


class Orthomosaic:
    """An open georeferenced TIFF, made by `reading`.

    Attributes:
        hw: height and width in pixels.
        crs: its coordinate reference system as rasterio gives it; None where it names none.
        transform: from column and row to map coordinates, an `affine.Affine`.
    """

    def __init__(self, dataset: DatasetReader) -> None:
        self._dataset = dataset
        self.hw: tuple[int, int] = (dataset.height, dataset.width)
        self.crs: Any = dataset.crs
        self.transform: Any = dataset.transform
        self._check()
        self._bands = self._find_bands()

    def read(self, box: Box) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The pixels of a part.

        Returns:
            uint8 or uint16, [H, W] gray or [H, W, 3] BGR; a masked array where the file says that
            it shows nothing: by an alpha band, a mask or a value.

        Raises:
            DamagedImageError: the file is damaged there.
        """
        from rasterio.windows import Window

        window = Window(box.left, box.top, box.width, box.height)
        with _damage_told():
            bands: NDArray[Any] = self._dataset.read(self._bands.numbers, window=window)
            hidden = np.asarray(self._dataset.dataset_mask(window=window)) == 0
        pixels = (
            bands[0] if len(bands) == 1 else np.ascontiguousarray(bands[::-1].transpose(1, 2, 0))
        )
        if self._bands.palette is not None:
            pixels = self._bands.palette[pixels]
        return with_mask(pixels, hidden) if hidden.any() else pixels

    def to_map(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map coordinates float64 [N, 2] of points in pixels; (0, 0) is the picture's corner."""
        a, b, c, d, e, f = tuple(self.transform)[:6]
        return np.asarray(xy @ np.array([[a, d], [b, e]]) + np.array([c, f]), np.float64)

    def length_m(self, xy: NDArray[np.float64]) -> float | None:
        """Length of a line on the ground in metres; None where the map's unit is unknown.

        On the ellipsoid, for maps stretch: the one of most web pages by a half at 48 degrees. Maps
        of a wall or a hall have no ellipsoid; there it is the length on the map.

        Args:
            xy: float64 [N, 2], points in pixels.
        """
        if self.crs is None:
            return None
        points = self.to_map(xy)
        if self.crs.is_geographic or self.crs.is_projected:
            from rasterio.warp import transform

            east_deg, north_deg = transform(self.crs, _WGS84, points[:, 0], points[:, 1])[:2]
            return _ellipsoidal_length_m(np.asarray(east_deg), np.asarray(north_deg))
        unit = _UNIT.search(self.crs.to_wkt())
        if unit is None:
            return None
        return float(unit[1]) * float(np.hypot(*np.diff(points, axis=0).T).sum())

    def facts(self) -> dict[str, Any]:
        """Where it lies, for a line of results."""
        height, width = self.hw
        corners = self.to_map(np.array([[0, 0], [width, 0], [0, height], [width, height]], float))
        middle = np.array([[width / 2, height / 2], [width / 2 + 1, height / 2]])
        return {
            "crs": None if self.crs is None else self.crs.to_string(),
            "transform": list(self.transform)[:6],
            "bounds": [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()],
            "ground_sampling_m": self.length_m(middle),
        }

    def _check(self) -> None:
        dataset = self._dataset
        if dataset.subdatasets:
            raise RefusedImageError(
                f"holds {len(dataset.subdatasets)} pictures",
                "split it: gdal_translate -sds FILE part.tif",
            )
        if self.transform.is_identity:
            if dataset.gcps[0] or dataset.rpcs:
                raise RefusedImageError(
                    "is placed by control points and not by a grid", "run: gdalwarp FILE new.tif"
                )
            raise RefusedImageError(
                "is a GeoTIFF without georeference: nothing says where its pixels lie",
                "export it again with one, or give it one: "
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
        palette = None
        if meaning[numbers[0] - 1] == ColorInterp.palette:
            palette = np.zeros((256, 3), np.uint8)
            for value, colour in dataset.colormap(numbers[0]).items():
                palette[value] = colour[2::-1]
        return _Bands(tuple(numbers), palette)


def _file(picture: Path | bytes) -> IO[bytes]:
    return BytesIO(picture) if isinstance(picture, bytes) else picture.open("rb")


def _ellipsoidal_length_m(east_deg: NDArray[np.float64], north_deg: NDArray[np.float64]) -> float:
    """Of a line with short parts, by the radii of curvature in the middle of each."""
    middle = np.radians((north_deg[:-1] + north_deg[1:]) / 2)
    flattened = 1 - _WGS84_ECCENTRICITY_2 * np.sin(middle) ** 2
    across_m = _WGS84_RADIUS_M / np.sqrt(flattened)
    along_m = across_m * (1 - _WGS84_ECCENTRICITY_2) / flattened
    step_east_m = across_m * np.cos(middle) * np.radians(np.diff(east_deg))
    step_north_m = along_m * np.radians(np.diff(north_deg))
    return float(np.hypot(step_east_m, step_north_m).sum())


@contextmanager
def _damage_told() -> Iterator[None]:
    from rasterio.errors import RasterioError

    try:
        yield
    except UnreadableImageError:
        raise
    except (RasterioError, OSError) as error:
        raise DamagedImageError("is damaged, or no GeoTIFF") from error


@contextmanager
def _quiet(rasterio: Any) -> Iterator[None]:
    """Without the warning of a file without georeference, which is refused in words of ours."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield

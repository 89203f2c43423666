"""Map coordinates of orthomosaic pixels, and ground length of lines."""

from __future__ import annotations

import math
import os
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import MissingDependencyError
from edgecrack.images.kinds import RefusedImageError

_WGS84 = "EPSG:4326"
_WGS84_RADIUS_M, _WGS84_ECCENTRICITY_2 = 6_378_137.0, 6.694379990141e-3
_UNIT = re.compile(r'UNIT\["[^"]*",([0-9.eE+-]+)')
_PROJ_VARIABLES = ("PROJ_DATA", "PROJ_LIB")
# Slightly beyond the possible range, for the outermost pixels of a grid.
_LARGEST_DEGREES = (540.1, 90.1)


class MapGrid:
    """The grid of an orthomosaic.

        grid = MapGrid(None, Affine(0.01, 0, 100, 0, -0.01, 200), (4000, 3000))
        grid.to_map(np.array([[0.0, 0.0]]))    # [[100, 200]]

    Args:
        crs: coordinate reference system from rasterio; None if the file has none.
        transform: from column and row to map coordinates, an `affine.Affine`.
        hw: height and width in pixels.

    Raises:
        RefusedImageError: the grid is not a valid place on its map.
        MissingDependencyError: the map projection data are from another version.
    """

    def __init__(self, crs: Any, transform: Any, hw: tuple[int, int]) -> None:
        self.crs, self.transform, self.hw = crs, transform, hw
        _check_projections()
        self._check()

    def to_map(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map coordinates float64 [N, 2] of points in pixels; (0, 0) is the image corner."""
        a, b, c, d, e, f = tuple(self.transform)[:6]
        return np.asarray(xy @ np.array([[a, d], [b, e]]) + np.array([c, f]), np.float64)

    def length_m(self, xy: NDArray[np.float64]) -> float | None:
        """Ground length of a line in metres; None if the map unit is unknown.

        Measured on the ellipsoid, because maps stretch: web maps by a half at 48 degrees. Maps of
        a wall or of another planet have no link to it; for them it is the length on the map.

        Args:
            xy: float64 [N, 2], points in pixels.
        """
        if self.crs is None:
            return None
        points = self.to_map(xy)
        degrees = self._degrees(points)
        if degrees is not None:
            return _ellipsoidal_length_m(*degrees)
        unit = None if self.crs.is_geographic else _UNIT.search(_last_unit(self.crs))
        if unit is None:
            return None
        return float(unit[1]) * float(np.hypot(*np.diff(points, axis=0).T).sum())

    def facts(self) -> dict[str, Any]:
        """Its location, for the results."""
        height, width = self.hw
        middle = np.array([[width / 2, height / 2], [width / 2 + 1, height / 2]])
        corners = self._corners()
        return {
            "crs": None if self.crs is None else self.crs.to_string(),
            "transform": list(self.transform)[:6],
            "bounds": [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()],
            "ground_sampling_m": self.length_m(middle),
        }

    def _corners(self) -> NDArray[np.float64]:
        height, width = self.hw
        return self.to_map(np.array([[0, 0], [width, 0], [0, height], [width, height]], float))

    def _degrees(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Longitude and latitude of map coordinates; None if they cannot be converted."""
        if not (self.crs.is_geographic or self.crs.is_projected):
            return None
        from rasterio.warp import transform

        try:
            east, north = transform(self.crs, _WGS84, points[:, 0], points[:, 1])[:2]
        except Exception:  # GDAL's errors have no common base that is public
            return None
        degrees = np.asarray(east, np.float64), np.asarray(north, np.float64)
        return degrees if all(np.isfinite(one).all() for one in degrees) else None

    def _check(self) -> None:
        values = tuple(self.transform)[:6]
        a, b, _, d, e, _ = values
        if not all(map(math.isfinite, values)) or a * e - b * d == 0:
            raise RefusedImageError(
                f"has a georeference that is not a grid: {', '.join(f'{one:g}' for one in values)}",
                "export it again, or write another one: gdal_edit.py -a_ullr ...",
            )
        if self.crs is not None and self.crs.is_geographic:
            farthest = np.abs(self._corners()).max(axis=0)
            if (farthest > _LARGEST_DEGREES).any():
                raise RefusedImageError(
                    f"lies at {farthest[1]:g} degrees of latitude, {farthest[0]:g} of longitude",
                    "name the reference system of its coordinates: gdal_edit.py -a_srs EPSG:CODE",
                )


def _last_unit(crs: Any) -> str:
    """The text of a reference system from its own unit on: the last, after its base's."""
    text = str(crs.to_wkt())
    return text[max(0, text.rfind("UNIT[")) :]


def _check_projections() -> None:
    """Check that PROJ finds its own data, not another program's."""
    from rasterio.warp import transform

    try:
        found = transform("EPSG:25832", _WGS84, [500_000.0], [5_300_000.0])
    except Exception as error:  # GDAL's errors have no common base that is public
        raise MissingDependencyError(*_no_projections()) from error
    if not abs(found[0][0] - 9) < 1e-6:
        raise MissingDependencyError(*_no_projections())


def _no_projections() -> tuple[str, str]:
    given = [name for name in _PROJ_VARIABLES if name in os.environ]
    if not given:
        return "the data of map projections are missing", "install rasterio again"
    places = ", ".join(f"{name}={os.environ[name]}" for name in given)
    return (
        f"map projections cannot be used with the data of another program ({places})",
        f"run: env {' '.join(f'-u {name}' for name in given)} edgecrack ...",
    )


def _ellipsoidal_length_m(east_deg: NDArray[np.float64], north_deg: NDArray[np.float64]) -> float:
    """Length of a line of short parts, from the radii of curvature at the middle of each."""
    middle = np.radians((north_deg[:-1] + north_deg[1:]) / 2)
    flattened = 1 - _WGS84_ECCENTRICITY_2 * np.sin(middle) ** 2
    across_m = _WGS84_RADIUS_M / np.sqrt(flattened)
    along_m = across_m * (1 - _WGS84_ECCENTRICITY_2) / flattened
    steps_deg = np.remainder(np.diff(east_deg) + 180, 360) - 180  # across the date line, too
    step_east_m = across_m * np.cos(middle) * np.radians(steps_deg)
    step_north_m = along_m * np.radians(np.diff(north_deg))
    return float(np.hypot(step_east_m, step_north_m).sum())

"""Lines on a map as a GeoPackage, which QGIS, ArcGIS and every GIS read.

By pyogrio (GDAL), which is imported here only.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.extras import require
from edgecrack.files import write_atomic

LAYER = "cracks"
_LINE_STRING = 2


@dataclass(frozen=True, eq=False)
class MapLine:
    """One crack line on a map.

    Attributes:
        xy: float64 [N, 2], map coordinates.
        length_px: in pixels of the orthomosaic.
        length_m: on the ground; None where the map's unit is unknown.
        probability: mean crack probability along it, 0 to 1.
    """

    xy: NDArray[np.float64]
    length_px: float
    length_m: float | None
    probability: float


def write_lines(path: Path, lines: Sequence[MapLine], crs: Any) -> None:
    """Write lines with their lengths and probabilities as the layer `cracks`.

    Args:
        path: of the GeoPackage, written whole or not at all.
        lines: may be none: the layer is then empty.
        crs: as rasterio gives it; None where the map names none.

    Raises:
        OutputError: it cannot be written.
        MissingDependencyError: pyogrio is not installed.
    """
    raw = require("pyogrio.raw", extra="maps", purpose="a GeoPackage")
    geometry = np.array([_well_known(line.xy) for line in lines], dtype=object)
    lengths_m = [np.nan if line.length_m is None else line.length_m for line in lines]
    fields = {
        "length_px": np.array([line.length_px for line in lines], np.float64),
        "length_m": np.array(lengths_m, np.float64),
        "probability": np.array([line.probability for line in lines], np.float64),
    }
    content = io.BytesIO()  # pyogrio takes some paths for archives, and a full disk is told by us
    with warnings.catch_warnings():
        # That a map names no reference system is the orthomosaic's own state.
        warnings.filterwarnings("ignore", "'crs' was not provided")
        try:
            raw.write(
                content,
                geometry,
                list(fields.values()),
                np.array(list(fields), dtype=object),
                layer=LAYER,
                driver="GPKG",
                geometry_type="LineString",
                crs=None if crs is None else crs.to_wkt(),
            )
        except (RuntimeError, ValueError) as error:  # of which pyogrio's own are
            raise OutputError(
                f"the lines cannot be made a GeoPackage: {str(error).splitlines()[0]}",
                "run it without GDAL_SKIP and GDAL_DRIVER_PATH, or install pyogrio again",
            ) from error
    write_atomic(path, content.getvalue())


def _well_known(xy: NDArray[np.float64]) -> bytes:
    """A line as well-known binary, little-endian."""
    return struct.pack("<BII", 1, _LINE_STRING, len(xy)) + xy.astype("<f8").tobytes()

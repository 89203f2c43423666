"""Write map lines as a GeoPackage, which every GIS reads, with pyogrio (GDAL)."""

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
        length_m: ground length; None if the map unit is unknown.
        probability: mean crack probability along it, 0 to 1.
    """

    xy: NDArray[np.float64]
    length_px: float
    length_m: float | None
    probability: float


def write_lines(path: Path, lines: Sequence[MapLine], crs: Any) -> None:
    """Write lines with their lengths and probabilities as the layer `cracks`.

    Args:
        path: the GeoPackage, written completely or not at all.
        lines: may be empty; the layer is then empty.
        crs: from rasterio; None if the map has none.

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
    content = io.BytesIO()  # pyogrio treats some paths as archives; disk errors are reported below
    with warnings.catch_warnings():
        # The orthomosaic itself may have no reference system.
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
                f"the lines cannot be written as a GeoPackage: {str(error).splitlines()[0]}",
                "run it without GDAL_SKIP and GDAL_DRIVER_PATH, or install pyogrio again",
            ) from error
    write_atomic(path, content.getvalue())


def _well_known(xy: NDArray[np.float64]) -> bytes:
    """A line as well-known binary, little-endian."""
    return struct.pack("<BII", 1, _LINE_STRING, len(xy)) + xy.astype("<f8").tobytes()

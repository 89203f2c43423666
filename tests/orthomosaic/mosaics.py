"""Georeferenced TIFFs for tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Image = NDArray[np.uint8]
UTM = "EPSG:25832"
ORIGIN = (500_000.0, 5_300_000.0)
PIXEL_M = 0.005


def write_mosaic(path: Path, bands: NDArray[Any], crs: Any = UTM, **profile: Any) -> Path:
    """A GeoTIFF of bands [C, H, W], north up; the profile changes what is written.

    Of the profile, `colours` names the bands, `alpha` marks the last one, `mask` [H, W] is written
    as a mask.
    """
    rasterio = pytest.importorskip("rasterio", reason="rasterio is of the extra maps")
    from rasterio.enums import ColorInterp
    from rasterio.transform import from_origin

    mask, colours, palette = (profile.pop(key, None) for key in ("mask", "colours", "palette"))
    count, height, width = bands.shape
    settings = {
        "driver": "GTiff", "count": count, "height": height, "width": width,
        "dtype": bands.dtype.name, "crs": crs,
        "transform": from_origin(*ORIGIN, PIXEL_M, PIXEL_M), **profile,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **settings) as dataset:
            if colours is not None:
                dataset.colorinterp = [ColorInterp[name] for name in colours]
            if palette is not None:
                dataset.write_colormap(1, palette)
            dataset.write(bands)
            if mask is not None:
                dataset.write_mask(mask)
    return path


def wall(height: int, width: int, seed: int = 0) -> Image:
    """A dark wall with bright lines and rings across it, in gray.

    Its darkest and brightest level stand in every part, so that any window is stretched alike.
    """
    import cv2

    generator = np.random.default_rng(seed)
    gray = generator.integers(20, 90, (height, width), dtype=np.uint8)
    for _ in range(max(4, height * width // 120_000)):
        steps = generator.normal(0, 60, (14, 2)).cumsum(axis=0)
        points = steps + generator.uniform(0, (width, height))
        thickness = int(generator.integers(1, 9))
        cv2.polylines(gray, [points.astype(np.int32)], False, 240, thickness)
    cv2.circle(gray, (width // 2, height // 2), min(height, width) // 3, 240, 5)
    gray[::50, ::50], gray[25::50, 25::50] = 0, 255
    return gray

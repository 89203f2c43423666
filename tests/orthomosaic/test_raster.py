from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.errors import MissingDependencyError
from edgecrack.images.kinds import DamagedImageError, RefusedImageError, directories
from edgecrack.images.nodata import masked_pixels
from edgecrack.orthomosaic.geotiff import Box
from edgecrack.orthomosaic.raster import Orthomosaic, is_georeferenced, reading
from tests.orthomosaic.mosaics import ORIGIN, PIXEL_M, write_mosaic
from tests.waiting import PATIENCE_S

rasterio = pytest.importorskip("rasterio", reason="rasterio is of the extra maps")

REPOSITORY = Path(__file__).resolve().parents[2]
RGB = np.arange(3 * 40 * 60, dtype=np.uint16).astype(np.uint8).reshape(3, 40, 60)
PART = Box(10, 20, 16, 24)


def part_of(path: Path | bytes, box: Box = PART) -> Any:
    with reading(path) as orthomosaic:
        return orthomosaic.read(box)


def cut(bands: Any, box: Box = PART) -> Any:
    return bands[..., box.top : box.bottom, box.left : box.right]


def bgr(bands: Any) -> Any:
    return np.dstack([cut(bands)[2], cut(bands)[1], cut(bands)[0]])


def test_colours_and_gray(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "rgb.tif", RGB)
    assert is_georeferenced(path)
    np.testing.assert_array_equal(part_of(path), bgr(RGB))
    np.testing.assert_array_equal(part_of(path.read_bytes()), bgr(RGB))
    gray = write_mosaic(tmp_path / "gray.tif", RGB[:1])
    np.testing.assert_array_equal(part_of(gray), cut(RGB[0]))


def test_16_bits_of_a_big_tiff(tmp_path: Path) -> None:
    deep = RGB.astype(np.uint16) * 257
    path = write_mosaic(tmp_path / "deep.tif", deep, BIGTIFF="YES")
    assert is_georeferenced(path)
    np.testing.assert_array_equal(part_of(path), bgr(deep))


def test_colours_are_found_by_their_names(tmp_path: Path) -> None:
    """A multispectral camera puts others between them."""
    bands = np.stack([RGB[2], RGB[0] ^ 255, RGB[1], RGB[1] ^ 255, RGB[0]])
    names = ["blue", "undefined", "green", "undefined", "red"]
    path = write_mosaic(tmp_path / "five.tif", bands, colours=names)
    np.testing.assert_array_equal(part_of(path), bgr(RGB))


def test_a_palette(tmp_path: Path) -> None:
    values = (RGB[:1] % 3).astype(np.uint8)
    palette = {0: (10, 20, 30, 255), 1: (40, 50, 60, 255), 2: (70, 80, 90, 255)}
    path = write_mosaic(tmp_path / "map.tif", values, palette=palette, photometric="palette")
    colours = np.array([palette[value][2::-1] for value in range(3)], np.uint8)
    np.testing.assert_array_equal(part_of(path), colours[cut(values[0])])


@pytest.mark.parametrize("how", ["alpha", "mask", "value"])
def test_where_it_shows_nothing(tmp_path: Path, how: str) -> None:
    hidden = np.zeros((40, 60), bool)
    hidden[:18, :30] = True
    shown = np.where(hidden, 0, 255).astype(np.uint8)
    bands = np.where(hidden, 0, RGB | 1)
    settings: dict[str, Any] = {}
    if how == "alpha":
        bands = np.concatenate([bands, shown[None]])
        settings = {"colours": ["red", "green", "blue", "alpha"]}
    elif how == "mask":
        settings = {"mask": shown}
    else:
        settings = {"nodata": 0}
    pixels = part_of(write_mosaic(tmp_path / "part.tif", bands.astype(np.uint8), **settings))
    np.testing.assert_array_equal(masked_pixels(pixels), cut(hidden))
    assert pixels.shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("bands", "settings", "problem"),
    [
        (RGB.astype(np.float32), {}, "holds floating-point numbers of 32 bits"),
        (RGB.astype(np.int16), {}, "holds signed numbers of 16 bits"),
        (np.concatenate([RGB, RGB[:2]]), {}, "has 5 bands"),
        (RGB, {"transform": None}, "is a GeoTIFF without georeference"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, bands: Any, settings: dict[str, Any], problem: str
) -> None:
    path = write_mosaic(tmp_path / "odd.tif", bands, **settings)
    assert is_georeferenced(path)
    with pytest.raises(RefusedImageError, match=problem) as caught, reading(path):
        pass
    assert "gdal" in caught.value.remedy


def test_control_points_are_no_grid(tmp_path: Path) -> None:
    from rasterio.control import GroundControlPoint

    points = [
        GroundControlPoint(row, column, 5e5 + column, 5.3e6 - row)
        for row, column in ((0, 0), (0, 60), (40, 0), (40, 60))
    ]
    path = tmp_path / "points.tif"
    crs = rasterio.crs.CRS.from_epsg(25832)
    write_mosaic(path, RGB, crs=crs, transform=None, gcps=points)
    assert is_georeferenced(path)
    with pytest.raises(RefusedImageError, match="control points") as caught, reading(path):
        pass
    assert "gdalwarp" in caught.value.remedy


def test_a_world_file_is_a_georeference(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "plain.tif"
    assert cv2.imwrite(str(path), np.dstack(list(RGB[::-1])))
    assert not is_georeferenced(path)
    path.with_suffix(".tfw").write_text("0.01\n0\n0\n-0.01\n100.005\n199.995\n")
    assert is_georeferenced(path)
    with reading(path) as orthomosaic:
        assert orthomosaic.grid.crs is None
        np.testing.assert_allclose(orthomosaic.grid.to_map(np.zeros((1, 2))), [[100, 200]])
        assert orthomosaic.grid.length_m(np.array([[0.0, 0], [1, 0]])) is None
        np.testing.assert_array_equal(orthomosaic.read(PART), bgr(RGB))


def test_other_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no picture")
    assert not is_georeferenced(tmp_path / "text.tif")
    assert not is_georeferenced(tmp_path / "absent.tif")
    assert not is_georeferenced(b"II*\0 and no more")


@pytest.mark.parametrize("compress", ["deflate", "jpeg", "lzw"])
def test_damage_is_told(tmp_path: Path, compress: str) -> None:
    generator = np.random.default_rng(0)
    bands = generator.integers(0, 255, (3, 600, 700), dtype=np.uint8)
    path = write_mosaic(tmp_path / "whole.tif", bands, compress=compress, tiled=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(DamagedImageError):
        part_of(path, Box(0, 0, 600, 700))
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(DamagedImageError):
        part_of(path, Box(0, 0, 600, 700))


def opened_at(tmp_path: Path, crs: Any, left: float, top: float, pixel: float) -> Any:
    from rasterio.transform import from_origin

    transform = from_origin(left, top, pixel, pixel)
    return reading(write_mosaic(tmp_path / "at.tif", RGB, crs, transform=transform))


# Of WGS 84: a degree of the meridian at the equator and near the pole, and of the equator.
@pytest.mark.parametrize(
    ("left", "top", "step", "length_m"),
    [
        (0.0, 0.5, (0, 60), 110_574.27),
        (0.0, 0.0, (60, 0), 111_319.49),
        (9.0, 60.5, (0, 60), 111_412.24),
    ],
)
def test_lengths_in_degrees(
    tmp_path: Path, left: float, top: float, step: tuple[int, int], length_m: float
) -> None:
    with opened_at(tmp_path, "EPSG:4326", left, top, 1 / 60) as orthomosaic:
        line = np.linspace((0.0, 0.0), step, 1000)
        assert orthomosaic.grid.length_m(line) == pytest.approx(length_m, rel=1e-6)


def test_lengths_on_maps_that_stretch(tmp_path: Path) -> None:
    """Web pages' map is twice as large at 60 degrees as the ground; UTM is 0.04 % too small."""
    line = np.array([[10.0, 20], [50, 20]])
    north_m = 6_378_137 * math.log(math.tan(math.pi / 4 + math.radians(60) / 2))
    with opened_at(tmp_path, "EPSG:3857", 1e6, north_m, 0.02) as orthomosaic:
        # On the ellipsoid a little more than the half.
        assert orthomosaic.grid.length_m(line) == pytest.approx(0.4, rel=4e-3)
    with opened_at(tmp_path, "EPSG:25832", *ORIGIN, PIXEL_M) as orthomosaic:
        assert orthomosaic.grid.length_m(line) == pytest.approx(0.2 / 0.9996, rel=1e-5)
        assert orthomosaic.grid.facts()["ground_sampling_m"] == pytest.approx(PIXEL_M, rel=1e-3)


def test_lengths_on_a_wall(tmp_path: Path) -> None:
    """An orthophoto of a facade has metres or feet and no ellipsoid."""
    line = np.array([[0.0, 0], [30, 40]])
    for unit, factor in (("metre", 1.0), ("foot", 0.3048)):
        crs = rasterio.crs.CRS.from_wkt(f'LOCAL_CS["wall",UNIT["{unit}",{factor}]]')
        with opened_at(tmp_path, crs, 0.0, 10.0, 0.002) as orthomosaic:
            assert orthomosaic.grid.length_m(line) == pytest.approx(50 * 0.002 * factor)


def test_a_line_across_the_date_line(tmp_path: Path) -> None:
    line = np.array([[0.0, 20], [60, 20]])
    with opened_at(tmp_path, "EPSG:4326", 179.9997, -17.0, 1e-5) as orthomosaic:
        expected_m = 6e-4 * 111_319.49 * math.cos(math.radians(17))
        assert orthomosaic.grid.length_m(line) == pytest.approx(expected_m, rel=5e-3)


def test_a_map_of_another_planet(tmp_path: Path) -> None:
    """It has no way to the Earth's ellipsoid; metres on the map it has."""
    moon = rasterio.crs.CRS.from_proj4("+proj=eqc +R=1737400 +units=m +no_defs")
    with opened_at(tmp_path, moon, 1000.0, 1000.0, 0.01) as orthomosaic:
        assert orthomosaic.grid.length_m(np.array([[0.0, 0], [30, 40]])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("crs", "place", "problem"),
    [
        ("EPSG:4326", (500_000.0, 5_300_000.0, 0.005), "degrees of latitude"),
        ("EPSG:25832", (math.nan, 5_300_000.0, 0.005), "is not a grid"),
        ("EPSG:25832", (math.inf, 5_300_000.0, 0.005), "is not a grid"),
    ],
)
def test_a_georeference_that_can_be_none(
    tmp_path: Path, crs: str, place: tuple[float, float, float], problem: str
) -> None:
    from rasterio.transform import from_origin

    left, top, pixel = place
    transform = from_origin(left, top, pixel, pixel)
    path = write_mosaic(tmp_path / "odd.tif", RGB, crs, transform=transform)
    with pytest.raises(RefusedImageError, match=problem), reading(path):
        pass


@pytest.mark.parametrize("name", ["PROJ_LIB", "PROJ_DATA"])
def test_the_data_of_another_program(tmp_path: Path, name: str) -> None:
    """As conda or QGIS may set; lengths would be wrong, or the reference system lost."""
    path = write_mosaic(tmp_path / "rgb.tif", RGB)
    (tmp_path / "proj").mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from edgecrack.errors import MissingDependencyError\n"
        "from edgecrack.orthomosaic.raster import reading\n"
        "try:\n    with reading(Path(sys.argv[1])): pass\n"
        "except MissingDependencyError as error: print(error)"
    )
    environment = {**os.environ, name: str(tmp_path / "proj"), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert f"env -u {name} edgecrack" in done.stdout, done.stderr


def test_white_may_be_the_lowest_value(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "white.tif", RGB[:1], photometric="MINISWHITE")
    np.testing.assert_array_equal(part_of(path), 255 - cut(RGB[0]))
    bits = (RGB[:1] & 1).astype(np.uint8)
    path = write_mosaic(tmp_path / "bits.tif", bits, nbits=1)
    np.testing.assert_array_equal(part_of(path), np.dstack([255 * cut(bits[0])] * 3))


def test_16_bits_of_palette(tmp_path: Path) -> None:
    values = (RGB[:1] % 3).astype(np.uint16) * 300
    palette = {0: (10, 20, 30, 255), 300: (40, 50, 60, 255), 600: (70, 80, 90, 255)}
    path = write_mosaic(tmp_path / "map.tif", values, palette=palette, photometric="palette")
    assert set(map(tuple, part_of(path).reshape(-1, 3).tolist())) <= {
        (30, 20, 10), (60, 50, 40), (90, 80, 70), (0, 0, 0),
    }  # fmt: skip


def test_a_big_tiff_of_the_other_byte_order(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "big.tif", RGB, BIGTIFF="YES", ENDIANNESS="BIG")
    assert path.read_bytes()[:4] == b"MM\0+"
    assert is_georeferenced(path)
    np.testing.assert_array_equal(part_of(path), bgr(RGB))


@pytest.mark.parametrize("name", ["plain.TFW", "plain.tif.aux.xml"])
def test_other_files_beside_it(tmp_path: Path, name: str) -> None:
    import cv2

    path = tmp_path / "plain.tif"
    assert cv2.imwrite(str(path), np.dstack(list(RGB[::-1])))
    grid = "<PAMDataset><GeoTransform>100, 0.01, 0, 200, 0, -0.01</GeoTransform></PAMDataset>"
    world = "0.01\n0\n0\n-0.01\n100.005\n199.995\n"
    (tmp_path / name).write_text(world if name.endswith("TFW") else grid)
    assert is_georeferenced(path)
    with reading(path) as orthomosaic:
        np.testing.assert_allclose(orthomosaic.grid.to_map(np.zeros((1, 2))), [[100, 200]])


def test_a_damaged_mask_is_damage(tmp_path: Path) -> None:
    shown = np.random.default_rng(0).integers(0, 2, (600, 700)).astype(np.uint8) * 255
    bands = np.random.default_rng(1).integers(0, 255, (1, 600, 700), dtype=np.uint8)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_mosaic(tmp_path / "mask.tif", bands, mask=shown, compress="deflate")
    with path.open("rb") as file:
        mask = next(tags for tags in directories(file) if tags.get(254) == 4)
    data = bytearray(path.read_bytes())
    data[int(np.ravel(mask[273])[0]) + 40] ^= 16
    path.write_bytes(data)
    with pytest.raises(DamagedImageError):
        part_of(path)


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "rgb.tif", RGB)
    odd = path.rename(tmp_path / os.fsdecode(b"\xff\xe9odd.tif"))
    with pytest.raises(RefusedImageError, match="not valid UTF-8"), reading(odd):
        pass


def test_a_side_without_end(tmp_path: Path) -> None:
    settings = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:25832"}
    transform = rasterio.Affine(0.01, 0, 5e5, 0, -0.01, 5.3e6)
    settings |= {"tiled": True, "sparse_ok": True, "bigtiff": True, "transform": transform}
    with rasterio.open(tmp_path / "wide.tif", "w", width=3_000_000, height=16, **settings):
        pass
    with pytest.raises(RefusedImageError, match="3000000x16"), reading(tmp_path / "wide.tif"):
        pass


def test_a_turned_grid(tmp_path: Path) -> None:
    turned = rasterio.Affine.translation(*ORIGIN) @ rasterio.Affine.rotation(30)
    path = write_mosaic(tmp_path / "turned.tif", RGB, transform=turned)
    with reading(path) as orthomosaic:
        np.testing.assert_allclose(orthomosaic.grid.to_map(np.array([[3.0, 5]])), [turned @ (3, 5)])
        assert isinstance(orthomosaic, Orthomosaic)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mosaic(tmp_path / "rgb.tif", RGB)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    expected = pytest.raises(MissingDependencyError, match=r"an orthomosaic needs rasterio.*maps")
    with expected, reading(path):
        pass

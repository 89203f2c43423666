from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.images.kinds import DamagedImageError
from edgecrack.measurement.regions import measure_cracks
from edgecrack.metrics.counting import uint8_level
from edgecrack.orthomosaic.geotiff import GeoTiff
from edgecrack.orthomosaic.passes import ENDINGS, OrthomosaicFindings, inspect_orthomosaic
from edgecrack.orthomosaic.raster import reading
from edgecrack.preprocess import PreprocessConfig, prepare
from edgecrack.runtime.detector import CrackDetector
from tests.orthomosaic.mosaics import ORIGIN, PIXEL_M, wall, write_mosaic
from tests.runtime.models import IdentityRunner, write_quick_model
from tests.waiting import PATIENCE_S

rasterio = pytest.importorskip("rasterio", reason="rasterio is of the extra maps")
pyogrio = pytest.importorskip("pyogrio", reason="pyogrio is of the extra maps")

REPOSITORY = Path(__file__).resolve().parents[2]
STRETCH = PreprocessConfig(clahe_clip=0, gamma=1, stretch="minmax")
THRESHOLD = 0.8


def detector() -> CrackDetector:
    """Calls bright pixels crack; every window that has a 0 and a 255 is stretched alike."""
    runner = IdentityRunner((256, 256), threshold=THRESHOLD, preprocess=STRETCH)
    return CrackDetector(runner, "bright")


def paths_in(folder: Path, kinds: tuple[str, ...] = tuple(ENDINGS)) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    return {kind: folder / f"deck{ENDINGS[kind]}" for kind in kinds}


def inspect(
    mosaic: Path, folder: Path, largest_core_px: int = 512, **options: Any
) -> OrthomosaicFindings:
    with reading(mosaic) as orthomosaic, detector() as network:
        return inspect_orthomosaic(
            orthomosaic,
            network,
            options.pop("paths", None) or paths_in(folder),
            min_area_px=60,
            largest_core_px=largest_core_px,
            **options,
        )


def read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset.read_masks(1) != 0


def in_pixels(path: Path) -> list[NDArray[np.float64]]:
    """The lines of a GeoPackage, as points in pixels of the mosaic."""
    _, _, geometry, _ = pyogrio.raw.read(path)
    points = [np.frombuffer(each[9:], "<f8").reshape(-1, 2) for each in geometry]
    return [(each - ORIGIN) * (1, -1) / PIXEL_M for each in points]


def test_windows_give_what_the_whole_gives(tmp_path: Path) -> None:
    gray = wall(1500, 2100)
    mosaic = write_mosaic(tmp_path / "deck.tif", gray[None])
    found = inspect(mosaic, tmp_path / "parts")
    expected = measure_cracks(np.asarray(prepare(gray, STRETCH)), THRESHOLD, 60)
    mask, shown = read(tmp_path / "parts" / "deck.mask.tif")
    np.testing.assert_array_equal(mask, expected.mask)
    assert shown.all()
    probability, _ = read(tmp_path / "parts" / "deck.prob.tif")
    np.testing.assert_array_equal(probability, gray)
    assert found.crack_pixels == expected.crack_pixels > 0
    assert sorted(found.regions, key=lambda one: one.xyxy) == sorted(
        expected.regions, key=lambda one: one.xyxy
    )
    assert found.inspected_ratio == 1

    whole = inspect(mosaic, tmp_path / "whole", 4096)
    assert whole == found
    one, other = (in_pixels(tmp_path / part / "deck.cracks.gpkg") for part in ("parts", "whole"))
    assert len(one) == len(other) == found.facts["lines"]
    for first, second in zip(one, other, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)
    # On the cracks, all along.
    distance_px = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 3)
    points = np.concatenate(one)
    assert distance_px[points[:, 1].astype(int), points[:, 0].astype(int)].max() <= 1.5


def test_a_crack_through_all_windows_is_one_line(tmp_path: Path) -> None:
    gray = np.full((1400, 2000), 60, np.uint8)
    gray[::50, ::50], gray[25::50, 25::50] = 0, 255
    columns = np.arange(100, 1900)
    rows = 700 + 500 * np.sin(columns / 300)
    points = np.stack([columns, rows], axis=1).round().astype(np.int32)
    cv2.polylines(gray, [points], False, 255, 7)
    mosaic = write_mosaic(tmp_path / "deck.tif", gray[None])
    found = inspect(mosaic, tmp_path / "out")
    assert len(found.regions) == found.facts["lines"] == 1
    true_px = float(np.hypot(np.diff(columns), np.diff(rows)).sum())
    assert found.facts["length_px"] == pytest.approx(true_px, rel=0.01)
    # UTM's scale at its middle meridian is 0.9996.
    assert found.facts["length_m"] == pytest.approx(
        found.facts["length_px"] * PIXEL_M / 0.9996, abs=2e-3
    )
    meta, _, _, fields = pyogrio.raw.read(tmp_path / "out" / "deck.cracks.gpkg")
    row = {name: float(values[0]) for name, values in zip(meta["fields"], fields, strict=True)}
    assert row["length_m"] == pytest.approx(found.facts["length_m"], abs=1e-3)
    assert 0.99 <= row["probability"] <= 1
    assert meta["crs"] == "EPSG:25832"


def test_where_the_mosaic_shows_nothing(tmp_path: Path) -> None:
    """Nothing is found there, windows that lie in it are not run, and the maps say so."""
    gray = wall(1100, 2100, seed=1)
    hidden = np.zeros(gray.shape, bool)
    hidden[:, :1500] = True
    alpha = np.where(hidden, 0, 255).astype(np.uint8)
    colours = ["red", "green", "blue", "alpha"]
    mosaic = write_mosaic(
        tmp_path / "deck.tif", np.stack([gray, gray, gray, alpha]), colours=colours
    )
    bare = write_mosaic(tmp_path / "bare.tif", np.stack([gray, gray, gray]))
    tiles = []
    for each, folder in ((mosaic, "out"), (bare, "all")):
        runner = IdentityRunner((256, 256), threshold=THRESHOLD, preprocess=STRETCH)
        with reading(each) as orthomosaic:
            found = inspect_orthomosaic(
                orthomosaic,
                CrackDetector(runner, "bright"),
                paths_in(tmp_path / folder),
                min_area_px=60,
                largest_core_px=512,
            )
        tiles.append((sum(len(call) for call in runner.calls), found.inspected_ratio))
    assert tiles[0][0] < 0.6 * tiles[1][0]
    assert [ratio for _, ratio in tiles] == pytest.approx([600 / 2100, 1])
    mask, shown = read(tmp_path / "out" / "deck.mask.tif")
    np.testing.assert_array_equal(shown, ~hidden)
    assert not mask[hidden].any()
    assert mask[:, 1510:].any()
    picture = cv2.imread(str(tmp_path / "out" / "deck.overlay.png"))
    assert picture is not None
    assert (picture[:, :1400] == 255).all()  # paper


def test_a_hole_that_nothing_declares(tmp_path: Path) -> None:
    gray = wall(600, 3000)
    gray[:, 1000:] = 0
    found = inspect(write_mosaic(tmp_path / "deck.tif", gray[None]), tmp_path / "out")
    assert found.inspected_ratio < 0.6
    assert found.crack_pixels > 0


def test_16_bits(tmp_path: Path) -> None:
    gray = wall(700, 900)
    found = inspect(write_mosaic(tmp_path / "8.tif", gray[None]), tmp_path / "8")
    deep = gray[None].astype(np.uint16) * 257
    assert inspect(write_mosaic(tmp_path / "16.tif", deep), tmp_path / "16") == found


def test_no_crack_is_an_empty_layer(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(20, 90, (600, 700), dtype=np.uint8)
    gray[0, 0], gray[1, 1] = 0, 255
    found = inspect(write_mosaic(tmp_path / "deck.tif", gray[None]), tmp_path / "out")
    assert (found.crack_pixels, found.regions) == (0, ())
    assert (found.facts["lines"], found.facts["length_m"]) == (0, 0)
    assert pyogrio.read_info(tmp_path / "out" / "deck.cracks.gpkg")["features"] == 0


@pytest.mark.parametrize("kind", list(ENDINGS))
def test_only_what_is_asked_for(tmp_path: Path, kind: str) -> None:
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(300, 400)[None])
    inspect(mosaic, tmp_path / "out", paths=paths_in(tmp_path / "out", (kind,)))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"deck{ENDINGS[kind]}"]


def test_damage_leaves_nothing_behind(tmp_path: Path) -> None:
    """Blocks that no checksum guards fail when they are read, maybe in the last window."""
    generator = np.random.default_rng(0)
    bands = generator.integers(0, 255, (1, 1100, 1100), dtype=np.uint8)
    mosaic = write_mosaic(tmp_path / "deck.tif", bands, compress="lzw", tiled=True)
    mosaic.write_bytes(mosaic.read_bytes()[:-300_000])
    windows: list[int] = []
    with pytest.raises(DamagedImageError):
        inspect(mosaic, tmp_path / "out", on_window=lambda done, count: windows.append(done))
    assert windows
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(600, 700)[None])
    monkeypatch.setattr(GeoTiff, "write", lambda self, box, values, shown: None)
    with pytest.raises(OutputError, match="not written completely"):
        inspect(mosaic, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("most_kb", [40, 120, 300, 430])
@pytest.mark.parametrize("kinds", ["prob,mask", "prob,mask,overlay"])
def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, most_kb: int, kinds: str) -> None:
    """GDAL tells of it only sometimes; whatever it does, no file stays that cannot be read."""
    gray = np.random.default_rng(0).integers(0, 255, (900, 1000), dtype=np.uint8)
    mosaic = write_mosaic(tmp_path / "deck.tif", gray[None])
    model = write_quick_model(tmp_path / "quick.onnx")
    words = f"predict {mosaic} --out out --save {kinds} --threads 1 --model {model}"
    limited = f"ulimit -f {most_kb}; exec {sys.executable} -m edgecrack {words}"
    done = subprocess.run(
        ["bash", "-c", limited],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 6, done.stdout + done.stderr
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left <= {".edgecrack-files", "predict.json", "results.jsonl", "results.csv"}


def test_a_folder_whose_name_looks_like_an_archive(tmp_path: Path) -> None:
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(300, 400)[None])
    inspect(mosaic, tmp_path / "a.zip!b")
    assert len(list((tmp_path / "a.zip!b").iterdir())) == 4


def test_progress(tmp_path: Path) -> None:
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(600, 1100)[None])
    told: list[tuple[int, int]] = []
    inspect(mosaic, tmp_path / "out", on_window=lambda done, count: told.append((done, count)))
    assert told == [(number, 6) for number in range(1, 7)]


def run(*command: str | Path) -> str:
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="gdal-bin is not installed")
def test_gdal_opens_the_results(tmp_path: Path) -> None:
    """The system's own, another version than the wheels'."""
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(1100, 1300)[None])
    found = inspect(mosaic, tmp_path / "out")
    for kind in ("prob", "mask"):
        about = json.loads(run("gdalinfo", "-json", tmp_path / "out" / f"deck.{kind}.tif"))
        assert about["size"] == [1300, 1100]
        assert about["geoTransform"] == pytest.approx(
            [ORIGIN[0], PIXEL_M, 0, ORIGIN[1], 0, -PIXEL_M]
        )
        assert 'ID["EPSG",25832]' in about["coordinateSystem"]["wkt"]
        (band,) = about["bands"]
        assert (band["type"], band["block"]) == ("Byte", [512, 512])
        assert [each["size"] for each in band["overviews"]] == [[650, 550], [325, 275]]
        assert band["mask"]["flags"] == ["PER_DATASET"]
    text = run("ogrinfo", "-al", "-so", tmp_path / "out" / "deck.cracks.gpkg")
    assert f"Feature Count: {found.facts['lines']}" in text
    for part in ("Layer name: cracks", "Geometry: Line String", '"EPSG",25832', "length_m: Real"):
        assert part in text
    left, bottom, right, top = found.facts["bounds"]
    assert (right - left, top - bottom) == pytest.approx((1300 * PIXEL_M, 1100 * PIXEL_M))


def test_another_network_has_another_threshold(tmp_path: Path) -> None:
    gray = wall(300, 400)
    mosaic = write_mosaic(tmp_path / "deck.tif", gray[None])
    runner = IdentityRunner((256, 256), preprocess=STRETCH)
    network = CrackDetector(runner, "bright", threshold=0.25)
    with reading(mosaic) as orthomosaic:
        found = inspect_orthomosaic(orthomosaic, network, paths_in(tmp_path / "out"), min_area_px=0)
    assert found.crack_pixels == np.count_nonzero(gray >= uint8_level(0.25))

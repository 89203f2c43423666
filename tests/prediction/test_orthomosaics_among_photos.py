"""`edgecrack predict` on orthomosaics: beside photos, gone on with, refused, without rasterio."""

from __future__ import annotations

import csv
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgecrack.cli import app
from edgecrack.errors import SourceError
from edgecrack.prediction.batch import Batch, PredictConfig, WindowProgress, predict_images
from edgecrack.preprocess import PreprocessConfig
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask
from edgecrack.runtime.sources.options import SourceOptions
from tests.orthomosaic.mosaics import wall, write_mosaic
from tests.runtime.models import IdentityRunner, write_quick_model
from tests.waiting import PATIENCE_S

pytest.importorskip("rasterio", reason="rasterio is of the extra maps")
pytest.importorskip("pyogrio", reason="pyogrio is of the extra maps")

ARM = IgnoreMask("arm.png", (7, 9), np.eye(7, 9, dtype=bool))
STRETCH = PreprocessConfig(clahe_clip=0, gamma=1, stretch="minmax")


def predict(words: list[Path | str], out: Path, **settings: Any) -> Batch:
    on_window = settings.pop("on_window", lambda progress: None)
    runner = IdentityRunner((256, 256), threshold=0.8, preprocess=STRETCH)
    with CrackDetector(runner, "bright") as detector:
        config = PredictConfig(out, **settings)
        return predict_images(detector, words, config, on_window=on_window)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def a_folder(place: Path) -> Path:
    """A photo, two orthomosaics of which one is damaged, and a TIFF without georeference."""
    place.mkdir()
    assert cv2.imwrite(str(place / "a.png"), wall(120, 160))
    write_mosaic(place / "deck.tif", wall(700, 900)[None])
    damaged = write_mosaic(place / "pier.tif", wall(700, 900)[None], compress="deflate")
    damaged.write_bytes(damaged.read_bytes()[:-9_000])
    assert cv2.imwrite(str(place / "plain.tif"), wall(120, 160))
    return place


def test_each_gets_its_own_kind_of_results(tmp_path: Path) -> None:
    told: list[WindowProgress] = []
    out = tmp_path / "out"
    batch = predict([a_folder(tmp_path / "in")], out, on_window=told.append)
    assert [one.problem for one in batch.predictions] == [None, None, "is damaged", None]
    by_name = {line["name"]: line for line in lines(out)}
    assert by_name["deck"]["files"] == {
        "prob": "deck.prob.tif",
        "mask": "deck.mask.tif",
        "lines": "deck.cracks.gpkg",
        "overlay": "deck.overlay.png",
    }
    assert set(by_name["plain"]["files"].values()) == {
        "plain.prob.png", "plain.mask.png", "plain.overlay.png",
    }  # fmt: skip
    assert by_name["deck"]["map"]["crs"] == "EPSG:25832"
    assert by_name["deck"]["map"]["lines"] > 0
    assert [by_name[name]["map"] for name in ("a", "pier", "plain")] == [None] * 3
    files = {path.name for path in out.iterdir()}
    assert {name for name in files if name.startswith("pier")} == set()
    assert {one for line in lines(out) for one in line["files"].values()} <= files
    with (out / "results.csv").open(newline="") as table:
        rows = {row["name"]: row for row in csv.DictReader(table)}
    assert (rows["deck"]["width"], rows["deck"]["height"]) == ("900", "700")
    assert told == [WindowProgress("deck", 2, 4, 1, 1)]


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    """And what a killed run left half-written goes."""
    photos, out = a_folder(tmp_path / "in"), tmp_path / "out"
    predict([photos], out)
    (out / ".edgecrack-0123456789ab.tif").write_bytes(b"half of a map")
    told: list[WindowProgress] = []
    again = predict([photos], out, existing="continue", on_window=told.append)
    assert (again.done_earlier, told) == (3, [])
    assert not list(out.glob(".edgecrack-*.tif"))
    (out / "deck.cracks.gpkg").unlink()
    assert predict([photos], out, existing="continue").done_earlier == 2
    # Its results lie beside photos and are never photos.
    beside = tmp_path / "in" / "out"
    predict([photos], beside)
    assert len(predict([photos], tmp_path / "more").predictions) == 4


@pytest.mark.parametrize(
    ("settings", "problem", "remedy"),
    [
        (
            {"ignore": ARM},
            "ignore mask",
            "alone",
        ),
        ({"options": SourceOptions(keeps_location=False)}, "map locations", "`no_location`"),
    ],
)
def test_what_an_orthomosaic_cannot_have(
    tmp_path: Path, settings: dict[str, Any], problem: str, remedy: str
) -> None:
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(700, 900)[None])
    with pytest.raises(SourceError, match=problem):
        predict([mosaic], tmp_path / "out", **settings)
    (line,) = lines(tmp_path / "out")
    assert remedy in line["remedy"]


def test_a_killed_run_leaves_nothing_half_written(tmp_path: Path) -> None:
    """Whatever it was to write."""
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(300, 400)[None])
    predict([mosaic], tmp_path / "out", save=("overlay",))
    torn = tmp_path / "out" / ".edgecrack-0123456789ab.tif"
    for existing in ("continue", "overwrite"):
        torn.write_bytes(b"half of a map")
        predict([mosaic], tmp_path / "out", save=("overlay",), existing=existing)
        assert not torn.exists()


def test_results_in_a_folder_whose_name_is_no_utf8(tmp_path: Path) -> None:
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(30, 40)[None])
    with pytest.raises(SourceError, match="not valid UTF-8") as caught:
        predict([mosaic], tmp_path / os.fsdecode(b"\xff"))
    assert "`out`" in caught.value.remedy


def test_what_to_do_is_said_of_a_single_one(tmp_path: Path) -> None:
    moved = write_mosaic(
        tmp_path / "deck.tif", wall(30, 40)[None], "EPSG:4326"
    )  # metres for degrees
    with pytest.raises(SourceError, match="degrees of latitude") as caught:
        predict([moved], tmp_path / "out")
    assert "gdal_edit.py -a_srs" in caught.value.remedy


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = a_folder(tmp_path / "in")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    batch = predict([photos], tmp_path / "out")
    assert [one.problem is None for one in batch.predictions] == [True, False, False, True]
    line = next(line for line in lines(tmp_path / "out") if line["name"] == "deck")
    assert (
        line["problem"]
        == "cannot be inspected: an orthomosaic needs rasterio, which is not installed"
    )
    assert "pip install" in line["remedy"]


def test_by_address(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    write_mosaic(tmp_path / "site" / "deck.tif", wall(300, 400)[None])
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            predict([f"http://127.0.0.1:{server.server_port}/deck.tif"], tmp_path / "out")
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)
    assert lines(tmp_path / "out")[0]["map"]["crs"] == "EPSG:25832"


def test_the_command(tmp_path: Path) -> None:
    model = write_quick_model(tmp_path / "quick.onnx")
    mosaic = write_mosaic(tmp_path / "deck.tif", wall(300, 400)[None])
    words = ["predict", str(mosaic), "--out", str(tmp_path / "out"), "--model", str(model)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("deck: ")
    assert (tmp_path / "out" / "deck.cracks.gpkg").is_file()


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdal-bin is not installed")
def test_a_path_with_odd_letters(tmp_path: Path) -> None:
    place = tmp_path / "Brücke & 'deck' 100%"
    place.mkdir()
    mosaic = write_mosaic(place / "a b?.tif", wall(300, 400)[None])
    predict([mosaic], place / "out")
    made = place / "out" / "a b?.mask.tif"
    said = subprocess.run(
        ["gdalinfo", str(made)], check=True, capture_output=True, text=True, timeout=60
    )
    assert "Size is 400, 300" in said.stdout

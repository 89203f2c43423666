"""Photos whose cracks are measured, from files to files."""

from __future__ import annotations

import csv
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, EdgecrackError, OutputError, SourceError
from edgecrack.measurement.severity import severity_table
from edgecrack.photo_measurement.measuring_run import MeasureConfig, MeasuredBatch, measure_photos
from edgecrack.photo_measurement.photo_reading import parse_readings
from edgecrack.runtime.detector import CrackDetector
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.choice import ScaleConfig
from edgecrack.scale.markers import parse_marker
from edgecrack.scale.quantity import Quantity
from tests.runtime.models import IdentityRunner

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is of the dev extra")

Image = NDArray[np.uint8]
WIDTH_PX, LENGTH_PX = 4.0, 160.0


class DarkRunner(IdentityRunner):
    """Calls dark pixels crack."""

    def infer(self, tiles: Image) -> Image:
        return 255 - super().infer(tiles)


class BlindRunner(IdentityRunner):
    """Sees no crack anywhere."""

    def infer(self, tiles: Image) -> Image:
        return np.zeros_like(super().infer(tiles))


def wall(seed: int = 0, width_px: float = WIDTH_PX, hw: tuple[int, int] = (200, 240)) -> Image:
    """A wall with a crack that runs level, as a camera codes light."""
    rng = np.random.default_rng(seed)
    height, width = hw
    y, x = np.mgrid[:height, :width] + 0.5
    distance = np.maximum(
        np.abs(y - height / 2) - width_px / 2, np.abs(x - width / 2) - LENGTH_PX / 2
    )
    inside = cv2.GaussianBlur(np.clip(0.5 - distance, 0, 1), (0, 0), 1.0)
    coded = 180 * (1 - 0.88 * inside) ** (1 / 2.2) + rng.normal(0, 3, hw)
    gray = np.clip(np.round(coded), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)


def with_marker(image: Image, side_px: int = 40) -> Image:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    marker = cv2.aruco.generateImageMarker(dictionary, 5, side_px)
    sheet = np.pad(marker, 10, constant_values=200)
    shown = image.copy()
    shown[20 : 20 + len(sheet), 20 : 20 + len(sheet)] = sheet[..., None]
    return shown


def write(path: Path, image: Image) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def run(
    words: list[Path], out: Path, runner: type[IdentityRunner] = DarkRunner, **settings: Any
) -> MeasuredBatch:
    config = MeasureConfig(out, **{"plots": False, **settings})
    with CrackDetector(runner((64, 64)), "dark", threshold=0.6) as detector:
        return measure_photos(detector, [str(word) for word in words], config)


def document(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "cracks.json").read_text())
    schema = json.loads((resources.files("edgecrack") / "schemas/cracks.schema.json").read_text())
    problems = jsonschema.Draft202012Validator(schema).iter_errors(found)
    assert [problem.message for problem in problems] == []
    return found


def test_without_a_scale_there_are_pixels(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", wall())
    batch = run([photo], tmp_path / "out")
    found = document(tmp_path / "out")
    (crack,) = found["cracks"]
    assert crack["width"]["low_px"] < WIDTH_PX < crack["width"]["high_px"]
    assert crack["length_px"] == pytest.approx(LENGTH_PX, rel=0.04)
    assert crack["width"]["mean_mm"] is None
    assert crack["length_mm"] is None
    assert crack["class"] is None
    assert crack["budget"]["unit"] == "px"
    assert found["scale"] is None
    assert batch.photos[0].scale is None


def test_with_a_scale_there_are_millimetres(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", wall())
    scale = ScaleConfig(mm_per_pixel=Quantity(0.1, 0.002))
    run([photo], tmp_path / "out", scale=scale, table=severity_table("en-1992:xc3"))
    found = document(tmp_path / "out")
    (crack,) = found["cracks"]
    width = crack["width"]
    assert width["low_mm"] < 0.4 < width["high_mm"]
    assert width["mean_mm"] == pytest.approx(0.1 * width["mean_px"], rel=1e-3)
    assert crack["length_mm"] == pytest.approx(0.1 * crack["length_px"], rel=1e-3)
    assert crack["length_low_mm"] < 16.0 < crack["length_high_mm"]
    terms = crack["budget"]["terms"]
    assert terms["mm per pixel"] == pytest.approx(0.02 * width["mean_mm"], rel=0.01)
    assert crack["budget"]["combined"] == pytest.approx(
        np.sqrt(sum(term**2 for term in terms.values())), rel=0.01
    )
    assert crack["class"]["name"] == "above w_max"
    assert found["severity_table"]["id"] == "en-1992:xc3"
    assert found["scale"]["mm_per_px"] == 0.1
    assert found["scale"]["spread_95_mm_per_px"] == pytest.approx(0.004)
    assert found["photos"][0]["smallest"]["measured_mm"] > 0


def test_a_scale_of_unknown_uncertainty_says_so(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", wall())
    run([photo], tmp_path / "out", scale=ScaleConfig(mm_per_pixel=Quantity(0.1)))
    (crack,) = document(tmp_path / "out")["cracks"]
    assert crack["budget"]["scale_stated"] is False
    assert crack["length_low_mm"] is None


def test_files_and_their_hashes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots are of the measure extra")
    photo = write(tmp_path / "pier.jpg", wall())
    run([photo], tmp_path / "out", plots=True)
    names = {"cracks.json", "cracks.csv", "pier.jpg", "pier.measured.jpg", "pier.crack-1.png"}
    hashes = json.loads((tmp_path / "out" / "manifest.json").read_text())["sha256"]
    assert set(hashes) == names
    for name, value in hashes.items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == value
    assert (tmp_path / "out" / "pier.jpg").read_bytes() == photo.read_bytes()
    drawing = cv2.imread(str(tmp_path / "out" / "pier.measured.jpg"))
    assert drawing is not None
    assert drawing.shape[0] % 200 == 0


def test_the_table(tmp_path: Path) -> None:
    photo = write(tmp_path / "=pier.png", wall())
    scale = ScaleConfig(mm_per_pixel=Quantity(0.1, 0.002))
    run([photo], tmp_path / "metric", scale=scale)
    run([photo], tmp_path / "inches", scale=scale, units="imperial", decimal_comma=True)

    def row(folder: str, delimiter: str) -> dict[str, str]:
        text = (tmp_path / folder / "cracks.csv").read_text(encoding="utf-8-sig")
        (found,) = csv.DictReader(text.splitlines(), delimiter=delimiter)
        return found

    metric, inches = row("metric", ","), row("inches", ";")
    assert float(inches["mean_in"].replace(",", ".")) * 25.4 == pytest.approx(
        float(metric["mean_mm"]), rel=1e-3
    )
    assert "." not in inches["length_in"]
    assert metric["measurable"] == "yes"
    assert metric["reason"] == ""
    assert metric["photo"] == "'=pier"  # no formula


def test_numbers_go_on_from_photo_to_photo(tmp_path: Path) -> None:
    photos = [write(tmp_path / f"{number}.png", wall(number)) for number in range(3)]
    run(photos, tmp_path / "out")
    found = document(tmp_path / "out")
    assert [(crack["id"], crack["photo"]) for crack in found["cracks"]] == [
        (1, "0"), (2, "1"), (3, "2")
    ]  # fmt: skip
    assert [photo["name"] for photo in found["photos"]] == ["0", "1", "2"]


def test_a_marker_in_view(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", with_marker(wall()))
    config = ScaleConfig(marker=parse_marker("aruco:20mm"))  # 40 px, and so 0.5 mm a pixel
    run([photo], tmp_path / "out", scale=config)
    found = document(tmp_path / "out")
    crack = next(each for each in found["cracks"] if each["box"][1] > 90)  # below the marker
    assert crack["width"]["low_mm"] < 0.5 * WIDTH_PX < crack["width"]["high_mm"]
    assert found["scale"]["source"] == "marker"


def test_a_marker_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", wall())
    config = ScaleConfig(marker=parse_marker("aruco:20mm"))
    with pytest.raises(ConfigError, match=r"pier\.png: no aruco marker was found"):
        run([photo], tmp_path / "out", scale=config)
    assert not (tmp_path / "out").exists()


def test_of_several_photos_one_without_its_marker_stays_in_pixels(tmp_path: Path) -> None:
    photos = [
        write(tmp_path / "a.png", with_marker(wall())),
        write(tmp_path / "b.png", wall()),
    ]
    batch = run(photos, tmp_path / "out", scale=ScaleConfig(marker=parse_marker("aruco:20mm")))
    found = document(tmp_path / "out")
    assert [photo["scale"] is None for photo in found["photos"]] == [False, True]
    assert "no aruco marker" in found["photos"][1]["scale_problem"]
    assert [source for source, _ in batch.problems] == [str(photos[1])]
    assert {crack["length_mm"] is None for crack in found["cracks"] if crack["photo"] == "b"} == {
        True
    }


def test_a_camera_of_another_shape_is_refused(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", wall())
    camera = CameraFile(
        np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]), np.zeros(0), (640, 480)
    )
    config = ScaleConfig(camera=camera, distance_m=Quantity(1.0, 0.01))
    with pytest.raises(ConfigError, match="another shape"):
        run([photo], tmp_path / "out", scale=config)
    assert not (tmp_path / "out").exists()


def test_a_photo_that_cannot_be_read(tmp_path: Path) -> None:
    good = write(tmp_path / "good.png", wall())
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:300])
    batch = run([good, bad], tmp_path / "out")
    assert [source for source, _ in batch.problems] == [str(bad)]
    assert len(document(tmp_path / "out")["photos"]) == 1
    with pytest.raises(SourceError):
        run([bad], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_no_crack_is_a_result(tmp_path: Path) -> None:
    photo = write(tmp_path / "clean.png", np.full((120, 160, 3), 140, np.uint8))
    run([photo], tmp_path / "out", BlindRunner)
    found = document(tmp_path / "out")
    assert found["cracks"] == []
    assert found["fitness"]["verdict"] == "unfit"


def test_an_earlier_run_stays(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", wall())
    run([photo], tmp_path / "out")
    before = (tmp_path / "out" / "cracks.json").read_bytes()
    batch = run([photo], tmp_path / "out")
    assert batch.folder == tmp_path / "out-2"
    assert (tmp_path / "out" / "cracks.json").read_bytes() == before


def test_a_photo_in_the_folder_of_results_is_not_overwritten(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", wall())
    before = photo.read_bytes()
    with pytest.raises(EdgecrackError) as caught:
        run([photo], tmp_path)
    assert isinstance(caught.value, OutputError)
    assert photo.read_bytes() == before


def test_a_map_brings_its_ground_sampling(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="maps are of the maps extra")
    path = tmp_path / "deck.tif"
    image = wall()
    with rasterio.open(
        path, "w", driver="GTiff", height=200, width=240, count=3, dtype="uint8",
        crs="EPSG:25832", transform=rasterio.transform.from_origin(400_000, 5_500_000, 5e-4, 5e-4),
    ) as file:  # fmt: skip
        file.write(np.moveaxis(image[..., ::-1], 2, 0))
    run([path], tmp_path / "out")
    found = document(tmp_path / "out")
    assert found["scale"]["source"] == "the map's ground sampling"
    assert found["scale"]["mm_per_px"] == pytest.approx(0.5, rel=2e-3)
    assert found["scale"]["spread_95_mm_per_px"] is None


def test_two_results_of_one_name_are_told_and_the_others_stay(tmp_path: Path) -> None:
    photos = [write(tmp_path / "a.jpg", wall(1)), write(tmp_path / "a.measured.jpg", wall(2))]
    batch = run(photos, tmp_path / "out")
    assert [problem for _, problem in batch.problems] == [
        "two results would be called a.measured.jpg"
    ]
    found = document(tmp_path / "out")
    assert [photo["name"] for photo in found["photos"]] == ["a"]


def test_the_table_says_what_speaks_against_its_figures(tmp_path: Path) -> None:
    photo = write(tmp_path / "pier.png", wall())
    run([photo], tmp_path / "out", scale=ScaleConfig(mm_per_pixel=Quantity(0.1)))
    text = (tmp_path / "out" / "cracks.csv").read_text(encoding="utf-8-sig")
    (row,) = csv.DictReader(text.splitlines())
    assert row["fitness"] == document(tmp_path / "out")["photos"][0]["fitness"]["verdict"]
    assert (row["scale"], row["scale_stated"]) == ("given", "no")
    assert row["site_check"] == "not checked on site"


def test_a_photo_that_is_not_fit_is_of_no_class(tmp_path: Path) -> None:
    dark = np.asarray(wall() // 9, np.uint8)
    photo = write(tmp_path / "dark.png", dark)
    scale = ScaleConfig(mm_per_pixel=Quantity(0.1, 0.001))
    run([photo], tmp_path / "out", scale=scale, table=severity_table("en-1992:xc3"))
    found = document(tmp_path / "out")
    assert found["fitness"]["verdict"] != "measure"
    assert all(crack["class"] is None for crack in found["cracks"])


def test_more_than_eight_bits_give_no_millimetres(tmp_path: Path) -> None:
    photo = tmp_path / "deep.png"
    deep = wall()[..., 0].astype(np.uint16) * 257
    assert cv2.imwrite(str(photo), deep)
    with pytest.raises(ConfigError, match="more than 8 bits a pixel"):
        run([photo], tmp_path / "out", scale=ScaleConfig(mm_per_pixel=Quantity(0.1)))


def test_a_thin_strip_of_a_photo(tmp_path: Path) -> None:
    photo = write(tmp_path / "strip.png", np.full((3, 900, 3), 150, np.uint8))
    run([photo], tmp_path / "out", BlindRunner)
    assert document(tmp_path / "out")["photos"][0]["height_px"] == 3


@pytest.mark.parametrize(
    ("gauge", "bar", "said"),
    [
        (["0.37=0.4"], None, "which is not on the sheet"),
        (["0.4"], None, "the gauge reading is '0.4'"),
        (["x=0.4"], None, "the gauge reading is 'x=0.4'"),
        (["0.4=9"], None, "was read as 9 mm"),
        ([], "3.9", "bar is 3.9 mm long"),
    ],
)
def test_readings_are_checked_before_any_photo(
    gauge: list[str], bar: str | None, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_readings(gauge, bar)
    assert said in str(caught.value)

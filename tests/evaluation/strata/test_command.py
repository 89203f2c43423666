"""`edgecrack evaluate` on a yardstick, from its words to the files of the report."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgecrack.cli import main
from edgecrack.errors import ConfigError, DataError, OutputError
from edgecrack.evaluation.protocols import PredictionConfig
from edgecrack.evaluation.strata.strata_run import StrataConfig, evaluate_yardstick
from edgecrack.evaluation.thresholds import ThresholdSource
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, OutputFolder
from tests.evaluation.pages import read_page
from tests.evaluation.strata.yardsticks import write_yardstick
from tests.evaluation.test_evaluation_run import write_set
from tests.runtime.models import spec_of, write_model

pytest.importorskip("matplotlib", reason="a report needs matplotlib, of the train extra")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FILES = {
    *("index.html", "strata.md", "strata.json", "pictures.csv"),
    *("detection_probability.json", "detection_probability.csv"),
    *("recall.png", "detection.png", "calibration.png"),
}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yardstick(tmp_path_factory.mktemp("yardsticks") / "yard")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, yard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("yard").symlink_to(yard)


def run(words: str, *models: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgecrack", "evaluate", *map(str, models), *words.split()])
        main()


def refused(capsys: pytest.CaptureFixture[str], words: str, code: int = 2) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(words, BUNDLED_MODEL)
    assert stopped.value.code == code
    text = capsys.readouterr().err
    assert len(text.strip().splitlines()) == 1
    return text


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def report(yard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model's report, its scores written a second time beside it."""
    folder = tmp_path_factory.mktemp("report")
    scores = folder / "new" / "s.json"
    words = f"--data {yard} --out {folder / 'r'} --scores-file {scores} --mm-per-px 0.1"
    run(words, BUNDLED_MODEL)
    return folder / "r"


def test_the_files(report: Path) -> None:
    found = {path.name for path in report.iterdir()} - {LEDGER_NAME}
    assert found >= FILES
    assert all(name.startswith("worst_") for name in found - FILES)
    assert "worst_1.png" in found
    for path in report.glob("*.png"):
        image = cv2.imread(str(path))
        assert image is not None
        assert image.std() > 1
    copy = report.parent / "new" / "s.json"
    assert copy.read_text() == (report / "strata.json").read_text()


def test_the_figures_agree_with_each_other(report: Path) -> None:
    def refuse(name: str) -> Any:
        raise AssertionError(name)

    text = (report / "strata.json").read_text()
    whole = json.loads(text, parse_constant=refuse)  # no NaN, no infinity
    (label,) = whole["models"]
    document = whole["models"][label]
    assert label == BUNDLED_MODEL.stem
    assert whole["context"]["pictures"] == "14 with cracks, 4 without"
    assert whole["context"]["photos"] == "15"
    assert whole["context"]["blur of rendered cracks"] == "0.8 px"
    assert "256x256 px tiles" in whole["context"]["protocol"]
    assert document["images"] == 18

    pictures = rows_of(report / "pictures.csv")
    assert len(pictures) == 18
    for row in pictures:
        assert (row["tolerant_f1"] == "") == (row["kind"] != "crack")
        assert float(row["published_share"]) <= float(row["flagged_share"])
    made = [row for row in pictures if row["origin"] in ("rendered", "generated")]
    by_value = {(row["kind"], row["value"]): row for row in document["strata"]}
    for width in ("1-3 px", "5-8 px"):
        own = [row for row in made if row["width"] == width]
        assert by_value["made", width]["images"] == len(own) > 0
    assert by_value["made", "1-3 px"]["square"]["shipped"]["f1"] > 0.5

    detection = json.loads((report / "detection_probability.json").read_text())
    assert detection["models"][label] == document["detection"]
    assert document["detection"]["mm_per_px"] == 0.1
    assert document["detection"]["blur_px"] == 0.8
    listed = rows_of(report / "detection_probability.csv")
    widths = document["detection"]["widths"]
    assert [float(row["width_mm_from"]) for row in listed] == [row["width_mm"][0] for row in widths]
    assert [row["width_px"] for row in widths] == [[1, 1.5], [2, 3], [5, 8]]
    # Every two cracks share a photo, and none was dropped.
    assert [(row["cracks"], row["photos"]) for row in widths] == [(2, 1)] * 3


def test_the_page(report: Path) -> None:
    page = read_page(report / "index.html")
    assert page.title == "edgecrack-bundled on the yardstick yard"
    assert {"recall.png", "detection.png", "calibration.png", "worst_1.png"} <= set(page.addresses)
    text = (report / "index.html").read_text()
    places = [
        text.index(heading)
        for heading in (
            "Mean and worst over the strata",
            "By stratum: F1 within the 5x5 square",
            "Recall by crack width",
            "Detection probability at 0.1 mm/px and a blur of 0.8 px",
            "False alarms, on pictures without any crack",
            "Expected calibration error",
            "By stratum: F1 strict",
            "The worst pictures",
        )
    ]
    assert places == sorted(places)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_all_of_it_on_a_wide_and_on_a_narrow_screen(report: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width_px in (1200, 400):
            tab = browser.new_page(viewport={"width": width_px, "height": 900})
            errors: list[str] = []
            tab.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            tab.goto((report / "index.html").as_uri())
            for image in tab.query_selector_all("img"):
                image.scroll_into_view_if_needed()
                tab.wait_for_function(
                    "image => image.complete && image.naturalWidth > 0", arg=image
                )
            assert errors == []
            assert tab.evaluate("document.documentElement.scrollWidth") <= width_px
            wide = "[...document.querySelectorAll('table')].map(t => t.offsetWidth)"
            assert width_px < 1200 or max(tab.evaluate(wide)) <= 1120
        browser.close()


def test_the_markdown_has_tables_of_even_width(report: Path) -> None:
    text = (report / "strata.md").read_text()
    assert text.startswith("# edgecrack-bundled on the yardstick yard\n\n- model: ")
    for part in text.split("## ")[1:]:
        table = [line for line in part.splitlines() if line.startswith("|")]
        assert len(table) > 2
        assert len({line.count("|") for line in table}) == 1


def test_two_models_side_by_side(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bright = write_model(tmp_path / "br|ght.onnx", spec_of((16, 16), threshold=0.9))
    earlier = OutputFolder(Path("r"))
    for stale in ("worst_9.png", "worst_10.png"):
        earlier.claim(stale).write_bytes(b"of an earlier report")
    run("--data yard --threshold-from 0.5 --out r --overwrite", BUNDLED_MODEL, bright)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "report: r/index.html"
    assert [line.split()[0] for line in lines[3:6]] == ["model", "edgecrack-bundled", "br|ght"]
    assert max(map(len, lines)) <= 90
    assert not (Path("r") / "worst_9.png").exists()
    assert {path.name for path in Path("r").iterdir()} >= FILES

    document = json.loads((Path("r") / "strata.json").read_text())
    assert list(document["models"]) == ["edgecrack-bundled", "br|ght"]
    assert {model["threshold"] for model in document["models"].values()} == {0.5}
    assert "256x256" in document["context"]["protocol edgecrack-bundled"]
    assert "16x16" in document["context"]["protocol br|ght"]
    means = [
        document["models"][label]["mean"]["square"]["shipped"]["f1"] for label in document["models"]
    ]
    assert means[0] > means[1]

    assert "br|ght" in read_page(Path("r") / "index.html").cells
    text = (Path("r") / "strata.md").read_text()
    assert "| br\\|ght |" in text
    rows = rows_of(Path("r") / "pictures.csv")
    assert {row["model"] for row in rows} == {"edgecrack-bundled", "br|ght"}
    assert len(rows) == 36


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--threshold-from val", "--threshold-from is 'val' and a yardstick has no splits"),
        ("--threshold-from test", "give model or a number"),
        ("--split all", "--split is 'all', but a yardstick has no splits"),
        ("--split-set paper", "--split-set is 'paper'"),
        ("--mm-per-px 0", "the scale is 0.0 mm/px"),
        ("--mm-per-px nan", "the scale is nan mm/px"),
        ("--mm-per-px=-1", "the scale is -1.0 mm/px"),
        ("--threshold-from 0.505", "'0.505'"),
    ],
)
def test_words_that_are_refused(
    capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert message in refused(capsys, f"--data yard {words}")
    assert not Path("runs").exists()


def test_a_scale_without_a_yardstick_and_a_layout_with_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_set(tmp_path / "walls", ["a"])
    assert "walls is not a yardstick" in refused(capsys, "--data walls --mm-per-px 0.2")
    assert "a layout, 'generic', is given for a yardstick" in refused(capsys, "--data generic=yard")


def config(yardstick: Path, **changes: Any) -> StrataConfig:
    given: dict[str, Any] = {
        "models": (BUNDLED_MODEL,),
        "yardstick": yardstick,
        "out": Path("r"),
        "prediction": PredictionConfig(),
        "threshold": ThresholdSource(),
    }
    return StrataConfig(**(given | changes))


def changed(yard: Path, keep: Any) -> Path:
    """A copy of the yardstick with some of its pictures."""
    shutil.copytree(yard, "some")
    path = Path("some") / "yardstick.json"
    document = json.loads(path.read_text())
    document["items"] = [item for item in document["items"] if keep(item)]
    path.write_text(json.dumps(document))
    return Path("some")


def test_what_cannot_be_averaged_is_refused_before_anything_is_scored(yard: Path) -> None:
    clean = changed(yard, lambda item: item["kind"] != "crack")
    with pytest.raises(DataError, match="no picture of the yardstick has a crack"):
        evaluate_yardstick(config(clean), on_progress=never)
    shutil.rmtree(clean)
    few = changed(yard, lambda item: item["name"] in ("wall_0", "wall_1", "wall_2", "crack_0"))
    with pytest.raises(DataError, match="no stratum of the yardstick has 3 pictures"):
        evaluate_yardstick(config(few), on_progress=never)


def never(done: int, total: int) -> None:
    raise AssertionError("a picture was scored")


def test_a_place_for_scores_that_is_none_is_refused_first(yard: Path) -> None:
    Path("folder").mkdir()
    with pytest.raises(OutputError, match="folder: it is a folder"):
        evaluate_yardstick(config(yard, json_file=Path("folder")), on_progress=never)
    with pytest.raises(ConfigError, match="there is no model to evaluate"):
        config(yard, models=())


def test_without_false_alarms_and_known_widths_the_report_says_less(yard: Path) -> None:
    walls = changed(yard, lambda item: item["name"].startswith("wall"))
    OutputFolder(Path("r")).claim("detection.png").write_bytes(b"of an earlier report")
    steps: list[tuple[int, int]] = []
    bright = write_model(Path("bright.onnx"), spec_of((64, 64), threshold=0.5))
    report = evaluate_yardstick(
        config(walls, models=(bright,), existing="overwrite"),
        lambda done, total: steps.append((done, total)),
    )
    assert report.folder == Path("r")
    assert steps == [(number, 8) for number in range(1, 9)]
    assert not (Path("r") / "detection.png").exists()
    read_page(Path("r") / "index.html")
    text = (Path("r") / "strata.md").read_text()
    assert "Detection probability" not in text
    assert "False alarms" not in text
    assert rows_of(Path("r") / "detection_probability.csv") == []


def test_a_second_report_goes_beside_the_first(
    yard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walls = changed(yard, lambda item: item["name"].startswith("wall"))
    bright = write_model(Path("bright.onnx"), spec_of((64, 64), threshold=0.5))
    run(f"--data {walls} --out r", bright)
    first = (Path("r") / "strata.json").read_text()
    run(f"--data {walls} --out r --threshold-from 0.3", bright)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "r holds other results, which stay; those of this run go to r-2",
        "report: r-2/index.html",
    ]
    assert (Path("r") / "strata.json").read_text() == first
    assert (Path("r-2") / "strata.json").read_text() != first

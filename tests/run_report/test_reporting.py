"""A report says what the survey found, nothing more, and can be checked."""

from __future__ import annotations

import base64
import csv
import html
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import edgecrack
from edgecrack.cli import app
from edgecrack.errors import ConfigError, MissingDependencyError, SourceError
from edgecrack.measurement.severity import severity_table
from edgecrack.run_report.facts import read_facts
from edgecrack.run_report.file_hashes import verify
from edgecrack.run_report.report_words import Words, languages
from edgecrack.run_report.reporting import ReportConfig, report_run
from edgecrack.run_report.structure import read_structure
from edgecrack.run_report.width_plot import plot_widths
from edgecrack.run_survey import SurveyConfig, survey_run
from edgecrack.runtime.frame import Position
from edgecrack.runtime.measuring.frame_scale import FrameScale
from edgecrack.runtime.measuring.stream_scale import StreamScale
from edgecrack.scale import Quantity
from tests.run_survey.kept_flight import LONG, keep, views
from tests.survey.small_walls import along

pytest.importorskip("jinja2", reason="jinja2 is of the report extra")
pytest.importorskip("reportlab", reason="reportlab is of the report extra")

SHORT = [(300, 210), (420, 216)]


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a scale of 0.1 mm a pixel over a long and a shorter crack."""
    folder = tmp_path_factory.mktemp("run")

    def position(index: int) -> Position:
        return Position(index, latitude_deg=48.0 + 1e-6 * index, longitude_deg=11.0)

    scale = FrameScale(StreamScale(mm_per_pixel=Quantity(0.1, 0.002)))
    keep(folder, views(along(0, 440, 60), [LONG, SHORT], position=position), scale=scale)
    survey_run(folder, SurveyConfig(table=severity_table("en-1992:xc3")))
    return folder


@pytest.fixture
def run(surveyed: Path, tmp_path: Path) -> Path:
    """The same, to be spoiled."""
    return Path(shutil.copytree(surveyed, tmp_path / "run"))


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style>.*?</style>", " ", page)))


def structure(folder: Path, text: str) -> Path:
    path = folder / "structure.yaml"
    path.write_text(text)
    return path


def document(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "survey" / "cracks.json").read_text())
    return found


PIER = """
structure: Bridge <b>12</b>
code: B12
elements:
  - code: P2
    name: Pier 2
    axis: horizontal
    faces:
      - {name: east face, sheets: [0], datum: {name: bearing, edge: bottom}}
"""


def test_the_page_says_what_the_survey_found(run: Path) -> None:
    found = report_run(run, ReportConfig(("html", "csv", "coco", "geojson")))
    page = (found.folder / "report.html").read_text()
    text = text_of(page)
    assert "DRAFT, not reviewed" in text
    assert re.search(r"Cracks found, not yet reviewed\s+2", text)
    for crack in found.facts.confirmed:
        assert f"Crack {crack['id']}" in text
        assert f"{crack['length_mm']:.0f} mm" in text
        assert f"mean {crack['width']['mean_mm']:.2f} mm" in text
        assert crack["class"]["name"] in text
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/jpeg;base64,") == 2 * 2 + 2
    assert "What was not seen does not count as free of cracks" in text


@pytest.mark.parametrize("language", languages())
def test_every_language_has_the_same_words(language: str, run: Path) -> None:
    assert Words(language).known == Words("en").known
    for key in Words("en").known:
        holes = [re.findall(r"\{(\w+)", Words(each)(key)) for each in ("en", language)]
        assert sorted(holes[0]) == sorted(holes[1]), key
    page = report_run(run, ReportConfig(("html",), language)).files[0].read_text()
    assert f'<html lang="{language}">' in page


@pytest.mark.parametrize(
    ("taken_ns", "said"),
    [
        (None, "unknown, the source has no capture time"),
        (1764547200_000000000, "2025-12-01, 00:00"),
    ],
)
def test_recorded_is_when_the_frames_were_taken_and_not_when_they_were_processed(
    taken_ns: int | None, said: str, run: Path
) -> None:
    track = run / "survey" / "track.jsonl"
    first, *others = track.read_text().splitlines()
    line = json.dumps({**json.loads(first), "capture_time_ns": taken_ns})
    track.write_text("\n".join([line, *others]) + "\n")
    report_run(run)
    page = " ".join(text_of((run / "report" / "report.html").read_text()).split())
    assert f"Recorded {said}" in page


@pytest.mark.parametrize("library", ["jinja2", "reportlab"])
def test_a_library_that_is_missing_is_said_before_anything_is_inspected(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=library):
        ReportConfig()
    assert ReportConfig(formats=("csv",)).formats == ("csv",)


def test_german_figures_have_commas(run: Path) -> None:
    config = ReportConfig(("html", "csv"), "de", decimal_comma=True)
    found = report_run(run, config)
    width = found.facts.confirmed[0]["width"]["mean_mm"]
    comma = f"{width:.2f}".replace(".", ",")
    assert f"Mittel {comma} mm" in text_of(found.files[0].read_text())
    lines = found.files[1].read_text("utf-8-sig").splitlines()
    rows = list(csv.DictReader(lines, delimiter=";"))
    assert float(rows[0]["width_mean_mm"].replace(",", ".")) == pytest.approx(width)


def test_imperial_pages_have_inches_and_feet_and_no_millimetres(run: Path) -> None:
    placed = read_structure(structure(run, PIER))
    found = report_run(run, ReportConfig(("html", "csv"), structure=placed, units="imperial"))
    text = text_of(found.files[0].read_text())
    for crack in found.facts.confirmed:
        assert f"mean {crack['width']['mean_mm'] / 25.4:.3f} in" in text
        assert f"{crack['length_mm'] / 25.4:.1f} in" in text
    total = found.facts.totals[0]
    assert f"{(total.area_m2 or 0) / 0.3048**2:.2f} ft\u00b2" in text
    assert f"{(total.density_m_per_m2 or 0) * 0.3048:.3f} ft/ft\u00b2" in text
    assert re.search(r"\d in above the bearing", text)
    said = text.partition("Settings")[0]
    for note in found.facts.document["notes"]:
        said = said.replace(note, "")
    assert not re.search(r"\d (mm|m)\b", said)
    rows = list(csv.DictReader(found.files[1].read_text("utf-8-sig").splitlines()))
    width_mm = found.facts.confirmed[0]["width"]["mean_mm"]
    assert float(rows[0]["width_mean_mm"]) == pytest.approx(width_mm)
    with pytest.raises(ConfigError, match="the units are 'cubits'; give metric or imperial"):
        report_run(run, ReportConfig(units="cubits"))


def test_a_structure_places_cracks_and_is_escaped(run: Path) -> None:
    placed = read_structure(structure(run, PIER))
    found = report_run(run, ReportConfig(("html", "csv"), structure=placed))
    page = found.files[0].read_text()
    assert "Bridge &lt;b&gt;12&lt;/b&gt;" in page
    rows = list(csv.DictReader(found.files[1].read_text("utf-8-sig").splitlines()))
    assert {row["element"] for row in rows} == {"P2"}
    # The wall in view ends at 260 px; what frames agree on of the crack ends at 140 to 150 px.
    long = next(row for row in rows if row["id"] == str(found.facts.confirmed[0]["id"]))
    assert float(long["from_datum_mm"]) == pytest.approx(11.5, abs=0.9)
    assert float(long["angle_deg"]) < 8
    assert "above the bearing" in text_of(page)
    total = found.facts.totals[0]
    metres = sum(crack["length_mm"] for crack in found.facts.confirmed) / 1000
    assert total.density_m_per_m2 == pytest.approx(metres / (total.area_m2 or 1))


def test_without_a_scale_it_says_pixels(tmp_path: Path) -> None:
    keep(tmp_path, views(along(0, 440, 60)))
    survey_run(tmp_path)
    text = text_of(report_run(tmp_path, ReportConfig(("html",))).files[0].read_text())
    assert "say nothing about sizes on the structure" in text
    assert " mm " not in text.partition("What may have been missed")[0].replace("mm per", "")


def test_a_run_without_cracks_does_not_say_sound(tmp_path: Path) -> None:
    keep(tmp_path, views(along(0, 440, 60), []))
    survey_run(tmp_path)
    text = text_of(report_run(tmp_path, ReportConfig(("html", "csv", "coco"))).files[0].read_text())
    assert "No crack was confirmed. That does not mean that there is none" in text


def test_sheets_that_are_not_linked_are_a_range(tmp_path: Path) -> None:
    keep(tmp_path, [*views(along(0, 100, 60)), *views(along(330, 440, 60), first=6)])
    survey_run(tmp_path)
    found = report_run(tmp_path, ReportConfig(("html",)))
    count = found.facts.document["count"]
    if count["low"] != count["high"]:
        text = text_of(found.files[0].read_text())
        assert f"{count['low']}\u2013{count['high']}" in text
        assert "not linked" in text
        assert re.search(r"Total length of confirmed cracks\s+up to \d", text)


def test_lost_pictures_are_said(run: Path) -> None:
    shutil.rmtree(run / "survey" / "key_frames")
    shutil.rmtree(run / "survey" / "views")
    (run / "survey" / "map.png").unlink()
    (run / "survey" / "map-undrawn.jpg").unlink()
    text = text_of(report_run(run, ReportConfig(("html",))).files[0].read_text())
    assert text.count("No picture was kept.") == 3


def test_the_manifest_tells_of_each_file_that_changed(run: Path) -> None:
    report_run(run)
    assert verify(run).is_whole
    (run / "report" / "cracks.csv").write_text("changed")
    (run / "survey" / "map.png").unlink()
    checked = verify(run)
    assert checked.changed == ("report/cracks.csv",)
    assert checked.missing == ("survey/map.png",)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["sha256"]["../secret"] = "0"
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceError, match="outside its folder"):
        verify(run)
    (run / "manifest.json").write_text("[" * 50_000)
    with pytest.raises(SourceError, match="is damaged"):
        verify(run)
    with pytest.raises(SourceError, match=r"has no manifest\.json"):
        verify(run / "survey")


def test_lines_on_the_wall_are_in_millimetres_and_as_long_as_the_cracks(
    run: Path, tmp_path: Path
) -> None:
    found = report_run(run, ReportConfig(("wall",)))
    lines = json.loads((found.folder / "cracks.wall.json").read_text())
    assert lines["unit"] == "mm"
    known = {crack["id"]: crack["length_mm"] for crack in found.facts.confirmed}
    assert {each["id"] for each in lines["cracks"]} == set(known)
    for each in lines["cracks"]:
        parts = [np.hypot(*np.diff(np.array(line), axis=0).T).sum()
                 for line in (*each["lines"], *each["gaps"])]  # fmt: skip
        # The survey takes the scale at each crack, and the sheet's here.
        assert sum(parts) == pytest.approx(known[each["id"]], rel=0.03)
        assert min(min(point) for line in each["lines"] for point in line) >= 0
    keep(tmp_path, views(along(0, 440, 60)))
    survey_run(tmp_path)
    with pytest.raises(SourceError, match="no millimetres on the wall"):
        report_run(tmp_path, ReportConfig(("wall",)))


def test_a_manifest_of_odd_names_is_checked_all_the_same(run: Path) -> None:
    report_run(run, ReportConfig(("csv",)))
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    os.mkfifo(run / "pipe")
    for name in ("pipe", "nul\0name", "half \ud800", "line\nbreak"):
        manifest["sha256"][name] = "0"
    path.write_text(json.dumps(manifest))
    assert set(verify(run).missing) == {"pipe", "nul\0name", "half \ud800", "line\nbreak"}
    path.write_text(json.dumps({**manifest, "schema_version": 99}))
    with pytest.raises(SourceError, match="has schema version 99 instead of 1"):
        verify(run)


def test_the_same_survey_gives_the_same_report(run: Path) -> None:
    config = ReportConfig(("html", "pdf", "csv", "coco"))
    first = {path.name: path.read_bytes() for path in report_run(run, config).files}
    second = {path.name: path.read_bytes() for path in report_run(run, config).files}
    assert first == second


def test_geojson_lies_on_the_earth(run: Path) -> None:
    (path,) = report_run(run, ReportConfig(("geojson",))).files
    found = json.loads(path.read_text())
    assert found["type"] == "FeatureCollection"
    for feature in found["features"]:
        for line in feature["geometry"]["coordinates"]:
            places = np.array(line)
            assert places[:, 0] == pytest.approx(11.0, abs=1e-4)
            assert places[:, 1] == pytest.approx(48.0, abs=1e-3)


def test_geojson_without_a_place_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, views(along(0, 100, 60)))
    survey_run(tmp_path)
    with pytest.raises(SourceError, match="no sheet has geographic coordinates"):
        report_run(tmp_path, ReportConfig(("geojson",)))


def test_coco_is_consistent(run: Path) -> None:
    (path,) = report_run(run, ReportConfig(("coco",))).files
    found = json.loads(path.read_text())
    images = {image["id"]: image for image in found["images"]}
    assert len(found["annotations"]) == 2
    for annotation in found["annotations"]:
        image = images[annotation["image_id"]]
        assert (run / image["file_name"]).is_file()
        xy = np.array(annotation["segmentation"][0]).reshape(-1, 2)
        assert (xy >= -2).all()
        assert (xy <= (image["width"] + 2, image["height"] + 2)).all()
        assert annotation["bbox"][2] == pytest.approx(np.ptp(xy[:, 0]), abs=0.2)


# Its own compiled code says __array__ as NumPy 1 did.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_labels(run: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is of the dev extra")
    found = report_run(run, ReportConfig(("coco",)))
    read = coco.COCO(str(found.files[0]))
    lengths = {crack["id"]: crack["best"]["points"] for crack in found.facts.confirmed}
    annotations = read.loadAnns(read.getAnnIds(catIds=read.getCatIds(catNms=["crack"])))
    assert {each["attributes"]["crack"] for each in annotations} == set(lengths)
    for annotation in annotations:
        mask = read.annToMask(annotation)
        points = np.array(lengths[annotation["attributes"]["crack"]])
        length = np.hypot(*np.diff(points, axis=0).T).sum()
        # A ribbon of two pixels' width along the crack.
        assert mask.sum() == pytest.approx(2 * length, rel=0.15)
        assert annotation["area"] == pytest.approx(2 * length, rel=0.02)


def paper(run: Path, config: ReportConfig) -> list[str]:
    """The text of each page of a report's PDF, read by pypdf."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is of the dev extra")
    (path,) = report_run(run, config).files
    return [
        " ".join(page.extract_text().replace("\u00a0", " ").split())
        for page in pypdf.PdfReader(path, strict=True).pages
    ]


def test_the_pdf_says_what_the_page_says(run: Path) -> None:
    placed = read_structure(structure(run, PIER))
    pages = paper(run, ReportConfig(("pdf",), structure=placed))
    assert all(page.startswith("DRAFT, not reviewed") for page in pages)
    text = " ".join(pages)
    assert "Bridge <b>12</b> (B12)" in text
    facts = read_facts(run, placed)
    for crack in facts.confirmed:
        assert f"Crack {crack['id']}: Pier 2, east face" in text
        assert f"{crack['length_mm']:.0f} mm (95 % interval" in text
        assert f"mean {crack['width']['mean_mm']:.2f} mm" in text
    assert "What was not seen does not count as free of cracks" in text
    assert "Date, Signature" in pages[-1]


def test_the_pdf_speaks_german_and_writes_no_box_for_a_letter(run: Path) -> None:
    named = PIER.replace("Bridge <b>12</b>", "\u6a4b \u0141\u00f3d\u017a")
    placed = read_structure(structure(run, named))
    text = " ".join(paper(run, ReportConfig(("pdf",), "de", placed)))
    assert "[U+6A4B]" in text
    assert "ENTWURF, nicht gepr\u00fcft" in text


def test_the_pdf_holds_its_letters_and_pictures(run: Path) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is of the dev extra")
    (path,) = report_run(run, ReportConfig(("pdf",))).files
    reader = pypdf.PdfReader(path, strict=True)
    pictures = [image for page in reader.pages for image in page.images]
    assert len(pictures) == 2 * 2 + 2
    for page in reader.pages:
        assert float(page.mediabox.width) == pytest.approx(210 * 72 / 25.4, abs=0.1)
        for font in page["/Resources"]["/Font"].values():
            own = font.get_object()
            if "Vera" in own["/BaseFont"]:
                assert "/FontFile2" in own["/FontDescriptor"]


def test_a_setting_longer_than_a_page_still_prints(run: Path) -> None:
    note = {"run": "x", "part": 1, "settings": {"ignore": "0.125,0.25 " * 3000}}
    ledger = run / ".edgecrack-files"
    text = ledger.read_text() if ledger.exists() else ""
    ledger.write_text(text + json.dumps(note) + "\n")
    assert " ".join(paper(run, ReportConfig(("pdf",)))).count("0.125,0.25") == 3000


def test_nothing_in_the_table_is_a_formula(run: Path) -> None:
    evil = yaml.safe_load(PIER)
    evil["elements"][0]["code"] = "=HYPERLINK(1)"
    placed = read_structure(structure(run, yaml.safe_dump(evil)))
    (path,) = report_run(run, ReportConfig(("csv",), structure=placed)).files
    rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    assert {row["element"] for row in rows} == {"'=HYPERLINK(1)"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "does not describe a structure"),
        ("elements: []", "gives no `structure`"),
        ("structure: x\nelements: [{code: A}, {code: A}]", "the code 'A' twice"),
        (
            "structure: x\nelements: [{code: A, faces: [{name: f, sheets: [0]}, "
            "{name: g, sheets: [0]}]}]",
            "sheet 0 twice",
        ),
        ("structure: x\nelements: [{code: A, axis: up}]", "the axis 'up'"),
        (
            "structure: x\nelements: [{code: A, faces: [{name: f, datum: {edge: middle}}]}]",
            "the datum",
        ),
        ("structure: x\nelements: [{code: A, faces: [{name: f, sheets: [-1]}]}]", "the sheets"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_structure_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_structure(structure(tmp_path, text))


def test_a_structure_of_another_survey_is_refused(run: Path) -> None:
    wrong = PIER.replace("[0]", "[7]")
    with pytest.raises(SourceError, match="puts sheet 7 on P2, and the survey has 1"):
        read_facts(run, read_structure(structure(run, wrong)))
    marked = PIER.replace("sheets: [0]", "markers: [9]")
    with pytest.raises(SourceError, match="by marker 9, which the survey did not see"):
        read_facts(run, read_structure(structure(run, marked)))


def test_what_is_no_survey_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(SourceError, match="has no survey"):
        report_run(tmp_path)
    path = run / "survey" / "cracks.json"
    whole = document(run)
    for spoiled, message in (
        ("{", "is damaged"),
        (json.dumps({**whole, "schema_version": 9}), "has schema version 9"),
        (json.dumps({**whole, "cracks": [{}]}), "is damaged"),
        (json.dumps({**whole, "sheets": []}), "is damaged"),
    ):
        path.write_text(spoiled)
        with pytest.raises(SourceError, match=message):
            report_run(run)


def test_languages_and_formats_that_there_are_not(run: Path) -> None:
    with pytest.raises(ConfigError, match="no words in the language 'xx'; give de or en"):
        report_run(run, ReportConfig(language="xx"))
    with pytest.raises(ConfigError, match="the formats are 'docx,pdf'"):
        ReportConfig(("docx", "pdf"))


def test_the_evidence_is_of_the_bundled_model() -> None:
    """Whoever bundles another model runs tools/detection_evidence.py."""
    folder = Path(edgecrack.__file__).parent / "models"
    evidence = json.loads((folder / "edgecrack-bundled.detection.json").read_text())
    sidecar = json.loads((folder / "edgecrack-bundled.onnx.json").read_text())
    assert evidence["model_sha256"] == sidecar["sha256"]
    assert evidence["threshold"] == sidecar["threshold"]


def test_a_run_of_the_bundled_model_says_what_may_be_missed(run: Path) -> None:
    folder = Path(edgecrack.__file__).parent / "models"
    sidecar = json.loads((folder / "edgecrack-bundled.onnx.json").read_text())
    note = {"run": "x", "part": 1, "settings": {"model": sidecar["sha256"]}}
    ledger = run / ".edgecrack-files"
    text = ledger.read_text() if ledger.exists() else ""
    ledger.write_text(text + json.dumps(note) + "\n")
    text = text_of(report_run(run, ReportConfig(("html",))).files[0].read_text())
    # 3 to 5 px at about 0.1 mm a pixel.
    assert re.search(r"0\.(29|30) \u2013 0\.(49|50) mm", text)
    assert "30 cracks, 30 photos" in text


def test_widths_along_a_crack_are_drawn_where_they_were_measured() -> None:
    places = (*range(5), *range(20, 25))
    points = [[10.0 * n, 0.4, 0.3, 0.5] for n in places]
    drawn = plot_widths({"unit": "mm", "points": points}, Words("en"))
    assert drawn is not None
    assert len(drawn.lines) == len(drawn.bands) == 2
    svg = drawn.svg("width & more")
    assert svg.count("<polyline") == 2
    ElementTree.fromstring(svg)
    assert plot_widths({"unit": "mm", "points": points[:1]}, Words("en")) is None


def test_the_survey_tells_the_width_along_each_crack(run: Path) -> None:
    crack = max(document(run)["cracks"], key=lambda each: each["length_px"])
    points = np.array(crack["profile"]["points"])
    assert crack["profile"]["unit"] == "mm"
    assert points[-1, 0] == pytest.approx(crack["length_mm"], rel=0.1)
    assert points[:, 1].mean() == pytest.approx(crack["width"]["mean_mm"], rel=0.1)
    assert (points[:, 2] <= points[:, 1]).all()
    assert (points[:, 1] <= points[:, 3]).all()


SITE = {
    "passed": True,
    "problems": [],
    "sentences": [],
    "scale": {"deviation": 0.01, "spread_95": 0.02, "agrees": True, "bar_measured": True},
    "mean_deviation": None,
    "cracks": [{"stated_mm": 0.2, "measurable": True, "score": 0.3}],
}


def test_a_check_on_site_is_shown_and_stays_with_the_run(run: Path, tmp_path: Path) -> None:
    assert "No site check was made" in text_of(report_run(run).files[0].read_text())
    given = tmp_path / "cracks.json"
    given.write_text(json.dumps(SITE))
    for config in (ReportConfig(("html",), site_check=given), ReportConfig(("html",))):
        text = text_of(report_run(run, config).files[0].read_text())
        assert re.search(r"Verdict\s+passed", text)
        assert re.search(r"read correctly\s+0\.20 mm", text)
    assert "report/site_check.json" in verify(run).files
    assert "passed" in " ".join(paper(run, ReportConfig(("pdf",))))


def test_the_manifest_covers_all_that_the_report_rests_on(run: Path) -> None:
    (run / ".edgecrack-files").touch()
    placed = read_structure(structure(run, PIER))
    report_run(run, ReportConfig(structure=placed))
    files = set(verify(run).files)
    for name in (
        ".edgecrack-files", "report/structure.json", "report/report.html", "report/report.pdf",
        "survey/cracks.json", "survey/map.png", "survey/sightings.jsonl", "survey/rows.jsonl",
    ):  # fmt: skip
        assert name in files
    assert json.loads((run / "report" / "structure.json").read_text())["code"] == "B12"
    (run / ".edgecrack-files").write_text("other settings")
    assert verify(run).changed == (".edgecrack-files",)


def test_verify_as_json_names_each_file(run: Path) -> None:
    report_run(run, ReportConfig(("csv",)))
    runner = CliRunner()
    whole = runner.invoke(app, ["verify", str(run), "--json"])
    assert whole.exit_code == 0
    assert json.loads(whole.stdout)["whole"] is True
    (run / "report" / "cracks.csv").write_text("changed")
    (run / "survey" / "map.png").unlink()
    spoiled = runner.invoke(app, ["verify", str(run), "--json"])
    assert spoiled.exit_code != 0
    found = json.loads(spoiled.stdout)
    assert found["whole"] is False
    assert found["changed"] == ["report/cracks.csv"]
    assert found["missing"] == ["survey/map.png"]


def test_the_coverage_has_a_legend_in_the_reports_language_and_no_words_in_it(run: Path) -> None:
    drawn, cover = (cv2.imread(str(run / "survey" / f"{n}.png")) for n in ("map", "coverage"))
    assert drawn is not None
    assert cover is not None
    assert cover.shape[0] > drawn.shape[0]
    page = report_run(run, ReportConfig(("html",), "de")).files[0].read_text()
    assert re.search(r'<i style="background: #5abe3c|<i style="background: #3cbe5a', page)
    assert re.search(r"messbar: \d+\u202f%", text_of(page))
    address = re.findall(r'<figure><img src="data:image/jpeg;base64,([^"]+)"', page)[1]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(address), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape[0] / shown.shape[1] == pytest.approx(
        drawn.shape[0] / drawn.shape[1], rel=0.01
    )


def test_sheets_of_a_single_frame_are_not_passed_over(run: Path) -> None:
    whole = document(run)
    single = {**whole["sheets"][0], "number": 1, "frame_count": 1, "map": None}
    both = [*whole["sheets"], single, {**single, "number": 2}]
    (run / "survey" / "cracks.json").write_text(json.dumps({**whole, "sheets": both}))
    text = text_of(report_run(run, ReportConfig(("html",))).files[0].read_text())
    assert "2 sheets of a single frame each" in text


def test_a_length_that_no_measured_frame_tells_goes_by_the_sheets_scale(run: Path) -> None:
    whole = document(run)
    for crack in whole["cracks"]:
        crack.update(length_mm=None, length_low_mm=None, length_high_mm=None)
    (run / "survey" / "cracks.json").write_text(json.dumps(whole))
    found = report_run(run, ReportConfig(("html",)))
    longest = found.facts.confirmed[0]
    length = longest["length_px"] * whole["sheets"][0]["mm_per_px"]
    assert f"about {length:.0f} mm" in text_of(found.files[0].read_text())

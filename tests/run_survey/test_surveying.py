"""From a run's folder to its survey: what is counted and drawn, and what is said where it lacks."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.cracks import measure_image
from edgecrack.measurement.regions import measure_cracks
from edgecrack.measurement.severity import severity_table
from edgecrack.run_survey import SurveyConfig, survey_run
from edgecrack.run_survey.camera_mount import parse_mount
from edgecrack.run_survey.kept_lines import chosen_frames, read_kept
from edgecrack.run_survey.older_run import NOTE
from edgecrack.run_survey.positions import read_markers
from edgecrack.run_survey.surveying import found_in
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.measuring.frame_scale import FrameScale
from edgecrack.runtime.measuring.stream_scale import StreamScale
from edgecrack.runtime.outputs.sinks import JsonLines, frame_record
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.scale import Quantity
from tests.run_survey.kept_flight import LONG, keep, painted_wall, views
from tests.runtime.fakes import frame, write_video
from tests.survey.small_walls import HW, along, crack_mask
from tests.test_schemas import check

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over one long crack, out and back."""
    folder = tmp_path_factory.mktemp("flown")
    ways = [*along(0, 440, 60), *along(440, 0, 150)]
    keep(folder, views(ways, position=lambda n: Position(n, distance_m=0.1 * n)))
    return folder


@pytest.fixture
def run(flown: Path, tmp_path: Path) -> Path:
    """The same, to be spoiled."""
    return Path(shutil.copytree(flown, tmp_path / "run"))


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "survey" / "cracks.json").read_text())
    return found


def length_of(line: list[tuple[int, int]]) -> float:
    return float(np.hypot(*np.diff(np.array(line, float), axis=0).T).sum())


def width_of_wall_px() -> float:
    """Of the same crack in one picture of the whole wall."""
    wall = painted_wall([LONG])
    (crack,) = measure_image(wall, crack_mask(wall.shape, [LONG]))
    assert crack.mean is not None
    return crack.mean.value_px


def test_a_crack_seen_in_many_frames_is_one_on_the_map(run: Path) -> None:
    found = survey_run(run)
    assert (found.inventory.confirmed.low, found.inventory.confirmed.high) == (1, 1)
    written = document(run)
    assert check("survey", [written]) == 1
    (crack,) = (each for each in written["cracks"] if each["status"] == "confirmed")
    assert crack["id"] == 1
    assert crack["length_px"] == pytest.approx(length_of(LONG), rel=0.03)
    assert crack["width"]["mean_px"] == pytest.approx(width_of_wall_px(), rel=0.08)
    assert crack["length_mm"] is None
    assert crack["position"]["distance_m"] == pytest.approx(0.1 * crack["best"]["frame"])
    assert written["count"] == {"low": 1, "high": 1, "unconfirmed": found.inventory.unconfirmed}
    assert len(written["sheets"]) == 1


def test_the_files_are_there_and_fit_together(run: Path) -> None:
    survey_run(run)
    folder, sheet = run / "survey", document(run)["sheets"][0]
    drawn = cv2.imread(str(folder / sheet["map"]["picture"]))
    assert drawn is not None
    (crack,) = (each for each in document(run)["cracks"] if each["status"] == "confirmed")
    way = np.array(sheet["map"]["from_sheet"])
    points = np.array(crack["points"]) @ way[:2, :2].T + way[:2, 2]
    colours = [drawn[int(y), int(x)] for x, y in points[5:-5]]
    # Red is drawn along the crack's points.
    assert np.mean([int(red) - int(blue) > 60 for blue, _, red in colours]) > 0.9
    best = crack["best"]
    picture = cv2.imread(str(run / best["picture"]))
    assert picture is not None
    assert picture.shape[:2] == HW
    dark = [picture[int(y), int(x)].mean() for x, y in best["points"][5:-5]]
    assert np.mean(dark) < picture.mean() - 40
    assert cv2.imread(str(run / best["view"])) is not None
    rows = list(csv.DictReader((folder / "cracks.csv").read_text("utf-8-sig").splitlines()))
    assert [int(row["id"]) for row in rows] == [each["id"] for each in document(run)["cracks"]]
    assert cv2.imread(str(folder / "strip.png")) is not None
    assert cv2.imread(str(folder / sheet["map"]["coverage"])) is not None


def test_the_world_file_places_the_maps_pixels_on_the_sheet(run: Path) -> None:
    survey_run(run)
    sheet = document(run)["sheets"][0]["map"]
    a, d, b, e, x, y = map(float, (run / "survey" / sheet["world_file"]).read_text().split())
    way = np.array(sheet["from_sheet"])
    place = np.array([40.5, 30.5])  # the middle of a pixel of the map
    on_sheet = np.linalg.inv(way) @ np.array([*place, 1.0])
    assert (a * 40 + b * 30 + x, d * 40 + e * 30 + y) == pytest.approx(
        (on_sheet[0], -on_sheet[1]), abs=1e-6
    )


def test_with_a_scale_lengths_and_widths_are_in_millimetres(tmp_path: Path) -> None:
    scale = FrameScale(StreamScale(mm_per_pixel=Quantity(0.1, 0.002)))
    book = keep(tmp_path, views(along(0, 440, 60)), scale=scale)
    survey_run(tmp_path, SurveyConfig(table=severity_table("en-1992:xc3")))
    (crack,) = (each for each in document(tmp_path)["cracks"] if each["status"] == "confirmed")
    truth_mm = 0.1 * length_of(LONG)
    assert crack["length_low_mm"] < truth_mm < crack["length_high_mm"]
    assert crack["width"]["mean_mm"] == pytest.approx(0.1 * width_of_wall_px(), rel=0.08)
    assert crack["class"]["name"]
    assert document(tmp_path)["sheets"][0]["mm_per_px"] == pytest.approx(0.1, rel=0.05)
    assert document(tmp_path)["coverage"]["seen_m2"] == pytest.approx(740 * 200 * 1e-8, rel=0.15)
    live = book.recent()[0].measured
    assert live is not None
    assert live.width_mm is not None
    assert live.width_mm[1] < crack["width"]["mean_mm"] < live.width_mm[2]


def test_ids_are_those_of_the_stream(tmp_path: Path) -> None:
    two = [[(60, 60), (250, 66)], [(300, 150), (520, 140)]]
    book = keep(tmp_path, views(along(0, 440, 60), two))
    survey_run(tmp_path)
    confirmed = {
        each["id"] for each in document(tmp_path)["cracks"] if each["status"] == "confirmed"
    }
    assert confirmed == {each.id for each in book.recent()} == {1, 2}


def test_a_network_that_sees_few_frames_makes_the_same_map(tmp_path: Path) -> None:
    keep(tmp_path, views(along(0, 440, 60, step=8)), inspects=lambda index: index % 8 == 3)
    found = survey_run(tmp_path)
    assert (found.inventory.confirmed.low, found.inventory.confirmed.high) == (1, 1)
    (crack,) = (each for each in document(tmp_path)["cracks"] if each["status"] == "confirmed")
    # What a single frame shows, here at both ends, is in no crack's course.
    assert 0.85 * length_of(LONG) < crack["length_px"] < 1.02 * length_of(LONG)


def test_standing_still_keeps_one_picture_and_few_frames(tmp_path: Path) -> None:
    keep(tmp_path, views(along(100, 100, 60) * 40))
    assert len(list((tmp_path / "survey" / "key_frames").iterdir())) == 1
    assert len(chosen_frames(read_kept(tmp_path), 12)) <= 13
    found = survey_run(tmp_path)
    assert found.inventory.confirmed.high == 1
    assert "the camera did not move: all frames show the same place" in found.notes


def test_one_frame(tmp_path: Path) -> None:
    keep(tmp_path, views(along(100, 100, 60)))
    found = survey_run(tmp_path)
    assert found.inventory.confirmed.high == 0
    assert "the run has one frame, so no crack can be confirmed by others" in found.notes


def test_no_texture_is_said_and_each_frame_is_a_sheet(tmp_path: Path) -> None:
    flat = [
        replace(each, frame=replace(each.frame, image=np.full((*HW, 3), 128 + n % 2, np.uint8)))
        for n, each in enumerate(views(along(0, 100, 60)))
    ]
    keep(tmp_path, flat)
    found = survey_run(tmp_path)
    assert any("most frames could not be tracked" in note for note in found.notes)
    assert found.inventory.confirmed.high == 0


def test_another_camera_in_the_middle_begins_a_sheet(tmp_path: Path) -> None:
    ways = along(0, 160, 60)
    keep(tmp_path, [*views(ways), *views(ways, first=len(ways), hw=(160, 240))])
    found = survey_run(tmp_path)
    sizes = [each["begins"] for each in document(tmp_path)["sheets"]]
    assert len(found.sheets.placements) == 2 * len(ways)
    if len(sizes) > 1:
        assert "the frame has 240x160 px and the previous one 300x200" in sizes[1]
        assert any("not linked" in note for note in found.notes)


def no_picture(run: Path) -> None:
    next(iter(sorted((run / "survey" / "key_frames").iterdir()))).unlink()


def half_a_picture(run: Path) -> None:
    path = sorted((run / "survey" / "key_frames").iterdir())[1]
    path.write_bytes(path.read_bytes()[:600])


def no_rows(run: Path) -> None:
    (run / "survey" / "rows.jsonl").unlink()


def torn_line(run: Path) -> None:
    path = run / "survey" / "sightings.jsonl"
    path.write_bytes(path.read_bytes()[:-40])


def rubbish(run: Path) -> None:
    path = run / "survey" / "track.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[9] = b'{"schema_version": 1, "frame": 1e999, "hw": [-1, "x"]}\n'
    lines.insert(12, b"\x00\xff not json\n")
    lines.insert(14, b"[" * 60_000 + b"\n")
    path.write_bytes(b"".join(lines))


def strange_numbers(run: Path) -> None:
    path = run / "survey" / "sightings.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["cracks"][0]["lines"] = [[[1e300, 2], [None, 4]]]
    lines[4]["cracks"] = "none"
    lines[5]["position"] = {"xyz_m": "here", "who": 3}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("spoil", "note"),
    [
        (no_picture, "1 picture of a key frame is lost"),
        (half_a_picture, ""),
        (no_rows, "damaged line"),
        (torn_line, "1 damaged line"),
        (rubbish, "3 damaged lines"),
        (strange_numbers, "2 damaged lines"),
    ],
)
def test_a_damaged_run_gives_what_can_be_said(run: Path, spoil: Change, note: str) -> None:
    spoil(run)
    found = survey_run(run)
    assert check("survey", [document(run)]) == 1
    assert note == "" or any(note in each for each in found.notes), found.notes
    assert found.inventory.confirmed.high >= 1


def test_a_run_without_its_tracks_is_refused(run: Path) -> None:
    (run / "survey" / "track.jsonl").unlink()
    with pytest.raises(SourceError, match="has no data for a survey"):
        survey_run(run)
    (run / "survey" / "track.jsonl").write_text("")
    with pytest.raises(SourceError, match="no frame can be read"):
        survey_run(run)
    with pytest.raises(SourceError, match="not a folder"):
        survey_run(run / "nowhere")


def test_parts_of_a_run_follow_each_other(tmp_path: Path) -> None:
    keep(tmp_path, views(along(0, 220, 60)))
    second = tmp_path / "part-2"
    keep(second, views(along(220, 440, 60)))
    kept = read_kept(tmp_path)
    assert len(kept.frames) == 2 * len(along(0, 220, 60))
    ids = [each for sighting in kept.sightings.values() for each in sighting.ids]
    assert set(ids) == {1, 2}
    found = survey_run(tmp_path)
    assert found.inventory.confirmed.high in (1, 2)
    for crack in document(tmp_path)["cracks"]:
        assert (tmp_path / crack["best"]["picture"]).is_file()


def test_a_run_from_before_surveys_gives_one_without_widths(tmp_path: Path) -> None:
    results = views(along(0, 300, 60))
    lines = JsonLines(tmp_path / "frames.jsonl")
    for result in results:
        lines.append(frame_record(result))
    lines.close()
    write_video(tmp_path / "overlay.mp4", [result.frame.image for result in results])
    found = survey_run(tmp_path)
    assert NOTE in found.notes
    assert found.inventory.confirmed.high == 1
    assert all(crack["width"]["mean_px"] is None for crack in document(tmp_path)["cracks"])
    (tmp_path / "overlay.mp4").unlink()
    (tmp_path / "survey" / "cracks.json").unlink()
    with pytest.raises(SourceError, match="no survey can be made"):
        survey_run(tmp_path)


def test_pictures_beyond_the_limit_are_not_kept_and_cracks_are_counted(tmp_path: Path) -> None:
    events = EventLog()
    keep(tmp_path, views(along(0, 440, 60)), limit_bytes=60_000, events=events)
    assert sum(f.stat().st_size for f in (tmp_path / "survey").rglob("*.jpg")) <= 60_000
    assert [event.kind for event in events.recent()].count("survey.full") == 1
    assert survey_run(tmp_path).inventory.confirmed.high >= 1


def test_the_same_run_gives_the_same_survey(run: Path) -> None:
    survey_run(run)
    first = document(run)
    survey_run(run)
    second = document(run)
    for each in (first, second):
        each.pop("created")
    assert first == second


def test_frames_that_nobody_looked_at_are_not_sound(tmp_path: Path) -> None:
    keep(tmp_path, views(along(0, 440, 60)), inspects=lambda index: index < 8)
    survey_run(tmp_path)
    shares = document(tmp_path)["coverage"]["shares"]
    assert shares["skipped"] > 0.3
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)


def drawn_wall_m(index: int) -> Position:
    """Where a robot was that looked at the wall of `along(0, 440, 60)` from a metre away.

    It drives along x, 1 mm a pixel, and looks along its own left.
    """
    x_px = 150 + 440 * index / 22
    return Position(
        index,
        xyz_m=(x_px / 1000, 0.0, 0.5),
        quaternion_xyzw=(0.0, 0.0, 0.0, 1.0),
        range_m=1.0,
    )


def test_odometry_places_the_cracks_on_the_wall(tmp_path: Path) -> None:
    ways = along(0, 440, 60)
    assert len(ways) == 23
    keep(tmp_path, views(ways, position=drawn_wall_m))
    mount = parse_mount("0.1,0,0,0,0,90")
    found = survey_run(tmp_path, SurveyConfig(mount=mount))
    (sheet,) = document(tmp_path)["sheets"]
    assert (sheet["placed"]["by"], sheet["placed"]["of_camera"]) == ("odometry", False)
    (crack,) = (each for each in document(tmp_path)["cracks"] if each["status"] == "confirmed")
    # The crack's middle is near x = 380 px of the wall; the camera sits 0.1 m further forwards.
    assert crack["place"]["xyz_m"][0] == pytest.approx(0.1 + 0.38, abs=0.02)
    assert crack["place"]["xyz_m"][1] == pytest.approx(1.0, abs=0.02)
    assert crack["place"]["along_only"]
    assert found.notes == ()


def test_gnss_places_it_on_the_earth(tmp_path: Path) -> None:
    def position(index: int) -> Position:
        return Position(index, latitude_deg=48.0 + 1e-6 * index, longitude_deg=11.0)

    keep(tmp_path, views(along(0, 440, 60), position=position))
    survey_run(tmp_path)
    (crack,) = (each for each in document(tmp_path)["cracks"] if each["status"] == "confirmed")
    assert crack["place"]["of_camera"]
    assert crack["place"]["latitude_deg"] == pytest.approx(48.0 + 1e-6 * (380 - 150) / 20, abs=2e-7)
    assert crack["place"]["longitude_deg"] == pytest.approx(11.0, abs=1e-7)


def test_positions_that_jump_are_said_and_do_not_count(tmp_path: Path) -> None:
    def position(index: int) -> Position:
        x_m = 0.02 * index + (40.0 if index in (4, 9) else 0.0)
        return Position(index, xyz_m=(x_m, 0.001 * (index % 3), 0.0))

    keep(tmp_path, views(along(0, 440, 60), position=position))
    found = survey_run(tmp_path)
    assert "sheet 0: 2 positions jump and are ignored" in found.notes
    (crack,) = (each for each in document(tmp_path)["cracks"] if each["status"] == "confirmed")
    assert crack["place"]["xyz_m"][0] == pytest.approx(0.02 * (380 - 150) / 20, abs=0.03)


def test_markers_place_it_exactly(tmp_path: Path) -> None:
    wall = painted_wall([LONG])
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_1000)
    places = {3: (110, 200), 5: (380, 200), 8: (620, 220), 9: (300, 92), 11: (530, 92)}
    for number, (x, y) in places.items():
        square = cv2.aruco.generateImageMarker(dictionary, number, 48)
        wall[y - 30 : y + 30, x - 30 : x + 30] = 230
        wall[y - 24 : y + 24, x - 24 : x + 24] = square
    keep(tmp_path, views(along(0, 440, 60), wall=wall))
    known = tmp_path / "markers.yaml"
    rows = [f"  {n}: [{x / 1000}, 2.0, {1 - y / 1000}]" for n, (x, y) in places.items()]
    known.write_text("family: aruco-4x4\nmarkers:\n" + "\n".join(rows) + "\n")
    survey_run(tmp_path, SurveyConfig(markers=read_markers(known)))
    (sheet,) = document(tmp_path)["sheets"]
    assert sheet["placed"]["markers"] == [3, 5, 8, 9, 11]
    (crack,) = (each for each in document(tmp_path)["cracks"] if each["status"] == "confirmed")
    x, y, z = crack["place"]["xyz_m"]
    assert y == pytest.approx(2.0, abs=0.002)
    on_crack = np.interp(1000 * x, *np.array(LONG, float).T)
    assert 1000 * (1 - z) == pytest.approx(on_crack, abs=3.0)


@pytest.mark.parametrize("text", ["", "1,2,3", "0,0,0,0,0,x", "0,0,0,0,0,nan", "1,2,3,4,5,6,7"])
def test_a_mount_that_is_not_six_numbers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="the mount is"):
        parse_mount(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "lists no markers"),
        ("markers: {7: here}", "has marker 7 at 'here'"),
        ("markers: {7: [1, 2, .nan]}", "the number nan"),
        ("family: qr\nmarkers: {7: [1, 2, 3]}", "has the marker family 'qr'"),
        (":\n  - [", "is not YAML"),
    ],
)
def test_markers_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "markers.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_markers(path)
    with pytest.raises(ConfigError, match="cannot read the markers"):
        read_markers(tmp_path / "none.yaml")


def test_a_sheet_that_is_full_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sheets", "layout"):
        monkeypatch.setattr(f"edgecrack.survey.{name}.MOST_KEYS", 3)
    keep(tmp_path, views(along(0, 440, 60)))
    found = survey_run(tmp_path)
    assert len(found.sheets.sheets) > 1
    assert all(len(sheet.key_frames) <= 3 for sheet in found.sheets.sheets)
    assert "the most it can hold" in document(tmp_path)["sheets"][1]["begins"]
    assert found.inventory.confirmed.low >= 1


def with_ignored(results: list[FrameResult], columns: int) -> list[FrameResult]:
    """The left part of each frame is ignored, and what was found there is not."""
    mask = np.zeros(HW, bool)
    mask[:, :columns] = True
    ignored = IgnoredPixels(mask)
    return [
        replace(
            each,
            mask=np.where(mask, 0, each.mask).astype(np.uint8),
            probability=np.where(mask, 0, each.probability).astype(np.uint8),
            ignored=ignored,
            inspected_ratio=1 - ignored.ratio,
        )
        for each in results
    ]


def test_what_is_ignored_is_not_seen_and_counts_in_no_view(tmp_path: Path) -> None:
    lines = [[(150, 100), (280, 110)], [(500, 190), (640, 200)]]
    keep(tmp_path, with_ignored(views(along(0, 440, 60), lines), 240))
    found = survey_run(tmp_path)
    shares = document(tmp_path)["coverage"]["shares"]
    # The first 240 px of the wall are in view of nothing that was inspected.
    assert shares["ignored"] == pytest.approx(240 / 740, abs=0.03)
    assert len(list((tmp_path / "survey" / "ignored").iterdir())) == 1
    for crack in (each for each in found.inventory.cracks if each.confirmed):
        assert len(crack.frames) >= 0.7 * crack.views
    assert found.inventory.confirmed.high >= 1


def test_a_lost_mask_makes_its_frames_unseen(tmp_path: Path) -> None:
    keep(tmp_path, with_ignored(views(along(0, 440, 60)), 100))
    shutil.rmtree(tmp_path / "survey" / "ignored")
    survey_run(tmp_path)
    assert document(tmp_path)["coverage"]["shares"]["skipped"] == pytest.approx(1.0)


def test_nothing_of_an_earlier_survey_is_left(run: Path) -> None:
    survey_run(run)
    assert (run / "survey" / "strip.png").is_file()
    sightings = run / "survey" / "sightings.jsonl"
    lines = [{**json.loads(line), "cracks": []} for line in sightings.read_text().splitlines()]
    sightings.write_text("".join(json.dumps(line) + "\n" for line in lines))
    survey_run(run)
    assert not (run / "survey" / "strip.png").exists()
    assert (run / "survey" / "map.png").is_file()
    assert (run / "survey" / "track.jsonl").is_file()


def test_files_of_somebody_else_are_not_replaced(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "map.png").write_text("mine")
    with pytest.raises(OutputError, match=r"holds map\.png, which no earlier run made"):
        survey_run(run, SurveyConfig(out=other))
    assert (other / "map.png").read_text() == "mine"


def test_ids_stay_when_a_part_is_added(tmp_path: Path) -> None:
    two = [[(60, 60), (250, 66)], [(300, 150), (520, 140)]]
    keep(tmp_path, views(along(0, 160, 60), two))
    survey_run(tmp_path)
    first = {each["id"]: each["lines"][0][0] for each in document(tmp_path)["cracks"]}
    keep(tmp_path / "part-2", views(along(160, 440, 60), two))
    survey_run(tmp_path)
    second = {each["id"] for each in document(tmp_path)["cracks"]}
    assert set(first) <= second


def test_cracks_with_one_box_keep_their_own_widths(run: Path) -> None:
    rows = run / "survey" / "rows.jsonl"
    sightings = run / "survey" / "sightings.jsonl"
    for path in (rows, sightings):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            for crack in line["cracks"]:
                crack["box"] = [0, 0, 10, 10]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    kept = read_kept(run)
    number = next(iter(kept.widths))
    found = found_in(kept, number)
    for crack, own in zip(found.cracks, kept.widths[number].rows, strict=True):
        assert crack.rows == own


def hostile(name: str, change: Callable[[dict[str, Any]], None]) -> Change:
    def spoil(run: Path) -> None:
        path = run / "survey" / name
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines[2:6]:
            change(line)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return spoil


def first_mm(line: dict[str, Any], mm: float) -> None:
    for crack in line["cracks"]:
        crack["rows"][0][9] = mm


def far_away(line: dict[str, Any]) -> None:
    for crack in line["cracks"]:
        crack["lines"] = [[[-5e8, 5], [5, 5]]]


def nan_summary(run: Path) -> None:
    (run / "summary.json").write_text('{"model": NaN, "threshold": [1]}')


@pytest.mark.parametrize(
    "spoil",
    [
        hostile("sightings.jsonl", lambda line: line.update(cracks=7)),
        hostile("rows.jsonl", lambda line: line.update(cracks=True)),
        hostile("track.jsonl", lambda line: line.update(picture="key_frames/\0.jpg", key=True)),
        hostile("track.jsonl", lambda line: line.update(picture="k" * 5000, key=True)),
        hostile("track.jsonl", lambda line: line.update(picture="/etc/passwd", key=True)),
        hostile("track.jsonl", lambda line: line.update(hw=[100_000, 100_000])),
        hostile("rows.jsonl", partial(first_mm, mm=0)),
        hostile("rows.jsonl", partial(first_mm, mm=-1)),
        hostile("sightings.jsonl", far_away),
        nan_summary,
    ],
)
def test_hostile_lines_are_damaged_lines(run: Path, spoil: Change) -> None:
    spoil(run)
    survey_run(run)
    assert check("survey", [document(run)]) == 1
    assert all(each["length_px"] < 5000 for each in document(run)["cracks"])


def test_odd_and_even_frames_are_compared(tmp_path: Path) -> None:
    scale = FrameScale(StreamScale(mm_per_pixel=Quantity(0.1, 0.002)))
    keep(tmp_path, views([*along(0, 440, 60), *along(440, 0, 150)]), scale=scale)
    survey_run(tmp_path)
    found = document(tmp_path)["repeatability"]
    assert sum(found["frames"]) == len(read_kept(tmp_path).sightings)
    assert (found["compared"], found["in_both"]) == (1, 1)
    assert found["confirmed"] == [{"low": 1, "high": 1}] * 2
    assert found["length_ratio"] == pytest.approx(1, abs=0.1)
    (crack,) = found["cracks"]
    assert crack["width_mm"]["places"] >= 5
    assert crack["width_mm"]["median"] <= crack["width_mm"]["p95"] < 0.1
    odd, even = crack["width_mean_mm"]
    assert odd == pytest.approx(even, rel=0.1)


def test_notes_are_kept_by_key_for_other_languages(tmp_path: Path) -> None:
    other = painted_wall([LONG])[::-1].copy()
    keep(tmp_path, [*views(along(0, 100, 60)), *views(along(330, 440, 60), first=6, wall=other)])
    rows = tmp_path / "survey" / "rows.jsonl"
    rows.write_text(rows.read_text() + "torn\n")
    found = survey_run(tmp_path)
    written = document(tmp_path)
    assert check("survey", [written]) == 1
    assert written["notes"] == list(found.notes)
    assert "1 damaged line of the run was skipped" in written["notes"]
    assert {"key": "damaged_lines", "values": {"count": 1}} in written["noted"]
    (linked,) = (each for each in written["noted"] if each["key"] == "not_linked")
    count = written["count"]
    assert linked["values"] == {"count": 2, "low": count["low"], "high": count["high"]}


def test_what_a_check_sheet_in_view_says_is_kept_with_the_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the sheet is drawn by the measure extra")
    from edgecrack.run_report.site_result import site_result_of_run
    from edgecrack.site_check.printing import render_sheet, view_of_sheet

    gray = render_sheet(view_of_sheet(0.4), np.random.default_rng(1))
    image = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)
    dark = np.where(gray < 90, 255, 0).astype(np.uint8)
    found = measure_cracks(dark, 0.5, 4)
    shown = FrameResult(
        frame(0, image), dark, found.mask, found.crack_pixels, found.regions, 1.0, 1.0
    )
    scale = FrameScale(StreamScale(mm_per_pixel=Quantity(0.4, 0.002)))
    keep(tmp_path, [shown], scale=scale)
    text = (tmp_path / "survey" / "rows.jsonl").read_text()
    (row,) = map(json.loads, text.splitlines())
    assert row["site_check"]["passed"], row["site_check"]["sentences"]
    assert row["cracks"] == []
    result = site_result_of_run(tmp_path, None)
    assert result is not None
    assert result.passed
    assert result.smallest_mm is not None


def test_the_blur_of_the_frames_is_told(run: Path) -> None:
    rows = run / "survey" / "rows.jsonl"
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    for number, line in enumerate(lines):
        line["blur_px"] = [1.0, 2.0, 1.5, None][number % 4]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    survey_run(run)
    assert document(run)["blur_px"] == pytest.approx(1.5, abs=0.5)
    for line in lines:
        del line["blur_px"]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    survey_run(run)
    assert document(run)["blur_px"] is None


def test_a_run_without_cracks_has_its_scale_all_the_same(tmp_path: Path) -> None:
    scale = FrameScale(StreamScale(mm_per_pixel=Quantity(0.1, 0.002)))
    keep(tmp_path, views(along(0, 440, 60), []), scale=scale)
    survey_run(tmp_path)
    found = document(tmp_path)
    assert found["cracks"] == []
    assert found["sheets"][0]["mm_per_px"] == pytest.approx(0.1, rel=0.05)
    assert found["coverage"]["seen_m2"] == pytest.approx(740 * 200 * 1e-8, rel=0.15)

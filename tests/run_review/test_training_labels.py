"""What was reviewed becomes labels that training reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from edgecrack.cli import app
from edgecrack.data.datasets import open_dataset
from edgecrack.errors import OutputError, SourceError
from edgecrack.run_report.reporting import ReportConfig, report_run
from edgecrack.run_review.dark_course import Gray, mask_along, snapped
from edgecrack.run_review.placed_frames import placed_frames
from edgecrack.run_review.review_session import ReviewSession
from edgecrack.run_review.training_labels import export_labels
from edgecrack.run_survey import SurveyConfig, survey_run
from edgecrack.run_survey.survey_document import read_survey
from edgecrack.runtime.outputs.output_folder import OutputFolder
from tests.run_review.conftest import SHORT
from tests.run_survey.kept_flight import keep, views
from tests.survey.small_walls import along


def gray_of(path: Path) -> Gray:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def wall(course: NDArray[np.int64], width_px: int) -> tuple[Gray, NDArray[np.bool_]]:
    """A grey wall with a dark crack, and where the crack is."""
    rng = np.random.default_rng(3)
    truth = np.zeros((160, 240), np.uint8)
    cv2.polylines(truth, [course.astype(np.int32)], False, 255, width_px)
    gray = 150 + rng.normal(0, 4, truth.shape)
    gray -= 80 * cv2.GaussianBlur(truth.astype(np.float64) / 255, (0, 0), 0.8)
    return gray.clip(0, 255).astype(np.uint8), truth > 0


@pytest.mark.parametrize("width_px", [2, 4, 12])
def test_a_line_drawn_beside_a_crack_moves_onto_it(width_px: int) -> None:
    course = np.array([[20, 60], [90, 70], [150, 64], [220, 90]])
    gray, truth = wall(course, width_px)
    drawn = course + np.array([[1, 3], [-2, -3], [2, 4], [0, -3]])
    found = mask_along(gray, [snapped(drawn.astype(np.float64), gray)])
    near = cv2.dilate(truth.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    near_found = cv2.dilate(found.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (found & near).sum() / found.sum() > 0.95
    assert (truth & near_found).sum() / truth.sum() > 0.95
    assert (found & truth).sum() / (found | truth).sum() > (0.4 if width_px < 4 else 0.7)


def test_a_line_on_a_bare_wall_stays_a_thin_line() -> None:
    gray, _ = wall(np.array([[0, 0], [1, 0]]), 1)
    drawn = np.array([[30.0, 80.0], [200.0, 80.0]])
    found = mask_along(gray, [snapped(drawn, gray)])
    assert found.sum() < 4 * 170
    assert not found[:60].any()


def review(run: Path, *actions: dict[str, object]) -> None:
    with ReviewSession(run) as session:
        for action in actions:
            session.act("Ann", action)


def test_confirmed_cracks_are_masks_and_rejected_ones_are_background(
    run: Path, tmp_path: Path
) -> None:
    review(run, {"action": "confirm", "crack": 2}, {"action": "reject", "crack": 1})
    written = export_labels(run, tmp_path / "labels")
    assert (written.cracks, written.rejected, written.left_out) == (1, 1, 0)
    data = open_dataset(tmp_path / "labels" / "cracks")
    sample = next(each for each in data.samples() if each.name == "crack-2")
    image, mask = sample.load()
    ys, xs = np.nonzero(mask)
    # The short crack is 120 px long and 4 px wide; the long one above it is none.
    assert 110 <= np.ptp(xs) <= 135
    assert np.ptp(ys) < 20
    assert 3 * 110 < len(xs) < 8 * 130
    gray = image if image.ndim == 2 else image.mean(axis=2)
    assert gray[mask > 0].mean() < gray[mask == 0].mean() - 40


def test_a_window_with_an_undecided_mark_is_left_out(run: Path, tmp_path: Path) -> None:
    review(run, {"action": "confirm", "crack": 2})
    with pytest.raises(SourceError, match="decide on the marks beside the reviewed ones"):
        export_labels(run, tmp_path / "labels")
    assert not (tmp_path / "labels").exists()


def test_a_rejected_mark_alone_is_a_clean_picture(run: Path, tmp_path: Path) -> None:
    review(run, {"action": "reject", "crack": 1}, {"action": "reject", "crack": 2})
    written = export_labels(run, tmp_path / "labels")
    assert (written.cracks, written.rejected) == (0, 2)
    assert len(list((tmp_path / "labels" / "clean").glob("*.png"))) == 2
    assert not (tmp_path / "labels" / "cracks").exists()


def test_a_drawn_crack_is_where_it_was_drawn(run: Path, tmp_path: Path) -> None:
    frames = placed_frames(read_survey(run))
    number = read_survey(run)["cracks"][1]["best"]["frame"]
    frame = frames[number]
    line = frame.in_frame(np.array(read_survey(run)["cracks"][1]["lines"][0], np.float64))
    drawn = (line + 3.0)[[0, len(line) // 2, -1]]
    review(
        run,
        {"action": "reject", "crack": 2},
        {"action": "confirm", "crack": 1},
        {"action": "draw", "frame": number, "points": drawn.tolist()},
    )
    export_labels(run, tmp_path / "labels")
    mask = gray_of(tmp_path / "labels/cracks/masks/crack-D1.png")
    image = gray_of(tmp_path / "labels/cracks/images/crack-D1.png")
    assert set(np.unique(mask)) == {0, 255}
    assert (image[mask > 0] < 110).mean() > 0.6
    length = np.hypot(*np.subtract(*map(np.array, SHORT)))
    assert np.ptp(np.nonzero(mask)[1]) >= 0.9 * length


# Of pycocotools' own conversion, under numpy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_agrees_with_the_masks(run: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is of the dev extra")
    mask_tools = pytest.importorskip("pycocotools.mask")
    review(run, {"action": "confirm", "crack": 1}, {"action": "confirm", "crack": 2})
    export_labels(run, tmp_path / "labels")
    found = coco.COCO(str(tmp_path / "labels" / "labels.coco.json"))
    assert len(found.imgs) == 2
    for image in found.loadImgs(found.getImgIds()):
        name = Path(image["file_name"]).name
        mask = gray_of(tmp_path / "labels/cracks/masks" / name)
        total = np.zeros(mask.shape, bool)
        for each in found.loadAnns(found.getAnnIds(image["id"])):
            polygons = mask_tools.frPyObjects(each["segmentation"], *mask.shape)
            total |= mask_tools.decode(mask_tools.merge(polygons)) > 0
        assert (total & (mask > 0)).sum() / (total | (mask > 0)).sum() > 0.97


def test_labels_replace_their_own_files_and_nobody_elses(run: Path, tmp_path: Path) -> None:
    review(run, {"action": "confirm", "crack": 1}, {"action": "confirm", "crack": 2})
    out = tmp_path / "labels"
    export_labels(run, out)
    names = sorted(path.name for path in out.rglob("*.png"))
    review(run, {"action": "undo"}, {"action": "reject", "crack": 2})
    export_labels(run, out)
    assert sorted(path.name for path in out.rglob("*.png")) == names
    (out / "cracks" / "masks" / "mine.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"mine\.png, which no earlier run made"):
        export_labels(run, out)


def test_a_run_that_nobody_reviewed_has_no_labels(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="was not reviewed; run edgecrack review on it first"):
        export_labels(run, tmp_path / "labels")


def test_lost_pictures_are_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    review(run, {"action": "confirm", "crack": 1}, {"action": "confirm", "crack": 2})
    document = read_survey(run)
    (run / document["cracks"][0]["best"]["picture"]).unlink()
    assert export_labels(run, tmp_path / "labels").left_out == 1
    shutil.rmtree(run / "survey" / "key_frames")
    with pytest.raises(SourceError, match="the pictures must exist"):
        export_labels(run, tmp_path / "more")


def test_the_notes_of_an_export_tell_of_each_window(run: Path, tmp_path: Path) -> None:
    review(
        run, {"action": "confirm", "crack": 1}, {"action": "reject", "crack": 2, "reason": "joint"}
    )
    export_labels(run, tmp_path / "labels")
    document = json.loads((tmp_path / "labels" / "labels.coco.json").read_text())
    told = {each["attributes"]["crack"]: each["attributes"] for each in document["images"]}
    assert told[2]["decision"] == "rejected"
    assert told[2]["reason"] == "joint"
    assert told[1]["frame"] == read_survey(run)["cracks"][0]["best"]["picture"]


def listed(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


@pytest.mark.parametrize("inside", ["", "survey", "report"])
def test_labels_never_remove_results_of_another_kind(run: Path, inside: str) -> None:
    folder = OutputFolder(run)
    for path in sorted((run / "survey").rglob("*.jpg")):
        folder.claim(path.relative_to(run).as_posix())
    review(run, {"action": "confirm", "crack": 1}, {"action": "confirm", "crack": 2})
    if inside == "report":
        report_run(run, ReportConfig(("csv",)))
    before = listed(run)
    with pytest.raises(OutputError, match="holds other results"):
        export_labels(run, run / inside)
    assert listed(run) == before


def test_a_survey_never_removes_a_runs_results(run: Path) -> None:
    folder = OutputFolder(run)
    for path in sorted((run / "survey" / "key_frames").glob("*.jpg")):
        folder.claim(path.relative_to(run).as_posix())
    before = listed(run)
    with pytest.raises(OutputError, match="holds other results"):
        survey_run(run, SurveyConfig(out=run))
    assert listed(run) == before


def test_labels_of_two_runs_do_not_replace_each_other(
    run: Path, surveyed: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(surveyed, tmp_path / "other"))
    (other / "summary.json").write_text(json.dumps({"run": {"id": "other"}}))
    for each in (run, other):
        review(each, {"action": "confirm", "crack": 1}, {"action": "confirm", "crack": 2})
    export_labels(run, tmp_path / "labels")
    before = listed(tmp_path / "labels")
    with pytest.raises(OutputError, match="holds the labels of another run"):
        export_labels(other, tmp_path / "labels")
    assert listed(tmp_path / "labels") == before


def test_a_crack_that_was_merged_across_sheets_is_a_crack_on_both(tmp_path: Path) -> None:
    first = views(along(0, 60, 60, 10))
    keep(tmp_path, [*first, *views(along(400, 440, 60, 10), first=len(first))])
    survey_run(tmp_path)
    document = read_survey(tmp_path)
    one, other = (each["id"] for each in document["cracks"])
    frame = next(each for each in document["key_frames"] if each["sheet"] == 1)
    review(
        tmp_path,
        {"action": "merge", "cracks": [one, other]},
        {"action": "draw", "frame": frame["frame"], "points": [[60, 160], [200, 160]]},
    )
    export_labels(tmp_path, tmp_path / "labels")
    mask = gray_of(tmp_path / "labels/cracks/masks/crack-D1.png")
    image = gray_of(tmp_path / "labels/cracks/images/crack-D1.png")
    dark = image < 90
    assert dark.sum() > 300  # the merged crack is in the window
    assert (mask[dark] > 0).mean() > 0.9


def test_the_command_tells_what_was_written(run: Path, tmp_path: Path) -> None:
    review(run, {"action": "confirm", "crack": 1}, {"action": "reject", "crack": 2})
    done = CliRunner().invoke(
        app, ["review", str(run), "--labels", str(tmp_path / "labels"), "--json"]
    )
    assert json.loads(done.stdout) == {
        "folder": str(tmp_path / "labels"), "cracks": 1, "rejected": 1, "left_out": 0,
    }  # fmt: skip

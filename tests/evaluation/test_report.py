"""A report holds what was evaluated, in files that open, and fails with a remedy."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, MissingDependencyError, OutputError
from edgecrack.evaluation import Evaluation, curves, false_positive_ratio, write_report
from edgecrack.evaluation.image_results import evaluate
from edgecrack.evaluation.report import scores_markdown
from tests.evaluation.pages import read_page

pytest.importorskip("matplotlib")


@dataclass
class Line:
    """A horizontal crack at `row`; the frame tells the predictor where it will see it."""

    name: str
    row: int
    seen_row: int
    hw: tuple[int, int] = (40, 60)

    def image(self) -> NDArray[np.uint8]:
        frame = np.zeros((*self.hw, 3), np.uint8)
        frame[self.seen_row] = 230
        return frame

    def mask(self) -> NDArray[np.uint8]:
        truth = np.zeros(self.hw, np.uint8)
        truth[self.row] = 255
        return truth


def predict(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frame[:, :, 0])


SAMPLES = [
    Line("good", 10, 10),
    Line("near", 10, 12, (31, 47)),
    Line("off", 10, 20),
    Line("right", 5, 5, (80, 25)),
    Line("wrong", 5, 30),
]


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluate(predict, SAMPLES, threshold=0.5)


def write(evaluation: Evaluation, folder: Path, examples: int = 2) -> list[Path]:
    return write_report(
        evaluation,
        folder,
        predict,
        SAMPLES,
        title="Lines",
        context={"model": "none"},
        examples=examples,
    )


def test_the_files_are_there_and_nothing_else(tmp_path: Path, evaluation: Evaluation) -> None:
    folder = tmp_path / "new" / "report"
    written = write(evaluation, folder)
    names = ["scores.json", "scores.md", "per_image.csv", "pr_curve.png"]
    names += ["worst_1.png", "worst_2.png", "best_1.png", "best_2.png", "index.html"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for path in written:
        if path.suffix == ".png":
            image = cv2.imread(str(path))
            assert image is not None
            assert image.std() > 1


def test_scores_and_table_agree_with_the_evaluation(tmp_path: Path, evaluation: Evaluation) -> None:
    write(evaluation, tmp_path)
    document = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert document["title"] == "Lines"
    assert document["context"] == {"model": "none"}
    assert document["scores"] == evaluation.to_dict()["scores"]
    with (tmp_path / "per_image.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == [sample.name for sample in SAMPLES]
    assert [float(rows[name]["square_f1"]) for name in ("good", "near", "off")] == [1.0, 1.0, 0.0]
    assert float(rows["near"]["strict_f1"]) == 0.0
    assert float(rows["good"]["crack_ratio"]) == pytest.approx(1 / 40)


def test_markdown_states_every_threshold_and_percentages() -> None:
    found = evaluate(predict, SAMPLES, threshold=0.3, validation=SAMPLES[:1])
    text = scores_markdown(found, "Lines", {"model": "none", "split": "test"})
    assert text.startswith("# Lines\n\n- model: none\n- split: test\n- images: 5\n")
    score = found.score_at("euclidean", 0.3)
    expected = [0.3, *(100 * value for value in (score.f1, score.precision, score.recall))]
    given = [line for line in text.splitlines() if "2.0 px radius | given" in line]
    assert len(given) == 1
    assert [float(cell) for cell in given[0].split("|")[3:7]] == pytest.approx(expected, abs=0.05)
    assert text.count("best strict F1 on validation") == 4
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| none (strict) |")}
    assert widths == {7, 4}
    assert "average precision" in text


@pytest.mark.parametrize(
    ("examples", "worst", "best"),
    [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 2), (99, 3, 2)],
)
def test_no_image_is_among_both_worst_and_best(
    tmp_path: Path, evaluation: Evaluation, examples: int, worst: int, best: int
) -> None:
    names = [path.name for path in write(evaluation, tmp_path, examples)]
    assert sum(name.startswith("worst") for name in names) == worst
    assert sum(name.startswith("best") for name in names) == best


def test_a_set_of_one_image(tmp_path: Path) -> None:
    found = evaluate(predict, SAMPLES[:1], threshold=None)
    written = write_report(found, tmp_path, predict, SAMPLES[:1], title="One", context={})
    assert [path.name for path in written][4:] == ["worst_1.png", "index.html"]


@pytest.mark.parametrize(
    ("truth_row", "seen_row", "colours", "absent"),
    [
        (10, 10, ["HIT_BGR", "TRUTH_BGR"], ["FALSE_ALARM_BGR", "MISS_BGR"]),
        (10, 12, ["HIT_BGR", "TRUTH_BGR"], ["FALSE_ALARM_BGR", "MISS_BGR"]),
        (10, 20, ["FALSE_ALARM_BGR", "MISS_BGR", "TRUTH_BGR"], ["HIT_BGR"]),
        (10, None, ["MISS_BGR", "TRUTH_BGR"], ["HIT_BGR", "FALSE_ALARM_BGR"]),
        (None, 10, ["FALSE_ALARM_BGR"], ["HIT_BGR", "MISS_BGR", "TRUTH_BGR"]),
    ],
)
def test_overlay_colours(
    truth_row: int | None, seen_row: int | None, colours: list[str], absent: list[str]
) -> None:
    truth, probability = np.zeros((40, 60), bool), np.zeros((40, 60), np.uint8)
    if truth_row is not None:
        truth[truth_row] = True
    if seen_row is not None:
        probability[seen_row] = 200
    image = np.full((40, 60, 3), 90, np.uint8)
    drawn = curves.overlay(image, truth, probability, 0.5, "caption")
    pictures = drawn[34:-42]  # without caption and legend
    for name in colours:
        assert (pictures == getattr(curves, name)).all(axis=2).any(), name
    for name in absent:
        assert not (pictures == getattr(curves, name)).all(axis=2).any(), name


@pytest.mark.parametrize("hw", [(1, 1), (3, 900), (900, 3), (1080, 1920), (48, 48)])
def test_overlay_of_any_size(hw: tuple[int, int]) -> None:
    truth = np.zeros(hw, bool)
    truth[hw[0] // 2] = True
    image = np.full((*hw, 3), 90, np.uint8)
    drawn = curves.overlay(image, truth, truth.astype(np.uint8) * 255, 0.5, "größe " * 40)
    assert drawn.dtype == np.uint8
    assert max(drawn.shape) < 2000


def test_several_predictions_stand_side_by_side() -> None:
    truth = np.zeros((40, 60), bool)
    truth[10] = True
    right, wrong = (np.zeros((40, 60), np.uint8) for _ in range(2))
    right[10] = wrong[30] = 200
    image = np.full((40, 60, 3), 90, np.uint8)
    predictions = [
        curves.PredictedImage(right, 0.5, "right"),
        curves.PredictedImage(wrong, 0.5, "wrong"),
    ]
    drawn = curves.overlays(image, truth, predictions, "both")
    quarter = drawn.shape[1] // 4
    pictures = drawn[34 + 26 : -42]
    third, fourth = pictures[:, 2 * quarter : 3 * quarter], pictures[:, 3 * quarter :]
    assert (third == curves.HIT_BGR).all(axis=2).any()
    assert not (third == curves.MISS_BGR).all(axis=2).any()
    assert (fourth == curves.MISS_BGR).all(axis=2).any()
    assert (fourth == curves.FALSE_ALARM_BGR).all(axis=2).any()


def test_the_page_shows_every_image_and_escapes_names(tmp_path: Path) -> None:
    evil = Line('<script>alert("1")</script>&x', 10, 12)
    samples = [*SAMPLES, evil]
    found = evaluate(predict, samples, threshold=0.5)
    unlabelled = false_positive_ratio(predict, [samples[0].image()], 0.5).to_dict(["<i>clean"])
    context = {"model": "<b>model</b>"}
    write_report(
        found, tmp_path, predict, samples, title="A & B", context=context, unlabelled=unlabelled
    )
    page = read_page(tmp_path / "index.html")
    assert page.title == "A & B"
    assert page.tags["script"] == 1  # its own, and none of a name's
    assert page.tags["b"] == 5  # the five large numbers, and none of the context's
    assert page.tags["i"] == 0
    assert {sample.name for sample in samples} <= set(page.cells)
    assert "<i>clean" in page.cells
    assert {"pr_curve.png", "worst_1.png", "best_1.png"} <= set(page.addresses)
    document = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert document["unlabelled"] == unlabelled


def test_an_evaluation_of_other_samples_is_refused(tmp_path: Path, evaluation: Evaluation) -> None:
    with pytest.raises(ConfigError, match="not those that were evaluated"):
        write_report(evaluation, tmp_path, predict, SAMPLES[::-1], title="t", context={})
    assert not any(tmp_path.iterdir())


def test_without_matplotlib_the_error_names_the_extra(
    tmp_path: Path, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"\[train\]|matplotlib>="):
        write(evaluation, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path: Path, evaluation: Evaluation) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        write(evaluation, tmp_path / "file")
    with pytest.raises(OutputError, match="parents are all folders"):
        write(evaluation, tmp_path / "file" / "report")


def test_scoring_does_not_import_matplotlib() -> None:
    code = (
        "import sys, edgecrack.evaluation; sys.exit(bool({'matplotlib', 'torch'} & {*sys.modules}))"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0

"""`edgecrack evaluate` as a library call: which images, which predictor, which files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError, DataError, ModelFileError, OutputError
from edgecrack.evaluation.evaluation_run import EvaluationConfig, evaluate_models
from edgecrack.evaluation.image_results import evaluate
from edgecrack.evaluation.report import scores_text
from edgecrack.evaluation.thresholds import parse_threshold_source
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from tests.evaluation.checkpoints import write_checkpoint
from tests.runtime.models import spec_of, write_model

pytest.importorskip("matplotlib", reason="a report needs matplotlib, of the train extra")

HW = (40, 56)


def write_set(folder: Path, names: list[str], splits: object = None) -> Path:
    """Images whose brightness is their crack: the identity model on them is nearly right."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, name in enumerate(names):
        mask = np.zeros(HW, np.uint8)
        mask[10 + number : 14 + number, 5:50] = 255
        image = np.full((*HW, 3), 30, np.uint8)
        image[mask > 0] = 240
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
    if splits is not None:
        (folder / "splits.json").write_text(json.dumps(splits))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Says of each pixel what preprocessing made of its brightness."""
    return write_model(tmp_path / "bright.onnx", spec_of((16, 16), threshold=0.9))


def test_the_report_and_the_text(tmp_path: Path, model: Path) -> None:
    data = write_set(tmp_path / "walls", ["a", "b", "c"])
    steps: list[tuple[int, int]] = []
    config = EvaluationConfig(
        (model,), data, tmp_path / "deep" / "report", json_file=tmp_path / "other" / "scores.json"
    )
    text = evaluate_models(config, lambda done, total: steps.append((done, total))).text
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert text.startswith("bright.onnx on walls (all), 3 images\n")
    assert max(map(len, text.splitlines())) <= 80
    assert "threshold 0.90" in text

    names = {path.name for path in config.out.iterdir()}
    assert {"scores.json", "scores.md", "per_image.csv", "pr_curve.png", "index.html"} <= names
    scores = json.loads((config.out / "scores.json").read_text())
    assert scores == json.loads((tmp_path / "other" / "scores.json").read_text())
    assert scores["images"] == 3
    assert scores["thresholds"]["given"] == 0.9
    assert scores["scores"]["square"]["ods"]["f1"] > 0.9
    context = scores["context"]
    assert "16x16 px tiles" in context["protocol"]
    assert context["model"].startswith("bright.onnx (gated-scale, width 8, fp32, sha256 ")


def test_the_text_holds_the_scores_of_the_evaluation(tmp_path: Path) -> None:
    from edgecrack.data.datasets import open_dataset

    samples = open_dataset(write_set(tmp_path / "walls", ["a", "b"])).samples()
    rng = np.random.default_rng(0)
    result = evaluate(
        lambda image: (image[..., 0] // 2 + rng.integers(0, 120, HW)).astype(np.uint8),
        samples,
        threshold=0.4,
    )
    square, _, strict = scores_text(result).splitlines()[2:5]
    ods, at, ois, f1, precision, recall = map(float, square.split()[-6:])
    best, used = result.ods("square"), result.score_at("square", 0.4)
    expected = [best.f1, best.threshold / 100, result.ois("square"), used.f1, used.precision]
    found = [ods, at, ois, f1, precision]
    np.testing.assert_allclose(np.array(found) / 100, expected, atol=6e-4)
    assert recall / 100 == pytest.approx(used.recall, abs=6e-4)
    assert len(strict.split()[-7:]) == 7  # the IoU as well


@pytest.mark.parametrize(
    ("splits", "split", "images"),
    [
        (None, None, 3),
        ({"train": ["a"], "test": ["b", "c"]}, None, 2),
        ({"train": ["a"], "val": ["b", "c"]}, None, 3),
        ({"train": ["a"], "val": ["b", "c"]}, "train", 1),
        ({"train": ["a"], "test": ["b", "c"]}, "all", 3),
    ],
)
def test_which_images_are_scored(
    tmp_path: Path, model: Path, splits: object, split: str | None, images: int
) -> None:
    data = write_set(tmp_path / "walls", ["a", "b", "c"], splits)
    evaluate_models(EvaluationConfig((model,), data, tmp_path / "report", split))
    assert json.loads((tmp_path / "report" / "scores.json").read_text())["images"] == images


def test_sets_of_splits(tmp_path: Path, model: Path) -> None:
    sets = {"paper": {"test": ["a"]}, "other": {"test": ["b", "c"]}}
    data = write_set(tmp_path / "walls", ["a", "b", "c"], sets)
    report = tmp_path / "report"
    evaluate_models(EvaluationConfig((model,), data, report, split_set="other"))
    assert json.loads((report / "scores.json").read_text())["images"] == 2
    with pytest.raises(ConfigError, match=r"'third'.*paper, other"):
        evaluate_models(EvaluationConfig((model,), data, report, split_set="third"))


def test_unlabelled_images_count_as_false_alarms(tmp_path: Path, model: Path) -> None:
    io = pytest.importorskip("scipy.io", reason="CFD's labels need scipy, of the train extra")
    data = write_set(tmp_path / "roads", ["001", "201"])
    (data / "ground_truth").mkdir()
    labels = np.ones(HW, np.uint8)
    labels[10:14, 5:50] = 2
    record = np.zeros((1, 1), dtype=[("Segmentation", object)])
    record[0, 0] = (labels,)
    io.savemat(data / "ground_truth" / "001.mat", {"groundTruth": record})
    evaluate_models(EvaluationConfig((model,), data, tmp_path / "report"))
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["images"] == 1
    note = scores["context"]["unlabelled images"]
    assert "of 1 image flagged" in note
    assert 0 < float(note.split()[0]) < 20  # the bright bar, which nobody labelled
    flagged = scores["unlabelled"]
    assert [row["name"] for row in flagged["per_image"]] == ["201.png"]
    assert flagged["min_area_px"] == 60
    assert 0 < flagged["flagged_published"] <= flagged["flagged"] < 0.2
    assert flagged["threshold"] == 0.9


def test_a_checkpoint_is_run_whole_in_torch(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "best.safetensors")
    data = write_set(tmp_path / "walls", ["a"])
    evaluate_models(EvaluationConfig((path,), data, tmp_path / "report"))
    context = json.loads((tmp_path / "report" / "scores.json").read_text())["context"]
    assert context["protocol"] == "whole image, torch"


SPLITS = {"train": ["a"], "val": ["b"], "test": ["c", "d"]}


@pytest.mark.parametrize(
    ("words", "chosen", "told"),
    [
        ("model", "given", "0.90, the model's own"),
        ("val", "validation", "best strict F1 on 1 validation image"),
        ("test", "test", "optimistic"),
        ("0.4", "given", "0.40, given"),
    ],
)
def test_where_the_threshold_comes_from(
    tmp_path: Path, model: Path, words: str, chosen: str, told: str
) -> None:
    data = write_set(tmp_path / "walls", ["a", "b", "c", "d"], SPLITS)
    steps: list[tuple[int, int]] = []
    source = parse_threshold_source(words)
    config = EvaluationConfig((model,), data, tmp_path / "report", threshold=source)
    text = evaluate_models(config, lambda done, total: steps.append((done, total))).text
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["operating"]["chosen"] == chosen
    assert scores["operating"]["threshold"] == scores["thresholds"][chosen]
    assert scores["thresholds"]["given"] == (0.4 if words == "0.4" else 0.9)
    assert "test" in scores["thresholds"]  # the optimistic one is always beside it
    assert told in scores["context"]["operating threshold"]
    assert told in text
    assert steps[-1] == ((3, 3) if words == "val" else (2, 2))


class TestRefused:
    def test_a_validation_split_that_is_not_there(self, tmp_path: Path, model: Path) -> None:
        source = parse_threshold_source("val")
        for number, (splits, named) in enumerate(
            [(None, "none at all"), ({"train": ["a"], "test": ["b"]}, "train, test")]
        ):
            data = write_set(tmp_path / f"walls{number}", ["a", "b"], splits)
            config = EvaluationConfig((model,), data, tmp_path / "r", threshold=source)
            with pytest.raises(ConfigError, match=named):
                evaluate_models(config, lambda done, total: pytest.fail("it was scored"))

    def test_a_validation_image_that_is_scored(self, tmp_path: Path, model: Path) -> None:
        data = write_set(tmp_path / "walls", ["a", "b", "c"], {"val": ["a", "b"], "test": ["c"]})
        source = parse_threshold_source("val")
        config = EvaluationConfig((model,), data, tmp_path / "r", "all", threshold=source)
        with pytest.raises(DataError, match=r"image a is among the scored.*`split`"):
            evaluate_models(config)
        (data / "images" / "b.png").write_bytes((data / "images" / "c.png").read_bytes())
        with pytest.raises(DataError, match="image b is among the scored images, too as c"):
            evaluate_models(replace(config, split="test"))

    @pytest.mark.parametrize("text", ["", "best", "0", "1", "0.333", "nan", "-0.5", "0,5"])
    def test_a_threshold_source_that_is_none(self, text: str) -> None:
        with pytest.raises(ConfigError, match=f"`threshold_from` is {text!r}; give model, val"):
            parse_threshold_source(text)

    def test_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no model"):
            EvaluationConfig((), tmp_path, tmp_path)

    def test_a_report_that_cannot_be_written_before_anything_is_scored(
        self, tmp_path: Path, model: Path
    ) -> None:
        data = write_set(tmp_path / "walls", ["a"])
        (tmp_path / "file").write_text("")
        for config in (
            EvaluationConfig((model,), data, tmp_path / "file" / "report"),
            EvaluationConfig(
                (model,), data, tmp_path / "r", json_file=tmp_path / "file" / "s.json"
            ),
        ):
            with pytest.raises(OutputError, match="file"):
                evaluate_models(config, lambda done, total: pytest.fail("it was scored"))

    def test_scores_for_a_file_that_is_a_folder(self, tmp_path: Path, model: Path) -> None:
        data = write_set(tmp_path / "walls", ["a"])
        config = EvaluationConfig((model,), data, tmp_path / "report", json_file=data)
        with pytest.raises(OutputError, match="walls: it is a folder"):
            evaluate_models(config, lambda done, total: pytest.fail("scored before it was refused"))

    @pytest.mark.parametrize(
        ("value", "message"),
        [(0, r"\(all\) has any crack: all 2 masks are black"), (255, "100 % .*; invert the masks")],
    )
    def test_masks_that_mark_nothing_or_everything(
        self, tmp_path: Path, model: Path, value: int, message: str
    ) -> None:
        data = write_set(tmp_path / "walls", ["a", "b"])
        for mask in (data / "masks").iterdir():
            cv2.imwrite(str(mask), np.full(HW, value, np.uint8))
        with pytest.raises(DataError, match=message):
            evaluate_models(EvaluationConfig((model,), data, tmp_path / "report"))

    def test_a_split_that_is_not_there(self, tmp_path: Path, model: Path) -> None:
        data = write_set(tmp_path / "walls", ["a"], {"train": ["a"]})
        with pytest.raises(ConfigError, match="'val'"):
            evaluate_models(EvaluationConfig((model,), data, tmp_path / "r", "val"))

    def test_a_split_without_images(self, tmp_path: Path, model: Path) -> None:
        data = write_set(tmp_path / "walls", ["a"], {"train": ["a"], "test": []})
        with pytest.raises(DataError, match=r"'test'.*is empty"):
            evaluate_models(EvaluationConfig((model,), data, tmp_path / "r"))

    def test_a_damaged_image_is_named(self, tmp_path: Path, model: Path) -> None:
        data = write_set(tmp_path / "walls", ["a", "b"])
        (data / "images" / "b.png").write_bytes(b"hello")
        with pytest.raises(DataError, match=r"b\.png"):
            evaluate_models(EvaluationConfig((model,), data, tmp_path / "r"))

    def test_a_mask_of_another_size_is_named(self, tmp_path: Path, model: Path) -> None:
        data = write_set(tmp_path / "walls", ["a", "b"])
        cv2.imwrite(str(data / "masks" / "b.png"), np.zeros((7, 7), np.uint8))
        with pytest.raises(DataError, match="b: "):
            evaluate_models(EvaluationConfig((model,), data, tmp_path / "r"))

    def test_a_model_without_its_sidecar(self, tmp_path: Path, model: Path) -> None:
        Path(f"{model}.json").unlink()
        data = write_set(tmp_path / "walls", ["a"])
        with pytest.raises(ModelFileError, match="sidecar"):
            evaluate_models(EvaluationConfig((model,), data, tmp_path / "r"))


def test_the_bundled_model_on_real_images(tmp_path: Path, data_folder: Path) -> None:
    """A floor far below what it reaches, so that only a broken model or protocol fails."""
    source = data_folder / "uav315"
    if not source.is_dir():
        pytest.skip(f"{source} is not there")
    names = json.loads((source / "splits.json").read_text())["test"][:6]
    data = tmp_path / "uav"
    for part in ("images", "masks"):
        (data / part).mkdir(parents=True)
        for name in names:
            (found,) = (source / part).glob(f"{name}.*")
            (data / part / found.name).symlink_to(found)
    evaluate_models(EvaluationConfig((BUNDLED_MODEL,), data, tmp_path / "report"))
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["scores"]["square"]["ods"]["f1"] > 0.4

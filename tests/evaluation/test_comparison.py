"""Groups of models: who belongs together, how far apart they are, and a page that shows it."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.artifacts import ModelSpec
from edgecrack.errors import ConfigError, MissingDependencyError
from edgecrack.evaluation.curves import precision_at_recall
from edgecrack.evaluation.evaluation_run import EvaluationConfig, evaluate_models
from edgecrack.evaluation.image_results import evaluate
from edgecrack.evaluation.model_groups import (
    ScoredModel,
    check_distinct,
    group_models,
    labels_of,
    spread_of,
    summarise,
)
from edgecrack.evaluation.open_model import CachedPredictor
from edgecrack.evaluation.paired import compare
from edgecrack.metrics import ThresholdCounts
from tests.evaluation.checkpoints import write_checkpoint
from tests.evaluation.pages import read_page
from tests.evaluation.test_evaluation_run import write_set
from tests.evaluation.test_scored_images import Drawn, brightness_of, drawn

pytest.importorskip("matplotlib", reason="a comparison needs the train extra")
pytest.importorskip("scipy.stats", reason="a comparison needs the train extra")

Image = NDArray[np.uint8]
SAMPLES = [drawn(f"image {row}", row) for row in range(3, 15)]


def scored(
    label: str, noise: int = 0, seed: int = 0, samples: list[Drawn] | None = None, **spec: Any
) -> ScoredModel:
    """A model whose maps are the truth with so many wrong pixels per image."""
    generator = np.random.default_rng(seed)

    def predict(frame: Image) -> Image:
        probability = brightness_of(frame).copy()
        probability.ravel()[generator.integers(0, probability.size, noise)] = 220
        return probability

    used = samples or SAMPLES
    found = evaluate(predict, used, threshold=0.5)
    traits: dict[str, Any] = {"kind": "checkpoint", "pooling": "max", "width": 8} | spec
    document = {"context": {"protocol": "whole", "operating threshold": "0.50"}}
    return ScoredModel(label, Path(label), ModelSpec(**traits), found, predict, document)


def test_groups_are_named_by_what_differs() -> None:
    def names(*specs: dict[str, Any]) -> dict[str, int]:
        models = [scored(str(n), samples=SAMPLES[:1], **spec) for n, spec in enumerate(specs)]
        return {group.name: len(group.models) for group in group_models(models)}

    gated = {"pooling": "gated-scale"}
    assert names(gated, {}, gated, {}) == {"gated-scale": 2, "max": 2}
    assert names(gated, {"width": 16}) == {"gated-scale, width 8": 1, "max, width 16": 1}
    assert names(gated, gated) == {"gated-scale, width 8, fp32, checkpoint": 2}
    onnx = {"kind": "onnx", "tile_hw": (16, 16)}
    assert names(gated, gated | onnx) == {"checkpoint": 1, "onnx": 1}
    assert len(names(gated, gated | {"gate_bias": True}, {})) == 3


def test_mean_and_spread() -> None:
    values = [0.7, 0.9, 0.5, 0.6]
    spread = spread_of(values)
    assert spread.mean == pytest.approx(statistics.mean(values))
    assert spread.deviation == pytest.approx(statistics.stdev(values))
    assert (spread.lowest, spread.highest) == (0.5, 0.9)
    assert spread_of([0.5]).deviation is None

    (group,) = group_models([scored("a", 5, 1), scored("b", 9, 2)])
    summary = summarise(group)
    best = [found.ods("square") for found in group.evaluations]
    assert summary["recall"].mean == pytest.approx(statistics.mean(one.recall for one in best))
    strict = [metrics.iou(found.counts("strict"), 0.5) for found in group.evaluations]
    assert summary["operating_strict_iou"].mean == pytest.approx(statistics.mean(strict))


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["a.onnx", "b.onnx"], ["a", "b"]),
        (["x/best.safetensors", "y/best.safetensors"], ["x", "y"]),
        (["x/best.st", "x/last.st", "y/best.st"], ["x-best", "x-last", "y-best"]),
        (["a/x/best.st", "b/x/best.st"], ["x-best-1", "x-best-2"]),
    ],
)
def test_labels_differ(paths: list[str], labels: list[str]) -> None:
    assert labels_of([Path(path) for path in paths]) == labels


def test_a_group_equals_itself() -> None:
    groups = [group_models([scored(name, 6, 4) for name in "ab"])[0] for _ in range(2)]
    for difference in compare(*groups).differences:
        assert difference.value == 0
        assert not difference.distinguishable


def test_a_clear_difference_is_told() -> None:
    good = [scored(f"good {seed}", 2, seed, pooling="gated-scale") for seed in range(3)]
    bad = [scored(f"bad {seed}", 60, seed) for seed in range(3)]
    first, second = group_models([*good, *bad])
    found = compare(first, second)
    ods = found.differences[0]
    means = [
        np.mean([one.ods("square").f1 for one in group.evaluations]) for group in (first, second)
    ]
    assert ods.value == pytest.approx(means[0] - means[1])
    assert ods.low is not None
    assert ods.high is not None
    assert 0 < ods.low < ods.value < ods.high
    sentence = found.sentence()
    assert sentence.startswith(f"gated-scale is above max by {100 * ods.value:.2f} points ODS (95")
    assert sentence.endswith(": distinguishable.")
    mirrored = compare(second, first)
    assert mirrored.sentence().startswith("max is below gated-scale by")
    assert mirrored.differences[0].value == -ods.value
    assert compare(first, second) == found  # the same drawings every time


def test_the_interval_is_that_of_plain_drawings() -> None:
    """One model per group: drawings of images alone, made here image by image."""
    first, second = (group_models([scored(str(noise), noise, noise)])[0] for noise in (10, 25))
    generator = np.random.default_rng(9)
    differences = []
    for _ in range(600):
        images = generator.integers(0, len(SAMPLES), len(SAMPLES))
        scores = [
            metrics.ods(
                metrics.pool(group.evaluations[0].images[n].counts["square"] for n in images)
            ).f1
            for group in (first, second)
        ]
        differences.append(scores[0] - scores[1])
    expected = np.percentile(differences, [2.5, 97.5])
    found = compare(first, second)
    ods = found.differences[0]
    assert ods.low is not None
    assert ods.high is not None
    slack = 0.25 * float(np.ptp(expected))
    assert [ods.low, ods.high] == pytest.approx(expected.tolist(), abs=slack)
    assert "not over training runs" in found.drawn


def test_models_of_one_image_have_no_interval() -> None:
    one = SAMPLES[:1]
    first, second = (group_models([scored(str(n), n, samples=one)])[0] for n in (0, 30))
    found = compare(first, second)
    assert found.differences[0].low is None
    assert "no interval: there is one image only" in found.sentence()


def test_precision_at_recall_runs_through_the_curve() -> None:
    counts = scored("a", 40, 3).evaluation.counts("strict")
    levels, values = precision_at_recall(counts), metrics.curve(counts)
    place = round(1000 * values.recall[40])
    assert levels[place] == pytest.approx(values.precision[40], abs=0.02)
    assert np.isnan(levels[1000]) == (values.recall.max() < 1)
    nothing = np.zeros(99, np.int64)
    empty = ThresholdCounts("strict", nothing, nothing, nothing, nothing)
    assert np.isnan(precision_at_recall(empty)).all()


def test_a_prediction_is_made_once(tmp_path: Path) -> None:
    calls: list[tuple[int, ...]] = []

    def predict(frame: Image) -> Image:
        calls.append(frame.shape)
        return brightness_of(frame)

    remembering = CachedPredictor(predict, tmp_path)
    for sample in [*SAMPLES[:2], *SAMPLES[:2]]:
        np.testing.assert_array_equal(remembering(sample.image()), brightness_of(sample.image()))
    tall = np.zeros((30, 20, 3), np.uint8)
    wide = np.zeros((20, 30, 3), np.uint8)  # the same bytes in another shape
    for frame in (tall, wide, tall):
        assert remembering(frame).shape == frame.shape[:2]
    assert len(calls) == 4


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[Path]]:
    folder = tmp_path_factory.mktemp("compared")
    data = write_set(folder / "walls", ["a", "<b>&", "c"])
    models = [
        write_checkpoint(folder / f"{pooling} {seed}" / "best.safetensors", pooling, seed)
        for pooling in ("gated-scale", "max")
        for seed in (0, 1)
    ]
    steps: list[tuple[int, int]] = []
    report = folder / "report"
    config = EvaluationConfig(tuple(models), data, report, json_file=folder / "scores.json")
    text = evaluate_models(config, lambda done, total: steps.append((done, total))).text
    assert steps == [(done, 12) for done in range(1, 13)]
    return report, text, models


def test_the_comparison_is_whole(compared: tuple[Path, str, list[Path]]) -> None:
    report, text, models = compared
    page = read_page(report / "index.html")
    assert page.tags["b"] == 0  # the image's name is text
    assert "<b>&" in page.cells
    labels = [model.parent.name for model in models]
    for label in labels:
        assert f"models/{label}/index.html" in page.addresses
        read_page(report / "models" / label / "index.html")
        assert (report / "models" / label / "scores.json").is_file()
    document = json.loads((report / "comparison.json").read_text(encoding="utf-8"))
    assert document == json.loads((report.parent / "scores.json").read_text())
    assert [group["name"] for group in document["groups"]] == ["gated-scale", "max"]
    (pair,) = document["pairs"]
    assert pair["sentence"] in text
    assert pair["sentence"] in (report / "comparison.md").read_text(encoding="utf-8")
    for path in report.glob("*.png"):
        assert cv2.imread(str(path)) is not None
    assert "pr_curves.png" in page.addresses


def test_the_comparison_agrees_with_the_models_reports(
    compared: tuple[Path, str, list[Path]],
) -> None:
    report, _, _ = compared
    document = json.loads((report / "comparison.json").read_text(encoding="utf-8"))
    f1_of: dict[str, list[float]] = {}
    for group in document["groups"]:
        reports = [
            json.loads((report / model["report"] / "scores.json").read_text(encoding="utf-8"))
            for model in group["models"]
        ]
        ods = [one["scores"]["square"]["ods"]["f1"] for one in reports]
        assert group["scores"]["ods"]["mean"] == pytest.approx(statistics.mean(ods))
        assert group["scores"]["ods"]["deviation"] == pytest.approx(statistics.stdev(ods))
        f1_of[group["name"]] = [
            statistics.mean(one["per_image"][place]["square_f1"] for one in reports)
            for place in range(3)
        ]
    (pair,) = document["pairs"]
    names = [row["name"] for row in reports[0]["per_image"]]
    for row in pair["per_image"]:
        place = names.index(row["name"])
        assert row["first_f1"] == pytest.approx(f1_of["gated-scale"][place])
        assert row["second_f1"] == pytest.approx(f1_of["max"][place])
    differences = [row["first_f1"] - row["second_f1"] for row in pair["per_image"]]
    assert differences == sorted(differences, reverse=True)


def test_one_model_given_twice(tmp_path: Path) -> None:
    first = write_checkpoint(tmp_path / "a" / "best.safetensors")
    second = write_checkpoint(tmp_path / "b" / "best.safetensors")
    with pytest.raises(ConfigError, match="are the same model; give every model once"):
        check_distinct([first, second])


def test_without_scipy_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tuple(write_checkpoint(tmp_path / f"{n}.safetensors", seed=n) for n in range(2))
    data = write_set(tmp_path / "walls", ["a"])
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    config = EvaluationConfig(models, data, tmp_path / "report")
    with pytest.raises(MissingDependencyError, match=r"\[train\]|scipy>="):
        evaluate_models(config, lambda done, total: pytest.fail("it was scored"))

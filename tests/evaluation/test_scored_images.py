"""An evaluation is the sum of its images, reports both kinds of threshold, and names culprits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.errors import ConfigError, DataError
from edgecrack.evaluation import false_positive_ratio
from edgecrack.evaluation.image_results import evaluate
from edgecrack.metrics import TOLERANCES

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("EDGECRACK_DATA", REPOSITORY.parent / "shared" / "data"))


@dataclass
class Drawn:
    """A sample whose frame is gray where there is crack and black elsewhere."""

    name: str
    truth: NDArray[np.uint8]
    brightness: int = 200
    reads: int = 0

    def image(self) -> NDArray[np.uint8]:
        self.reads += 1
        gray = (self.truth // 255 * self.brightness).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)

    def mask(self) -> NDArray[np.uint8]:
        return self.truth


def drawn(name: str, row: int, brightness: int = 200, hw: tuple[int, int] = (20, 30)) -> Drawn:
    truth = np.zeros(hw, np.uint8)
    truth[row, 3:-3] = 255
    return Drawn(name, truth, brightness)


def brightness_of(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A predictor that takes the first channel for the probability."""
    return np.ascontiguousarray(frame[:, :, 0])


def shifted(pixels: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """A predictor that is off by some rows."""
    return lambda frame: np.roll(brightness_of(frame), pixels, axis=0)


@pytest.mark.parametrize(
    ("offset", "square", "strict"), [(0, 1.0, 1.0), (2, 1.0, 0.0), (3, 0.0, 0.0)]
)
def test_a_shifted_prediction(offset: int, square: float, strict: float) -> None:
    samples = [drawn("a", 5), drawn("b", 9, hw=(31, 17))]
    found = evaluate(shifted(offset), samples, threshold=0.3)
    assert found.ods("square").f1 == found.ods("euclidean").f1 == square
    assert found.ods("strict").f1 == strict
    assert found.ois("square") == square
    assert found.score_at("square", 0.3).f1 == square


def test_counts_are_those_of_the_images() -> None:
    generator = np.random.default_rng(4)
    samples = [drawn(str(number), number + 2) for number in range(3)]
    maps = [generator.integers(0, 256, sample.truth.shape).astype(np.uint8) for sample in samples]
    pending = iter(maps)
    found = evaluate(lambda _: next(pending), samples, threshold=None)
    for tolerance in TOLERANCES:
        expected = metrics.pool(
            metrics.count_image(probability, sample.truth, tolerance)
            for probability, sample in zip(maps, samples, strict=True)
        )
        assert found.ods(tolerance) == metrics.ods(expected)
    assert [image.name for image in found.images] == ["0", "1", "2"]
    assert [image.crack_ratio for image in found.images] == [24 / 600] * 3


def test_every_image_is_read_once_and_progress_is_told() -> None:
    test, validation = [drawn("a", 5), drawn("b", 6)], [drawn("v", 7)]
    told: list[tuple[int, int]] = []
    evaluate(
        brightness_of,
        test,
        threshold=0.5,
        validation=validation,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [sample.reads for sample in [*test, *validation]] == [1, 1, 1]


def test_the_validation_threshold_is_not_the_test_one() -> None:
    """Dim cracks on validation, bright ones on test: each set prefers its own threshold."""
    validation, test = [drawn("dim", 5, 100)], [drawn("bright", 5, 250)]
    found = evaluate(brightness_of, test, threshold=0.99, validation=validation)
    thresholds = found.thresholds()
    assert thresholds == {"test": 0.49, "validation": 0.2, "given": 0.99}
    assert found.operating_threshold == 0.99
    assert found.score_at("square", thresholds["validation"]).f1 == 1.0
    assert found.score_at("square", 0.99).f1 == 0.0
    assert evaluate(brightness_of, test, threshold=None).thresholds() == {"test": 0.49}


def test_validation_chooses_by_strict_f1() -> None:
    """A dim seam around the crack is a hit within the tolerance, and wrong without it."""

    @dataclass
    class Seamed(Drawn):
        def image(self) -> NDArray[np.uint8]:
            frame = super().image()
            rows = np.flatnonzero(self.truth.any(axis=1))
            frame[[rows[0] - 1, rows[-1] + 1], 3:-3] = 100
            return frame

    truth = drawn("v", 5).truth
    found = evaluate(brightness_of, [drawn("t", 5)], validation=[Seamed("v", truth)])
    assert found.validation_threshold is not None
    assert metrics.uint8_level(found.validation_threshold) > 100
    assert evaluate(brightness_of, [Seamed("v", truth)]).ods("square").threshold < 0.5


def test_the_operating_threshold_is_the_one_asked_for() -> None:
    def operating(choice: Any) -> float:
        return evaluate(
            brightness_of,
            [drawn("bright", 5, 250)],
            threshold=0.9,
            validation=[drawn("dim", 5, 100)],
            operating=choice,
        ).operating_threshold

    assert [operating(choice) for choice in ("test", "validation", "given", None)] == [
        0.49,
        0.2,
        0.9,
        0.9,
    ]
    with pytest.raises(ConfigError, match="no validation threshold"):
        evaluate(brightness_of, [drawn("a", 5)], threshold=0.9, operating="validation")


def test_to_dict_is_plain_json_and_complete() -> None:
    found = evaluate(shifted(1), [drawn("a", 5), drawn("b", 8)], threshold=0.5)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(document["scores"]) == set(TOLERANCES)
    assert document["scores"]["square"]["ods"]["f1"] == 1.0
    assert document["scores"]["strict"]["at_given_threshold"]["f1"] == 0.0
    assert document["scores"]["strict"]["iou"] == {
        "best": 0.0,
        "at_test_threshold": 0.0,
        "at_given_threshold": 0.0,
    }
    assert [row["name"] for row in document["per_image"]] == ["a", "b"]
    assert document["crack_ratio"] == 24 / 600


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda frame: brightness_of(frame)[:-1], r"culprit.*\(19, 30\)"),
        (lambda frame: brightness_of(frame) / 255, "culprit.*float64"),
        (lambda frame: frame, r"culprit.*\(20, 30, 3\)"),
    ],
)
def test_a_bad_prediction_names_the_sample(predict: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(predict, [drawn("culprit", 5)], threshold=None)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((20, 29), np.uint8), r"culprit.*\(20, 29\)"),
        (np.full((20, 30), 7, np.uint8), r"culprit.*\[7\]"),
    ],
)
def test_a_bad_mask_names_the_sample(mask: NDArray[np.uint8], message: str) -> None:
    class Mislabelled(Drawn):
        def mask(self) -> NDArray[np.uint8]:
            return mask

    with pytest.raises(DataError, match=message):
        evaluate(brightness_of, [Mislabelled("culprit", drawn("", 5).truth)], threshold=None)


def test_misuse_is_refused_before_any_work() -> None:
    sample = drawn("a", 5)
    with pytest.raises(ConfigError, match="no samples"):
        evaluate(brightness_of, [], threshold=None)
    with pytest.raises(ConfigError, match="no samples"):
        evaluate(brightness_of, [sample], threshold=None, validation=[])
    with pytest.raises(ConfigError, match=r"0\.333"):
        evaluate(brightness_of, [sample], threshold=0.333)
    assert sample.reads == 0


def test_false_positives_per_image_and_overall() -> None:
    clean = np.zeros((10, 10, 3), np.uint8)
    spotted = np.zeros((10, 30, 3), np.uint8)
    spotted[0, :3] = 128
    found = false_positive_ratio(brightness_of, (frame for frame in (clean, spotted)), 0.5)
    assert found.per_image == (0.0, 0.01)
    assert found.overall == 3 / 400
    assert false_positive_ratio(brightness_of, [spotted], 0.505).overall == 0.0
    with pytest.raises(ConfigError, match="no crack-free images"):
        false_positive_ratio(brightness_of, [], 0.5)
    with pytest.raises(ConfigError, match=r"1\.5"):
        false_positive_ratio(brightness_of, [clean], 1.5)
    with pytest.raises(DataError, match="image 2"):
        false_positive_ratio(lambda frame: brightness_of(frame)[:10, :10], [clean, spotted], 0.5)


def test_false_positives_as_published_lack_specks() -> None:
    """A group of 6 pixels stays and one of 5 goes, counted with diagonal neighbours."""
    frame = np.zeros((10, 20, 3), np.uint8)
    frame[2, 2:7] = 255
    frame[3, 7] = 255  # diagonally next to the bar: a group of 6
    frame[8, 10:15] = 255
    told: list[int] = []
    found = false_positive_ratio(
        brightness_of, [frame, frame[:5]], 0.5, 6, on_image=lambda: told.append(1)
    )
    assert found.per_image == (11 / 200, 6 / 100)
    assert found.per_image_published == (6 / 200, 6 / 100)
    assert found.overall == 17 / 300
    assert found.overall_published == 12 / 300
    assert len(told) == 2
    document = json.loads(json.dumps(found.to_dict(["a", "b"]), allow_nan=False))
    assert document["images"] == 2
    assert document["min_area_px"] == 6
    assert document["per_image"][0] == {
        "name": "a",
        "flagged": 11 / 200,
        "flagged_published": 6 / 200,
    }


@pytest.mark.skipif(not (DATA / "cfd").is_dir(), reason="CFD is not in EDGECRACK_DATA")
def test_truth_as_prediction_is_perfect_on_real_labels() -> None:
    from edgecrack.data.datasets import open_dataset

    samples = open_dataset(DATA / "cfd", "paper").samples("test")
    masks = iter([sample.mask() for sample in samples])
    found = evaluate(lambda _: next(masks), samples, threshold=0.5)
    assert len(found.images) == 46
    for tolerance in TOLERANCES:
        assert found.ods(tolerance).f1 == found.ois(tolerance) == 1.0
    assert found.to_dict()["crack_ratio"] == pytest.approx(1 / 61, rel=0.1)

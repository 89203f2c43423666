"""Scores against a slow reference that thresholds and dilates literally, pixel by pixel."""

from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.errors import ConfigError, DataError, EdgecrackError
from edgecrack.metrics import THRESHOLDS, TOLERANCES, ThresholdCounts, Tolerance, count_image

REACH: dict[Tolerance, list[tuple[int, int]]] = {
    "strict": [(0, 0)],
    "square": [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)],
    "euclidean": [
        (dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if (dy**2 + dx**2) ** 0.5 <= 2.0
    ],
}
FIELDS = ("predicted", "predicted_matched", "truth", "truth_matched")


def slow_dilate(mask: NDArray[np.bool_], tolerance: Tolerance) -> NDArray[np.bool_]:
    height, width = mask.shape
    result = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        for dy, dx in REACH[tolerance]:
            if 0 <= y + dy < height and 0 <= x + dx < width:
                result[y + dy, x + dx] = True
    return result


def slow_counts(
    probability: NDArray[Any], truth: NDArray[np.bool_], tolerance: Tolerance
) -> list[tuple[int, int, int, int]]:
    """(|P|, |P and D(G)|, |G|, |G and D(P)|) at 0.01, 0.02 .. 0.99."""
    near_truth = slow_dilate(truth, tolerance)
    result = []
    for hundredths in range(1, 100):
        if probability.dtype == np.uint8:
            predicted = probability.astype(int) * 100 >= 255 * hundredths
        else:
            predicted = probability >= probability.dtype.type(hundredths / 100)
        near_predicted = slow_dilate(predicted, tolerance)
        counts = (predicted, predicted & near_truth, truth, truth & near_predicted)
        result.append(tuple(int(item.sum()) for item in counts))
    return result  # type: ignore[return-value]


def as_rows(counts: ThresholdCounts) -> list[tuple[int, ...]]:
    return list(zip(*(getattr(counts, name).tolist() for name in FIELDS), strict=True))


def slow_f1(row: tuple[int, int, int, int]) -> float:
    predicted, predicted_matched, truth, truth_matched = row
    precision = Fraction(predicted_matched, predicted) if predicted else Fraction(1)
    recall = Fraction(truth_matched, truth) if truth else Fraction(1)
    if precision + recall == 0:
        return 0.0
    return float(2 * precision * recall / (precision + recall))


def random_pair(
    seed: int, shape: tuple[int, int], density: float = 0.05
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    truth = generator.random(shape) < density
    noise = generator.integers(0, 256, shape)
    probability = np.where(slow_dilate(truth, "square"), np.maximum(noise, 120), noise // 3)
    return probability.astype(np.uint8), truth


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 3), (13, 17), (32, 21)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_counts_equal_the_slow_reference(
    tolerance: Tolerance, shape: tuple[int, int], dtype: type[Any]
) -> None:
    probability, truth = random_pair(hash(shape) % 1000, shape)
    given_map = probability if dtype is np.uint8 else (probability / 255).astype(dtype)
    assert as_rows(count_image(given_map, truth, tolerance)) == slow_counts(
        given_map, truth, tolerance
    )


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("corner", [(0, 0), (0, 8), (6, 0), (6, 8), (3, 0), (0, 4)])
def test_borders_do_not_wrap_or_leak(tolerance: Tolerance, corner: tuple[int, int]) -> None:
    truth = np.zeros((7, 9), bool)
    truth[corner] = True
    probability = np.full((7, 9), 128, np.uint8)
    assert as_rows(count_image(probability, truth, tolerance)) == slow_counts(
        probability, truth, tolerance
    )


@pytest.mark.parametrize(
    ("offset", "hit"),
    [
        ((0, 0), {"strict", "euclidean", "square"}),
        ((0, 2), {"euclidean", "square"}),
        ((1, 1), {"euclidean", "square"}),
        ((1, 2), {"square"}),
        ((2, 2), {"square"}),
        ((0, 3), set()),
        ((3, 1), set()),
    ],
)
def test_how_far_each_tolerance_reaches(offset: tuple[int, int], hit: set[str]) -> None:
    truth = np.zeros((11, 11), bool)
    truth[5, 5] = True
    probability = np.zeros((11, 11), np.uint8)
    probability[5 + offset[0], 5 + offset[1]] = 255
    for tolerance in TOLERANCES:
        counts = count_image(probability, truth, tolerance)
        assert metrics.ods(counts).f1 == (1.0 if tolerance in hit else 0.0)


@pytest.mark.parametrize("hundredths", range(1, 100))
def test_uint8_level_is_exact(hundredths: int) -> None:
    level = metrics.uint8_level(hundredths / 100)
    assert Fraction(level, 255) >= Fraction(hundredths, 100) > Fraction(level - 1, 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.01, 0.2, 0.29, 0.6, 0.7, 0.99])
def test_binarize_agrees_with_the_counts(dtype: type[Any], threshold: float) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    probability = levels if dtype is np.uint8 else (levels / 255).astype(dtype)
    predicted = metrics.binarize(probability, threshold)
    counts = count_image(probability, np.zeros((16, 16), bool), "strict")
    assert predicted.sum() == counts.predicted[metrics.threshold_index(threshold)]


def test_float32_passes_the_threshold_that_it_was_rounded_from() -> None:
    probability = THRESHOLDS.astype(np.float32).reshape(9, 11)
    counts = count_image(probability, np.ones((9, 11), bool), "strict")
    assert counts.predicted.tolist() == list(range(99, 0, -1))


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_pooled_scores_equal_the_definition(tolerance: Tolerance) -> None:
    pairs = [random_pair(seed, (15, 18 + seed)) for seed in range(4)]
    each = [count_image(probability, truth, tolerance) for probability, truth in pairs]
    slow = [slow_counts(probability, truth, tolerance) for probability, truth in pairs]
    pooled = [tuple(map(sum, zip(*rows, strict=True))) for rows in zip(*slow, strict=True)]

    best = metrics.ods(metrics.pool(each))
    assert best.f1 == pytest.approx(max(slow_f1(row) for row in pooled), abs=1e-12)  # type: ignore[arg-type]
    assert metrics.score_at(metrics.pool(each), best.threshold) == best
    mean_of_best = np.mean([max(slow_f1(row) for row in rows) for rows in slow])
    assert metrics.ois(each) == pytest.approx(mean_of_best, abs=1e-12)
    assert best.f1 == pytest.approx(
        2 * best.precision * best.recall / (best.precision + best.recall)
    )


def test_a_hand_made_case() -> None:
    """Two true pixels; one is hit exactly, one is missed, and one false alarm is far off."""
    truth = np.zeros((9, 30), np.uint8)
    truth[4, 5] = truth[4, 15] = 255
    probability = np.zeros((9, 30), np.uint8)
    probability[4, 5], probability[4, 25] = 204, 102  # 0.8 and 0.4
    strict = count_image(probability, truth, "strict")
    low, high = metrics.score_at(strict, 0.4), metrics.score_at(strict, 0.41)
    assert (low.precision, low.recall, low.f1) == (0.5, 0.5, 0.5)
    assert (high.precision, high.recall) == (1.0, 0.5)
    assert high.f1 == pytest.approx(2 / 3)
    assert metrics.score_at(strict, 0.81).f1 == 0.0
    assert metrics.iou(strict, 0.4) == pytest.approx(1 / 3)
    assert metrics.iou(strict, 0.5) == metrics.iou(strict) == 0.5
    assert metrics.average_precision(strict) == 0.5
    # 0.41 .. 0.80 all share the best F1; the middle is taken.
    assert metrics.ods(strict).threshold == pytest.approx(0.60)


@pytest.mark.parametrize(
    ("truth_level", "probability_level", "f1", "best_iou"),
    [
        (0, 0, 1.0, 1.0),  # nothing to find, nothing found
        (0, 100, 1.0, 1.0),  # some threshold leaves the prediction empty
        (0, 255, 0.0, 0.0),  # flagged at every threshold
        (255, 0, 0.0, 0.0),
        (255, 255, 1.0, 1.0),
    ],
)
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_empty_and_full_maps(
    tolerance: Tolerance, truth_level: int, probability_level: int, f1: float, best_iou: float
) -> None:
    truth = np.full((6, 5), truth_level, np.uint8)
    counts = count_image(np.full((6, 5), probability_level, np.uint8), truth, tolerance)
    assert metrics.ois([counts]) == metrics.ods(counts).f1 == f1
    if tolerance == "strict":
        assert metrics.iou(counts) == best_iou


def test_an_empty_prediction_earns_no_average_precision() -> None:
    counts = count_image(np.zeros((6, 5), np.uint8), np.ones((6, 5), bool), "strict")
    assert metrics.average_precision(counts) == 0.0


maps = hnp.arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@settings(max_examples=60, deadline=None)
@given(probability=maps, seed=st.integers(0, 2**32 - 1), density=st.sampled_from([0.0, 0.03, 0.4]))
def test_a_tolerance_only_adds_matches(
    probability: NDArray[np.uint8], seed: int, density: float
) -> None:
    truth = np.random.default_rng(seed).random(probability.shape) < density
    strict, disc, square = (
        count_image(probability, truth, tolerance)
        for tolerance in ("strict", "euclidean", "square")
    )
    for name in ("predicted_matched", "truth_matched"):
        assert (getattr(strict, name) <= getattr(disc, name)).all()
        assert (getattr(disc, name) <= getattr(square, name)).all()
    assert (square.predicted_matched <= square.predicted).all()
    assert (square.truth_matched <= square.truth).all()
    assert (np.diff(square.truth_matched) <= 0).all()
    assert metrics.ods(strict).f1 <= metrics.ods(disc).f1 <= metrics.ods(square).f1
    assert 0.0 <= metrics.average_precision(square) <= 1.0


@settings(max_examples=60, deadline=None)
@given(first=maps, seed=st.integers(0, 2**32 - 1), tolerance=st.sampled_from(TOLERANCES))
def test_swapping_truth_and_prediction_swaps_precision_and_recall(
    first: NDArray[np.uint8], seed: int, tolerance: Tolerance
) -> None:
    one = first > 200
    other = np.random.default_rng(seed).random(first.shape) < 0.2
    forth = metrics.score_at(count_image(one.astype(np.uint8) * 255, other, tolerance), 0.5)
    back = metrics.score_at(count_image(other.astype(np.float64), one, tolerance), 0.5)
    assert (forth.precision, forth.recall) == (back.recall, back.precision)
    assert forth.f1 == pytest.approx(back.f1)


@settings(max_examples=30, deadline=None)
@given(truth=maps, tolerance=st.sampled_from(TOLERANCES))
def test_a_perfect_prediction_scores_one(truth: NDArray[np.uint8], tolerance: Tolerance) -> None:
    mask = np.where(truth > 220, 255, 0).astype(np.uint8)
    counts = count_image(mask, mask, tolerance)
    best = metrics.ods(counts)
    assert (best.f1, best.precision, best.recall, best.threshold) == (1.0, 1.0, 1.0, 0.5)
    assert metrics.ois([counts, counts]) == 1.0


@settings(max_examples=30, deadline=None)
@given(probability=maps, tolerance=st.sampled_from(TOLERANCES))
def test_flips_change_nothing(probability: NDArray[np.uint8], tolerance: Tolerance) -> None:
    truth = np.roll(probability, 1) > 180
    plain = count_image(probability, truth, tolerance)
    for flip in (np.fliplr, np.flipud, np.transpose):
        assert as_rows(count_image(flip(probability), flip(truth), tolerance)) == as_rows(plain)


def test_counts_add_and_cross_a_process_border() -> None:
    one = count_image(*random_pair(1, (8, 9)), "square")
    two = count_image(*random_pair(2, (5, 4)), "square")
    both = pickle.loads(pickle.dumps(one)) + two
    assert as_rows(both) == as_rows(metrics.pool([two, one]))
    assert (both.truth == one.truth + two.truth).all()


def test_inputs_are_left_alone() -> None:
    probability, truth = random_pair(3, (9, 9))
    before = probability.copy(), truth.copy()
    for tolerance in TOLERANCES:
        count_image(probability, truth, tolerance)
    assert (probability == before[0]).all()
    assert (truth == before[1]).all()


EMPTY = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("probability", "truth", "message"),
    [
        (EMPTY, np.zeros((5, 4), np.uint8), r"\(4, 5\).*\(5, 4\)"),
        (np.full((4, 5), np.nan), EMPTY, "nan"),
        (np.full((4, 5), 1.5), EMPTY, r"1\.5"),
        (np.full((4, 5), -0.1, np.float32), EMPTY, r"-0\.1"),
        (np.zeros((4, 5), np.int64), EMPTY, "int64"),
        (np.zeros((4, 5, 1), np.uint8), EMPTY, r"\(4, 5, 1\)"),
        (np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8), r"\(0, 5\)"),
        (EMPTY, np.zeros((4, 5), np.float32), "float32"),
        (EMPTY, np.full((4, 5), 2, np.uint8), r"\[2\]"),
        (EMPTY, np.arange(20, dtype=np.uint8).reshape(4, 5), r"\[0, 1, 2"),
    ],
)
def test_what_does_not_fit_is_refused(
    probability: NDArray[Any], truth: NDArray[Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        count_image(probability, truth, "square")


@pytest.mark.parametrize("scale", [1, 255])
def test_both_usual_ways_to_write_a_mask_mean_the_same(scale: int) -> None:
    mask = np.eye(6, dtype=np.uint8) * scale
    assert (metrics.truth_mask(mask.astype(np.uint8)) == np.eye(6, dtype=bool)).all()


NARROW: Any = np.zeros(99, np.int32)


def counts_of(tolerance: Tolerance) -> ThresholdCounts:
    return count_image(EMPTY, EMPTY, tolerance)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count_image(EMPTY, EMPTY, "round"), "round"),  # type: ignore[arg-type]
        (lambda: counts_of("square") + counts_of("strict"), "square and strict"),
        (lambda: metrics.pool([]), "no counts"),
        (lambda: metrics.ois([]), "no images"),
        (lambda: metrics.iou(counts_of("square")), "square"),
        (lambda: metrics.score_at(counts_of("square"), 0.505), r"0\.505"),
        (lambda: metrics.score_at(counts_of("square"), 0.0), r"0\.0"),
        (lambda: metrics.score_at(counts_of("square"), 1.0), r"1\.0"),
        (lambda: metrics.score_at(counts_of("square"), float("nan")), "nan"),
        (lambda: metrics.binarize(EMPTY, 0.0), r"0\.0"),
        (lambda: metrics.binarize(EMPTY, float("nan")), "nan"),
        (lambda: ThresholdCounts("square", *(np.zeros(3, np.int64),) * 4), r"\(3,\)"),
        (lambda: ThresholdCounts("square", *(NARROW,) * 4), "int32"),
    ],
)
def test_misuse_says_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert isinstance(caught.value, EdgecrackError)
    assert caught.value.remedy


@pytest.mark.parametrize("threshold", [0.29, 0.57, 0.58, *THRESHOLDS.astype(np.float32).tolist()])
def test_thresholds_are_found_in_spite_of_rounding(threshold: float) -> None:
    assert THRESHOLDS[metrics.threshold_index(threshold)] == pytest.approx(threshold)

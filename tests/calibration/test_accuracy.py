"""Scores of tiles against plain loops, and what counts as a thin crack."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.calibration.accuracy import (
    Accuracy,
    count_images,
    measure_accuracy,
    scores_of,
    thin_parts,
)

Mask = NDArray[np.bool_]
ANGLES_DEG = (0, 20, 45, 67, 90, 110, 135, 160)


def line(angle_deg: float, width_px: float, side: int = 96, length_px: float = 60) -> Mask:
    """All pixels nearer than half the width to a segment through the middle."""
    result = np.zeros((side, side), np.bool_)
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    for row in range(side):
        for column in range(side):
            x, y = column - side // 2, row - side // 2
            along, across = x * cosine + y * sine, y * cosine - x * sine
            result[row, column] = abs(across) < width_px / 2 and abs(along) < length_px / 2
    return result


@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
@pytest.mark.parametrize("width_px", [1, 2, 3])
def test_a_line_of_up_to_3_px_is_thin_all_along(width_px: int, angle_deg: int) -> None:
    drawn = line(angle_deg, width_px)
    np.testing.assert_array_equal(thin_parts(drawn), drawn)


@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
@pytest.mark.parametrize("width_px", [5, 7, 9, 20])
def test_a_line_of_5_px_or_more_is_not(width_px: int, angle_deg: int) -> None:
    drawn = line(angle_deg, width_px)
    assert thin_parts(drawn).sum() <= 0.05 * drawn.sum()  # a corner at an end


def test_of_a_crack_that_widens_the_thin_part_counts() -> None:
    drawn = np.zeros((40, 90), np.bool_)
    drawn[20, :45] = True
    drawn[15:26, 45:] = True
    thin = thin_parts(drawn)
    assert thin[20, :38].all()
    assert not thin[:, 45:].any()


def test_the_tile_s_border_does_not_make_a_wide_crack_thin() -> None:
    drawn = np.zeros((40, 40), np.bool_)
    drawn[:12] = True
    assert not thin_parts(drawn).any()


def test_nothing_and_everything() -> None:
    assert not thin_parts(np.zeros((20, 20), np.bool_)).any()
    assert not thin_parts(np.ones((20, 20), np.bool_)).any()


def random_case(seed: int) -> tuple[NDArray[np.uint8], Mask, NDArray[np.uint8]]:
    """Outputs that find most of some lines, and another model's outputs."""
    generator = np.random.default_rng(seed)
    truth = np.stack([line(angle, width, 40, 34) for angle, width in ((20, 2), (70, 7), (0, 1))])
    levels = np.where(truth, 200, 40) + generator.normal(0, 45, truth.shape)
    moved = np.roll(levels, 1, axis=2) if seed % 2 else levels
    output = np.clip(moved, 0, 255).astype(np.uint8)
    other = np.clip(moved + generator.normal(0, 9, truth.shape), 0, 255).astype(np.uint8)
    return output, truth, other


def near(mask: Mask, row: int, column: int) -> bool:
    """Whether the 5x5 square around a pixel holds any of a mask."""
    return bool(mask[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].any())


def share_near(wanted: list[Mask], given: list[Mask]) -> float:
    """Share of the pixels of some masks that lie within 2 px of others, over all of them."""
    hits = count = 0
    for own, other in zip(wanted, given, strict=True):
        for row, column in zip(*(axis.tolist() for axis in np.nonzero(own)), strict=True):
            hits += near(other, row, column)
            count += 1
    return hits / count if count else 1.0


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_equal_those_counted_pixel_by_pixel(seed: int) -> None:
    output, truth, other = random_case(seed)
    threshold = 0.6
    found = measure_accuracy(output, truth, threshold, other)
    passed = [tile >= math.ceil(255 * threshold) for tile in output]
    masks = list(truth)
    # Thin by construction: the lines of 2 px and 1 px, not that of 7.
    thin = [masks[0], np.zeros_like(masks[1]), masks[2]]
    assert thin_parts(masks[1]).sum() <= 4
    slow_thin = [thin_parts(mask) for mask in masks]
    assert found.thin_recall == pytest.approx(100 * share_near(slow_thin, passed))
    assert found.thin_recall == pytest.approx(100 * share_near(thin, passed), abs=3)
    assert found.thin_pixels == sum(int(mask.sum()) for mask in slow_thin)
    hits = sum(int((own & mask).sum()) for own, mask in zip(passed, masks, strict=True))
    strict = 2 * hits / (sum(own.sum() for own in passed) + truth.sum())
    assert found.strict_f1 == pytest.approx(100 * strict)
    precision, recall = share_near(passed, masks), share_near(masks, passed)
    assert found.tolerant_f1 == pytest.approx(200 * precision * recall / (precision + recall))
    best = 0.0
    for candidate in range(5, 100, 10):
        marked = [tile >= metrics.uint8_level(candidate / 100) for tile in output]
        precision, recall = share_near(marked, masks), share_near(masks, marked)
        best = max(best, 200 * precision * recall / (precision + recall))
    assert best <= found.ods + 1e-9
    assert found.ods == pytest.approx(best, abs=2)  # every tenth threshold was tried
    differences = [
        abs(int(one) - int(two))
        for one, two in zip(output.ravel().tolist(), other.ravel().tolist(), strict=True)
    ]
    assert found.largest_difference == max(differences)


def test_an_output_equal_to_the_truth_has_full_marks() -> None:
    _, truth, _ = random_case(0)
    found = measure_accuracy(truth.astype(np.uint8) * 255, truth, 0.5)
    assert (found.ods, found.strict_f1, found.thin_recall) == (100.0, 100.0, 100.0)
    assert found.largest_difference == 0


def test_an_empty_output_finds_nothing() -> None:
    _, truth, _ = random_case(0)
    found = measure_accuracy(np.zeros(truth.shape, np.uint8), truth, 0.5)
    assert (found.ods, found.strict_f1, found.thin_recall) == (0.0, 0.0, 0.0)


def test_without_any_thin_crack_their_recall_is_full() -> None:
    wide = line(30, 15, 40)[None]
    found = measure_accuracy(np.zeros(wide.shape, np.uint8), wide, 0.5)
    assert (found.thin_recall, found.thin_pixels) == (100.0, 0)
    assert found.strict_f1 == 0.0


def test_without_any_crack_an_empty_output_is_right() -> None:
    bare = np.zeros((2, 16, 16), np.bool_)
    found = measure_accuracy(np.zeros(bare.shape, np.uint8), bare, 0.5)
    assert (found.ods, found.strict_f1, found.thin_recall) == (100.0, 100.0, 100.0)


def test_the_model_s_own_threshold_decides_strict_score_and_thin_recall() -> None:
    truth = line(0, 1, 40)[None]
    output = np.where(truth, 153, 0).astype(np.uint8)  # 0.6
    for threshold, expected in ((0.6, 100.0), (0.61, 0.0)):
        found = measure_accuracy(output, truth, threshold)
        assert (found.strict_f1, found.thin_recall) == (expected, expected)
        assert found.ods == 100.0


def test_differences_do_not_wrap_around() -> None:
    bare = np.zeros((1, 4, 4), np.bool_)
    dark, bright = np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4), 255, np.uint8)
    assert measure_accuracy(dark, bare, 0.5, bright).largest_difference == 255
    assert measure_accuracy(bright, bare, 0.5, dark).largest_difference == 255


def test_scores_stand_in_a_sidecar_with_two_places() -> None:
    scores = Accuracy(88.12345, 63.001, 100.0, 7, 12, 77.779).to_dict()
    assert scores == {
        "ods": 88.12,
        "tolerant_f1": 77.78,
        "strict_f1": 63.0,
        "thin_recall": 100.0,
        "largest_difference": 7,
        "thin_pixels": 12,
    }


def test_what_is_flagged_without_a_crack_is_a_share_of_the_tiles_that_hold_none() -> None:
    truth = np.zeros((4, 10, 10), np.bool_)
    truth[0, 4] = True
    output = np.zeros(truth.shape, np.uint8)
    output[0] = 255  # beside a crack, which is no bare tile
    output[1, 0, :5] = 153
    output[2, 0, :3] = 152  # below the threshold
    output[3, 0, :1] = 255
    counts = count_images(output, truth, 0.6, np.array([7, 7, 2, 7]))
    assert counts.bare.tolist() == [100, 200]  # in the order of the images' numbers
    assert counts.bare_flagged.tolist() == [0, 6]
    assert scores_of(counts)["bare_flagged"].tolist() == pytest.approx([0.0, 3.0])
    assert scores_of(counts.pooled())["bare_flagged"].tolist() == pytest.approx([2.0])


def test_where_every_tile_holds_a_crack_nothing_is_flagged_without_one() -> None:
    truth = np.ones((2, 6, 6), np.bool_)
    counts = count_images(np.full(truth.shape, 255, np.uint8), truth, 0.5)
    assert scores_of(counts)["bare_flagged"].tolist() == [0, 0]


def test_scores_of_any_draw_of_images_are_those_of_their_tiles_together() -> None:
    output, truth, _ = random_case(0)
    counts = count_images(output, truth, 0.6)
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0]])
    drawn = scores_of(counts.summed(weights))
    for row, times in enumerate(weights):
        tiles = np.repeat(np.arange(3), times)
        expected = measure_accuracy(output[tiles], truth[tiles], 0.6)
        for name in ("ods", "strict_f1", "tolerant_f1", "thin_recall"):
            assert drawn[name][row] == pytest.approx(getattr(expected, name))


def test_the_best_f1_is_that_of_the_project_s_metrics() -> None:
    output, truth, _ = random_case(1)
    counted = [
        metrics.count_image(own, mask, "square") for own, mask in zip(output, truth, strict=True)
    ]
    expected = metrics.ods(metrics.pool(counted))
    assert measure_accuracy(output, truth, 0.3).ods == pytest.approx(100 * expected.f1)
    own = metrics.score_at(metrics.pool(counted), 0.3)
    assert measure_accuracy(output, truth, 0.3).tolerant_f1 == pytest.approx(100 * own.f1)

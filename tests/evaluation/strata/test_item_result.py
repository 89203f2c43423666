"""What a picture contributes, against loops over thresholds, pixels and points."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import DataError
from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT, find_crack
from edgecrack.metrics import THRESHOLDS, uint8_level
from edgecrack.yardstick.manifest import TrueCrack
from edgecrack.yardstick.strata import WIDTH_CLASSES, width_classes
from tests.evaluation.strata.results import HW, drawn, line_crack, random_pair, scored


def straight(y: float, width_px: float, length: int = HW[1], start: float = 0.0) -> TrueCrack:
    """A horizontal crack of constant width, a point a pixel."""
    xs = start + np.arange(length)
    points = np.column_stack([xs, np.full(length, y)]).astype(np.float32)
    return TrueCrack(points, np.full(length, width_px, np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_recall_by_width_is_that_of_a_loop(seed: int) -> None:
    truth, seen = random_pair(np.random.default_rng(seed))
    result = scored(drawn("a", truth, seen))
    classes = width_classes(truth)
    for place, threshold in enumerate(THRESHOLDS.tolist()):
        predicted = seen >= uint8_level(threshold)
        near = cv2.dilate(predicted.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        for index in range(len(WIDTH_CLASSES)):
            own = classes == index
            assert result.width_truth[index] == np.count_nonzero(own)
            assert result.width_found[index, place] == np.count_nonzero(own & near)


def test_recall_reaches_two_pixels_to_all_sides_and_no_further() -> None:
    truth = np.zeros(HW, bool)
    truth[20, 20] = True
    for row, column, expected in ((22, 22, 1), (18, 20, 1), (23, 20, 0), (20, 17, 0)):
        seen = np.zeros(HW, np.uint8)
        seen[row, column] = 128
        found = scored(drawn("a", truth, seen)).width_found[0]
        assert found[49] == expected  # 128 passes 0.50 = 127.5
        assert found[50] == 0  # and not 0.51 = 130.05


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.5, 0.83, 0.99]))
def test_published_pixels_are_those_of_large_groups(seed: int, threshold: float) -> None:
    truth, seen = random_pair(np.random.default_rng(seed))
    result = scored(drawn("a", truth, seen), threshold)
    flagged = (seen >= uint8_level(threshold)).astype(np.uint8)
    count, labels = cv2.connectedComponents(flagged, connectivity=8)
    sizes = [np.count_nonzero(labels == label) for label in range(1, count)]
    assert result.published_px == sum(size for size in sizes if size >= MIN_AREA_PX)
    assert result.counts[STRICT].predicted[round(threshold * 100) - 1] == np.count_nonzero(flagged)


def slow_level(probability: NDArray[np.uint8], crack: TrueCrack) -> int:
    """Try all levels: the highest at which half of the points in the picture are found."""
    height, width = probability.shape
    best = 0
    for level in range(1, 256):
        ys, xs = np.nonzero(probability >= level)
        inside = found = 0
        for (x, y), width_px in zip(crack.points.tolist(), crack.widths_px.tolist(), strict=True):
            column, row = math.floor(x + 0.5), math.floor(y + 0.5)
            if not (0 <= column < width and 0 <= row < height):
                continue
            inside += 1
            away = np.hypot(ys - row, xs - column)
            beside = np.maximum(np.abs(ys - row), np.abs(xs - column))
            found += bool(((away <= width_px / 2) | (beside <= 2)).any())
        if 2 * found >= inside:
            best = level
    return best


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_a_cracks_level_is_that_of_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hw = (24, 30)
    probability = np.where(rng.random(hw) < 0.03, rng.integers(0, 256, hw), 0).astype(np.uint8)
    points = rng.uniform(-6, 34, (9, 2)).astype(np.float32)
    points[0] = (10.2, 11.7)
    crack = TrueCrack(points, rng.uniform(0.5, 14, 9).astype(np.float32))
    found = find_crack(probability, crack)
    assert found is not None
    assert found.level == slow_level(probability, crack)
    assert found.width_px == pytest.approx(np.median(crack.widths_px))


@pytest.mark.parametrize(
    ("share_px", "expected"), [(35, 200), (34, 0)], ids=["half", "just under half"]
)
def test_half_of_the_length_is_needed(share_px: int, expected: int) -> None:
    seen = np.zeros(HW, np.uint8)
    seen[30, : share_px - 2] = 200  # and two more are within the tolerance
    found = find_crack(seen, straight(30.0, 1.0))
    assert found is not None
    assert found.level == expected


@pytest.mark.parametrize(
    ("width_px", "off", "found"),
    [(1, 2, True), (1, 3, False), (12, 6, True), (12, 7, False), (13, 6, True), (13, 7, False)],
)
def test_half_the_width_is_near_enough(width_px: int, off: int, found: bool) -> None:
    seen = np.zeros(HW, np.uint8)
    seen[30 + off] = 90
    crack = find_crack(seen, straight(30.0, float(width_px)))
    assert crack is not None
    assert crack.level == (90 if found else 0)


def test_beside_a_slanting_crack_its_own_half_width_counts() -> None:
    """A square of half the width would reach 1.4 times as far across a crack at 45 degrees."""
    hw = (120, 120)
    along = np.arange(20, 100, dtype=np.float32)
    crack = TrueCrack(np.column_stack([along, along]), np.full(80, 20, np.float32))
    for off, level in ((9.0, 255), (12.0, 0)):
        seen = np.zeros(hw, np.uint8)
        for at in range(20, 100):
            seen[round(at - off / math.sqrt(2)), round(at + off / math.sqrt(2))] = 255
        found = find_crack(seen, crack)
        assert found is not None
        assert found.level == level


@pytest.mark.parametrize(("y", "row"), [(29.51, 30), (30.0, 30), (30.49, 30), (30.51, 31)])
def test_a_pixel_reaches_half_a_pixel_to_each_side_of_whole_coordinates(y: float, row: int) -> None:
    seen = np.zeros(HW, np.uint8)
    seen[row + 2] = 255
    near = find_crack(seen, straight(y, 1.0))
    seen = np.zeros(HW, np.uint8)
    seen[row + 3] = 255
    far = find_crack(seen, straight(y, 1.0))
    assert near is not None
    assert far is not None
    assert (near.level, far.level) == (255, 0)


def test_what_lies_outside_does_not_count_and_wholly_outside_is_refused() -> None:
    seen = np.zeros(HW, np.uint8)
    seen[30, :5] = 255
    half_outside = straight(30.0, 1.0, length=100, start=-95.0)
    found = find_crack(seen, half_outside)
    assert found is not None
    assert found.level == 255
    outside = straight(-3.0, 1.0)
    assert find_crack(seen, outside) is None
    item = drawn("lost", line_crack(3), seen, cracks=(outside,))
    with pytest.raises(DataError, match=r"lost: a crack of known width lies wholly outside"):
        scored(item)


def test_a_known_width_decides_the_class_and_not_the_mask() -> None:
    seen = np.zeros(HW, np.uint8)
    by_mask = scored(drawn("a", line_crack(4), seen))
    known = scored(drawn("a", line_crack(4), seen, cracks=(straight(31.5, 2.2),)))
    assert (by_mask.width_class, known.width_class) == (1, 0)


def test_a_picture_without_crack_has_no_classes() -> None:
    seen = np.full(HW, 200, np.uint8)
    result = scored(drawn("a", np.zeros(HW, bool), seen, kind="clean", origin="photo"))
    assert (result.width_class, result.contrast_class) == (None, None)
    assert result.width_truth.sum() == 0
    assert result.published_px == result.pixels == HW[0] * HW[1]
    assert result.counts[TOLERANT].truth.sum() == 0

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgecrack.errors import ConfigError
from edgecrack.measurement.regions import find_regions, label_groups, measure_cracks
from edgecrack.metrics.counting import uint8_level
from tests.runtime.fakes import Image, slow_regions


@pytest.mark.parametrize(
    ("threshold", "level"),
    [(1e-9, 1), (0.5, 128), (0.55, 141), (0.2, 51), (0.4, 102), (0.6, 153), (1.0, 255)],
)
def test_uint8_level(threshold: float, level: int) -> None:
    assert uint8_level(threshold) == level


@pytest.mark.parametrize("threshold", [-0.01, 0.0, 1.01, float("nan")])
def test_threshold_outside_0_to_1_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        uint8_level(threshold)


def test_the_level_itself_counts_as_crack() -> None:
    probability = np.array([[127, 128, 129]], np.uint8)
    assert measure_cracks(probability, 0.5, 0).mask.tolist() == [[0, 255, 255]]


def test_diagonal_neighbours_are_one_region() -> None:
    mask = np.zeros((5, 6), np.uint8)
    mask[1, 1] = mask[2, 2] = mask[3, 3] = 255
    mask[0, 5] = 1
    first, second = find_regions(mask, 1)
    assert (first.xyxy, first.area_px) == ((1, 1, 4, 4), 3)
    assert (second.xyxy, second.area_px) == ((5, 0, 6, 1), 1)


def test_specks_leave_mask_count_and_regions() -> None:
    probability = np.zeros((20, 30), np.uint8)
    probability[2:6, 3:13] = 200
    probability[10, 10] = probability[19, 29] = 255
    found = measure_cracks(probability, 0.5, 24)
    assert found.crack_pixels == 40 == np.count_nonzero(found.mask)
    assert [region.xyxy for region in found.regions] == [(3, 2, 13, 6)]
    assert set(np.unique(found.mask)) == {0, 255}


def test_find_regions_leaves_the_mask_alone() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 4] = 255
    assert find_regions(mask, 10) == []
    assert mask[4, 4] == 255


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14))),
    st.floats(0, 1, exclude_min=True),
    st.integers(0, 6),
)
def test_equals_the_flood_fill_reference(
    probability: Image, threshold: float, min_area_px: int
) -> None:
    before = probability.copy()
    found = measure_cracks(probability, threshold, min_area_px)
    crack = (probability >= uint8_level(threshold)).astype(np.uint8)
    expected = slow_regions(crack, min_area_px)
    assert sorted(found.regions) == sorted(expected)
    areas = [region.area_px for region in found.regions]
    assert areas == sorted(areas, reverse=True)
    assert found.crack_pixels == sum(areas) == np.count_nonzero(found.mask)
    assert np.array_equal(probability, before)


@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 14), st.integers(1, 14)),
        elements=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 255]),
    )
)
def test_groups_are_those_of_opencv(mask: Image) -> None:
    labels, stats = label_groups(mask)
    _, expected, expected_stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_32S, cv2.CCL_GRANA
    )
    assert labels.tolist() == expected.tolist()
    assert stats[1:].tolist() == expected_stats[1:].tolist()

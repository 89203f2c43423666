from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.measurement.regions import find_regions
from edgecrack.orthomosaic.geotiff import Box
from edgecrack.orthomosaic.groups import Groups

Mask = NDArray[np.uint8]


def cut(lengths: list[int]) -> list[tuple[int, int]]:
    ends = np.cumsum(lengths).tolist()
    return list(zip([0, *ends[:-1]], lengths, strict=True))


def in_windows(
    mask: Mask, heights: list[int], widths: list[int], min_area_px: int
) -> tuple[Groups, Mask]:
    boxes = [Box(top, left, h, w) for top, h in cut(heights) for left, w in cut(widths)]
    groups = Groups(mask.shape[1])
    for box in boxes:
        groups.add(box, mask[box.within(Box(0, 0, *mask.shape))])
    groups.finish(min_area_px)
    kept = np.full_like(mask, 7)
    for box in boxes:
        inside = box.within(Box(0, 0, *mask.shape))
        kept[inside] = groups.kept(box, mask[inside])
    return groups, kept


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.floats(0, 0.9),
    st.integers(0, 12),
    st.integers(0, 2**32 - 1),
)
def test_windows_give_what_the_whole_gives(
    heights: list[int], widths: list[int], density: float, min_area_px: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    mask = (generator.random((sum(heights), sum(widths))) < density).astype(np.uint8) * 255
    groups, kept = in_windows(mask, heights, widths, min_area_px)
    whole = find_regions(mask, min_area_px)
    assert sorted((one.area_px, one.xyxy) for one in groups.regions) == sorted(
        (one.area_px, one.xyxy) for one in whole
    )
    assert [one.area_px for one in groups.regions] == [one.area_px for one in whole]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    is_kept = stats[:, cv2.CC_STAT_AREA] >= min_area_px
    is_kept[0] = False
    np.testing.assert_array_equal(kept, np.where(is_kept[labels], 255, 0))


def test_a_spiral_through_all_windows_is_one_group() -> None:
    mask = np.zeros((64, 64), np.uint8)
    turns = np.linspace(0, 8 * np.pi, 3000)
    rows, columns = (
        32 + 3.5 * turns / np.pi * np.sin(turns),
        32 + 3.5 * turns / np.pi * np.cos(turns),
    )
    mask[rows.round().astype(int), columns.round().astype(int)] = 255
    groups, kept = in_windows(mask, [8] * 8, [8] * 8, 60)
    (region,) = groups.regions
    assert region.area_px == np.count_nonzero(mask)
    np.testing.assert_array_equal(kept, mask)

"""Patches cover every pixel, and their mean is that of two plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.data.patches import (
    PatchStride,
    average_patches,
    axis_starts,
    plan_patches,
)
from edgecrack.errors import ConfigError

Image = NDArray[np.uint8]


@given(st.integers(1, 300), st.integers(1, 48), st.integers(1, 48))
def test_starts_are_every_nth_position_and_the_last(beyond: int, patch: int, stride: int) -> None:
    length = patch + beyond - 1
    starts = axis_starts(length, patch, stride).tolist()
    regular = [start for start in range(length) if start % stride == 0 and start + patch <= length]
    assert starts == sorted({*regular, length - patch})


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 16))
def test_every_pixel_is_covered_as_often_as_counted(height: int, width: int, stride: int) -> None:
    grid = plan_patches((height, width), PatchStride(16, stride))
    counted = np.zeros(grid.padded_hw, int)
    seen = 0
    for rows, columns in grid.batches(pixels=5 * 16 * 16):
        assert len(rows) <= 5
        for y, x in zip(rows, columns, strict=True):
            counted[y : y + 16, x : x + 16] += 1
            seen += 1
    assert seen == len(grid)
    assert counted.min() >= 1
    np.testing.assert_array_equal(counted, grid.coverage())


def position_dependent(patches: Image) -> Image:
    """Says something else at every place of a patch, and depends on its pixels."""
    ramp = np.arange(patches.shape[-1])
    return ((patches.astype(int) + 7 * ramp + 3 * ramp[:, None]) % 256).astype(np.uint8)


def slow_mean(prepared: Image, patch: int, stride: int, infer: Any) -> NDArray[np.float64]:
    """The paper's test in plain loops; the image is at least as large as a patch."""
    height, width = prepared.shape
    sums, counts = np.zeros((height, width)), np.zeros((height, width))
    for y in sorted({*range(0, height - patch + 1, stride), height - patch}):
        for x in sorted({*range(0, width - patch + 1, stride), width - patch}):
            window = np.s_[y : y + patch, x : x + patch]
            sums[window] += infer(prepared[window])
            counts[window] += 1
    mean: NDArray[np.float64] = sums / counts
    return mean


@pytest.mark.parametrize("stride", [1, 3, 8, 16])
@pytest.mark.parametrize("hw", [(16, 16), (33, 50), (48, 17)])
def test_the_mean_is_that_of_plain_loops(stride: int, hw: tuple[int, int]) -> None:
    prepared = np.random.default_rng(1).integers(0, 256, hw).astype(np.uint8)
    found = average_patches(prepared, PatchStride(16, stride), position_dependent)
    expected = slow_mean(prepared, 16, stride, lambda window: position_dependent(window[None])[0])
    np.testing.assert_array_equal(found, np.rint(expected))


def test_an_image_smaller_than_a_patch_is_mirrored() -> None:
    prepared = np.random.default_rng(2).integers(0, 256, (10, 40)).astype(np.uint8)
    found = average_patches(prepared, PatchStride(16, 4), lambda patches: patches)
    np.testing.assert_array_equal(found, prepared)


@pytest.mark.parametrize(
    ("patch", "stride", "value"),
    [(47, 1, "47"), (8, 1, "8 px"), (0, 1, "0"), (48, 0, "0"), (48, 49, "no gap"), (48, -1, "-1")],
)
def test_misuse_is_refused(patch: int, stride: int, value: str) -> None:
    with pytest.raises(ConfigError, match=value):
        PatchStride(patch, stride)

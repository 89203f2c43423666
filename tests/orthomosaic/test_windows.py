from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.orthomosaic.geotiff import BLOCK_PX, Box, cores

sides = st.integers(1, 9000)


@given(sides, sides, st.sampled_from([512, 1024, 4096]))
def test_cores_cover_a_picture_once(height: int, width: int, largest: int) -> None:
    rows = cores((height, width), largest)
    assert [row[0].top for row in rows] == [
        0, *np.cumsum([row[0].height for row in rows])[:-1].tolist(),
    ]  # fmt: skip
    assert sum(row[0].height for row in rows) == height
    for row in rows:
        assert {(box.top, box.height) for box in row} == {(row[0].top, row[0].height)}
        assert sum(box.width for box in row) == width
        assert [box.left for box in row[1:]] == [box.right for box in row[:-1]]
        for box in row:
            assert max(box.hw) <= largest
            assert box.top % BLOCK_PX == box.left % BLOCK_PX == 0


@pytest.mark.parametrize("length", [4097, 5000, 8193, 30_000])
def test_no_core_is_a_sliver(length: int) -> None:
    """A frame of a few rows would be stretched by itself."""
    assert min(box.width for box in cores((512, length), 4096)[0]) >= 1000


def test_a_margin_ends_at_the_picture() -> None:
    box = Box(0, 512, 512, 300)
    outer = box.grown(100, (512, 1000))
    assert outer == Box(0, 412, 512, 500)
    picture = np.arange(512 * 1000).reshape(512, 1000)
    part = picture[outer.top : outer.bottom, outer.left : outer.right]
    np.testing.assert_array_equal(part[box.within(outer)], picture[:512, 512:812])

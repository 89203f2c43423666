"""16-bit pictures become the 8-bit ones that they hold, wherever in the 16 bits that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgecrack.images.decoding import to_8_bits
from edgecrack.images.nodata import masked_pixels, with_mask
from tests.margins import SHAPES, wall, with_clock


def deep(picture: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """The picture as a camera of so many bits stores it, at the low end of 16."""
    return (picture.astype(np.uint16) << (bits - 8)).astype(np.uint16)


@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_comes_back_whatever_its_bits(bits: int, channels: int) -> None:
    picture = wall() if channels == 1 else np.dstack([wall(seed=seed) for seed in range(3)])
    np.testing.assert_array_equal(to_8_bits(deep(picture, bits)), picture)


def test_a_picture_of_all_16_bits_keeps_its_upper_byte() -> None:
    image = np.random.default_rng(0).integers(0, 1 << 16, (60, 80, 3), dtype=np.uint16)
    np.testing.assert_array_equal(to_8_bits(image), image >> 8)
    scaled = wall().astype(np.uint16) * 257
    np.testing.assert_array_equal(to_8_bits(scaled), wall())


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("level", [0, 1, 37, 55537, 65535])
@pytest.mark.parametrize("name", ["right", "rotated by 4", "letterbox"])
def test_a_margin_does_not_count(bits: int, level: int, name: str) -> None:
    image = deep(wall(), bits)
    hidden = SHAPES[name](*image.shape)
    image[hidden] = level
    result = to_8_bits(image)
    np.testing.assert_array_equal(result[~hidden], wall()[~hidden])
    assert len(np.unique(result[hidden])) == 1


@pytest.mark.parametrize("bits", [10, 12])
def test_stuck_pixels_and_a_clock_do_not_count(bits: int) -> None:
    _, clock = with_clock(wall())
    image = deep(wall(), bits)
    image[clock] = np.where(np.random.default_rng(0).random(clock.sum()) < 0.5, 0, 65535)
    image[100, 100:104] = 40_000
    result = to_8_bits(image)
    clock[100, 100:104] = True
    np.testing.assert_array_equal(result[~clock], wall()[~clock])
    assert (result[100, 100:104] == 255).all()


def test_a_sliver_of_the_range_keeps_its_levels() -> None:
    """A thermal picture: 300 levels of 65,536, of which the upper byte has two."""
    image = 20_000 + np.random.default_rng(1).integers(0, 300, (60, 80), dtype=np.uint16)
    result = to_8_bits(image)
    assert len(np.unique(image >> 8)) == 2
    assert len(np.unique(result)) >= 64
    assert 0 < result.min() < result.max() < 255


@given(
    hnp.arrays(
        np.uint16,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.integers(0, 65535),
    )
)
def test_a_brighter_pixel_never_becomes_a_darker_one(image: NDArray[np.uint16]) -> None:
    result = to_8_bits(image)
    assert result.dtype == np.uint8
    assert result.shape == image.shape
    order = np.argsort(image, axis=None, kind="stable")
    assert (np.diff(result.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("level", [0, 1, 255, 256, 4095, 65535])
def test_a_flat_picture_stays_flat(level: int) -> None:
    for shape in ((1, 1), (40, 50), (40, 50, 3)):
        assert len(np.unique(to_8_bits(np.full(shape, level, dtype=np.uint16)))) == 1


@pytest.mark.parametrize("levels", [(0, 16), (0, 65535), (100, 101), (0, 1), (65534, 65535)])
def test_a_picture_of_two_levels_keeps_both(levels: tuple[int, int]) -> None:
    image = np.full((50, 60), levels[0], dtype=np.uint16)
    image[20, 20:24] = levels[1]
    assert len(np.unique(to_8_bits(image))) == 2


def test_a_mask_stays() -> None:
    hidden = SHAPES["left"](240, 320)
    found = masked_pixels(to_8_bits(with_mask(deep(wall(), 12), hidden)))
    assert found is not None
    np.testing.assert_array_equal(found, hidden)

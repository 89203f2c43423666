"""What is ignored, in the pixels: nothing of it reaches the rest of a frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.images.nodata import fill_nodata, find_nodata, masked_pixels, with_mask
from edgecrack.preprocess import PreprocessConfig, prepare
from tests.margins import SHAPES, wall, with_clock, with_margin

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Content = Callable[[tuple[int, int]], Image]
Shape = Callable[[int, int], Mask]

CONFIGS = {
    "bundled": PreprocessConfig(clahe_clip=0, gamma=1),
    "CLAHE and gamma": PreprocessConfig(),
    "minmax": PreprocessConfig(stretch="minmax"),
}
CONTENTS: dict[str, Content] = {
    "noise": lambda hw: np.random.default_rng(5).integers(0, 256, (*hw, 3), dtype=np.uint8),
    "black": lambda hw: np.zeros((*hw, 3), np.uint8),
    "white": lambda hw: np.full((*hw, 3), 255, np.uint8),
}


def corner(height: int, width: int) -> Mask:
    y, x = np.mgrid[:height, :width]
    return np.asarray(2 * y + x > 1.2 * (height + width))


def picture(hw: tuple[int, int] = (240, 320)) -> Image:
    return np.dstack([wall(*hw)] * 3)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("shape", [corner, SHAPES["half"], SHAPES["letterbox"]])
def test_what_a_frame_shows_there_changes_nothing(
    config: PreprocessConfig, content: Content, shape: Shape
) -> None:
    image = picture()
    hidden = shape(*image.shape[:2])
    ignored = IgnoredPixels(hidden)
    other = image.copy()
    other[hidden] = content(image.shape[:2])[hidden]
    first, second = prepare(image, config, ignored), prepare(other, config, ignored)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    np.testing.assert_array_equal(masked_pixels(first), hidden)
    np.testing.assert_array_equal(masked_pixels(second), hidden)


@given(
    hw=st.tuples(st.integers(2, 60), st.integers(2, 60)),
    seed=st.integers(0, 2**31),
    stretch=st.sampled_from(["percentile", "minmax"]),
)
@settings(max_examples=60)
def test_it_is_so_for_any_pixels_in_any_place(hw: tuple[int, int], seed: int, stretch: str) -> None:
    rng = np.random.default_rng(seed)
    hidden = rng.random(hw) < rng.random()
    hidden[rng.integers(hw[0]), rng.integers(hw[1])] = False
    image = rng.integers(0, 256, (*hw, 3), dtype=np.uint8)
    other = np.where(hidden[..., None], rng.integers(0, 256, 3), image).astype(np.uint8)
    config = PreprocessConfig(stretch=stretch)  # type: ignore[arg-type]
    first, second = (prepare(frame, config, IgnoredPixels(hidden)) for frame in (image, other))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    found = masked_pixels(first)
    assert found is None or found[hidden].all()


@pytest.mark.parametrize("stretch", ["percentile", "minmax"])
def test_a_clock_that_is_ignored_moves_no_contrast(stretch: str) -> None:
    config = PreprocessConfig(clahe_clip=0, gamma=1, stretch=stretch)  # type: ignore[arg-type]
    image = picture()
    clocked, hidden = with_clock(image)
    clean = np.asarray(prepare(image, config))
    found = np.asarray(prepare(clocked, config, IgnoredPixels(hidden)))
    away = np.abs(found[~hidden].astype(int) - clean[~hidden])
    assert away.max() <= 3  # the clean wall's own darkest and brightest may lie behind the clock
    assert away.mean() < 1.5


def test_transparent_pixels_and_margins_are_hidden_besides() -> None:
    image = picture()
    margin, clear = SHAPES["left"](240, 320), np.zeros((240, 320), dtype=np.bool_)
    image[margin] = 0
    clear[100:120, 200:230] = True
    ignored = IgnoredPixels(SHAPES["bottom"](240, 320))
    found = masked_pixels(prepare(with_mask(image, clear), None, ignored))
    assert found is not None
    expected = margin | clear | ignored.mask
    assert found[expected].all()
    assert np.count_nonzero(found & ~expected) < 0.01 * found.size


def test_a_level_counts_as_a_margin_only_where_the_border_is_not_ignored() -> None:
    gray = with_margin(wall(), SHAPES["letterbox"](240, 320), 0)
    lower, upper = SHAPES["bottom"](240, 320), SHAPES["top"](240, 320)
    assert find_nodata(gray, lower | upper) is None
    found = find_nodata(gray, lower)
    assert found is not None
    np.testing.assert_array_equal(found, SHAPES["letterbox"](240, 320))


@given(
    hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60)
def test_it_is_filled_as_what_shows_nothing(hw: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    hidden = rng.random(hw) < 0.6
    hidden[0, 0] = False
    gray = rng.integers(0, 256, hw, dtype=np.uint8)
    ignored = IgnoredPixels(hidden)
    for _ in range(2):  # once with the places made, once with those that were kept
        np.testing.assert_array_equal(ignored.filled(gray), fill_nodata(gray, hidden))
    assert ignored.ratio == pytest.approx(hidden.mean())


def test_sizes_and_shares_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"all pixels of a frame of shape \(4, 6\) are ignored"):
        IgnoredPixels(np.ones((4, 6), dtype=np.bool_))
    ignored = IgnoredPixels(np.eye(4, dtype=np.bool_))
    with pytest.raises(ConfigError, match=r"a frame has shape \(4, 5\)"):
        prepare(np.zeros((4, 5, 3), np.uint8), None, ignored)

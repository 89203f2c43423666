"""The percentile stretch: what it is by definition, and what does not move it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecrack.images.nodata import masked_pixels, with_mask
from edgecrack.preprocess import PreprocessConfig, prepare, preprocess, without_nodata
from tests.margins import (
    SHAPES,
    Image,
    Mask,
    as_jpeg,
    wall,
    with_clock,
    with_margin,
    with_stuck_pixels,
)

STRETCH_ONLY = PreprocessConfig(clahe_clip=0, gamma=1)
FRAMES = hnp.arrays(
    np.uint8, st.tuples(st.integers(2, 12), st.integers(2, 12)), elements=st.integers(1, 254)
)


def slow_stretch(gray: Image, config: PreprocessConfig = STRETCH_ONLY) -> Image:
    """By sorting, without a histogram; for frames without pixels at 0 or 255."""
    ordered = sorted(gray.ravel().tolist())

    def at(percentile: float) -> int:
        needed = percentile / 100 * len(ordered)
        return next(value for rank, value in enumerate(ordered, start=1) if rank >= needed)

    low, high = at(config.low_percentile), at(config.high_percentile)
    if low == high:
        low, high = ordered[0], ordered[-1]
    wider = config.stretch_margin * (high - low)
    low_level, high_level = low - wider, high + wider
    span = max(high_level - low_level, 1.0)
    stretched = (gray.astype(np.float64) - low_level) * (255.0 / span)
    return np.clip(np.rint(stretched), 0, 255).astype(np.uint8)


@given(
    FRAMES,
    st.floats(0, 49),
    st.floats(50, 100),
    st.sampled_from([0.0, 0.25, 0.75, 2.0]),
)
def test_equals_the_definition(gray: Image, low: float, high: float, margin: float) -> None:
    config = replace(STRETCH_ONLY, low_percentile=low, high_percentile=high, stretch_margin=margin)
    np.testing.assert_array_equal(preprocess(gray, config), slow_stretch(gray, config))


def test_a_wall_equals_the_definition_with_all_its_parts() -> None:
    gray, config = wall(), PreprocessConfig()
    clahe = cv2.createCLAHE(clipLimit=config.clahe_clip, tileGridSize=(8, 8))
    equalized = clahe.apply(slow_stretch(gray, config))
    expected = np.rint((np.asarray(equalized) / 255) ** (1 / config.gamma) * 255)
    np.testing.assert_array_equal(preprocess(gray), expected)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_a_brighter_pixel_never_becomes_a_darker_one(gray: Image) -> None:
    result = preprocess(gray, STRETCH_ONLY)
    order = np.argsort(gray, axis=None, kind="stable")
    assert (np.diff(result.ravel()[order].astype(int)) >= 0).all()


def levels(gray: Image, low: float, high: float) -> tuple[int, int]:
    ordered = np.sort(gray, axis=None)
    places = np.clip(np.array([low, high]) * len(ordered), 1, len(ordered))
    return int(ordered[int(np.ceil(places[0])) - 1]), int(ordered[int(np.ceil(places[1])) - 1])


@given(
    st.integers(0, 1000),
    st.lists(st.integers(1, 254), min_size=1, max_size=38),
)
def test_outliers_below_the_percentile_s_share_move_it_by_their_share_at_most(
    seed: int, outliers: list[int]
) -> None:
    """K pixels of N, whatever they hold, move each percentile by less than K/N of the pixels."""
    gray = np.random.default_rng(seed).normal(120, 15, (40, 40)).clip(1, 254).astype(np.uint8)
    changed, share = gray.copy(), len(outliers) / gray.size
    changed.ravel()[: len(outliers)] = outliers
    nearest = levels(gray, 0.05 + share, 0.95 - share)
    farthest = levels(gray, 0.05 - share, 0.95 + share)
    config = replace(STRETCH_ONLY, low_percentile=5, high_percentile=95, stretch_margin=0)
    result = preprocess(changed, config)
    assert (result[changed <= farthest[0]] == 0).all()
    assert (result[changed >= farthest[1]] == 255).all()
    assert (result[(changed > nearest[0]) & (changed < nearest[1])] > 0).all()
    assert (result[(changed > nearest[0]) & (changed < nearest[1])] < 255).all()


@given(st.lists(st.sampled_from([0, 255]), max_size=30), st.integers(0, 5))
def test_stuck_pixels_move_nothing(stuck: list[int], seed: int) -> None:
    """All that they do is to be missing themselves; margins of two levels for their ranks."""
    gray = wall(seed=seed)
    changed = gray.copy()
    places = np.random.default_rng(seed).choice(gray.size, len(stuck), replace=False)
    changed.ravel()[places] = stuck
    others = np.ones(gray.size, dtype=np.bool_)
    others[places] = False
    difference = np.abs(
        preprocess(changed, STRETCH_ONLY).astype(int) - preprocess(gray, STRETCH_ONLY)
    )
    assert difference.ravel()[others].max() <= 4


@given(FRAMES, st.integers(1, 4), st.integers(0, 40))
def test_a_change_of_exposure_and_offset_changes_rounding_only(
    gray: Image, gain: int, offset: int
) -> None:
    darker = (gray // 6 + 1).astype(np.uint8)
    changed = (darker * gain + offset).astype(np.uint8)  # at most 43 * 4 + 40
    first, second = preprocess(darker, STRETCH_ONLY), preprocess(changed, STRETCH_ONLY)
    # A range of one level only is widened to one level, which a gain does not stretch.
    if darker.min() != darker.max():
        assert np.abs(first.astype(int) - second).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("config", [PreprocessConfig(), PreprocessConfig(stretch="minmax")])
def test_more_bits_of_the_same_picture_give_the_same(bits: int, config: PreprocessConfig) -> None:
    picture = np.dstack([wall(seed=seed) for seed in range(3)])
    deep = (picture.astype(np.uint16) << (bits - 8)).astype(np.uint16)
    np.testing.assert_array_equal(preprocess(deep, config), preprocess(picture, config))
    np.testing.assert_array_equal(
        preprocess(deep[..., 0], config), preprocess(picture[..., 0], config)
    )


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 20), st.integers(1, 20)),
        elements=st.integers(1, 254),
    )
)
def test_sixteen_times_the_levels_in_16_bits_are_within_one_level(gray: Image) -> None:
    deep = gray.astype(np.uint16) * 16
    difference = preprocess(deep, STRETCH_ONLY).astype(int) - preprocess(gray, STRETCH_ONLY)
    assert np.abs(difference).max() <= 1


# ---- what shows nothing


def changed_most(changed: Image, gray: Image, compared: Mask, config: PreprocessConfig) -> float:
    """By how many levels the 99 % of the compared pixels that changed least did change."""
    difference = np.abs(preprocess(changed, config).astype(int) - preprocess(gray, config))
    return float(np.percentile(difference[compared], 99))


@pytest.mark.parametrize("level", [0, 255, 37])
@pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"half"}))
def test_a_margin_changes_the_rest_little(name: str, level: int) -> None:
    """The light falls off to one side, so that what is left over is not quite the same wall."""
    gray, hidden = wall(), SHAPES[name](240, 320)
    changed = with_margin(gray, hidden, level)
    compared = ~hidden
    robust = changed_most(changed, gray, compared, STRETCH_ONLY)
    assert robust <= 14
    if level != 37:
        minmax = replace(STRETCH_ONLY, stretch="minmax")
        assert robust < changed_most(changed, gray, compared, minmax) / 2


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("name", ["right", "rotated by 20", "letterbox", "ragged"])
def test_local_contrast_beside_a_margin_is_what_it_would_be(name: str, level: int) -> None:
    gray, hidden = wall(), SHAPES[name](240, 320)
    changed = with_margin(gray, hidden, level)
    robust = np.abs(preprocess(changed).astype(int) - preprocess(gray))[~hidden].mean()
    minmax = PreprocessConfig(stretch="minmax")
    before = np.abs(preprocess(changed, minmax).astype(int) - preprocess(gray, minmax))
    assert robust < before[~hidden].mean() / 2


@pytest.mark.parametrize("lossy", [False, True])
def test_a_clock_changes_the_rest_little(lossy: bool) -> None:
    gray = wall()
    changed, clock = with_clock(gray)
    if lossy:
        changed, gray = as_jpeg(changed), as_jpeg(gray)
    assert 0.02 < clock.mean() < 0.05
    around = cv2.dilate(clock.astype(np.uint8), np.ones((17, 17))) > 0
    assert changed_most(changed, gray, ~around, STRETCH_ONLY) <= 5
    assert masked_pixels(prepare(changed)) is not None


@pytest.mark.parametrize("count", [1, 2, 20])
def test_stuck_pixels_in_colour_frames(count: int) -> None:
    frame = np.dstack([wall(seed=seed) for seed in range(3)])
    changed = with_stuck_pixels(frame, count)
    same = (changed == frame).all(axis=2)
    difference = np.abs(
        preprocess(changed, STRETCH_ONLY).astype(int) - preprocess(frame, STRETCH_ONLY)
    )
    assert difference[same].max() <= 2


def test_what_shows_nothing_is_masked_and_nothing_else() -> None:
    gray, hidden = wall(), SHAPES["ragged"](240, 320)
    found = masked_pixels(prepare(with_margin(gray, hidden, 0)))
    assert found is not None
    np.testing.assert_array_equal(found, hidden)
    assert masked_pixels(prepare(gray)) is None
    assert not isinstance(preprocess(with_margin(gray, hidden, 0)), np.ma.MaskedArray)


def test_transparent_pixels_count_nowhere() -> None:
    frame = np.dstack([wall()] * 3)
    hidden = np.zeros((240, 320), dtype=np.bool_)
    hidden[80:140, 100:220] = True
    first, second = frame.copy(), frame.copy()
    first[hidden], second[hidden] = (0, 0, 255), 130
    results = [prepare(with_mask(image, hidden)) for image in (first, second)]
    np.testing.assert_array_equal(np.asarray(results[0]), np.asarray(results[1]))
    for result in results:
        found = masked_pixels(result)
        assert found is not None
        np.testing.assert_array_equal(found, hidden)


def test_a_frame_that_is_transparent_throughout_is_prepared_as_if_it_were_not() -> None:
    frame = np.dstack([wall()] * 3)
    result = prepare(with_mask(frame, np.ones((240, 320), dtype=np.bool_)))
    np.testing.assert_array_equal(np.asarray(result), preprocess(frame))
    assert np.ma.getmaskarray(result).all()


def test_transparency_and_margins_do_not_exist_for_minmax() -> None:
    """Models trained with it get what they were trained on, bit by bit."""
    config = PreprocessConfig(stretch="minmax")
    frame = with_margin(np.dstack([wall()] * 3), SHAPES["left"](240, 320), 0)
    transparent = with_mask(frame, SHAPES["top"](240, 320))
    result = prepare(transparent, config)
    assert masked_pixels(result) is None
    np.testing.assert_array_equal(result, preprocess(frame, config))


def test_a_vignette_and_a_black_shadow_are_part_of_the_picture() -> None:
    y, x = np.mgrid[-1:1:240j, -1:1:320j]
    dark = wall() // 3 + 1
    vignette = (dark * np.clip(1.35 - 0.8 * (x**2 + y**2), 0, 1)).astype(np.uint8)
    shadow = dark.copy()
    shadow[:, :60] = 0
    shadow[:, 60:100] = (shadow[:, 60:100] * np.linspace(0, 1, 40)[None]).astype(np.uint8)
    for frame in (vignette, shadow):
        assert masked_pixels(prepare(frame)) is None
    # The wall beside the shadow keeps its contrast: no pixel of it is cut off.
    beside = preprocess(shadow, STRETCH_ONLY)[:, 110:]
    assert np.count_nonzero((beside > 0) & (beside < 255)) > 0.99 * beside.size


@pytest.mark.parametrize("level", [0, 1, 127, 255])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 64), (64, 300)])
def test_a_flat_frame_stays_flat_and_its_level_does_not_matter(
    size: tuple[int, int], level: int
) -> None:
    gray = np.full(size, level, dtype=np.uint8)
    assert masked_pixels(prepare(gray)) is None
    np.testing.assert_array_equal(preprocess(gray), preprocess(np.zeros(size, dtype=np.uint8)))


def test_a_thin_line_on_a_flat_wall_stays_visible() -> None:
    gray = np.full((100, 100), 140, dtype=np.uint8)
    gray[50, 20:80] = 60
    result = preprocess(gray, STRETCH_ONLY)
    assert int(result[0, 0]) - int(result[50, 50]) > 80


def test_probability_is_0_where_nothing_is_shown() -> None:
    hidden = SHAPES["left"](240, 320)
    probability = np.full((240, 320), 200, dtype=np.uint8)
    result = without_nodata(probability.copy(), prepare(with_margin(wall(), hidden, 0)))
    np.testing.assert_array_equal(result, np.where(hidden, 0, 200))
    np.testing.assert_array_equal(without_nodata(probability, prepare(wall())), probability)

"""Parts of a frame that show nothing are found exactly; what only looks like one is left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecrack.images.nodata import (
    blur_nodata,
    constant_margins,
    fill_nodata,
    find_nodata,
    masked_pixels,
    with_mask,
)
from tests.margins import SHAPES, Image, Mask, as_jpeg, wall, with_clock, with_margin


def found_in(gray: Image) -> Mask:
    found = find_nodata(gray)
    assert found is not None
    return found


def within(mask: Mask, distance_px: int) -> Mask:
    box = np.ones((2 * distance_px + 1, 2 * distance_px + 1), dtype=np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), box), dtype=np.bool_)


@pytest.mark.parametrize("level", [0, 255, 16, 37, 128, 190])
@pytest.mark.parametrize("name", SHAPES)
def test_a_constant_margin_is_found_to_the_pixel(name: str, level: int) -> None:
    gray = wall()
    hidden = SHAPES[name](*gray.shape)
    found = found_in(with_margin(gray, hidden, level))
    # Only a corner so narrow that it could be a line, or neighbours of the same level, may differ.
    assert np.count_nonzero(found != hidden) <= 0.002 * hidden.size
    assert not (found & ~within(hidden, 4)).any()


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("quality", [60, 85, 95])
@pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"thin"}))
def test_a_lossy_margin_is_found_with_its_waves(name: str, quality: int, level: int) -> None:
    gray = wall()
    hidden = SHAPES[name](*gray.shape)
    found = found_in(as_jpeg(with_margin(gray, hidden, level), quality))
    # Of a wedge the blocks at the tip hold more waves than margin.
    missed = 0.15 if name == "rotated by 4" else 0.03
    assert np.count_nonzero(hidden & ~found) <= missed * np.count_nonzero(hidden)
    assert not (found & ~within(hidden, 8)).any()
    assert np.count_nonzero(found & ~hidden) <= 0.01 * hidden.size


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("width_px", [3, 5])
@pytest.mark.parametrize("name", ["rotated by 4", "rotated by 20", "left", "ragged"])
def test_pixels_that_are_mixed_from_both_sides_belong_to_the_margin(
    name: str, width_px: int, level: int
) -> None:
    gray, hidden = wall(), SHAPES[name](240, 320)
    share = cv2.blur((~hidden).astype(np.float64), (width_px, width_px))
    mixed = (gray * share + level * (1 - share)).astype(np.uint8)
    found = found_in(mixed)
    left_over = np.count_nonzero((share < 0.6) & ~found)
    assert left_over <= 0.04 * np.count_nonzero(hidden)
    assert not (found & ~within(hidden, 5)).any()


def test_two_levels_and_a_stuck_pixel_in_the_margin() -> None:
    gray = wall()
    hidden = SHAPES["top"](*gray.shape)
    both = with_margin(gray, hidden, 0)
    both[:, 300:] = 255
    both[20, 30:33] = 90
    assert np.array_equal(found_in(both), hidden | (np.arange(320) >= 300)[None])


def test_a_clock_in_the_margin_stays_visible_as_a_line_does() -> None:
    hidden = SHAPES["top"](240, 320)
    found = found_in(with_clock(with_margin(wall(), hidden, 0))[0])
    assert found[:, 140:][hidden[:, 140:]].all()
    assert not found[~hidden].any()


def test_a_dark_frame() -> None:
    gray = wall() // 4
    hidden = SHAPES["rotated by 4"](*gray.shape)
    assert np.array_equal(found_in(with_margin(gray, hidden, 0)), hidden)


def vignette() -> Image:
    y, x = np.mgrid[-1:1:240j, -1:1:320j]
    light = np.clip(1.35 - 0.8 * (x**2 + y**2), 0, 1)
    return np.asarray(wall() * light, dtype=np.uint8)


def soft_shadow() -> Image:
    """Truly black along the left border, fading over 40 px."""
    fade = np.clip((np.arange(320) - 60) / 40, 0, 1)
    return (wall() * fade[None]).astype(np.uint8)


def crushed_crack(width_px: int = 40) -> Image:
    """A crack that is black throughout and crosses the frame."""
    gray = wall()
    gray[:, 140 : 140 + width_px] = 0
    return gray


def line_on_a_flat_wall() -> Image:
    gray = np.full((240, 320), 140, dtype=np.uint8)
    gray[100:104, 20:300] = 60
    gray[50, 50] = 250
    return gray


def smooth_ramp() -> Image:
    return np.tile(np.linspace(20, 220, 240).astype(np.uint8)[:, None], (1, 320))


@pytest.mark.parametrize(
    "gray",
    [
        wall(),
        wall() // 8,
        vignette(),
        soft_shadow(),
        crushed_crack(),
        line_on_a_flat_wall(),
        smooth_ramp(),
        smooth_ramp().T.copy(),
        np.random.default_rng(0).integers(0, 2, (200, 200), dtype=np.uint8) * 255,
        with_clock(wall())[0],
        np.zeros((100, 100), dtype=np.uint8),
        np.full((64, 300), 255, dtype=np.uint8),
        np.full((100, 100), 77, dtype=np.uint8),
        np.repeat(np.array([0, 255], dtype=np.uint8), 50)[None].repeat(100, axis=0),
        wall(20, 20),
        wall(1, 400),
        np.zeros((1, 1), dtype=np.uint8),
    ],
    ids=[
        "wall", "dark wall", "vignette", "black shadow that fades", "black crack",
        "line on a flat wall", "ramp",
        "ramp across", "black and white noise", "clock", "black", "white", "gray", "two halves",
        "small", "a row", "a pixel",
    ],
)  # fmt: skip
def test_what_is_no_margin_is_left_alone(gray: Image) -> None:
    assert find_nodata(gray) is None


def test_a_crack_in_an_overexposed_wall_stays_visible() -> None:
    gray = np.full((240, 320), 255, dtype=np.uint8)
    gray[:, 220:] = wall()[:, 220:]
    gray[100:103, 20:200] = 60
    found = found_in(gray)
    assert not found[90:113, 20:200].any()
    assert found[:60, :150].all()


def test_a_line_of_the_margin_s_level_is_no_part_of_it() -> None:
    """A black crack that runs into a black margin."""
    gray = with_margin(wall(), SHAPES["left"](240, 320), 0)
    gray[100:104, 64:200] = 0
    found = found_in(gray)
    assert not found[100:104, 72:].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_margins_for_statistics_need_no_edge(dtype: type[np.unsignedinteger]) -> None:
    gray = soft_shadow().astype(dtype)
    margins = constant_margins(gray)
    assert margins[:, :60].all()
    assert not margins[:, 80:].any()


# ---- filling


def slow_fill(gray: Image, hidden: Mask) -> Image:
    """Each hidden pixel from beyond the nearest visible one, or that one itself."""
    filled = gray.copy()
    visible = np.argwhere(~hidden)
    for y, x in np.argwhere(hidden):
        edge = visible[((visible - (y, x)) ** 2).sum(axis=1).argmin()]
        mirrored = np.clip(2 * edge - (y, x), 0, np.array(gray.shape) - 1)
        filled[y, x] = gray[tuple(edge if hidden[tuple(mirrored)] else mirrored)]
    return filled


@pytest.mark.parametrize("name", ["left", "right", "top", "bottom", "half", "letterbox"])
def test_bars_are_filled_with_what_lies_beyond_their_edge(name: str) -> None:
    gray = wall(40, 48)
    hidden = SHAPES[name](40, 48)
    filled = fill_nodata(gray, hidden)
    assert np.array_equal(filled, slow_fill(gray, hidden))


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_filling_keeps_what_is_visible_and_invents_no_level(hidden: Mask) -> None:
    gray = np.random.default_rng(1).integers(0, 256, hidden.shape, dtype=np.uint8)
    filled = fill_nodata(gray, hidden)
    assert np.array_equal(filled[~hidden], gray[~hidden])
    if not hidden.all():
        assert np.isin(filled, gray[~hidden]).all()
    else:
        assert np.array_equal(filled, gray)


def test_blurring_changes_nothing_visible_and_leaves_no_texture() -> None:
    gray, hidden = wall(), SHAPES["right"](240, 320)
    filled = fill_nodata(gray, hidden)
    blurred = blur_nodata(filled, hidden)
    assert np.array_equal(blurred[~hidden], gray[~hidden])
    assert blurred[:, 280:].std() < filled[:, 280:].std() / 1.5
    # No edge where the two meet.
    assert abs(float(blurred[:, 256:260].mean()) - float(gray[:, 252:256].mean())) < 3


# ---- masks


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_a_mask_comes_back(shape: tuple[int, ...]) -> None:
    image, hidden = np.ones(shape, dtype=np.uint8), np.zeros(shape[:2], dtype=np.bool_)
    assert masked_pixels(image) is None
    assert masked_pixels(with_mask(image, hidden)) is None
    hidden[1, 2] = True
    found = masked_pixels(with_mask(image, hidden))
    assert found is not None
    assert np.array_equal(found, hidden)

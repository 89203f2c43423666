"""Burnt-in text is found, and what has the limits of a picture in another way is not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edgecrack.images.nodata import find_text
from tests.margins import (
    SHAPES,
    Image,
    Mask,
    as_jpeg,
    wall,
    with_clock,
    with_margin,
    with_outlined_text,
    with_stuck_pixels,
)


def within(mask: Mask, distance_px: int) -> Mask:
    box = np.ones((2 * distance_px + 1, 2 * distance_px + 1), dtype=np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), box), dtype=np.bool_)


def negative(image: Image) -> Image:
    return 255 - image


@pytest.mark.parametrize("quality", [None, 95, 75])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", [with_clock, with_outlined_text])
def test_text_is_found_with_its_box_or_outline(
    draw: Callable[[Image], tuple[Image, Mask]], seed: int, quality: int | None
) -> None:
    changed, text = draw(wall(seed=seed))
    found = find_text(changed if quality is None else as_jpeg(changed, quality))
    assert found is not None
    assert np.count_nonzero(text & ~found) <= 0.02 * np.count_nonzero(text)
    assert not (found & ~within(text, 8)).any()


def test_black_digits_in_a_white_box() -> None:
    changed, text = with_clock(wall())
    changed[text] = negative(changed)[text]
    found = find_text(changed)
    assert found is not None
    assert found[text].all()


def test_text_in_several_places_is_found_as_each_is() -> None:
    """Above one another, beside one another, and with a row between them that is empty or not."""
    frame = np.vstack([wall(seed=seed) for seed in range(3)])
    frame = np.hstack([frame, negative(frame)])
    height, width = wall().shape
    text = np.zeros(frame.shape, dtype=np.bool_)
    for row, column in ((0, 0), (0, 1), (2, 1)):
        part = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
        frame[part], text[part] = with_clock(frame[part])
    before = frame.copy()
    found = find_text(frame)
    assert found is not None
    assert np.count_nonzero(text & ~found) <= 0.02 * np.count_nonzero(text)
    assert not (found & ~within(text, 8)).any()
    np.testing.assert_array_equal(frame, before)


def test_pieces_are_labelled_only_in_rows_that_hold_some() -> None:
    """Labels take four bytes per pixel, which of a frame of 50 Mpx would be 200 MB."""
    frame = np.tile(wall(), (8, 6))
    part = np.s_[: wall().shape[0], : wall().shape[1]]
    frame[part], _ = with_clock(frame[part])
    tracemalloc.start()
    try:
        found = find_text(frame)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert peak < 7 * frame.size


def black_crack_in_an_overexposed_wall() -> Image:
    gray = wall()
    gray[60:120, 100:180] = 255
    gray[90:96, 100:180] = 0
    gray[60:120, 140:146] = 0
    return gray


def drawing() -> Image:
    """Black lines on white paper: here they are the picture."""
    gray = np.full((240, 320), 255, dtype=np.uint8)
    gray[::12, :] = gray[:, ::9] = 0
    return gray


@pytest.mark.parametrize(
    "gray",
    [
        wall(),
        wall() // 8,
        with_stuck_pixels(wall(), 200),
        with_margin(wall(), SHAPES["left"](240, 320), 0),
        with_margin(with_margin(wall(), SHAPES["left"](240, 320), 0), SHAPES["top"](240, 320), 255),
        black_crack_in_an_overexposed_wall(),
        drawing(),
        np.random.default_rng(0).choice(np.array([0, 255], dtype=np.uint8), (200, 200)),
        np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8),
        np.zeros((50, 50), dtype=np.uint8),
        np.full((1, 1), 255, dtype=np.uint8),
    ],
    ids=[
        "wall", "dark wall", "stuck pixels", "margin", "two margins", "black crack on white",
        "drawing", "black and white noise", "noise", "black", "a pixel",
    ],
)  # fmt: skip
def test_what_is_no_text_is_left_alone(gray: Image) -> None:
    assert find_text(gray) is None

"""Width classes and contrast against slow and obvious references."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.yardstick.strata import (
    CONTRAST_CLASSES,
    WIDTH_CLASSES,
    WIDTH_EDGES_PX,
    contrast_class,
    contrast_of,
    typical_width_class,
    width_class,
    width_classes,
)


def band(width_px: int, angle_deg: float = 0.0, side: int = 160) -> NDArray[np.bool_]:
    """A straight crack through the middle: pixels whose centre is within half its width."""
    ys, xs = np.mgrid[:side, :side] - (side - 1 + (width_px % 2 == 1)) / 2.0
    angle = np.deg2rad(angle_deg)
    return np.asarray(np.abs(ys * np.cos(angle) - xs * np.sin(angle)) < width_px / 2.0)


@pytest.mark.parametrize(
    ("width_px", "expected"),
    [(0.5, 0), (1, 0), (2.9, 0), (3, 1), (7.9, 2), (8, 3), (12, 4), (39, 5), (40, 6), (500, 6)],
)
def test_a_width_has_a_class_and_an_edge_belongs_to_the_wider_one(
    width_px: float, expected: int
) -> None:
    assert width_class(width_px) == expected


@pytest.mark.parametrize("width_px", [1, 2, 3, 4, 5, 7, 8, 11, 12, 19, 20, 39, 40, 60])
def test_every_pixel_of_a_straight_crack_is_of_its_class(width_px: int) -> None:
    truth = band(width_px)
    found = width_classes(truth)
    assert set(found[truth].tolist()) == {width_class(width_px)}
    assert set(found[~truth].tolist()) == {-1}


@pytest.mark.parametrize("angle_deg", [17.0, 45.0, 71.0])
@pytest.mark.parametrize("width_px", [4, 6, 10, 16, 30])
def test_a_slanting_crack_in_the_middle_of_its_class_is_of_it(
    width_px: int, angle_deg: float
) -> None:
    truth = band(width_px, angle_deg)
    found = width_classes(truth)[20:-20, 20:-20]
    own = np.mean(found[truth[20:-20, 20:-20]] == width_class(width_px))
    assert own > 0.97


def opened_by_discs(truth: NDArray[np.bool_]) -> NDArray[np.int8]:
    """The same by trying every centre of every disc on the doubled grid."""
    doubled = np.repeat(np.repeat(truth, 2, axis=0), 2, axis=1)
    height, width = doubled.shape
    result = np.where(truth, 0, -1).astype(np.int8)
    zeros = np.argwhere(~doubled)
    ys, xs = np.mgrid[:height, :width]
    for index, least_px in enumerate(WIDTH_EDGES_PX[1:-1], start=1):
        covered = np.zeros_like(doubled)
        for y, x in np.argwhere(doubled):
            nearest = np.inf if not len(zeros) else np.hypot(*(zeros - (y, x)).T).min()
            if nearest >= least_px - 0.5:
                covered |= np.hypot(ys - y, xs - x) < least_px
        small = covered.reshape(height // 2, 2, width // 2, 2).any((1, 3))
        result[small & truth] = index
    return result


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_classes_are_those_of_the_largest_disc_that_covers_a_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    canvas = np.zeros((24, 28), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        ends = rng.integers(0, 28, (2, 2))
        thickness = int(rng.integers(1, 12))
        cv2.line(canvas, ends[0].tolist(), ends[1].tolist(), 1, thickness)
    truth = canvas > 0
    truth[0, 0] = False
    different = width_classes(truth) != opened_by_discs(truth)
    # OpenCV's fast distances are off by a hundredth of a pixel, which may tip single pixels.
    assert different.mean() < 0.01


def test_a_hairline_beside_a_wide_crack_keeps_its_class() -> None:
    truth = np.zeros((120, 120), bool)
    truth[:, 20:50] = True
    truth[:, 80:82] = True
    found = width_classes(truth)
    assert set(found[:, 20:50].ravel().tolist()) == {width_class(30)}
    assert set(found[:, 80:82].ravel().tolist()) == {0}


def test_the_longer_crack_decides_not_the_one_with_more_pixels() -> None:
    truth = np.zeros((200, 200), bool)
    truth[:30, 20:50] = True
    truth[:, 120:122] = True
    assert typical_width_class(width_classes(truth)) == 0
    assert typical_width_class(width_classes(np.zeros((9, 9), bool))) is None


def test_contrast_is_the_share_of_the_surface_that_is_missing() -> None:
    truth = band(6)
    image = np.where(truth, 60, 120).astype(np.uint8)
    assert contrast_of(image, truth) == pytest.approx(0.5)
    assert contrast_of(np.dstack([image] * 3), truth) == pytest.approx(0.5)
    assert contrast_of(np.where(truth, 180, 120).astype(np.uint8), truth) == pytest.approx(-0.5)


def test_contrast_of_nothing_is_none() -> None:
    image = np.full((40, 40), 90, np.uint8)
    assert contrast_of(image, np.zeros((40, 40), bool)) is None
    assert contrast_of(image, np.ones((40, 40), bool)) is None


def test_classes_have_names() -> None:
    assert len(WIDTH_CLASSES) == len(WIDTH_EDGES_PX) - 1
    assert CONTRAST_CLASSES[contrast_class(0.1)] == "faint"
    assert CONTRAST_CLASSES[contrast_class(0.2)] == "clear"
    assert CONTRAST_CLASSES[contrast_class(0.9)] == "strong"

"""Cracks of whole images: lines, lengths, widths and what is refused."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement import measure_image

Image = NDArray[np.uint8]
FINER = 8


def picture(
    lines: list[list[tuple[float, float]]], width_px: float, hw: tuple[int, int] = (160, 200)
) -> tuple[Image, NDArray[np.bool_]]:
    """Dark lines on a noisy surface, and their mask."""
    canvas = np.full((hw[0] * FINER, hw[1] * FINER), 255, np.uint8)
    for line in lines:
        points = np.round(np.array(line) * FINER * 16).astype(np.int32)
        cv2.polylines(canvas, [points], False, 0, 1, cv2.LINE_8, 4)
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = np.clip(width_px / 2 * FINER - distance + 0.5, 0, 1)
    light = cv2.GaussianBlur(1 - 0.85 * inside, (0, 0), 1.0 * FINER)
    small = light.reshape(hw[0], FINER, hw[1], FINER).mean(axis=(1, 3))
    mask = inside.reshape(hw[0], FINER, hw[1], FINER).mean(axis=(1, 3)) > 0.3
    noise = np.random.default_rng(0).normal(0, 3, hw)
    image = np.clip(170 * small ** (1 / 2.2) + noise, 0, 255).astype(np.uint8)
    return image, mask


@pytest.mark.parametrize("width_px", [2.0, 4.0, 9.0])
def test_length_and_width_of_a_slanting_crack(width_px: float) -> None:
    begin, end = (20.0, 30.0), (180.0, 130.0)
    image, mask = picture([[begin, end]], width_px)
    (crack,) = measure_image(image, mask)
    assert crack.length_px == pytest.approx(math.dist(begin, end), rel=0.04)
    assert crack.mean is not None
    assert crack.mean.low_px <= width_px <= crack.mean.high_px
    assert crack.mean.value_px == pytest.approx(width_px, abs=0.3)
    assert crack.orientation_deg == pytest.approx(32.0, abs=1)
    assert crack.confidence == 1
    assert crack.area_px == np.count_nonzero(mask)
    line = crack.lines[0].xy
    away = abs((line[:, 1] - 30) * 160 - (line[:, 0] - 20) * 100) / math.hypot(160, 100)
    assert away.max() < 1.0


def test_a_colour_image_and_each_kind_of_mask() -> None:
    image, mask = picture([[(10, 80), (190, 80)]], 4.0)
    colour = np.dstack([image] * 3)
    kinds = [mask, mask.astype(np.uint8), mask.astype(np.uint8) * 255, mask.astype(np.float32)]
    found = [measure_image(colour, kind) for kind in kinds]
    lengths = {round(cracks[0].length_px, 6) for cracks in found}
    assert len(lengths) == 1
    assert {len(cracks) for cracks in found} == {1}


def test_weak_parts_are_followed_from_strong_ones() -> None:
    image, mask = picture([[(10, 40), (190, 40)], [(10, 120), (190, 120)]], 4.0)
    probability = np.where(mask, 0.3, 0.0)
    probability[:80, :60] = np.where(mask[:80, :60], 0.9, 0.0)
    (crack,) = measure_image(image, probability)
    assert crack.length_px == pytest.approx(180, rel=0.05)
    assert 0.3 < crack.confidence < 0.9


def test_where_cracks_meet_nothing_is_measured() -> None:
    image, mask = picture(
        [[(100, 10), (100, 80)], [(100, 80), (30, 150)], [(100, 80), (170, 150)]], 4.0
    )
    (crack,) = measure_image(image, mask)
    assert len(crack.lines) == 3
    assert crack.refused.get("cracks meet there", 0) >= 3
    for row in crack.rows:
        if row.width.measurable:
            assert math.dist(row.xy, (100, 80)) > 4
    assert crack.median is not None
    assert crack.median.value_px == pytest.approx(4.0, abs=0.4)


def test_a_wide_crack_does_not_spoil_what_is_known_of_narrow_ones() -> None:
    """Very wide ones are measured on shrunk profiles, in which the blur is another."""
    wide, mask_of_wide = picture([[(10, 40), (190, 40)]], 36.0)
    narrow, mask_of_narrow = picture([[(10, 120), (190, 120)]], 2.0)
    image, mask = wide.copy(), mask_of_wide.copy()
    image[90:], mask[90:] = narrow[90:], mask_of_narrow[90:]
    cracks = measure_image(image, mask)
    by_width = sorted(cracks, key=lambda crack: crack.area_px)
    for crack, width_px in zip(by_width, (2.0, 36.0), strict=True):
        assert crack.mean is not None
        assert crack.mean.low_px <= width_px <= crack.mean.high_px
        assert crack.mean.value_px == pytest.approx(width_px, abs=0.1 * width_px + 0.2)


def test_statistics_are_in_order() -> None:
    image, mask = picture([[(10, 80), (190, 80)]], 5.0)
    (crack,) = measure_image(image, mask)
    assert crack.mean is not None
    assert crack.median is not None
    assert crack.percentile_95 is not None
    assert crack.largest is not None
    assert crack.median.value_px <= crack.percentile_95.value_px <= crack.largest.value_px
    assert crack.mean.low_px < crack.median.value_px < crack.mean.high_px
    assert crack.mean.low_px < 5.0 < crack.mean.high_px
    assert crack.mean.high_px - crack.mean.low_px < 0.6


def test_a_mask_on_a_plain_surface_is_a_line_without_widths() -> None:
    """What the network marked in error must not get a number."""
    image = np.clip(np.random.default_rng(1).normal(150, 3, (120, 160)), 0, 255).astype(np.uint8)
    mask = np.zeros((120, 160), bool)
    mask[58:62, 20:140] = True
    (crack,) = measure_image(image, mask)
    measured = [row for row in crack.rows if row.width.measurable]
    assert len(measured) <= len(crack.rows) / 3


@pytest.mark.parametrize(
    ("image", "crack", "problem"),
    [
        (np.zeros((9, 9), np.uint16), np.zeros((9, 9), bool), "uint16"),
        (np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9), bool), r"\(9, 9, 4\)"),
        (np.zeros((0, 9), np.uint8), np.zeros((0, 9), bool), r"\(0, 9\)"),
        (np.zeros((9, 9), np.uint8), np.zeros((8, 9), bool), r"9x9 px, but the mask has the shape"),
        (np.zeros((9, 9), np.uint8), np.full((9, 9), 2.0), "values outside 0 to 1"),
        (np.zeros((9, 9), np.uint8), np.full((9, 9), np.nan), "values outside 0 to 1"),
    ],
)
def test_what_is_no_image_or_no_mask(image: Image, crack: NDArray[Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        measure_image(image, crack)


def test_a_threshold_that_is_none() -> None:
    image = np.zeros((9, 9), np.uint8)
    with pytest.raises(ConfigError, match="threshold is 0"):
        measure_image(image, np.zeros((9, 9), bool), threshold=0)


def test_bits_and_pieces() -> None:
    image, mask = picture([[(10, 80), (190, 80)]], 4.0)
    assert measure_image(image, np.zeros_like(mask)) == []
    short = np.zeros_like(mask)
    short[50:52, 50:55] = True
    assert measure_image(image, short) == []
    for size in ((1, 1), (3, 200), (9, 9)):
        found = measure_image(np.full(size, 90, np.uint8), np.ones(size, bool))
        assert not any(crack.measurable for crack in found)
    at_border = np.zeros_like(mask)
    at_border[0:2] = True
    (crack,) = measure_image(image, at_border)
    assert not crack.measurable
    assert set(crack.refused) == {"it is at the image border"}


@pytest.mark.parametrize("sigma_px", [3.5, 5.0])
def test_a_crack_out_of_focus_has_no_width(sigma_px: float) -> None:
    """Its depth and width can no longer be told, and a number would look right."""
    image, mask = picture([[(10, 80), (190, 80)]], 6.0)
    blurred = cv2.GaussianBlur(image, (0, 0), sigma_px)
    noisy = blurred + np.random.default_rng(2).normal(0, 2, image.shape)
    (crack,) = measure_image(np.clip(noisy, 0, 255).astype(np.uint8), mask)
    assert not crack.measurable
    assert "it is too blurred" in crack.refused


def test_a_crack_smeared_by_motion_has_no_width() -> None:
    image, mask = picture([[(10, 80), (190, 80)]], 6.0)
    smeared = cv2.blur(image, (1, 15))
    noisy = smeared + np.random.default_rng(2).normal(0, 2, image.shape)
    (crack,) = measure_image(np.clip(noisy, 0, 255).astype(np.uint8), mask)
    assert not crack.measurable

"""Outlines and their coverage, against slow sums over sub-pixels, and masks that hold together."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.synthetic.canvas import FloatArray
from edgecrack.yardstick.geometry import (
    CrackOutline,
    Shape,
    coverage,
    draw_branch,
    draw_outline,
    exact_mask,
    scan_lines,
)


def band(
    middle_xy: tuple[float, float], angle_rad: float, width_px: float, length_px: float = 300.0
) -> CrackOutline:
    """A straight crack of constant width."""
    along = np.linspace(-0.5, 0.5, 301)[:, None] * length_px
    heading = np.array([np.cos(angle_rad), np.sin(angle_rad)])
    across = 0.5 * width_px * np.array([-heading[1], heading[0]])
    line = np.array(middle_xy) + along * heading
    return CrackOutline((line + across).astype(np.float32), (line - across).astype(np.float32))


def slow_band_coverage(
    hw: tuple[int, int],
    middle_xy: tuple[float, float],
    angle_rad: float,
    width_px: float,
    fineness: int = 16,
) -> FloatArray:
    """The share of each pixel's 16 x 16 sub-pixels that lie within half a width of the line."""
    covered = np.zeros(hw, dtype=np.float32)
    offsets = (np.arange(fineness) + 0.5) / fineness - 0.5
    for y in range(hw[0]):
        for x in range(hw[1]):
            ys, xs = y + offsets[:, None] - middle_xy[1], x + offsets[None, :] - middle_xy[0]
            distance = np.abs(-np.sin(angle_rad) * xs + np.cos(angle_rad) * ys)
            covered[y, x] = np.mean(distance <= 0.5 * width_px)
    return covered


def shape(width_px: float, crosses: bool = True) -> Shape:
    return Shape(width_px, 0.14, 0.25, 0.4, crosses, 0.4)


class TestCoverage:
    @pytest.mark.parametrize("width_px", [0.5, 0.7, 1.3, 4.0, 11.0])
    @pytest.mark.parametrize("angle_deg", [0.0, 17.0, 45.0, 90.0, 128.0])
    def test_is_that_of_a_slow_sum_over_sub_pixels(self, width_px: float, angle_deg: float) -> None:
        angle = np.deg2rad(angle_deg)
        outline = band((20.3, 17.8), angle, width_px)
        fast = coverage([outline], (36, 40), 48)
        slow = slow_band_coverage((36, 40), (20.3, 17.8), angle, width_px)
        # An upright edge lies up to half a sub-pixel from where the slow sum has it.
        assert np.abs(fast - slow).max() <= 1.0 / 16.0
        assert np.abs(fast - slow).mean() < 0.004

    @settings(max_examples=60)
    @given(
        width_px=st.floats(0.5, 80.0),
        angle=st.floats(0.0, 6.28),
        shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    )
    def test_area_of_a_straight_crack_is_width_times_length(
        self, width_px: float, angle: float, shift: tuple[float, float]
    ) -> None:
        outline = band((150.0 + shift[0], 150.0 + shift[1]), angle, width_px, 160.0)
        area = float(coverage([outline], (300, 300), scan_lines([outline])).sum())
        assert area == pytest.approx(160.0 * width_px, rel=0.03)

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("width_px", [0.7, 3.0, 8.0, 25.0])
    def test_area_of_a_rough_straight_crack_is_the_sum_of_its_widths(
        self, width_px: float, seed: int
    ) -> None:
        straight = Shape(width_px, 0.14, 0.25, 0.0, True, 0.4)
        outline = draw_outline((320, 320), straight, np.random.default_rng(seed)).moved(150.0)
        middle = slice(40, -40)  # Further out it turns towards the border that it leaves by.
        outline = CrackOutline(outline.left[middle], outline.right[middle])
        # Roughness moves the points midway between the edges aside; that makes nothing longer.
        ahead = outline.centre[-1] - outline.centre[0]
        steps = np.diff(outline.centre, axis=0) @ (ahead / np.hypot(*ahead))
        width = 0.5 * (outline.width_px[1:] + outline.width_px[:-1])
        area = float(coverage([outline], (700, 700), scan_lines([outline])).sum())
        assert area == pytest.approx(float((steps * width).sum()), rel=0.03)

    def test_what_two_outlines_cover_counts_once(self) -> None:
        outline = band((20.0, 20.0), 0.4, 5.0)
        once, twice = (coverage([outline] * count, (40, 40), 8) for count in (1, 2))
        np.testing.assert_allclose(once, twice, atol=1e-6)

    def test_a_picture_s_part_has_the_same_coverage(self) -> None:
        """What lies outside of the picture changes nothing."""
        outline = draw_outline((150, 140), shape(6.0), np.random.default_rng(4))
        whole = coverage([outline.moved(30.0)], (210, 200), 8)
        part = coverage([outline], (150, 140), 8)
        np.testing.assert_allclose(whole[30:180, 30:170], part, atol=1e-3)

    def test_nothing_in_the_picture_covers_nothing(self) -> None:
        assert not coverage([band((500.0, 500.0), 0.1, 3.0, 20.0)], (40, 40), 4).any()


class TestOutline:
    @settings(max_examples=60)
    @given(
        seed=st.integers(0, 2**32),
        width_px=st.floats(0.5, 80.0),
        crosses=st.booleans(),
        hw=st.tuples(st.integers(240, 448), st.integers(240, 448)),
    )
    def test_median_width_in_the_picture_is_what_was_asked(
        self, seed: int, width_px: float, crosses: bool, hw: tuple[int, int]
    ) -> None:
        outline = draw_outline(hw, shape(width_px, crosses), np.random.default_rng(seed))
        line, limit = outline.centre, np.array([hw[1], hw[0]]) - 0.5
        inside = ((line >= -0.5) & (line <= limit)).all(axis=1)
        assert np.median(outline.width_px[inside]) == pytest.approx(width_px, rel=0.05)
        assert outline.width_px.min() > 0.0

    @settings(max_examples=60)
    @given(seed=st.integers(0, 2**32), width_px=st.floats(0.5, 60.0), crosses=st.booleans())
    def test_mask_is_one_piece(self, seed: int, width_px: float, crosses: bool) -> None:
        rng = np.random.default_rng(seed)
        outlines = [draw_outline((220, 260), shape(width_px, crosses), rng)]
        branch = draw_branch(outlines[0], (220, 260), shape(max(0.5, 0.5 * width_px), False), rng)
        # With what lies beside the picture, whose border may cut a bend off.
        outlines = [each.moved(100.0) for each in [*outlines, *([branch] if branch else [])]]
        mask = exact_mask(coverage(outlines, (420, 460), scan_lines(outlines)), outlines)
        assert cv2.connectedComponents(mask, connectivity=8)[0] == 2

    def test_a_crack_that_crosses_touches_two_borders_and_one_that_ends_has_a_tip(self) -> None:
        for seed in range(20):
            rng = np.random.default_rng(seed)
            whole = draw_outline((200, 200), shape(3.0), rng)
            assert not ((whole.centre[[0, -1]] > 0) & (whole.centre[[0, -1]] < 199)).all(1).any()
            ending = draw_outline((200, 200), shape(3.0, crosses=False), rng)
            assert ((ending.centre[-1] > 0) & (ending.centre[-1] < 199)).all()
            assert ending.width_px[-1] < 1.0

    def test_edges_are_rough_each_in_its_own_way(self) -> None:
        outline = draw_outline((200, 200), shape(5.0), np.random.default_rng(1))
        left, right = (
            np.hypot(*(edge - outline.centre).T) for edge in (outline.left, outline.right)
        )
        np.testing.assert_allclose(left, right, atol=1e-3)  # The centre lies midway.
        smooth = Shape(5.0, 0.0, 0.0, 0.0, True, 0.0)
        plain = draw_outline((200, 200), smooth, np.random.default_rng(1))
        np.testing.assert_allclose(plain.width_px, 5.0, rtol=1e-3)


class TestMask:
    def test_a_wide_crack_s_pixels_are_those_covered_by_half(self) -> None:
        outline = band((20.0, 20.0), 0.7, 6.0)
        covered = coverage([outline], (40, 40), 8)
        np.testing.assert_array_equal(exact_mask(covered, [outline]) > 0, covered >= 0.5)

    def test_a_hairline_s_pixels_are_those_that_its_centre_line_passes(self) -> None:
        outline = band((20.0, 20.0), 0.7, 0.6, 24.0)
        mask = exact_mask(coverage([outline], (40, 40), 8), [outline])
        expected = np.zeros_like(mask)
        for x, y in np.rint(outline.centre).astype(int):
            expected[y, x] = 255
        np.testing.assert_array_equal(mask, expected)

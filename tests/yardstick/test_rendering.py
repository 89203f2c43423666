"""Rendered cracks: their light adds up, their masks and widths are true, all else is untouched."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgecrack.errors import ConfigError
from edgecrack.synthetic.canvas import ByteArray
from edgecrack.yardstick.rendering import (
    GAMMA,
    CrackConfig,
    RenderedCrack,
    linear_share,
    render_crack,
)


def plain(hw: tuple[int, int] = (240, 240), level: int = 180) -> ByteArray:
    return np.full((*hw, 3), level, dtype=np.uint8)


def noisy(hw: tuple[int, int] = (240, 240), seed: int = 0, sigma: float = 3.0) -> ByteArray:
    noise = np.random.default_rng(seed).normal(150.0, sigma, (*hw, 3))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


def render(background: ByteArray, seed: int = 0, **options: Any) -> RenderedCrack:
    return render_crack(background, CrackConfig(**options), np.random.default_rng(seed))


def light(image: ByteArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray((image.astype(np.float64) / 255.0) ** GAMMA)


def length_px(crack: RenderedCrack) -> float:
    return float(np.hypot(*np.diff(crack.centre_line, axis=0).T).sum())


class TestLight:
    @pytest.mark.parametrize("width_px", [0.7, 1.5, 3.0])
    @pytest.mark.parametrize("contrast", [0.2, 0.5, 0.9])
    @pytest.mark.parametrize("seed", range(3))
    def test_a_straight_crack_swallows_its_width_times_its_share(
        self, width_px: float, contrast: float, seed: int
    ) -> None:
        background = plain()
        crack = render(
            background,
            seed,
            width_px=width_px,
            contrast=contrast,
            ragged=0.0,
            swell=0.0,
            jaggedness=0.0,
            fading=0.0,
        )
        lost = (1.0 - light(crack.image) / light(background)).mean(axis=2).sum()
        expected = width_px * length_px(crack) * linear_share(contrast)
        # The picture's values are whole numbers, and a crack leaves it at a slant.
        assert lost == pytest.approx(expected, rel=0.03)

    @pytest.mark.parametrize("contrast", [0.1, 0.35, 0.6, 0.85])
    @pytest.mark.parametrize("width_px", [12.0, 40.0])
    def test_a_wide_crack_is_as_much_darker_as_asked(
        self, width_px: float, contrast: float
    ) -> None:
        for seed in range(4):
            crack = render(noisy(), seed, width_px=width_px, contrast=contrast, blur_px=0.5)
            # The pixels on both edges are covered in part, and those blur with the surface.
            assert contrast * (1.0 - 1.2 / width_px) - 0.02 < crack.contrast_seen < contrast + 0.02

    def test_a_hairline_shows_less_contrast_than_it_has(self) -> None:
        seen = [
            render(plain(), 3, width_px=width, contrast=0.6).contrast_seen
            for width in (0.5, 1.0, 2.0, 4.0)
        ]
        assert seen == sorted(seen)
        assert seen[0] < 0.15
        assert seen[-1] > 0.4

    def test_more_blur_spreads_the_same_light(self) -> None:
        options = {"width_px": 2.0, "contrast": 0.5, "fading": 0.0}
        sums = []
        for blur_px in (0.0, 0.8, 2.0):
            crack = render(plain(), 5, blur_px=blur_px, **options)
            sums.append(float((light(plain()) - light(crack.image)).sum()))
        assert sums == pytest.approx([sums[0]] * 3, rel=0.03)

    def test_the_inside_of_a_wide_crack_has_the_camera_s_noise(self) -> None:
        spread = []
        for sigma in (0.0, 4.0):
            background = noisy(sigma=sigma)
            crack = render(background, 1, width_px=40.0, contrast=0.6)
            core = cv2.erode(crack.mask, np.ones((7, 7), np.uint8)) > 0
            gray = crack.image.mean(axis=2).astype(np.float32)
            spread.append(float(np.std((gray - cv2.GaussianBlur(gray, (0, 0), 1.0))[core])))
        assert spread[1] > spread[0] + 1.0


class TestTruth:
    @settings(max_examples=40)
    @given(
        seed=st.integers(0, 2**32),
        width_px=st.floats(0.5, 80.0),
        contrast=st.floats(0.05, 0.95),
        blur_px=st.floats(0.0, 3.0),
        crosses=st.booleans(),
        branch=st.booleans(),
    )
    @example(999999999, 53.5, 0.5, 0.0, False, False)  # leaves through the border steeply
    def test_any_crack_changes_nothing_beyond_its_blur(
        self,
        seed: int,
        width_px: float,
        contrast: float,
        blur_px: float,
        crosses: bool,
        branch: bool,
    ) -> None:
        background = noisy((250, 280))
        before = background.copy()
        config = CrackConfig(width_px, contrast, blur_px, crosses=crosses, branch=branch)
        crack = render_crack(background, config, np.random.default_rng(seed))
        np.testing.assert_array_equal(background, before)
        assert crack.image.shape == background.shape
        assert crack.image.dtype == crack.mask.dtype == np.uint8
        assert set(np.unique(crack.mask)) == {0, 255}
        assert len(crack.centre_line) == len(crack.width_px) > 0
        at = np.rint(crack.centre_line).astype(int)
        assert ((at >= 0) & (at < (280, 250))).all()
        # What covers less than half of a pixel is at most a pixel from the mask or centre line,
        # but for a crack that goes on beyond the border, where the mask does not show it.
        drawn = crack.mask.copy()
        drawn[at[:, 1], at[:, 0]] = 255
        reach = int(np.ceil(4.0 * blur_px)) + 2
        near = cv2.dilate(drawn, np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
        changed = (crack.image != background).any(axis=2) & ~near
        inside = changed[reach:-reach, reach:-reach]
        assert not inside.any()
        # There, what is changed touches the border, and no more of it than the crack is wide.
        assert changed.sum() <= 4 * reach * (width_px + 2 * reach)

    @pytest.mark.parametrize("width_px", [0.5, 0.7, 1.0, 2.0, 5.0, 12.0, 30.0, 60.0, 80.0])
    def test_the_median_of_the_true_widths_is_what_was_asked(self, width_px: float) -> None:
        for seed in range(5):
            crack = render(plain((320, 320)), seed, width_px=width_px, contrast=0.5)
            assert np.median(crack.width_px) == pytest.approx(width_px, rel=0.05)

    @pytest.mark.parametrize("width_px", [3.0, 8.0, 25.0])
    @pytest.mark.parametrize("seed", range(4))
    def test_a_straight_crack_s_mask_has_the_area_of_its_widths(
        self, width_px: float, seed: int
    ) -> None:
        crack = render(
            plain((320, 320)), seed, width_px=width_px, contrast=0.5, jaggedness=0.0, ragged=0.0
        )
        steps = np.hypot(*np.diff(crack.centre_line, axis=0).T)
        area = float((steps * 0.5 * (crack.width_px[1:] + crack.width_px[:-1])).sum())
        assert np.count_nonzero(crack.mask) == pytest.approx(area, rel=0.03)

    @pytest.mark.parametrize("width_px", [0.5, 6.0, 50.0])
    def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
        self, width_px: float
    ) -> None:
        first, second, other = (
            render(noisy(), seed, width_px=width_px, contrast=0.5, branch=True)
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.mask, second.mask)
        np.testing.assert_array_equal(first.centre_line, second.centre_line)
        assert not np.array_equal(first.mask, other.mask)


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("width_px", 0.4),
            ("width_px", 81.0),
            ("contrast", 0.0),
            ("contrast", float("nan")),
            ("blur_px", -1.0),
            ("ragged", 0.5),
        ],
    )
    def test_a_value_out_of_range_is_named(self, name: str, value: float) -> None:
        options: dict[str, Any] = {"width_px": 2.0, "contrast": 0.5, name: value}
        with pytest.raises(ConfigError, match=f"{name} is {value}"):
            CrackConfig(**options)

    def test_a_crack_too_wide_for_the_picture_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="width_px is 60 on a picture of 100x120 pixels"):
            render(plain((120, 100)), width_px=60.0, contrast=0.5)

    @pytest.mark.parametrize(
        "background",
        [
            np.zeros((100, 100), np.uint8),
            np.zeros((100, 100, 3), np.float32),
            np.zeros((100, 40, 3), np.uint8),
        ],
    )
    def test_what_is_no_picture_is_refused(self, background: Any) -> None:
        with pytest.raises(ConfigError, match="a background is"):
            render(background, width_px=2.0, contrast=0.5)

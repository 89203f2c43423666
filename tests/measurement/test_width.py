"""Width from grey values: against profiles that are computed here, and a slow reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement.bars import WidthPrior
from edgecrack.measurement.width import estimate_width, estimate_widths

GAMMA = 2.2


def profile(
    width_px: float,
    blur_px: float = 1.2,
    reflectance: float = 0.15,
    count: int = 41,
    shift_px: float = 0.0,
    level: float = 180.0,
    noise: float = 0.0,
    seed: int = 0,
    slope: float = 0.0,
) -> NDArray[np.float64]:
    """Grey values across a bar: blurred in light, coded by gamma; one formula, no bank."""
    x = np.arange(count) - (count - 1) / 2 - shift_px
    root = math.sqrt(2) * blur_px
    bar = [
        math.erf((each + width_px / 2) / root) - math.erf((each - width_px / 2) / root)
        for each in x
    ]
    light = 1 - (1 - reflectance) * np.array(bar) / 2
    coded = (level + slope * x) * light ** (1 / GAMMA)
    return coded + np.random.default_rng(seed).normal(0, noise, count)


@pytest.mark.parametrize("width_px", [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0])
@pytest.mark.parametrize("blur_px", [0.7, 1.2, 1.9])
def test_the_truth_lies_in_the_interval(width_px: float, blur_px: float) -> None:
    found = estimate_width(profile(width_px, blur_px, noise=3.0, count=61))
    assert found.measurable, found.reason
    assert found.width_px is not None
    assert found.low_px is not None
    assert found.high_px is not None
    assert found.low_px <= width_px <= found.high_px
    assert abs(found.width_px - width_px) < max(0.6, 0.1 * width_px)


def test_what_is_known_of_the_picture_narrows_the_interval() -> None:
    """A width near the blur cannot be told from depth, unless one of them is known."""
    across = profile(2.0, noise=3.0)
    free = estimate_width(across)
    told = estimate_width(across, WidthPrior(reflectance=(0.15, 0.02), blur_px=(1.2, 0.1)))
    assert free.measurable
    assert told.measurable
    assert told.high_px - told.low_px < 0.6 * (free.high_px - free.low_px)  # type: ignore[operator]
    assert abs(told.width_px - 2.0) < 0.25  # type: ignore[operator]


@settings(max_examples=40, deadline=None)
@given(
    width_px=st.floats(1.5, 10),
    scale=st.floats(0.01, 100),
    shift_px=st.floats(-3, 3),
    seed=st.integers(0, 1000),
)
def test_scale_and_direction_do_not_matter(
    width_px: float, scale: float, shift_px: float, seed: int
) -> None:
    across = profile(width_px, shift_px=shift_px, noise=2.0, seed=seed)
    plain, scaled, turned = estimate_widths([across, across * scale, across[::-1]])
    assert plain.measurable == turned.measurable
    if plain.width_px is not None and turned.width_px is not None:
        assert turned.width_px == pytest.approx(plain.width_px, rel=0.05, abs=0.05)
        assert turned.centre_px == pytest.approx(40 - plain.centre_px, abs=0.2)  # type: ignore[operator]
    if plain.width_px is not None and scaled.width_px is not None and scale > 1:
        assert scaled.width_px == pytest.approx(plain.width_px, rel=0.1, abs=0.1)


def test_many_are_measured_as_each_alone() -> None:
    several = [profile(2.0, noise=2.0), profile(9.0, noise=2.0, count=61), np.zeros(3)]
    together = estimate_widths(several)
    for alone, with_others in zip(map(estimate_width, several), together, strict=True):
        assert alone.measurable == with_others.measurable
        assert alone.reason == with_others.reason
        if alone.width_px is not None:
            assert with_others.width_px == pytest.approx(alone.width_px, rel=1e-3)


def slow_posterior(across: NDArray[np.float64], blur_px: float, reflectance: float) -> float:
    """Median of the width where blur and reflectance are known: least squares, one by one."""
    x = np.arange(len(across)) - (len(across) - 1) / 2
    widths = np.arange(0.3, 12, 0.05)
    offsets = np.arange(-0.8, 0.81, 0.1)
    weights = np.zeros(len(widths))
    best = math.inf
    residuals = np.zeros((len(widths), len(offsets)))
    for i, width_px in enumerate(widths):
        for j, offset in enumerate(offsets):
            shape = profile(width_px, blur_px, reflectance, len(across), float(offset), 1.0)
            basis = np.stack([shape, shape * x], axis=1)
            left = across - basis @ np.linalg.lstsq(basis, across, rcond=None)[0]
            residuals[i, j] = left @ left
            best = min(best, residuals[i, j])
    weights = (
        ((residuals / best) ** (-(len(across) - 5) / 2)).sum(axis=1) / np.sqrt(widths) / widths**0.5
    )
    below = np.cumsum(weights) / weights.sum()
    return float(np.interp(0.5, below, widths))


@pytest.mark.parametrize("width_px", [1.5, 3.0, 6.0])
def test_it_agrees_with_a_slow_reference(width_px: float) -> None:
    across = profile(width_px, noise=2.5, seed=4)
    expected = slow_posterior(across, 1.2, 0.15)
    prior = WidthPrior(reflectance=(0.15, 0.03), blur_px=(1.2, 0.12))
    found = estimate_width(across, prior)
    assert found.width_px == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"gamma": 0.0}, "gamma is 0"),
        ({"gamma": math.nan}, "gamma is nan"),
        ({"reflectance": (1.2, 0.1)}, "the reflectance is"),
        ({"blur_px": (0.0, 0.1)}, "the blur is"),
        ({"blur_px": (1.0, -0.1)}, "the blur is"),
    ],
)
def test_what_is_known_has_to_be_possible(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        WidthPrior(**values)


def test_a_known_blur_is_that_of_the_pixels_also_of_wide_cracks() -> None:
    """So wide that each value of what is looked at is the mean over several pixels."""
    across = profile(40.0, 1.5, noise=2.0, count=161)
    free, told = (
        estimate_widths([across])[0],
        estimate_width(across, WidthPrior(blur_px=(1.5, 0.1))),
    )
    for found in (free, told):
        assert found.width_px == pytest.approx(40.0, rel=0.03)
        assert found.low_px is not None
        assert found.high_px is not None
        assert found.low_px <= 40 <= found.high_px
        assert found.blur is None


def test_a_blur_beyond_the_bank_still_gives_an_answer() -> None:
    found = estimate_width(profile(6.0, 3.0, noise=2.0), WidthPrior(blur_px=(3.0, 0.1)))
    assert found.measurable or found.reason


def test_terms_explain_the_interval() -> None:
    """Of a narrow crack, what is not known of depth and blur; of a wide one, noise."""
    narrow, wide = (
        estimate_width(profile(2.0, noise=1.0)),
        estimate_width(profile(12.0, noise=8.0, count=61)),
    )
    assert narrow.depth_px is not None
    assert narrow.noise_px is not None
    assert wide.noise_px is not None
    assert wide.depth_px is not None
    assert narrow.depth_px > narrow.noise_px
    assert wide.noise_px > wide.depth_px


BAD: list[tuple[Any, str]] = [
    (np.zeros(8), "the profile has 8 values; at least 9 are needed"),
    (np.zeros((3, 20)), "the profile has 60 values"),
    (np.full(21, 100.0), "the profile is flat"),
    (np.full(21, 100, np.uint8), "the profile is flat"),
    (np.append(profile(3.0), np.nan), "non-finite values"),
    (np.append(profile(3.0), np.inf), "non-finite values"),
    (profile(3.0) - 150, "below 0"),
    (np.where(abs(np.arange(41) - 20) < 3, 90, 255).astype(np.uint8), "overexposed"),
    (np.where(abs(np.arange(41) - 20) < 15, 0, 20).astype(np.uint8), "underexposed"),
    (profile(20.0, count=27, noise=1.0), "end of the profile"),
    (np.random.default_rng(0).normal(120, 4, 41), ""),
]


@pytest.mark.parametrize(("across", "reason"), BAD)
def test_what_cannot_be_measured_says_why(across: NDArray[Any], reason: str) -> None:
    found = estimate_width(across)
    if reason:
        assert not found.measurable
        assert reason in found.reason
        assert found.width_px is None
    else:
        assert found.measurable or found.reason


def test_a_hairline_in_noise_is_below_something_and_no_number() -> None:
    found = [estimate_width(profile(0.3, noise=6.0, seed=seed)) for seed in range(30)]
    refused = [each for each in found if not each.measurable]
    assert len(refused) > 20
    assert all(each.width_px is None and each.reason for each in refused)
    for each in refused:
        if "below" in each.reason:
            assert each.high_px is not None
            assert f"below {each.high_px:.1f} px" in each.reason


def test_a_bright_line_is_no_crack() -> None:
    found = estimate_width(300 - profile(4.0, noise=2.0))
    assert not found.measurable


def test_intervals_hold_what_they_promise() -> None:
    """Over blur, light from within and noise as a surface has it: 90 to 98 %."""
    rng = np.random.default_rng(7)
    truths, profiles = [], []
    for _ in range(1500):
        width_px = float(rng.uniform(1.5, 8))
        blur_px, reflectance = float(rng.uniform(0.7, 2)), float(rng.uniform(0.05, 0.25))
        truths.append(width_px)
        white = rng.normal(0, 5, 42)
        alike = (white[1:] + 0.5 * white[:-1]) / math.hypot(1, 0.5)
        profiles.append(profile(width_px, blur_px, reflectance) + alike)
    found = estimate_widths(profiles)
    inside = [
        each.low_px <= truth <= each.high_px  # type: ignore[operator]
        for each, truth in zip(found, truths, strict=True)
        if each.measurable
    ]
    errors = [
        each.width_px - truth  # type: ignore[operator]
        for each, truth in zip(found, truths, strict=True)
        if each.measurable
    ]
    assert len(inside) > 1400
    assert 0.9 <= np.mean(inside) <= 0.99
    assert abs(np.mean(errors)) < 0.15

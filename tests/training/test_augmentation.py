"""Changes of looks: as strong as asked, in range, and each with random numbers of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.training.augmentation import APPEARANCE_DRAWS, Appearance
from edgecrack.training.config import AugmentConfig, PatchConfig
from edgecrack.training.patch_sampler import DevicePatchSampler
from tests.training.pictures import Bytes, branches, numbered, wavy

LOOKS = {
    "tone": AugmentConfig(tone=0.9),
    "noise": AugmentConfig(noise_levels=64.0),
    "blur": AugmentConfig(blur_probability=1.0),
    "motion": AugmentConfig(motion_probability=1.0, motion_blur_px=31),
    "invert": AugmentConfig(invert_probability=1.0),
    "gradient": AugmentConfig(gradient=0.9),
    "shadow": AugmentConfig(shadow_probability=1.0, shadow_darkness=0.9),
    "bars": AugmentConfig(bar_probability=1.0, shadow_darkness=0.9),
    "jpeg": AugmentConfig(jpeg_probability=1.0, jpeg_quality=(1, 100)),
}
EVERYTHING = AugmentConfig(
    tone=0.9, blur_probability=0.7, noise_levels=64.0, invert_probability=0.5, gradient=0.9,
    motion_probability=0.7, motion_blur_px=31, shadow_probability=0.7, bar_probability=0.7,
    shadow_darkness=0.9, jpeg_probability=0.7, jpeg_quality=(1, 100),
)  # fmt: skip


def changed(image: Bytes, config: AugmentConfig, count: int = 1, seed: int = 0) -> Bytes:
    """One image, changed `count` times: uint8 [count, side, side]."""
    draws = np.random.default_rng(seed).random((count, APPEARANCE_DRAWS))
    patches = torch.from_numpy(image).repeat(count, 1, 1)
    result = Appearance(config, image.shape[0], seed).change(patches, draws)
    assert result.dtype == torch.uint8
    assert result.is_contiguous()
    assert (patches.numpy() == image).all()
    return np.asarray(result.numpy())


def test_defaults_change_nothing() -> None:
    image = numbered(24, 24)
    assert (changed(image, AugmentConfig(), 5) == image).all()


@pytest.mark.parametrize("name", LOOKS)
def test_each_change_alone_changes_something(name: str) -> None:
    different = (changed(numbered(48, 48), LOOKS[name], 40) != numbered(48, 48)).any(axis=(1, 2))
    assert different.mean() > 0.9  # a shadow may miss a patch


@pytest.mark.parametrize("name", LOOKS)
def test_looks_leave_truth_and_windows_alone(name: str) -> None:
    image, mask = numbered(60, 90), np.hstack([branches(60), branches(60)[:, :30]])
    plain = DevicePatchSampler([image], [mask], PatchConfig(24, 0.6), seed=2)
    other = DevicePatchSampler([image], [mask], PatchConfig(24, 0.6, LOOKS[name]), seed=2)
    for step in range(3):
        assert torch.equal(plain.batch(step, 10)[1], other.batch(step, 10)[1])


@pytest.mark.parametrize("name", [name for name in LOOKS if name not in ("invert", "tone")])
def test_switching_a_change_on_leaves_the_draws_of_others_as_they_are(name: str) -> None:
    """Which patches are inverted is told by their brightness, whatever else happens to them."""
    config = replace(LOOKS[name], shadow_darkness=0.5, gradient=0.1, invert_probability=0.5)
    image = np.full((32, 32), 20, np.uint8)
    alone = changed(image, AugmentConfig(invert_probability=0.5), 60) > 128
    beside = changed(image, config, 60).mean(axis=(1, 2)) > 90
    assert 15 < alone[:, 0, 0].sum() < 45
    assert np.array_equal(beside, alone[:, 0, 0])


@settings(max_examples=40)
@given(
    side=st.sampled_from([8, 16, 40]),
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([0, 1, 127, 254, 255]),
)
def test_everything_at_once_works_on_any_picture(side: int, seed: int, level: int) -> None:
    result = changed(np.full((side, side), level, np.uint8), EVERYTHING, 6, seed)
    assert result.shape == (6, side, side)


@pytest.mark.parametrize("tone", [0.1, 0.5, 0.9])
def test_tone_keeps_the_order_of_brightness(tone: float) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    for patch in changed(ramp, AugmentConfig(tone=tone), 20):
        assert (patch == patch[0]).all()
        assert (np.diff(patch[0].astype(int)) >= 0).all()


def test_inversion_turns_dark_cracks_bright() -> None:
    config = AugmentConfig(invert_probability=1.0)
    assert np.array_equal(changed(numbered(24, 24), config)[0], 255 - numbered(24, 24))


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(blur_probability=0.3),
        AugmentConfig(motion_probability=0.3),
        AugmentConfig(invert_probability=0.3),
        AugmentConfig(shadow_probability=0.3),
        AugmentConfig(bar_probability=0.3),
        AugmentConfig(jpeg_probability=0.3, jpeg_quality=(20, 50)),
    ],
)
def test_as_many_patches_are_changed_as_asked(config: AugmentConfig) -> None:
    image = numbered(24, 24)
    share = (changed(image, config, 1000) != image).any(axis=(1, 2)).mean()
    # Four standard deviations; a faint shadow may miss a patch altogether.
    assert 0.2 < share < 0.36


def test_noise_is_centred_and_as_strong_as_asked() -> None:
    patches = changed(np.full((128, 128), 128, np.uint8), AugmentConfig(noise_levels=20.0), 40)
    spreads = patches.astype(float).std(axis=(1, 2))
    assert spreads.max() <= 20.5
    assert spreads.mean() == pytest.approx(10, abs=3)
    assert patches.mean() == pytest.approx(128, abs=0.6)


def test_noise_of_two_patches_is_not_the_same() -> None:
    patches = changed(np.full((64, 64), 128, np.uint8), AugmentConfig(noise_levels=40.0), 12)
    strong = [p for p in patches.astype(float) - 128 if p.std() > 10]
    assert len(strong) >= 4
    together = np.corrcoef([patch.ravel() for patch in strong])
    assert np.abs(together - np.eye(len(strong))).max() < 0.1


def test_gradient_is_even_and_no_stronger_than_asked() -> None:
    for patch in changed(np.full((65, 65), 120, np.uint8), AugmentConfig(gradient=0.5), 30):
        levels = patch.astype(float)
        assert levels.mean() == pytest.approx(120, abs=1)
        assert levels[32, 32] == pytest.approx(120, abs=1)
        # A plane: what is above the middle on one side is below it on the other.
        assert np.abs(levels + levels[::-1, ::-1] - 240).max() <= 1
        assert np.abs(levels[32] - 120).max() <= 61


def unevenness_along(dark: NDArray[np.float64], angle: float) -> float:
    """Share of a picture's variance that is left among pixels at one distance from a line."""
    side = len(dark)
    y, x = (axis - (side - 1) / 2 for axis in np.mgrid[:side, :side])
    line = np.rint(2 * (np.cos(angle) * x + np.sin(angle) * y)).astype(int).ravel() + 2 * side
    count = np.maximum(np.bincount(line), 1)
    mean = np.bincount(line, weights=dark.ravel()) / count
    return float(((dark.ravel() - mean[line]) ** 2).mean() / dark.var())


def test_bars_are_straight_of_one_width_and_one_darkness() -> None:
    """There is a direction along which nothing changes."""
    config = AugmentConfig(bar_probability=1.0, shadow_darkness=0.8)
    seen = 0
    for patch in changed(np.full((64, 64), 200, np.uint8), config, 20):
        dark = 200.0 - patch
        if (dark > 0.9 * dark.max()).sum() < 60:
            continue  # only a corner of it is seen
        seen += 1
        assert dark.max() <= 0.8 * 200 + 1
        # What is left comes from lines half a pixel wide, where edges rise within 0.7 px.
        assert min(unevenness_along(dark, angle) for angle in np.radians(range(180))) < 0.08
    assert seen > 12
    # A line that bends a little, as cracks do, has no such direction.
    bent = np.zeros((64, 64))
    for row in range(64):
        column = 30 + round(4 * np.sin(row / 8))
        bent[row, column : column + 4] = 100
    assert min(unevenness_along(bent, angle) for angle in np.radians(range(180))) > 0.4


def test_shadows_darken_a_part_of_a_patch_and_nothing_else() -> None:
    config = AugmentConfig(shadow_probability=1.0, shadow_darkness=0.6)
    patches = changed(np.full((64, 64), 200, np.uint8), config, 200)
    assert patches.max() <= 200
    assert patches.min() >= 0.4 * 200 - 1
    shadowed = (patches < 190).mean(axis=(1, 2))
    assert 0.2 < np.median(shadowed) < 0.7
    # Edges range from sharp to as soft as a sixth of the patch.
    steepest = np.abs(np.diff(patches.astype(int), axis=2)).max(axis=(1, 2))
    assert steepest.max() > 40
    assert np.percentile(steepest[shadowed > 0.1], 10) < 12


def test_surface_shows_through_a_shadow() -> None:
    image = wavy(64, 64)
    config = AugmentConfig(bar_probability=1.0, shadow_darkness=0.9)
    for patch in changed(image, config, 20):
        assert (patch <= image).all()
        assert (patch + 0.5 >= 0.1 * image).all()
        # In the core of the shadow it is the surface, darker: as even as light.
        core = patch / image < (patch / image).min() + 0.02
        assert np.corrcoef(patch[core], image[core])[0, 1] > 0.95

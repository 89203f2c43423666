"""Augmentation: image and mask stay together, thin cracks survive, tones move nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.data.augment import ROBOT_AUGMENT, AugmentConfig, augment
from edgecrack.errors import ConfigError

Bytes = NDArray[np.uint8]
GEOMETRY = AugmentConfig(geometry=True)
TONES = [
    AugmentConfig(tone=0.25),
    AugmentConfig(tone=0.9),
    AugmentConfig(noise_levels=64.0),
    AugmentConfig(blur_probability=1.0),
    AugmentConfig(invert_probability=1.0),
]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def branches(side: int, width_px: int = 3) -> Bytes:
    """A crack without any symmetry: one arm along, one arm down."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 4 + width_px, side // 8 :] = 255
    mask[side // 4 : side // 2, side // 3 : side // 3 + width_px] = 255
    return mask


def test_defaults_change_nothing() -> None:
    image = np.random.default_rng(1).integers(0, 256, (24, 24), dtype=np.uint8)
    mask = branches(24)
    patch, truth = augment(image, mask, 24, AugmentConfig(), generator())
    assert np.array_equal(patch, image)
    assert np.array_equal(truth, mask // 255)


@given(seed=st.integers(0, 2**32))
def test_turns_and_mirrors_keep_image_and_mask_aligned(seed: int) -> None:
    mask = branches(32)
    patch, truth = augment(mask, mask, 32, GEOMETRY, generator(seed))
    assert np.array_equal(patch, truth * 255)


def test_all_eight_turns_and_mirrors_occur() -> None:
    mask = branches(32)
    seen = {augment(mask, mask, 32, GEOMETRY, generator(seed))[1].tobytes() for seed in range(200)}
    wanted = {
        np.ascontiguousarray(np.rot90(side, turns)).tobytes()
        for side in (mask // 255, mask[:, ::-1] // 255)
        for turns in range(4)
    }
    assert seen == wanted


@settings(max_examples=50)
@given(cut=st.integers(20, 128), seed=st.integers(0, 2**32))
def test_resizing_keeps_image_and_mask_aligned(cut: int, seed: int) -> None:
    mask = branches(cut, width_px=max(3, cut // 8))
    patch, truth = augment(mask, mask, 32, GEOMETRY, generator(seed))
    # The image of a mask is its coverage, so where it is clear the mask must agree.
    assert (truth[patch >= 128] == 1).all()
    assert (truth[patch < 100] == 0).all()


@pytest.mark.parametrize("cut", [32, 36, 40, 48, 53])
@pytest.mark.parametrize("offset", range(6))
def test_thin_cracks_survive_the_shrinking_that_training_does(cut: int, offset: int) -> None:
    """Two pixels wide, at the scales of ROBOT_AUGMENT: no gap in the line that is left."""
    mask = np.zeros((cut, cut), np.uint8)
    mask[:, 7 + offset : 9 + offset] = 255
    assert cut <= ROBOT_AUGMENT.largest_cut_px(32)
    _, truth = augment(mask, mask, 32, AugmentConfig(), generator())
    assert truth.any(axis=1).all()
    assert truth.sum(axis=1).max() <= 3


@pytest.mark.parametrize("config", TONES)
def test_tone_changes_leave_the_mask_alone(config: AugmentConfig) -> None:
    image = np.random.default_rng(1).integers(0, 256, (24, 24), dtype=np.uint8)
    for seed in range(10):
        _, truth = augment(image, branches(24), 24, config, generator(seed))
        assert np.array_equal(truth, branches(24) // 255)


@pytest.mark.parametrize("tone", [0.1, 0.5, 0.9])
def test_tone_keeps_the_order_of_brightness(tone: float) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    for seed in range(10):
        patch, _ = augment(ramp, ramp * 0, 256, AugmentConfig(tone=tone), generator(seed))
        assert (patch == patch[0]).all()
        assert (np.diff(patch[0].astype(int)) >= 0).all()


def test_inversion_turns_dark_cracks_bright() -> None:
    image = np.random.default_rng(1).integers(0, 256, (24, 24), dtype=np.uint8)
    config = AugmentConfig(invert_probability=1.0)
    assert np.array_equal(augment(image, image, 24, config, generator())[0], 255 - image)


def test_blur_keeps_a_crack_where_it_is() -> None:
    image = np.full((33, 33), 200, np.uint8)
    image[:, 16] = 40
    patch, _ = augment(image, image, 33, AugmentConfig(blur_probability=1.0), generator())
    assert (patch.argmin(axis=1) == 16).all()
    assert np.array_equal(patch, patch[:, ::-1])


def test_noise_is_centred_and_as_strong_as_asked() -> None:
    image = np.full((128, 128), 128, np.uint8)
    config = AugmentConfig(noise_levels=20.0)
    patches = [augment(image, image, 128, config, generator(seed))[0] for seed in range(40)]
    spreads = [float(patch.astype(float).std()) for patch in patches]
    assert max(spreads) <= 20.5
    assert np.mean(spreads) == pytest.approx(10, abs=3)
    assert np.mean(patches) == pytest.approx(128, abs=0.6)


@settings(max_examples=40)
@given(
    cut=st.integers(8, 64),
    seed=st.integers(0, 2**32),
    level=st.sampled_from([0, 1, 127, 254, 255]),
)
def test_values_stay_valid_under_everything_at_once(cut: int, seed: int, level: int) -> None:
    config = AugmentConfig(True, (0.25, 4.0), 0.9, 1.0, 64.0, 0.5)
    image = np.full((cut, cut), level, np.uint8)
    patch, truth = augment(image, branches(cut), 24, config, generator(seed))
    assert patch.shape == truth.shape == (24, 24)
    assert patch.dtype == truth.dtype == np.uint8
    assert truth.max() <= 1
    assert patch.flags.c_contiguous
    assert truth.flags.c_contiguous


def test_generator_alone_decides() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8)
    for config in (ROBOT_AUGMENT, *TONES):
        first = augment(image, branches(40), 32, config, generator(5))
        again = augment(image, branches(40), 32, config, generator(5))
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@given(seed=st.integers(0, 2**32), side=st.sampled_from([8, 48, 128]))
def test_cut_stays_within_what_was_reserved(seed: int, side: int) -> None:
    config = AugmentConfig(scale_range=(0.6, 1.5))
    cut = config.cut_px(side, generator(seed))
    assert max(8, round(side / 1.5)) <= cut <= config.largest_cut_px(side)
    assert AugmentConfig().cut_px(side, generator(seed)) == side


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scale_range": (0.1, 1.0)}, "scale range is 0.1..1.0"),
        ({"scale_range": (1.2, 1.5)}, "scale range"),
        ({"scale_range": (0.5, 0.9)}, "scale range"),
        ({"scale_range": (1.0, 5.0)}, "scale range"),
        ({"tone": -0.1}, "tone is -0.1"),
        ({"tone": 1.0}, "tone is 1.0"),
        ({"blur_probability": 2.0}, "blur_probability is 2.0"),
        ({"invert_probability": -1.0}, "invert_probability is -1.0"),
        ({"noise_levels": 65.0}, "noise_levels is 65.0"),
        ({"noise_levels": float("nan")}, "noise_levels is nan"),
    ],
)
def test_bad_configurations(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AugmentConfig(**values)

"""Training patches: true windows, the asked share of cracked ones, and draws that repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.data.augment import ROBOT_AUGMENT, AugmentConfig
from edgecrack.data.patches import PatchConfig, PatchSampler
from edgecrack.errors import ConfigError, DataError

Bytes = NDArray[np.uint8]


def numbered(height: int, width: int) -> Bytes:
    """Every pixel differs from its neighbours to the right and below: a window tells its place."""
    y, x = np.mgrid[:height, :width]
    return np.asarray((7 * y + 13 * x + (y * x) % 11) % 256, np.uint8)


def diagonal(height: int, width: int) -> Bytes:
    """A crack one pixel wide from the top-left corner down."""
    mask = np.zeros((height, width), np.uint8)
    index = np.arange(min(height, width))
    mask[index, index] = 255
    return mask


def windows_of(image: Bytes, mask: Bytes, side: int) -> set[bytes]:
    """Every window of an image with its mask, the slow way."""
    crack = (mask > 0).astype(np.uint8)
    return {
        image[y : y + side, x : x + side].tobytes() + crack[y : y + side, x : x + side].tobytes()
        for y in range(image.shape[0] - side + 1)
        for x in range(image.shape[1] - side + 1)
    }


@settings(max_examples=25)
@given(
    height=st.integers(16, 40),
    width=st.integers(16, 40),
    side=st.sampled_from([8, 16]),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    step=st.integers(0, 10**6),
)
def test_every_patch_is_a_true_window_where_nothing_is_augmented(
    height: int, width: int, side: int, share: float, seed: int, step: int
) -> None:
    image, mask = numbered(height, width), diagonal(height, width)
    sampler = PatchSampler([image], [mask], PatchConfig(side, share), seed)
    patches, masks = sampler.batch(step, 6)
    assert patches.shape == masks.shape == (6, 1, side, side)
    assert patches.dtype == masks.dtype == np.uint8
    known = windows_of(image, mask, side)
    for patch, truth in zip(patches, masks, strict=True):
        assert patch.tobytes() + truth.tobytes() in known


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 1.0])
def test_share_of_cracked_patches(share: float) -> None:
    sampler = PatchSampler([numbered(120, 160)], [diagonal(120, 160)], PatchConfig(16, share))
    cracked = np.concatenate(
        [sampler.batch(step, 100)[1].any(axis=(1, 2, 3)) for step in range(20)]
    )
    # 2000 draws: four standard deviations are at most 0.045.
    assert cracked.mean() == pytest.approx(share, abs=0.045 if 0 < share < 1 else 0)


def test_share_holds_under_augmentation() -> None:
    masks = [np.maximum(diagonal(120, 160), np.roll(diagonal(120, 160), 1, axis=1))]
    config = PatchConfig(32, 0.6, ROBOT_AUGMENT)
    sampler = PatchSampler([numbered(120, 160)], masks, config)
    cracked = np.concatenate(
        [sampler.batch(step, 100)[1].any(axis=(1, 2, 3)) for step in range(10)]
    )
    # A crack that only touches a patch's corner may be lost when the patch is resized.
    assert cracked.mean() == pytest.approx(0.6, abs=0.08)


def test_every_crack_pixel_and_every_image_gets_its_turn() -> None:
    empty, one_pixel = np.zeros((24, 24), np.uint8), np.zeros((24, 24), np.uint8)
    one_pixel[20, 3] = 255
    images = [np.full((24, 24), level, np.uint8) for level in (10, 20, 30)]
    sampler = PatchSampler(images, [one_pixel, empty, diagonal(24, 24)], PatchConfig(8, 0.5))
    patches, masks = sampler.batch(0, 200)
    assert set(np.unique(patches)) == {10, 20, 30}
    of_first = masks[(patches == 10).all(axis=(1, 2, 3)) & masks.any(axis=(1, 2, 3))]
    assert (of_first.sum(axis=(1, 2, 3)) == 1).all()
    # The pixel is met at many places of the patch, not always in its middle.
    assert len({truth.tobytes() for truth in of_first}) > 8


def one_pixel_of_crack(hw: tuple[int, int]) -> Bytes:
    mask = np.zeros(hw, np.uint8)
    mask[0, hw[1] - 1] = 255
    return mask


def almost_all_crack(hw: tuple[int, int]) -> Bytes:
    mask = np.full(hw, 255, np.uint8)
    mask[5, 5] = 0
    return mask


@pytest.mark.parametrize(
    "mask",
    [one_pixel_of_crack((64, 64)), almost_all_crack((64, 64)), np.full((64, 64), 255, np.uint8)],
    ids=["one pixel", "all but one pixel", "all"],
)
def test_rare_and_plentiful_cracks_do_not_stall_the_draw(mask: Bytes) -> None:
    sampler = PatchSampler([numbered(64, 64)], [mask], PatchConfig(16, 0.5))
    _, masks = sampler.batch(0, 64)
    cracked = masks.any(axis=(1, 2, 3)).mean()
    possible = mask.mean() < 128
    assert 0.25 <= cracked <= 0.75 if possible else cracked == 1


def test_least_cracked_window_is_taken_where_none_is_free() -> None:
    mask = np.full((64, 64), 255, np.uint8)
    mask[::2, :32] = 0  # the left half is half crack, the right half all of it
    sampler = PatchSampler([numbered(64, 64)], [mask], PatchConfig(16, 0.0))
    _, masks = sampler.batch(0, 40)
    assert masks.mean(axis=(1, 2, 3)).max() <= 0.6


def test_no_crack_at_all_is_fine_if_none_is_asked_for() -> None:
    empty = np.zeros((32, 32), np.uint8)
    assert not PatchSampler([empty], [empty], PatchConfig(16, 0.0)).batch(0, 8)[1].any()


def test_seed_and_step_alone_decide_a_batch() -> None:
    def sampler(seed: int) -> PatchSampler:
        config = PatchConfig(16, 0.6, ROBOT_AUGMENT)
        return PatchSampler([numbered(64, 80)] * 2, [diagonal(64, 80)] * 2, config, seed)

    forward, asked_once = sampler(3), sampler(3)
    batches = [forward.batch(step, 4) for step in range(6)]
    for mine, theirs in zip(batches[5], asked_once.batch(5, 4), strict=True):
        assert np.array_equal(mine, theirs)
    assert not np.array_equal(batches[5][0], batches[4][0])
    assert not np.array_equal(batches[5][0], sampler(4).batch(5, 4)[0])


@pytest.mark.parametrize("hw", [(5, 7), (1, 40), (40, 1), (15, 16), (1, 1)])
@pytest.mark.parametrize("augment", [AugmentConfig(), ROBOT_AUGMENT])
def test_image_smaller_than_the_patch_is_mirrored_outwards(
    hw: tuple[int, int], augment: AugmentConfig
) -> None:
    image, mask = np.full(hw, 77, np.uint8), one_pixel_of_crack(hw)
    patches, masks = PatchSampler([image], [mask], PatchConfig(16, 1.0, augment)).batch(0, 4)
    assert patches.shape == masks.shape == (4, 1, 16, 16)
    if augment == AugmentConfig():
        assert (patches == 77).all()
        assert masks.any(axis=(1, 2, 3)).all()


def test_mirrored_border_keeps_image_and_mask_together() -> None:
    mask = diagonal(11, 9)
    patches, masks = PatchSampler([mask], [mask], PatchConfig(24, 0.5)).batch(0, 8)
    assert np.array_equal(patches, masks * 255)


def test_caller_s_images_are_not_changed() -> None:
    image, mask = numbered(40, 40), diagonal(40, 40)
    before = image.copy(), mask.copy()
    PatchSampler([image], [mask], PatchConfig(16, 0.5, ROBOT_AUGMENT)).batch(0, 16)
    assert np.array_equal(image, before[0])
    assert np.array_equal(mask, before[1])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"patch_px": 7}, "patch size is 7"),
        ({"patch_px": 50}, "patch size is 50.*multiple of 8"),
        ({"patch_px": 0}, "patch size is 0"),
        ({"patch_px": 1032}, "patch size is 1032"),
        ({"crack_share": -0.1}, "crack share is -0.1"),
        ({"crack_share": 1.5}, "crack share is 1.5"),
        ({"crack_share": float("nan")}, "crack share is nan"),
    ],
)
def test_bad_configurations(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PatchConfig(**values)


def test_bad_data() -> None:
    image = np.zeros((32, 32), np.uint8)
    with pytest.raises(DataError, match="0 images"):
        PatchSampler([], [], PatchConfig())
    with pytest.raises(DataError, match="1 images and 2 masks"):
        PatchSampler([image], [image, image], PatchConfig())
    with pytest.raises(DataError, match=r"image 1 has shape \(32, 32\) but its mask \(32, 16\)"):
        PatchSampler([image, image], [image, image[:, :16]], PatchConfig())
    with pytest.raises(DataError, match="no training image has any crack"):
        PatchSampler([image], [image], PatchConfig())

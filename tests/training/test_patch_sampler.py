"""Batches: true windows, exact shares, draws that repeat, and processes that share a step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.data.patches import EpochPlan, PatchCount
from edgecrack.errors import ConfigError, DataError
from edgecrack.training.config import ROBOT_AUGMENT, AugmentConfig, PatchConfig
from edgecrack.training.patch_sampler import DevicePatchSampler
from tests.training.pictures import Bytes, diagonal, numbered
from tests.training.slow_patches import SlowPatchSampler


def drawn(
    sampler: DevicePatchSampler, steps: range, size: int, rank: int = 0, ranks: int = 1
) -> tuple[Bytes, Bytes]:
    """The patches and masks of several steps, one after the other, [N, P, P] each."""
    batches = [sampler.batch(step, size, rank, ranks) for step in steps]
    patches, masks = (
        np.concatenate([batch[part].numpy()[:, 0] for batch in batches]) for part in (0, 1)
    )
    return patches, masks


def cracked(masks: Bytes) -> Any:
    return masks.any(axis=(1, 2))


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
    sizes=st.lists(st.tuples(st.integers(16, 40), st.integers(16, 40)), min_size=1, max_size=3),
    side=st.sampled_from([8, 16]),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    step=st.integers(0, 10**6),
)
def test_every_patch_is_a_true_window_where_nothing_is_augmented(
    sizes: list[tuple[int, int]], side: int, share: float, seed: int, step: int
) -> None:
    images, masks = [numbered(*hw) for hw in sizes], [diagonal(*hw) for hw in sizes]
    sampler = DevicePatchSampler(images, masks, PatchConfig(side, share), seed)
    patches, truths = sampler.batch(step, 6)
    assert patches.shape == truths.shape == (6, 1, side, side)
    assert patches.dtype == truths.dtype == torch.uint8
    known = set().union(*(windows_of(*pair, side) for pair in zip(images, masks, strict=True)))
    for patch, truth in zip(patches.numpy(), truths.numpy(), strict=True):
        assert patch.tobytes() + truth.tobytes() in known


@pytest.mark.parametrize("share", [0.0, 0.25, 0.29, 0.6, 1.0])
@pytest.mark.parametrize("augment", [AugmentConfig(), ROBOT_AUGMENT], ids=["plain", "robot"])
def test_share_of_cracked_patches_is_exact(share: float, augment: AugmentConfig) -> None:
    # Two pixels wide, and far from most windows.
    mask = np.maximum(diagonal(240, 400), np.roll(diagonal(240, 400), 1, axis=1))
    sampler = DevicePatchSampler([numbered(240, 400)], [mask], PatchConfig(16, share, augment))
    for step in range(4):
        assert cracked(drawn(sampler, range(step, step + 1), 100)[1]).sum() == round(100 * share)
    # Small batches make up for what one of them alone cannot hold.
    assert cracked(drawn(sampler, range(20), 5)[1]).sum() == round(100 * share)


def test_crack_is_seen_as_often_and_in_the_same_places_as_by_the_slow_sampler() -> None:
    images = [numbered(60, 80), numbered(50, 120)]
    masks = [diagonal(60, 80), diagonal(50, 120)]
    config = PatchConfig(16, 0.6)
    fast = drawn(DevicePatchSampler(images, masks, config), range(20), 100)[1]
    slow_sampler = SlowPatchSampler(images, masks, config)
    slow = np.concatenate([slow_sampler.batch(step, 100)[1][:, 0] for step in range(20)])
    assert fast.mean() == pytest.approx(slow.mean(), rel=0.07)
    # Where in the patch: the centre of 2000 masks, to a quarter of a pixel.
    assert np.abs(fast.mean(axis=0) - slow.mean(axis=0)).max() < 0.06
    for axis in (1, 2):
        profile = fast.mean(axis=(0, axis)), slow.mean(axis=(0, axis))
        places = [np.average(np.arange(16), weights=values) for values in profile]
        assert places[0] == pytest.approx(places[1], abs=0.5)


def test_every_crack_pixel_and_every_image_gets_its_turn() -> None:
    empty, one_pixel = np.zeros((24, 24), np.uint8), np.zeros((24, 24), np.uint8)
    one_pixel[20, 3] = 255
    images = [np.full((24, 24), level, np.uint8) for level in (10, 20, 30)]
    masks = [one_pixel, empty, diagonal(24, 24)]
    patches, truths = drawn(DevicePatchSampler(images, masks, PatchConfig(8, 0.5)), range(1), 200)
    assert set(np.unique(patches)) == {10, 20, 30}
    of_first = truths[(patches == 10).all(axis=(1, 2)) & cracked(truths)]
    assert (of_first.sum(axis=(1, 2)) == 1).all()
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
@pytest.mark.parametrize("augment", [AugmentConfig(), ROBOT_AUGMENT], ids=["plain", "robot"])
def test_rare_and_plentiful_cracks_do_not_stall_the_draw(
    mask: Bytes, augment: AugmentConfig
) -> None:
    config = PatchConfig(16, 0.5, augment)
    truths = drawn(DevicePatchSampler([numbered(64, 64)], [mask], config), range(1), 64)[1]
    assert cracked(truths).mean() == (0.5 if mask.mean() < 128 else 1)


def test_least_cracked_window_is_taken_where_none_is_free() -> None:
    mask = np.full((64, 64), 255, np.uint8)
    mask[::2, :32] = 0  # the left half is half crack, the right half all of it
    sampler = DevicePatchSampler([numbered(64, 64)], [mask], PatchConfig(16, 0.0))
    assert drawn(sampler, range(1), 40)[1].mean(axis=(1, 2)).max() <= 0.6


def test_no_crack_at_all_is_fine_if_none_is_asked_for() -> None:
    empty = np.zeros((32, 32), np.uint8)
    assert not DevicePatchSampler([empty], [empty], PatchConfig(16, 0.0)).batch(0, 8)[1].any()


def varied(seed: int = 3, **options: Any) -> DevicePatchSampler:
    """Images of two sizes with everything changed that can be."""
    augment = replace(ROBOT_AUGMENT, invert_probability=0.2, scale_range=(0.4, 1.5))
    sizes = [(64, 80), (90, 70), (64, 80)]
    images, masks = [numbered(*hw) for hw in sizes], [diagonal(*hw) for hw in sizes]
    return DevicePatchSampler(images, masks, PatchConfig(16, 0.6, augment), seed, **options)


def test_seed_and_step_alone_decide_a_batch() -> None:
    forward, asked_once = varied(), varied()
    batches = [forward.batch(step, 8) for step in range(6)]
    for mine, theirs in zip(batches[5], asked_once.batch(5, 8), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(batches[5][0], batches[4][0])
    assert not torch.equal(batches[5][0], varied(seed=4).batch(5, 8)[0])


@pytest.mark.parametrize(("size", "ranks"), [(1, 3), (4, 2), (7, 4)])
@pytest.mark.parametrize("planned", [False, True], ids=["weighted", "planned"])
def test_processes_share_a_step_exactly(size: int, ranks: int, planned: bool) -> None:
    plan = EpochPlan((PatchCount("road", per_image=100),)) if planned else None
    for step in range(3):
        whole = varied(plan=plan).batch(step, size * ranks)
        shares = [varied(plan=plan).batch(step, size, rank, ranks) for rank in range(ranks)]
        for part, joined in enumerate(whole):
            assert torch.equal(joined, torch.cat([share[part] for share in shares]))


def planned_images(counts: tuple[PatchCount, ...], **options: Any) -> DevicePatchSampler:
    """Image i is gray level i; 0 and 1 are of source 0, 2 to 4 of source 1; 3 has no crack."""
    images = [np.full((40, 40), level, np.uint8) for level in range(5)]
    masks = [np.roll(diagonal(40, 40), 3 * index, axis=1) for index in range(5)]
    masks[3][:] = 0
    return DevicePatchSampler(
        images, masks, PatchConfig(8, 0.6), source_of=[0, 0, 1, 1, 1], plan=EpochPlan(counts),
        **options,
    )  # fmt: skip


def test_an_epoch_takes_exactly_the_planned_patches() -> None:
    sampler = planned_images((PatchCount("a", per_image=10), PatchCount("b", total=30)))
    assert sampler.steps_per_epoch(16) == 4
    for epoch in range(2):
        steps = range(4 * epoch, 4 * epoch + 4)
        patches, masks = drawn(sampler, steps, 16)
        image = patches[:, 0, 0]
        assert np.bincount(image).tolist() == [10, 10, 15, 0, 15]
        assert np.bincount(image[cracked(masks)]).tolist() == [6, 6, 9, 0, 9]
    assert len(sampler.batch(3, 16)[0]) == 2
    assert not np.array_equal(sampler.batch(0, 16)[0], sampler.batch(4, 16)[0])


@pytest.mark.parametrize(
    ("size", "ranks", "last"),
    [(8, 2, [1, 1]), (4, 3, [1, 1, 1]), (7, 3, [2, 3, 3]), (25, 2, [25, 25])],
)
def test_last_batch_is_dealt_out_evenly_and_to_everyone(
    size: int, ranks: int, last: list[int]
) -> None:
    counts = (PatchCount("a", per_image=10), PatchCount("b", total=30))
    sampler = planned_images(counts)
    step = sampler.steps_per_epoch(size * ranks) - 1
    shares = [sampler.batch(step, size, rank, ranks) for rank in range(ranks)]
    assert [len(patches) for patches, _ in shares] == last
    if sum(last) > ranks:
        whole = sampler.batch(step, size * ranks)[0]
        assert torch.equal(torch.cat([patches for patches, _ in shares]), whole)


def test_sources_are_drawn_by_weight_and_only_cracked_ones_where_crack_is_asked_for() -> None:
    images = [np.full((24, 24), level, np.uint8) for level in (10, 20, 30, 40)]
    empty = np.zeros((24, 24), np.uint8)
    sampler = DevicePatchSampler(
        images,
        [diagonal(24, 24), diagonal(24, 24), empty, diagonal(24, 24)],
        PatchConfig(8, 0.5),
        source_of=[0, 0, 1, 2],
        source_weights=[3.0, 2.0, 1.0],
    )
    patches, masks = drawn(sampler, range(20), 200)
    level, with_crack = patches[:, 0, 0], cracked(masks)
    for wanted, found in (
        ({10: 0.375, 20: 0.375, 40: 0.25}, level[with_crack]),
        ({10: 0.25, 20: 0.25, 30: 1 / 3, 40: 1 / 6}, level[~with_crack]),
    ):
        shares = dict(zip(*np.unique(found, return_counts=True), strict=True))
        assert shares.keys() == wanted.keys()
        # 2000 draws: four standard deviations are at most 0.045.
        for value, share in wanted.items():
            assert shares[value] / len(found) == pytest.approx(share, abs=0.045)


def test_source_of_weight_0_is_never_drawn() -> None:
    images = [np.full((24, 24), level, np.uint8) for level in (10, 20)]
    sampler = DevicePatchSampler(
        images, [diagonal(24, 24)] * 2, PatchConfig(8), source_of=[0, 1], source_weights=[1, 0]
    )
    assert (drawn(sampler, range(5), 40)[0] == 10).all()


@pytest.mark.parametrize("hw", [(5, 7), (1, 40), (40, 1), (15, 16), (1, 1)])
@pytest.mark.parametrize("augment", [AugmentConfig(), ROBOT_AUGMENT], ids=["plain", "robot"])
def test_image_smaller_than_the_patch_is_mirrored_outwards(
    hw: tuple[int, int], augment: AugmentConfig
) -> None:
    image, mask = np.full(hw, 77, np.uint8), one_pixel_of_crack(hw)
    sampler = DevicePatchSampler([image], [mask], PatchConfig(16, 1.0, augment))
    patches, masks = drawn(sampler, range(1), 4)
    assert patches.shape == masks.shape == (4, 16, 16)
    assert cracked(masks).all()
    if augment == AugmentConfig():
        assert (patches == 77).all()


def test_mirrored_border_keeps_image_and_mask_together() -> None:
    mask = diagonal(11, 9)
    patches, masks = drawn(DevicePatchSampler([mask], [mask], PatchConfig(24, 0.5)), range(1), 8)
    assert np.array_equal(patches, masks * 255)


def test_caller_s_images_are_not_changed() -> None:
    image, mask = numbered(40, 40), diagonal(40, 40)
    before = image.copy(), mask.copy()
    DevicePatchSampler([image], [mask], PatchConfig(16, 0.5, ROBOT_AUGMENT)).batch(0, 16)
    assert np.array_equal(image, before[0])
    assert np.array_equal(mask, before[1])


def test_batches_are_not_each_other_s_memory() -> None:
    sampler = varied()
    first = sampler.batch(0, 8)
    kept = [part.clone() for part in first]
    sampler.batch(1, 8)
    assert all(torch.equal(part, copy) for part, copy in zip(first, kept, strict=True))
    assert all(part.is_contiguous() for part in first)


@pytest.mark.gpu
def test_gpu_draws_what_the_processor_draws() -> None:
    for step in range(3):
        here, there = varied().batch(step, 16), varied(device="cuda").batch(step, 16)
        assert there[0].is_cuda
        # Sums in another order may round to the next gray level, or across a coverage of 40 %.
        difference = (here[0].int() - there[0].cpu().int()).abs().float()
        assert difference.mean() < 0.2
        assert (here[1] != there[1].cpu()).float().mean() < 0.002


BLANK = np.zeros((32, 32), np.uint8)


@pytest.mark.parametrize(
    ("images", "masks", "words"),
    [
        ([], [], "0 images"),
        ([BLANK], [BLANK, BLANK], "1 images and 2 masks"),
        (
            [BLANK, BLANK],
            [BLANK, BLANK[:, :16]],
            r"image 1 has shape \(32, 32\) but its mask \(32, 16\)",
        ),
        ([BLANK.astype(np.float32)], [BLANK], "image 0 is float32"),
        ([BLANK[:, :, None]], [BLANK[:, :, None]], r"of shape \(32, 32, 1\)"),
        ([BLANK], [BLANK], "no training image has any crack"),
    ],
)
def test_bad_data(images: list[Any], masks: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        DevicePatchSampler(images, masks, PatchConfig())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source_weights": [1.0]}, "source weights are given, but not"),
        ({"source_of": [0, 0]}, "1 images, and sources"),
        ({"source_of": [-1]}, "1 images, and sources"),
        ({"source_of": [1], "source_weights": [1.0]}, "weights of 2 sources"),
        ({"source_of": [0], "source_weights": [-1.0]}, "none below 0"),
        ({"source_of": [0], "source_weights": [float("nan")]}, "none below 0"),
        ({"source_of": [0], "source_weights": [0.0]}, "weight 0"),
        (
            {"source_of": [1], "plan": EpochPlan((PatchCount("road", per_image=5),))},
            "images of source 1, but the plan has 1",
        ),
    ],
)
def test_bad_sources(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DevicePatchSampler([numbered(32, 32)], [diagonal(32, 32)], PatchConfig(), **options)


@pytest.mark.parametrize("asked", [(-1, 4), (0, 0), (0, 4, 1, 1), (0, 4, -1, 2)])
def test_bad_batches(asked: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="a batch is requested with step"):
        varied().batch(*asked)


def test_without_a_plan_no_epoch_ends() -> None:
    with pytest.raises(ConfigError, match="without a plan"):
        varied().steps_per_epoch(8)

"""The paper's counts of patches: exact sums, exact shares, and an order that repeats."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.data.patches import PAPER_COUNTS, EpochPlan, EpochSlots, PatchCount
from edgecrack.errors import ConfigError, DataError

CFD, CRACKTREE, AIGLERN = PAPER_COUNTS


def per_image(slots: EpochSlots, images: int) -> list[tuple[int, int]]:
    """Patches of each image, with crack and in all."""
    counted = [(0, 0)] * images
    for image, with_crack in zip(slots.image.tolist(), slots.with_crack.tolist(), strict=True):
        cracked, every = counted[image]
        counted[image] = cracked + with_crack, every + 1
    return counted


def test_paper_takes_2000_patches_from_each_training_image_of_cfd() -> None:
    slots = EpochPlan((CFD,)).slots([0] * 71, [900] * 71, crack_share=0.6)
    assert len(slots) == 142_000
    assert per_image(slots, 71) == [(1200, 2000)] * 71


def test_paper_shares_72000_patches_of_aiglern_out_by_crack_pixels() -> None:
    pixels = np.random.default_rng(1).integers(50, 5000, 24)
    slots = EpochPlan((AIGLERN,)).slots([0] * 24, pixels.tolist(), crack_share=0.6)
    assert len(slots) == 72_000
    for pixels_of, (cracked, every) in zip(pixels, per_image(slots, 24), strict=True):
        exact = 72_000 * int(pixels_of) / int(pixels.sum())
        assert abs(every - exact) < 1
        assert cracked == round(0.6 * every)


def test_sources_are_counted_each_for_itself() -> None:
    slots = EpochPlan((AIGLERN, CFD, CRACKTREE)).slots([1, 0, 2, 0], [5, 10, 7, 30], 0.6)
    assert [every for _, every in per_image(slots, 4)] == [2000, 18_000, 3000, 54_000]


@given(
    pixels=st.lists(st.integers(0, 10**6), min_size=1, max_size=30).filter(any),
    total=st.integers(1, 10**6),
)
def test_shares_of_a_total_sum_up_exactly_and_are_at_most_one_off(
    pixels: list[int], total: int
) -> None:
    plan = EpochPlan((PatchCount("road", total=total),))
    counts = np.bincount(plan.slots([0] * len(pixels), pixels, 0.6).image, minlength=len(pixels))
    assert counts.sum() == total
    for count, own in zip(counts.tolist(), pixels, strict=True):
        assert abs(count * sum(pixels) - total * own) < sum(pixels)


def test_equal_remainders_go_to_the_earlier_images() -> None:
    slots = EpochPlan((PatchCount("road", total=11),)).slots([0] * 4, [5] * 4, 0.0)
    assert np.bincount(slots.image).tolist() == [3, 3, 3, 2]


def test_image_without_crack_gives_patches_without_crack() -> None:
    slots = EpochPlan((PatchCount("road", per_image=10),)).slots([0, 0], [0, 3], 0.6)
    assert per_image(slots, 2) == [(0, 10), (6, 10)]


def test_order_takes_every_slot_once_and_differs_from_epoch_to_epoch() -> None:
    slots = EpochPlan((PatchCount("road", per_image=50),)).slots([0] * 4, [1] * 4, 0.5)
    order = slots.order(seed=3, epoch=0)
    assert sorted(order.tolist()) == list(range(200))
    assert np.array_equal(order, slots.order(3, 0))
    assert not np.array_equal(order, slots.order(3, 1))
    assert not np.array_equal(order, slots.order(4, 0))


def test_plan_comes_back_from_json() -> None:
    plan = EpochPlan(PAPER_COUNTS)
    assert EpochPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_plan_follows_the_order_of_a_run_s_sources() -> None:
    assert EpochPlan((CFD, AIGLERN)).ordered(["aiglern", "cfd"]).counts == (AIGLERN, CFD)


@pytest.mark.parametrize("names", [["cfd"], ["cfd", "aiglern", "uav315"], ["cfd", "uav315"]])
def test_sources_and_plan_must_name_each_other(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="the plan names cfd, aiglern, but the sources are cfd"):
        EpochPlan((CFD, AIGLERN)).ordered(names)


@pytest.mark.parametrize(
    ("source_of", "words"),
    [
        ([0, 1, 2], "images of source 2, but the plan has 2"),
        ([0, -1, 1], "images of source -1"),
        ([0, 0, 0], "names aiglern, which has no images"),
    ],
)
def test_images_and_plan_must_fit(source_of: list[int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EpochPlan((CFD, AIGLERN)).slots(source_of, [1] * len(source_of), 0.6)


def test_total_cannot_be_shared_out_by_no_crack_at_all() -> None:
    with pytest.raises(DataError, match=r"no image of aiglern shows crack.*per_image"):
        EpochPlan((AIGLERN,)).slots([0, 0], [0, 0], 0.6)


@pytest.mark.parametrize(
    "values",
    [
        {"source": "road"},
        {"source": "road", "per_image": 5, "total": 5},
        {"source": "road", "per_image": -5},
        {"source": "road", "total": 10**9},
        {"source": "", "total": 10},
    ],
)
def test_bad_counts(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="patch count"):
        PatchCount(**values)


def test_bad_plans() -> None:
    with pytest.raises(ConfigError, match="empty"):
        EpochPlan(())
    with pytest.raises(ConfigError, match="twice"):
        EpochPlan((CFD, CFD))
    for document in ({}, {"counts": [{"name": "cfd"}]}, {"counts": 3}):
        with pytest.raises(ConfigError, match="is not an epoch plan"):
            EpochPlan.from_dict(document)

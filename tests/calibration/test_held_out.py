"""Tiles that judge: refused where they cannot, and halved by image where a choice is confirmed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.calibration.accuracy import LEAST_IMAGES
from edgecrack.calibration.gate import Gate, Kind
from edgecrack.calibration.held_out import HeldOut
from edgecrack.calibration.sampler import TileSet
from edgecrack.errors import DataError

SIDE = 24


def held_out(
    cracked: list[bool], tiles_per_image: int = 2, kind: Kind = "labels", share: float = 1.0
) -> HeldOut:
    """Images of which some hold a crack in every tile; FP32 finds a share of it."""
    image = np.repeat(np.arange(len(cracked)), tiles_per_image)
    truth = np.zeros((len(image), SIDE, SIDE), np.bool_)
    truth[np.array(cracked)[image], 11] = True
    expected = np.where(truth, 255, 0).astype(np.uint8)
    expected[:, :, round(share * SIDE) :] = 0
    pixels = np.broadcast_to(image[:, None, None, None], (len(image), 1, SIDE, SIDE))
    tiles = TileSet(pixels.astype(np.uint8), truth, image, {})
    return HeldOut("walls", kind, tiles, expected, 0.5)


def images_of(part: HeldOut) -> list[int]:
    return sorted(set(part.tiles.frame.tolist()))


@pytest.mark.parametrize("kind", ["labels", "agreement"])
@given(
    cracked=st.lists(st.booleans(), min_size=2 * LEAST_IMAGES, max_size=40),
    seed=st.integers(0, 20),
)
@settings(max_examples=40, deadline=None)
def test_halves_share_no_image_lose_no_tile_and_both_hold_cracks(
    kind: Kind, cracked: list[bool], seed: int
) -> None:
    whole = held_out(cracked, kind=kind)
    halves = whole.halves(seed)
    if halves is None:
        assert sum(cracked) < len(cracked)  # else every part has one
        return
    first, second = map(images_of, halves)
    assert sorted(first + second) == list(range(len(cracked)))
    assert min(len(first), len(second)) >= LEAST_IMAGES
    for part in halves:
        assert part.tiles.cracked > 0
        np.testing.assert_array_equal(part.tiles.pixels[:, 0, 0, 0], part.tiles.frame)
        np.testing.assert_array_equal(part.expected > 0, part.tiles.truth)
    assert sum(len(part.tiles) for part in halves) == len(whole.tiles)
    if kind == "agreement":
        assert max(first) < min(second)


def test_the_cracks_are_shared_out_evenly() -> None:
    halves = held_out([index % 3 == 0 for index in range(60)], kind="agreement").halves(0)
    assert halves is not None
    assert [part.tiles.cracked for part in halves] == [20, 20]


def test_the_seed_draws_the_halves_of_labelled_images() -> None:
    whole = held_out([True] * 40)
    parts = [whole.halves(seed) for seed in (1, 1, 2)]
    chosen = [images_of(part[0]) for part in parts if part is not None]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize(
    "cracked",
    [[True] * (2 * LEAST_IMAGES - 1), [True] + [False] * 30, [False] * 30 + [True]],
    ids=["too few images", "one crack, first", "one crack, last"],
)
def test_too_little_for_two_parts_gives_none(cracked: list[bool]) -> None:
    assert held_out(cracked, kind="agreement").halves(0) is None
    assert held_out(cracked).halves(0) is None


def test_fp32_judged_by_itself_passes_with_the_numbers_of_tiles_and_images() -> None:
    whole = held_out([True, False] * 5)
    verdict = whole.judge(Gate(0, 0), whole.expected, 0)
    assert verdict.passed
    assert (verdict.kind, verdict.tiles, verdict.images) == ("labels", 20, 10)
    assert whole.accuracy(whole.expected).ods == 100
    assert whole.accuracy(255 - whole.expected).largest_difference == 255


@pytest.mark.parametrize("kind", ["labels", "agreement"])
@pytest.mark.parametrize(("images", "words"), [(1, "1 image,"), (7, "7 images,")])
def test_too_few_images_are_refused_with_their_number(kind: Kind, images: int, words: str) -> None:
    problem = f"the held-out tiles of walls are of {words} too few to bound"
    with pytest.raises(DataError, match=problem) as caught:
        held_out([True] * images, 20, kind).require_judgeable()
    assert caught.value.remedy.startswith("give 8 or more for the held-out part")
    assert "each frame of a video counts as one" in caught.value.remedy


@pytest.mark.parametrize("kind", ["labels", "agreement"])
def test_as_many_as_are_needed_are_enough(kind: Kind) -> None:
    held_out([True] * LEAST_IMAGES, kind=kind).require_judgeable()
    with pytest.raises(DataError, match="too few"):
        held_out([True] * (LEAST_IMAGES - 1), kind=kind).require_judgeable()


def test_labels_that_cover_nearly_everything_are_refused() -> None:
    whole = held_out([True] * 10)
    whole.tiles.truth[:] = ~whole.tiles.truth
    with pytest.raises(DataError, match=r"the labels of walls call 96 % of .* crack") as caught:
        whole.require_judgeable()
    assert "inverted" in caught.value.remedy


def test_a_model_that_finds_nothing_of_what_is_labelled_is_refused() -> None:
    found = re.escape("the FP32 model has an ODS of 0.0 by the labels of walls")
    with pytest.raises(DataError, match=found) as caught:
        held_out([True] * 10, share=0.0).require_judgeable()
    assert "check the labels" in caught.value.remedy
    held_out([True] * 10, share=0.2).require_judgeable()

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.artifacts import Merge
from edgecrack.errors import ConfigError
from edgecrack.runtime.scales import ScaledPlan, ScalesConfig, plan_scales, resized
from edgecrack.runtime.tiling import TilingConfig, plan_tiles

Image = NDArray[np.uint8]
TILING = TilingConfig((256, 256), 32)
THREE = ScalesConfig((1.0, 0.5, 0.25))


def sizes(plan: ScaledPlan) -> list[tuple[int, int]]:
    return [level.frame_hw for level in plan.levels]


def noise(hw: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, hw, dtype=np.uint8)


@given(hw=st.tuples(st.integers(1, 700), st.integers(1, 700)))
@settings(max_examples=40)
def test_one_scale_is_plain_tiling(hw: tuple[int, int]) -> None:
    frame = noise(hw)
    plan, plain = plan_scales(hw, ScalesConfig(), TILING), plan_tiles(hw, TILING)
    assert len(plan) == len(plain)
    np.testing.assert_array_equal(plan.cut(frame), plain.cut(frame))
    np.testing.assert_array_equal(plan.stitch(plain.cut(frame)), plain.stitch(plain.cut(frame)))


@pytest.mark.parametrize(
    ("frame_hw", "expected", "tiles"),
    [
        # Half an ordinary frame; a quarter is for large ones.
        ((480, 854), [(480, 854), (240, 427)], 8 + 2),
        ((480, 640), [(480, 640), (240, 320)], 6 + 2),
        ((720, 1280), [(720, 1280), (360, 640)], 24 + 6),
        # Reduced a little further than asked, which saves rows and columns of tiles.
        ((1080, 1920), [(1080, 1920), (480, 853), (256, 455)], 45 + 8 + 2),
        ((640, 1024), [(640, 1024), (300, 480)], 15 + 4),
        ((227, 227), [(227, 227), (114, 114)], 1 + 1),
        # A side below 8 px: the size is left out.
        ((15, 400), [(15, 400)], 2),
        ((4, 4), [(4, 4)], 1),
    ],
)
def test_sizes_known_by_heart(
    frame_hw: tuple[int, int], expected: list[tuple[int, int]], tiles: int
) -> None:
    plan = plan_scales(frame_hw, THREE, TILING)
    assert sizes(plan) == expected
    assert len(plan) == tiles


@given(
    hw=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    scales=st.lists(st.sampled_from([2.0, 1.5, 1.0, 0.5, 0.25, 0.125]), min_size=1, unique=True),
)
@settings(max_examples=80)
def test_no_size_is_larger_than_asked_or_much_smaller(
    hw: tuple[int, int], scales: list[float]
) -> None:
    plan = plan_scales(hw, ScalesConfig(tuple(scales)), TILING)
    assert 1 <= len(plan.levels) <= len(scales)
    largest = max(scales)
    wanted = max(largest, min(1.0, 8 / min(hw)))
    assert abs(plan.levels[0].frame_hw[0] - hw[0] * wanted) <= 0.125 * hw[0] * wanted + 1
    assert all(min(level.frame_hw) >= min(8, *hw) for level in plan.levels)
    for level in plan.levels[1:]:
        factor = level.frame_hw[0] / hw[0]
        assert any(
            0.875 * scale <= factor + 1 / hw[0] and factor <= scale + 1 / hw[0] for scale in scales
        )


@given(
    hw=st.tuples(st.integers(8, 500), st.integers(8, 500)),
    merge=st.sampled_from(["max", "wide-max"]),
)
@settings(max_examples=30)
def test_a_map_that_is_certain_everywhere_stays_so(hw: tuple[int, int], merge: Merge) -> None:
    plan = plan_scales(hw, ScalesConfig((1.0, 0.5, 0.25), merge), TILING)
    tiles = np.full((len(plan), 1, 256, 256), 255, np.uint8)
    assert (plan.stitch(tiles) == 255).all()
    assert (plan.stitch(np.zeros_like(tiles)) == 0).all()


def outputs(plan: ScaledPlan, maps: list[Image]) -> Image:
    """What a network would give, were these its maps."""
    return np.concatenate(
        [level.cut(found) for level, found in zip(plan.levels, maps, strict=True)]
    )


@pytest.mark.parametrize("merge", ["max", "wide-max"])
def test_a_wide_crack_that_only_the_half_size_sees_is_found(merge: Merge) -> None:
    plan = plan_scales((400, 400), ScalesConfig((1.0, 0.5), merge), TILING)
    half = np.zeros((200, 200), np.uint8)
    half[:, 90:110] = 200
    found = plan.stitch(outputs(plan, [np.zeros((400, 400), np.uint8), half]))
    assert (found[:, 184:216] == 200).all()
    assert not found[:, :170].any()


def test_wide_max_leaves_thin_lines_to_the_full_size() -> None:
    half = np.zeros((200, 200), np.uint8)
    half[:, 100:102] = 255
    full = np.zeros((400, 400), np.uint8)
    full[200] = 90
    maps = [full, half]
    wide = plan_scales((400, 400), ScalesConfig((1.0, 0.5), "wide-max"), TILING)
    np.testing.assert_array_equal(wide.stitch(outputs(wide, maps)), full)
    plain = plan_scales((400, 400), ScalesConfig((1.0, 0.5), "max"), TILING)
    assert (plain.stitch(outputs(plain, maps))[:, 201] == 255).all()


def test_tiles_in_turn_cover_every_size() -> None:
    plan = plan_scales((600, 900), ScalesConfig((1.0, 0.5)), TILING)
    seen = [set(chosen) for chosen in plan.share(1, 0)]
    for turn in range(3):
        only = plan.share(3, turn)
        tiles = np.full((sum(map(len, only)), 1, 256, 256), 255, np.uint8)
        found, ratio = plan.stitch_some(tiles, only)
        assert found.shape == (600, 900)
        assert 0 < ratio < 1
        assert len(plan.cut(noise((600, 900)), only)) == len(tiles)
        for rest, chosen in zip(seen, only, strict=True):
            rest -= set(chosen)
    assert not any(seen)


def test_a_crack_on_a_seam_is_as_wide_when_one_side_is_inspected_later() -> None:
    """Tiles that abut, each turn another: what lies beyond the seam makes no crack narrower."""
    config = ScalesConfig((1.0, 0.5), "wide-max")
    plan = plan_scales((1024, 1024), config, TilingConfig((256, 256), 0))
    half = np.zeros(plan.levels[1].frame_hw, np.uint8)
    half[252:260] = 255  # four rows on either side of the seam at 256
    maps = [np.zeros((1024, 1024), np.uint8), half]
    whole = plan.stitch(outputs(plan, maps))
    found = np.zeros_like(whole)
    for turn in range(2):
        only = plan.share(2, turn)
        tiles = np.concatenate(
            [
                level.cut(one, chosen)
                for level, one, chosen in zip(plan.levels, maps, only, strict=True)
            ]
        )
        found = np.maximum(found, plan.stitch_some(tiles, only)[0])
    assert (whole >= 128).sum() == 1024 * 16
    assert (found >= 128).sum() >= 0.95 * (whole >= 128).sum()


def test_a_reduced_frame_is_the_mean_over_areas() -> None:
    frame = noise((40, 60))
    expected = frame.reshape(20, 2, 30, 2).mean((1, 3))
    np.testing.assert_allclose(resized(frame, (20, 30)), expected, atol=1)


@pytest.mark.parametrize(
    ("scales", "merge", "problem"),
    [
        ((), "max", "there is no scale"),
        ((1.0, 0.0), "max", "a scale is 0; give factors from 1/64 to 4"),
        ((1e-9,), "max", "a scale is 1e-09"),
        (tuple(0.1 + 0.1 * index for index in range(9)), "max", "there are 9 scales"),
        ((5.0,), "max", "a scale is 5"),
        ((float("nan"),), "max", "a scale is nan"),
        ((1.0, 1.0), "max", "the scales are 1, 1"),
        ((1.0,), "mean", "the rule to merge scales is 'mean'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    scales: tuple[float, ...], merge: Merge, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        ScalesConfig(scales, merge)


def test_frames_and_outputs_of_another_size_are_refused() -> None:
    plan = plan_scales((400, 400), ScalesConfig((1.0, 0.5)), TILING)
    with pytest.raises(ConfigError, match="this plan is for"):
        plan.cut(noise((400, 401)))
    with pytest.raises(ConfigError, match="outputs of 4 tiles"):
        plan.stitch(np.zeros((4, 1, 256, 256), np.uint8))


@given(
    hw=st.tuples(st.integers(1, 420), st.integers(1, 420)),
    scales=st.lists(st.sampled_from([2.0, 1.0, 0.5, 0.25, 0.125]), min_size=1, unique=True),
    merge=st.sampled_from(["max", "wide-max"]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_where_it_is_wanted_the_map_depends_on_no_other_tiles(
    hw: tuple[int, int], scales: list[float], merge: Merge, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plan = plan_scales(hw, ScalesConfig(tuple(scales), merge), TilingConfig((64, 64), 8))
    wanted = np.zeros(hw, np.bool_)
    for _ in range(rng.integers(1, 4)):
        y, x = rng.integers(0, hw[0]), rng.integers(0, hw[1])
        wanted[y : y + rng.integers(1, 120), x : x + rng.integers(1, 120)] = True
    before = plan.tiles_with(wanted)
    plan = plan.for_part(wanted, TilingConfig((64, 64), 8))
    only = plan.tiles_with(wanted)
    assert all(0 < len(new) <= len(old) for new, old in zip(only, before, strict=True))
    tiles = rng.integers(0, 256, (len(plan), 1, 64, 64), dtype=np.uint8)
    firsts = np.cumsum([0, *map(len, plan.levels)])
    chosen = [first + index for first, level in zip(firsts, only, strict=False) for index in level]
    found = plan.stitch(tiles[chosen], only)
    np.testing.assert_array_equal(found[wanted], plan.stitch(tiles)[wanted])
    np.testing.assert_array_equal(plan.cut(noise(hw), only), plan.cut(noise(hw))[chosen])


@pytest.mark.parametrize(
    ("frame_hw", "share", "tiles"),
    [
        ((720, 1280), 1.0, 24 + 6),
        ((720, 1280), 2 / 3, 12 + 3),  # two rows in place of four, and one of two
        ((1080, 1920), 2 / 3, 36 + 8 + 2),
        ((480, 640), 2 / 3, 6 + 2),  # two rows all the same
        ((480, 640), 0.5, 3 + 2),
    ],
)
def test_tiles_are_laid_over_what_is_wanted(
    frame_hw: tuple[int, int], share: float, tiles: int
) -> None:
    wanted = np.zeros(frame_hw, np.bool_)
    wanted[: round(share * frame_hw[0])] = True
    plan = plan_scales(frame_hw, THREE, TILING)
    closer = plan.for_part(wanted, TILING)
    assert sizes(closer) == sizes(plan)
    assert sum(map(len, closer.tiles_with(wanted))) == tiles


def test_no_tile_is_run_without_need() -> None:
    plan = plan_scales((600, 900), ScalesConfig((1.0, 0.5)), TILING)
    wanted = np.zeros((600, 900), np.bool_)
    wanted[:172] = True  # just the first row of tiles and the margin of none
    assert plan.levels[0].offsets_y == (0, 172, 344)
    full, reduced = plan.tiles_with(wanted)
    assert full == list(range(len(plan.levels[0].offsets_x)))
    wanted[172] = True
    assert len(plan.tiles_with(wanted)[0]) == 2 * len(full)
    assert len(reduced) <= len(plan.levels[1])


def test_tiles_in_turn_cover_what_is_wanted_and_no_more() -> None:
    plan = plan_scales((600, 900), ScalesConfig((1.0, 0.5)), TILING)
    wanted = np.zeros((600, 900), np.bool_)
    wanted[:100, 300:] = True
    among = plan.tiles_with(wanted)
    seen: list[set[int]] = [set() for _ in among]
    inspected = []
    for turn in range(3):
        only = plan.share(3, turn, among)
        assert all(only)
        tiles = np.full((sum(map(len, only)), 1, 256, 256), 255, np.uint8)
        inspected.append(plan.stitch_some(tiles, only, wanted)[1])
        for tiles_seen, chosen in zip(seen, only, strict=True):
            tiles_seen |= set(chosen)
    assert seen == [set(tiles_of_level) for tiles_of_level in among]
    assert all(0 < ratio <= wanted.mean() for ratio in inspected)
    assert sum(inspected) >= wanted.mean()
    whole = np.full((sum(map(len, among)), 1, 256, 256), 255, np.uint8)
    assert plan.stitch_some(whole, among, wanted)[1] == pytest.approx(wanted.mean())


def test_outputs_of_some_tiles_must_be_those() -> None:
    plan = plan_scales((400, 400), ScalesConfig((1.0, 0.5)), TILING)
    with pytest.raises(ConfigError, match="outputs of 3 tiles; give those of 2"):
        plan.stitch(np.zeros((3, 1, 256, 256), np.uint8), [[0], [0]])
    with pytest.raises(ConfigError, match="this plan is for"):
        plan.tiles_with(np.ones((400, 401), np.bool_))

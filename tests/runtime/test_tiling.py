from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.runtime.tiling import TilePlan, TilingConfig, axis_offsets, plan_tiles

Image = NDArray[np.uint8]


@st.composite
def configs(draw: st.DrawFn, largest: int = 160) -> TilingConfig:
    tile_hw = (draw(st.integers(8, largest)), draw(st.integers(8, largest)))
    return TilingConfig(tile_hw, draw(st.integers(0, (min(tile_hw) - 1) // 2)))


@st.composite
def plans(draw: st.DrawFn, tallest: int = 700, widest: int = 900) -> TilePlan:
    frame_hw = (draw(st.integers(1, tallest)), draw(st.integers(1, widest)))
    plan = plan_tiles(frame_hw, draw(configs()))
    assume(len(plan) <= 2000)  # keeps the test fast, nothing else
    return plan


def noise(hw: tuple[int, ...], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, hw, dtype=np.uint8)


def fewest_tiles(length: int, tile: int, overlap: int) -> int:
    count = 1
    while count * tile - (count - 1) * overlap < length:
        count += 1
    return count


@given(plan=plans())
@settings(max_examples=60)
def test_tiles_lie_inside_the_frame_and_cover_every_pixel(plan: TilePlan) -> None:
    for offsets, tile, length in zip(
        (plan.offsets_y, plan.offsets_x), plan.tile_hw, plan.frame_hw, strict=True
    ):
        covered = np.zeros(max(length, tile), bool)
        for offset in offsets:
            assert 0 <= offset <= max(0, length - tile)
            covered[offset : offset + tile] = True
        assert covered.all()


@given(
    length=st.integers(1, 5000), tile=st.integers(8, 512), share=st.floats(0, 1, exclude_max=True)
)
def test_as_few_tiles_as_the_overlap_allows(length: int, tile: int, share: float) -> None:
    overlap = int(share * tile / 2)
    offsets = axis_offsets(length, tile, overlap)
    assert len(offsets) == fewest_tiles(length, tile, overlap)
    assert all(0 < right - left <= tile - overlap for left, right in pairwise(offsets))


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "offsets"),
    [
        (100, 256, 32, (0,)),
        (256, 256, 32, (0,)),
        (257, 256, 32, (0, 1)),
        (480, 256, 32, (0, 224)),
        (481, 256, 32, (0, 112, 225)),
        (640, 256, 32, (0, 192, 384)),
        (512, 256, 0, (0, 256)),
    ],
)
def test_offsets_known_by_heart(
    length: int, tile: int, overlap: int, offsets: tuple[int, ...]
) -> None:
    assert axis_offsets(length, tile, overlap) == offsets


@given(plan=plans())
@settings(max_examples=60)
def test_weights_are_a_partition_of_one(plan: TilePlan) -> None:
    total = np.zeros(
        tuple(max(pair) for pair in zip(plan.tile_hw, plan.frame_hw, strict=True)), np.float64
    )
    for row, y in enumerate(plan.offsets_y):
        for column, x in enumerate(plan.offsets_x):
            weight = np.outer(plan.weights_y[row], plan.weights_x[column])
            assert weight.min() >= 0
            total[y : y + plan.tile_hw[0], x : x + plan.tile_hw[1]] += weight
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


def test_weights_hold_for_every_length_of_small_tiles() -> None:
    for tile in (8, 9, 13, 16):
        for overlap in range((tile + 1) // 2):
            for length in range(1, 6 * tile):
                plan = plan_tiles((length, tile), TilingConfig((tile, tile), overlap))
                total = np.zeros(max(length, tile))
                for offset, weights in zip(plan.offsets_y, plan.weights_y, strict=True):
                    total[offset : offset + tile] += weights
                np.testing.assert_allclose(total, 1.0, atol=1e-5, err_msg=f"{tile} {overlap}")


@given(plan=plans(), seed=st.integers(0, 2**16))
@settings(max_examples=60)
def test_cut_then_stitch_gives_the_frame_back_bit_for_bit(plan: TilePlan, seed: int) -> None:
    frame = noise(plan.frame_hw, seed)
    tiles = plan.cut(frame)
    assert tiles.dtype == np.uint8
    assert tiles.shape == (len(plan), 1, *plan.tile_hw)
    stitched = plan.stitch(tiles)
    assert stitched.dtype == np.uint8
    np.testing.assert_array_equal(stitched, frame)


@pytest.mark.parametrize(
    "frame_hw", [(1, 1), (1, 900), (700, 1), (700, 900), (256, 256), (257, 255), (480, 640)]
)
@pytest.mark.parametrize("overlap_px", [0, 1, 32, 127])
def test_identity_at_the_sizes_that_break_things(
    frame_hw: tuple[int, int], overlap_px: int
) -> None:
    plan = plan_tiles(frame_hw, TilingConfig((256, 256), overlap_px))
    frame = noise(frame_hw)
    np.testing.assert_array_equal(plan.stitch(plan.cut(frame)), frame)


@given(plan=plans(200, 300))
@settings(max_examples=60)
def test_each_tile_is_the_frame_at_its_corner_mirrored_past_the_edge(plan: TilePlan) -> None:
    frame = noise(plan.frame_hw)
    tiles = plan.cut(frame)
    for tile, (top, left) in zip(tiles[:, 0], plan.corners_yx, strict=True):
        for y, x in ((0, 0), (plan.tile_hw[0] - 1, plan.tile_hw[1] - 1), (3, 5)):
            assert (
                tile[y, x]
                == frame[mirrored(top + y, plan.frame_hw[0]), mirrored(left + x, plan.frame_hw[1])]
            )


def mirrored(index: int, length: int) -> int:
    """Where a mirror at both ends of 0 .. length - 1 sends an index, edge pixel repeated."""
    index %= 2 * length
    return index if index < length else 2 * length - 1 - index


@given(plan=plans(), level=st.integers(0, 255))
@settings(max_examples=40)
def test_a_constant_stays_constant(plan: TilePlan, level: int) -> None:
    tiles = np.full((len(plan), 1, *plan.tile_hw), level, np.uint8)
    assert np.unique(plan.stitch(tiles)).tolist() == [level]


def slow_blend(plan: TilePlan, tiles: Image) -> NDArray[np.float64]:
    """Pixel by pixel in double precision, from the description of the ramp alone."""

    def share(position: int, offsets: tuple[int, ...], index: int, tile: int) -> float:
        weight = 1.0
        if index > 0:
            weight = min(weight, ramp(position, offsets[index - 1] + tile - offsets[index]))
        if index + 1 < len(offsets):
            overlap = offsets[index] + tile - offsets[index + 1]
            weight = min(weight, ramp(tile - 1 - position, overlap))
        return weight

    def ramp(position: int, overlap: int) -> float:
        if overlap <= 0:
            return 1.0
        return min(1.0, max(0.0, (position + 0.5 - overlap / 4) / (overlap / 2)))

    height, width = plan.tile_hw
    blended = np.zeros(plan.frame_hw)
    for y in range(plan.frame_hw[0]):
        for x in range(plan.frame_hw[1]):
            weighed = total = 0.0
            for row, top in enumerate(plan.offsets_y):
                for column, left in enumerate(plan.offsets_x):
                    if not (0 <= y - top < height and 0 <= x - left < width):
                        continue
                    weight = share(y - top, plan.offsets_y, row, height)
                    weight *= share(x - left, plan.offsets_x, column, width)
                    number = row * len(plan.offsets_x) + column
                    weighed += weight * float(tiles[number, 0, y - top, x - left])
                    total += weight
            blended[y, x] = weighed / total
    return blended


@pytest.mark.parametrize(
    ("frame_hw", "tile_hw", "overlap_px"),
    [
        ((40, 70), (24, 32), 8),  # several tiles on both axes
        ((33, 33), (32, 32), 15),  # tiles that overlap almost wholly
        ((38, 20), (24, 32), 11),  # three tiles over one pixel, and narrower than a tile
        ((48, 48), (24, 24), 0),  # side by side
    ],
)
def test_the_blend_is_that_of_a_slow_double_precision_reference(
    frame_hw: tuple[int, int], tile_hw: tuple[int, int], overlap_px: int
) -> None:
    plan = plan_tiles(frame_hw, TilingConfig(tile_hw, overlap_px))
    tiles = noise((len(plan), 1, *tile_hw))
    difference = plan.stitch(tiles).astype(float) - slow_blend(plan, tiles)
    assert np.abs(difference).max() <= 0.5 + 1e-3


def test_what_a_tile_says_near_its_inner_border_is_not_used() -> None:
    plan = plan_tiles((480, 640), TilingConfig((256, 256), 32))
    frame = noise((480, 640))
    tiles = plan.cut(frame)
    for tile, (top, left) in zip(tiles[:, 0], plan.corners_yx, strict=True):
        if top > 0:
            tile[:8] = 255 - tile[:8]
        if left > 0:
            tile[:, :8] = 255 - tile[:, :8]
        if top + 256 < 480:
            tile[-8:] = 255 - tile[-8:]
        if left + 256 < 640:
            tile[:, -8:] = 255 - tile[:, -8:]
    np.testing.assert_array_equal(plan.stitch(tiles), frame)


def test_tiles_that_disagree_leave_no_seam() -> None:
    """Every tile of a checkerboard is off by 40 levels; the map climbs, it never jumps."""
    plan = plan_tiles((400, 500), TilingConfig((128, 128), 32))
    rows, columns = np.mgrid[0:400, 0:500]
    frame = np.rint(60 + rows / 5 + columns / 10).astype(np.uint8)
    tiles = plan.cut(frame)
    for number in range(len(plan)):
        row, column = divmod(number, len(plan.offsets_x))
        tiles[number] += 40 * ((row + column) % 2)
    stitched = plan.stitch(tiles).astype(int)
    steepest = 40 / (32 / 2)  # the whole difference over the linear half of the overlap
    for axis in (0, 1):
        assert np.abs(np.diff(stitched, axis=axis)).max() <= np.ceil(steepest) + 2
    # Beside the overlaps, the tiles' own values stand unchanged.
    assert stitched[0, 0] == frame[0, 0]
    assert stitched[0, 60] == frame[0, 60]


@pytest.mark.parametrize("frame_hw", [(32, 32), (80, 20), (20, 80), (20, 20)])
def test_the_map_belongs_to_the_caller(frame_hw: tuple[int, int]) -> None:
    plan = plan_tiles(frame_hw, TilingConfig((32, 32), 0))
    tiles = plan.cut(noise(frame_hw))
    stitched = plan.stitch(tiles)
    assert stitched.flags.c_contiguous
    assert stitched.flags.writeable


def test_a_large_map_is_never_held_as_floats() -> None:
    """Of a frame of 50 Mpx they would be 200 MB."""
    plan = plan_tiles((2400, 2400), TilingConfig((64, 64), 8))
    tiles = np.zeros((len(plan), 1, 64, 64), dtype=np.uint8)
    tracemalloc.start()
    try:
        stitched = plan.stitch(tiles)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * stitched.nbytes


def test_a_plan_is_made_once_per_frame_size() -> None:
    config = TilingConfig((64, 64), 8)
    assert plan_tiles((100, 100), config) is plan_tiles((100, 100), config)


@pytest.mark.parametrize(
    ("tile_hw", "overlap_px", "named"),
    [
        ((4, 64), 0, "64x4"),
        ((64, 7), 0, "7x64"),
        ((64, 64), 32, "32"),
        ((64, 64), -1, "-1"),
        ((64, 16), 8, "8"),
    ],
)
def test_impossible_tilings_are_refused(
    tile_hw: tuple[int, int], overlap_px: int, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        TilingConfig(tile_hw, overlap_px)


@pytest.mark.parametrize("frame_hw", [(0, 10), (10, 0), (-1, 5)])
def test_a_frame_without_pixels_is_refused(frame_hw: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="at least one pixel"):
        plan_tiles(frame_hw, TilingConfig())


@pytest.mark.parametrize("shape", [(99, 100), (100, 99), (100, 100, 1), (100,)])
def test_cut_refuses_a_frame_of_another_shape(shape: tuple[int, ...]) -> None:
    plan = plan_tiles((100, 100), TilingConfig((64, 64), 8))
    with pytest.raises(ConfigError, match="this plan is for"):
        plan.cut(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "shape", [(3, 1, 64, 64), (4, 64, 64), (4, 1, 64, 63), (4, 2, 64, 64), (5, 1, 64, 64)]
)
def test_stitch_refuses_tiles_of_another_shape(shape: tuple[int, ...]) -> None:
    plan = plan_tiles((100, 100), TilingConfig((64, 64), 8))
    assert len(plan) == 4
    with pytest.raises(ConfigError, match=r"\(4, 1, 64, 64\)"):
        plan.stitch(np.zeros(shape, np.uint8))


@given(plan=plans(), seed=st.integers(0, 2**31))
def test_tiles_with_a_pixel_are_those_that_cover_it(plan: TilePlan, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = int(rng.integers(plan.frame_hw[0])), int(rng.integers(plan.frame_hw[1]))
    wanted = np.zeros(plan.frame_hw, np.bool_)
    wanted[y, x] = True
    height, width = plan.tile_hw
    expected = [
        index
        for index, (top, left) in enumerate(plan.corners_yx)
        if top <= y < top + height and left <= x < left + width
    ]
    assert plan.tiles_with(wanted) == expected
    assert expected


@given(data=st.data(), config=configs(), seed=st.integers(0, 2**31))
def test_a_part_of_a_frame_is_covered_by_as_few_tiles_as_a_frame_of_its_size(
    data: st.DataObject, config: TilingConfig, seed: int
) -> None:
    height, width = data.draw(st.integers(1, 500)), data.draw(st.integers(1, 500))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom = data.draw(st.integers(top + 1, height))
    right = data.draw(st.integers(left + 1, width))
    plan = plan_tiles((height, width), config, (left, top, right, bottom))
    assert len(plan) == len(plan_tiles((bottom - top, right - left), config))
    for offsets, tile, length in zip(
        (plan.offsets_y, plan.offsets_x), config.tile_hw, (height, width), strict=True
    ):
        assert offsets[0] >= 0
        assert offsets[-1] + tile <= max(length, tile)
    frame = noise((height, width), seed)
    part = np.s_[top:bottom, left:right]
    np.testing.assert_array_equal(plan.stitch(plan.cut(frame))[part], frame[part])


def test_a_part_without_pixels_is_refused() -> None:
    with pytest.raises(ConfigError, match="a frame is 0x5 px"):
        plan_tiles((9, 9), TilingConfig((8, 8), 0), (3, 0, 3, 5))

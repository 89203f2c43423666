"""Tiles for calibration: of every kind, from whole prepared frames, the same in every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.calibration.sampler import (
    CalibrationFrame,
    CalibrationFrames,
    SamplerConfig,
    TileSet,
    open_frames,
    sample_tiles,
)
from edgecrack.errors import ConfigError, DataError
from edgecrack.preprocess import PreprocessConfig, preprocess
from tests.data.folders import crack_mask, make_folder, photo, write_image

Byte = NDArray[np.uint8]
TILE = (32, 32)
PREPARATION = PreprocessConfig()
LEAST = SamplerConfig(64, 16)


def wall(seed: int, hw: tuple[int, int], cracked: bool) -> tuple[Byte, Byte]:
    """A noisy frame of its own brightness, and its truth: a stroke through every tile, or none."""
    generator = np.random.default_rng(seed)
    level = generator.integers(40, 200)
    image = np.clip(generator.normal(level, 20, (*hw, 3)), 0, 255).astype(np.uint8)
    mask = np.zeros(hw, np.uint8)
    if cracked:
        mask[10::16] = 255
    return image, mask


def frames_of(
    counts: tuple[int, int] = (24, 12),
    hw: tuple[int, int] = (96, 128),
    *,
    labelled: bool = True,
    cracked: Callable[[int], bool] = lambda index: index % 2 == 0,
) -> CalibrationFrames:
    """Frames whose seeds are 0, 1, .. over both parts."""

    def frame(seed: int) -> CalibrationFrame:
        image, mask = wall(seed, hw, cracked(seed))
        return CalibrationFrame(str(seed), lambda: (image, mask if labelled else None))

    made = [frame(seed) for seed in range(sum(counts))]
    return CalibrationFrames("walls", labelled, made[: counts[0]], made[counts[0] :], "")


def refuse_to_detect(tiles: Byte) -> NDArray[np.bool_]:
    raise AssertionError("a labelled frame was given to the model")


def sample(
    frames: CalibrationFrames, config: SamplerConfig = LEAST, tile: tuple[int, int] = TILE
) -> tuple[TileSet, TileSet]:
    return sample_tiles(frames, config, PREPARATION, tile, refuse_to_detect)


def test_each_set_has_the_tiles_wanted_half_of_them_with_crack() -> None:
    first, second = sample(frames_of())
    assert first.pixels.shape == (64, 1, *TILE)
    assert second.pixels.shape == (16, 1, *TILE)
    assert first.pixels.dtype == np.uint8
    assert first.truth.shape == (64, *TILE)
    assert first.truth.dtype == np.bool_
    assert (len(first), len(second)) == (64, 16)
    assert (first.cracked, second.cracked) == (32, 8)


def test_strata_of_brightness_are_even_and_add_up() -> None:
    first, second = sample(frames_of())
    assert set(first.strata.values()) == {8}
    assert set(second.strata.values()) == {2}
    assert len(first.strata) == 8
    means = first.pixels.mean((1, 2, 3))
    # Four classes of brightness: none of the tiles' spread is left out.
    assert np.quantile(means, 0.9) - np.quantile(means, 0.1) > 0


def test_where_few_tiles_hold_a_crack_all_of_them_are_taken() -> None:
    frames = frames_of(cracked=lambda index: index in (3, 30))
    first, second = sample(frames)
    assert len(first) == 64
    assert (
        1
        <= first.cracked
        == sum(count for name, count in first.strata.items() if name.startswith("crack"))
    )
    assert first.cracked == min(12, -(-64 * 4 // 24))  # what one frame gives
    assert second.cracked >= 1


def test_where_every_tile_holds_a_crack_all_are_taken_of_those() -> None:
    first, _ = sample(frames_of(cracked=lambda index: True))
    assert first.cracked == len(first) == 64


def test_fewer_tiles_than_wanted_are_enough_from_64_on() -> None:
    first, second = sample(frames_of((7, 3)), SamplerConfig(4000, 4000))
    assert (len(first), len(second)) == (7 * 12, 3 * 12)


def test_a_few_large_frames_give_enough_tiles() -> None:
    first, second = sample(frames_of((2, 1), (320, 320)), SamplerConfig(128, 64))
    assert (len(first), len(second)) == (128, 64)


def test_no_tile_is_taken_twice() -> None:
    first, second = sample(frames_of((7, 3)), SamplerConfig(4000, 4000))
    every = [tile.tobytes() for tile in (*first.pixels, *second.pixels)]
    assert max(Counter(every).values()) == 1


def test_the_two_sets_share_no_frame() -> None:
    frames = frames_of()
    sets = sample(frames)
    for tiles, part in zip(sets, (frames.calibration, frames.held_out), strict=True):
        own = [preprocess(item.load()[0], PREPARATION) for item in part]
        for tile in tiles.pixels[:, 0]:
            assert any(contains(frame, tile) for frame in own)


def test_each_tile_knows_its_frame() -> None:
    frames = frames_of()
    sets = sample(frames)
    for tiles, part in zip(sets, (frames.calibration, frames.held_out), strict=True):
        own = [preprocess(item.load()[0], PREPARATION) for item in part]
        for tile, place in zip(tiles.pixels[:, 0], tiles.frame.tolist(), strict=True):
            assert contains(own[place], tile)
        assert tiles.images == len(set(tiles.frame.tolist())) > 8


def contains(frame: Byte, tile: Byte) -> bool:
    """Whether a tile is a window of a frame, as it is."""
    height, width = tile.shape
    rows, columns = np.nonzero(frame[: -height + 1 or None, : -width + 1 or None] == tile[0, 0])
    return any(
        np.array_equal(frame[row : row + height, column : column + width], tile)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    )


def test_a_frame_is_prepared_whole_and_its_truth_is_cut_where_its_tile_is() -> None:
    frames = frames_of((8, 4))
    prepared = [preprocess(item.load()[0], PREPARATION) for item in frames.calibration]
    masks = [item.load()[1] for item in frames.calibration]
    first, _ = sample(frames)
    for tile, truth in zip(first.pixels[:, 0], first.truth, strict=True):
        places = [
            (frame, row, column)
            for frame in range(8)
            for row in range(0, 96 - 31)
            for column in range(0, 128 - 31)
            if prepared[frame][row, column] == tile[0, 0]
            and np.array_equal(prepared[frame][row : row + 32, column : column + 32], tile)
        ]
        assert len(places) == 1
        frame, row, column = places[0]
        mask = masks[frame]
        assert mask is not None
        np.testing.assert_array_equal(mask[row : row + 32, column : column + 32] > 0, truth)


def test_an_image_smaller_than_a_tile_is_mirrored_with_its_truth() -> None:
    first, _ = sample(frames_of((70, 16), (24, 20)))
    assert first.pixels.shape[1:] == (1, 32, 32)
    np.testing.assert_array_equal(first.pixels[..., 24:, :], first.pixels[..., 23:15:-1, :])
    np.testing.assert_array_equal(first.truth[..., 20:], first.truth[..., 19:7:-1])


def test_without_labels_the_model_says_what_is_crack() -> None:
    seen = []

    def detect(tiles: Byte) -> NDArray[np.bool_]:
        seen.append(tiles)
        return np.asarray(tiles[:, 0] > 200)

    frames = frames_of(labelled=False)
    first, second = sample_tiles(frames, LEAST, PREPARATION, TILE, detect)
    for tiles in (first, second):
        np.testing.assert_array_equal(tiles.truth, tiles.pixels[:, 0] > 200)
    assert {tiles.shape[1:] for tiles in seen} == {(1, *TILE)}
    assert {tiles.dtype for tiles in seen} == {np.dtype(np.uint8)}


def test_the_same_seed_gives_the_same_tiles_and_another_gives_others() -> None:
    frames = frames_of()
    hashes = [[tiles.sha256 for tiles in sample(frames)] for _ in range(2)]
    assert hashes[0] == hashes[1]
    others = [tiles.sha256 for tiles in sample(frames, SamplerConfig(64, 16, 1))]
    assert not set(others) & set(hashes[0])
    assert hashes[0][0] != hashes[0][1]


def test_the_hash_is_of_every_pixel_and_of_the_truth() -> None:
    pixels, truth = np.zeros((2, 1, 8, 8), np.uint8), np.zeros((2, 8, 8), np.bool_)
    hashes = {TileSet(pixels, truth, np.arange(2), {}).sha256}
    for index in ((0, 0, 0), (1, 7, 7)):
        changed = pixels.copy()
        changed[index[0], 0, index[1], index[2]] = 1
        hashes.add(TileSet(changed, truth, np.arange(2), {}).sha256)
        marked = truth.copy()
        marked[index] = True
        hashes.add(TileSet(pixels, marked, np.arange(2), {}).sha256)
    other = TileSet(pixels.reshape(1, 1, 8, 16), truth.reshape(1, 8, 16), np.arange(1), {})
    hashes.add(other.sha256)
    assert len(hashes) == 6
    assert TileSet(pixels.copy(), truth.copy(), np.arange(2), {"other": 1}).sha256 in hashes


def test_a_speck_at_a_tile_s_corner_is_no_crack() -> None:
    truth = np.zeros((2, 8, 8), np.bool_)
    truth[0, :2, :8] = True
    truth[0, 2, :3] = True  # 19 pixels
    truth[1, :2, :8] = True
    truth[1, 2, :4] = True  # 20
    tiles = TileSet(np.zeros((2, 1, 8, 8), np.uint8), truth, np.arange(2), {})
    assert tiles.has_crack.tolist() == [False, True]
    assert tiles.cracked == 1


def test_progress_counts_the_frames_of_both_parts() -> None:
    told: list[tuple[int, int]] = []
    sample_tiles(
        frames_of((6, 3)),
        LEAST,
        PREPARATION,
        TILE,
        refuse_to_detect,
        lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 9) for done in range(1, 10)]


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        (frames_of((5, 5)), "walls gives 60 calibration tiles of 32x32 px and 64 is the least"),
        (frames_of((12, 1)), "walls gives 12 held-out tiles of 32x32 px and 16 is the least"),
    ],
)
def test_too_few_tiles_are_refused_with_their_number(
    frames: CalibrationFrames, problem: str
) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        sample(frames)
    assert caught.value.remedy == "give more or larger images"


@pytest.mark.parametrize(
    ("cracked", "part"), [((30,), "calibration"), ((0,), "held-out"), ((), "calibration")]
)
def test_tiles_of_bare_wall_alone_are_refused(cracked: tuple[int, ...], part: str) -> None:
    frames = frames_of(cracked=lambda index: index in cracked)
    with pytest.raises(DataError, match=rf"none of the \d+ {part} tiles of walls has a crack"):
        sample(frames)


def test_without_labels_and_without_a_finding_it_is_the_model_that_found_none() -> None:
    frames = frames_of(labelled=False)

    def detect(tiles: Byte) -> NDArray[np.bool_]:
        return np.zeros((len(tiles), *TILE), np.bool_)

    problem = (
        r"walls has no labels, and the FP32 model finds no crack in any of its \d+ calibration"
    )
    with pytest.raises(DataError, match=problem) as caught:
        sample_tiles(frames, LEAST, PREPARATION, TILE, detect)
    assert "give images of cracks, too" in caught.value.remedy


@pytest.mark.parametrize(
    ("tiles", "held_out", "seed", "problem"),
    [
        (63, 16, 0, "`tiles` is 63; give a whole number from 64 to 4096"),
        (4097, 16, 0, "`tiles` is 4097"),
        (64, 15, 0, "`held_out` is 15; give a whole number from 16 to 4096"),
        (64, 4097, 0, "`held_out` is 4097"),
        (64, 16, -1, "`seed` is -1; give a whole number, 0 or more"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tiles: int, held_out: int, seed: int, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        SamplerConfig(tiles, held_out, seed)


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a", "b", "c"))
    for letter in "abc":
        (tmp_path / "images" / f"{letter}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(DataError, match=r"[abc]\.png"):
        sample(open_frames(tmp_path))


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, ("a", "b", "c"))
    for letter in "abc":
        write_image(tmp_path / "images" / f"{letter}.png", photo((40, 50)))
    assert crack_mask().shape == (24, 32)
    with pytest.raises(DataError, match=r"is 32x24 px but [abc]\.png is 50x40"):
        sample(open_frames(tmp_path))


def test_tiles_of_reduced_frames_are_drawn_where_the_model_runs_on_them() -> None:
    """Strokes lie 16 px apart in the frames, and half as far on the reduced ones."""
    frames = frames_of(hw=(128, 128))
    drawn, _ = sample_tiles(
        frames, SamplerConfig(200, 16), PREPARATION, TILE, refuse_to_detect, scales=(1.0, 0.5)
    )
    # Of 20 tiles of a frame, 4 are of the half size, where strokes lie 8 px apart, not 16.
    strokes = (drawn.truth.any(axis=2)).sum(axis=1)
    cracked = strokes[strokes > 0]
    assert set(np.unique(cracked)) == {2, 4}
    assert 0.05 < (cracked == 4).mean() < 0.5

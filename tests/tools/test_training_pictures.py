"""Pictures to train on: exact masks, the same for the same seed, and nothing of the yardstick."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.data.splits import content_hash, reserved_hashes
from edgecrack.synthetic.canvas import Canvas
from tools.masonry_walls import _weakest_way, masonry_wall
from tools.training_pictures import SIDE_PX, STYLES, Sources, _clean_windows, compose, paint


@pytest.fixture(scope="module")
def sources(data_folder: Path) -> Sources:
    if not (data_folder / "concrete_tiles" / "negative").is_dir():
        pytest.skip(f"{data_folder} holds no concrete_tiles/negative")
    found = Sources(data_folder)
    # Looking for bare road takes a minute: its windows are cut from nothing here.
    found.__dict__["road"] = [np.full((200, 200, 3), 110, np.uint8)]
    found.__dict__["drone"] = [np.full((200, 200, 3), 140, np.uint8)]
    return found


def test_pictures_are_those_of_their_number_and_seed(sources: Sources) -> None:
    first, again, other = (compose(sources, number, 5, STYLES["usual"]) for number in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_masks_are_of_the_picture_s_size_and_mostly_dark(sources: Sources) -> None:
    darker = []
    for number in range(8):
        image, mask, _ = compose(sources, number, 1, STYLES["usual"])
        assert image.shape == (SIDE_PX, SIDE_PX, 3)
        assert mask.shape == (SIDE_PX, SIDE_PX)
        assert set(np.unique(mask)) <= {0, 255}
        if mask.any():
            gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            near = cv2.dilate(mask, np.ones((25, 25), np.uint8)) > mask
            darker.append(float(gray[mask > 0].mean() < gray[near].mean()))
    assert len(darker) >= 4
    assert np.mean(darker) > 0.7


def test_no_background_is_the_yardstick_s(sources: Sources) -> None:
    assert len(sources.concrete) > 1000
    some = sources.concrete[:: len(sources.concrete) // 50]
    assert not {content_hash(path) for path in some} & reserved_hashes()


def test_what_an_opaque_thing_hides_is_no_longer_crack() -> None:
    image = np.full((64, 64, 3), 150, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[30:34] = 255

    def plate(canvas: Canvas, rng: np.random.Generator) -> None:
        covered = canvas.blank()
        covered[20:44, 20:44] = 255
        canvas.blend(covered, (20.0, 20.0, 20.0))
        canvas.hide(covered)

    painted, left = paint(image, mask, plate, np.random.default_rng(0), 0.8)
    assert not left[20:44, 20:44].any()
    assert (left[30:34, :20] == 255).all()
    assert painted[32, 32].max() < 40
    np.testing.assert_array_equal(painted[:10], image[:10])


def test_windows_hold_no_crack() -> None:
    image = np.arange(400 * 400 * 3, dtype=np.uint64).astype(np.uint8).reshape(400, 400, 3)
    crack = np.zeros((400, 400), bool)
    crack[:, 210] = True
    image[crack] = 255
    windows = _clean_windows(image, crack)
    assert windows
    for window in windows:
        assert min(window.shape[:2]) >= 160
        assert not (window == 255).all(axis=(0, 2)).any()


def test_clean_pictures_show_no_painted_crack(sources: Sources) -> None:
    """Generated brick may have cracks of its own; on every other surface the mask is empty."""
    for number in range(8):
        _, mask, kind = compose(sources, number, 2, STYLES["clean"])
        assert kind == "generated" or not mask.any()


def test_even_pictures_always_have_a_crack(sources: Sources) -> None:
    assert all(compose(sources, number, 2, STYLES["even"])[1].any() for number in range(4))


def test_masonry_is_that_of_its_seed_and_its_cracks_are_dark() -> None:
    photos = [np.random.default_rng(1).integers(90, 160, (227, 227, 3)).astype(np.uint8)]
    darker, cracked = [], 0
    for seed in range(16):
        image, mask = masonry_wall(photos, 256, np.random.default_rng(seed))
        again = masonry_wall(photos, 256, np.random.default_rng(seed))
        np.testing.assert_array_equal(image, again[0])
        np.testing.assert_array_equal(mask, again[1])
        assert image.shape == (256, 256, 3)
        assert set(np.unique(mask)) <= {0, 255}
        if mask.any():
            cracked += 1
            gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            near = cv2.dilate(mask, np.ones((25, 25), np.uint8)) > mask
            darker.append(float(gray[mask > 0].mean() < gray[near].mean()))
    assert 6 <= cracked <= 15
    assert np.mean(darker) > 0.8


@pytest.mark.parametrize("side_px", [64, 200])
def test_a_crack_in_masonry_runs_along_the_joints(side_px: int) -> None:
    """Where units are far stronger than mortar, most of the way is mortar."""
    away_px = np.tile(np.abs((np.arange(side_px) + 15) % 30 - 15), (side_px, 1)).astype(np.float32)
    away_px = np.minimum(away_px, away_px.T)
    shares = []
    for seed in range(12):
        line = _weakest_way(away_px, 6.0, np.random.default_rng(seed))
        x, y = np.clip(np.rint(line).astype(int), 0, side_px - 1).T
        shares.append(float((away_px[y, x] <= 5.0).mean()))
        reach = line.max(axis=0) - line.min(axis=0)
        assert reach.max() > 0.85 * side_px
    chance = float((away_px <= 5.0).mean())
    assert np.mean(shares) > chance + 0.15

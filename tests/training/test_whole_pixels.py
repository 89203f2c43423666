"""Geometry: image and truth stay together, thin cracks survive, and OpenCV agrees."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.training.config import ROBOT_AUGMENT, AugmentConfig, PatchConfig
from edgecrack.training.patch_sampler import DevicePatchSampler
from edgecrack.training.patch_windows import Placements, Resampler, Shapes, turn_over
from edgecrack.training.resident import ResidentImages
from tests.training.pictures import Bytes, branches, numbered, wavy

ANYTHING = AugmentConfig(geometry=True, scale_range=(0.25, 4.0), rotation_deg=180)


def resampled(
    image: Bytes,
    mask: Bytes,
    side: int,
    cut_px: int,
    angle_deg: float = 0.0,
    point: tuple[float, float] | None = None,
) -> tuple[Bytes, Bytes]:
    """One window about a point of an image (its middle), brought to `side` pixels."""
    resident = ResidentImages([image], [mask])
    y, x = point or ((image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
    at_y, at_x, middle = (
        torch.tensor([value], dtype=torch.float64) for value in (y, x, (side - 1) / 2)
    )
    places = Placements(torch.zeros(1, dtype=torch.int64), at_y, at_x, middle, middle)
    shapes = Shapes(np.array([cut_px]), np.radians([angle_deg]))
    pair = Resampler(resident, side, ANYTHING).cut(places, shapes)[0].numpy()
    return pair[0], pair[1]


@pytest.mark.parametrize("angle_deg", [0.0, 90.0, -90.0, 180.0])
def test_quarter_turns_at_full_size_are_exact(angle_deg: float) -> None:
    image, mask = numbered(300, 300), branches(300)
    patch, truth = resampled(image, mask, 64, 64, angle_deg)
    window = np.s_[118:182, 118:182]
    turns = round(angle_deg / 90)
    assert np.array_equal(patch, np.rot90(image[window], turns))
    assert np.array_equal(truth, np.rot90(mask[window] // 255, turns))


@pytest.mark.parametrize(
    ("cut_px", "angle_deg"), [(64, 30.0), (40, 0.0), (40, -77.0), (64, 135.0), (20, 12.0)]
)
def test_turning_and_enlarging_agree_with_opencv(cut_px: int, angle_deg: float) -> None:
    image, side = wavy(300, 300), 64
    patch, _ = resampled(image, image, side, cut_px, angle_deg)
    step, angle, middle = cut_px / side, np.radians(angle_deg), (side - 1) / 2
    # OpenCV's matrix maps patch to image; its y axis points down, as ours does.
    along, across = step * np.cos(angle), step * np.sin(angle)
    matrix = np.array([[along, -across, 149.5], [across, along, 149.5]])
    matrix[:, 2] -= matrix[:, :2] @ [middle, middle]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    wanted = cv2.warpAffine(image, matrix, (side, side), flags=flags)
    assert np.abs(patch.astype(int) - wanted.astype(int)).max() <= 2


@pytest.mark.parametrize("cut_px", [70, 80, 96, 107, 128, 160, 200, 256])
def test_shrinking_averages_as_opencv_s_area_does(cut_px: int) -> None:
    """Fine noise is what aliases: plain interpolation keeps about twice of it."""
    side, low = 64, (300 - cut_px) // 2
    image = np.random.default_rng(1).integers(0, 256, (300, 300), dtype=np.uint8)
    middle = low + (cut_px - 1) / 2
    patch, _ = resampled(image, image, side, cut_px, point=(middle, middle))
    window = image[low : low + cut_px, low : low + cut_px]
    area = cv2.resize(window, (side, side), interpolation=cv2.INTER_AREA).astype(float)
    linear = cv2.resize(window, (side, side), interpolation=cv2.INTER_LINEAR).astype(float)
    assert patch.mean() == pytest.approx(area.mean(), abs=1.5)
    assert 0.55 * area.std() < patch.std() < 1.1 * area.std()
    assert np.corrcoef(patch.ravel(), area.ravel())[0, 1] > 0.8
    assert patch.std() < linear.std()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.floats(0.3, 1.0),
    high=st.floats(1.0, 3.0),
    rotation=st.floats(0, 180),
    turned=st.booleans(),
)
def test_image_and_truth_stay_together_under_any_geometry(
    seed: int, low: float, high: float, rotation: float, turned: bool
) -> None:
    """The image is the mask; what comes out as image is the share of a pixel that is crack."""
    masks = [branches(150, width_px=12), np.roll(branches(90, width_px=7), 40, axis=0)]
    augment = AugmentConfig(turned, (low, high), rotation_deg=rotation)
    sampler = DevicePatchSampler(masks, masks, PatchConfig(32, 0.8, augment), seed)
    patches, truths = (part[:, 0].numpy() for part in sampler.batch(0, 12))
    assert truths.any()
    assert (truths[patches >= 128] == 1).all()
    # The pixel that was drawn is shown, however little of it is left.
    lost = (truths == 1) & (patches < 101)
    assert lost.sum(axis=(1, 2)).max() <= 1


@pytest.mark.parametrize("cut_px", [32, 36, 40, 48, 53])
@pytest.mark.parametrize("angle_deg", [0.0, 20.0, 45.0])
def test_thin_cracks_survive_the_shrinking_that_training_does(
    cut_px: int, angle_deg: float
) -> None:
    """Two pixels wide, at the scales of ROBOT_AUGMENT: no gap in the line that is left."""
    assert cut_px <= ROBOT_AUGMENT.largest_cut_px(32)
    for offset in np.linspace(-3, 3, 13):
        mask = np.zeros((300, 300), np.uint8)
        mask[:, 148:150] = 255
        _, truth = resampled(mask, mask, 32, cut_px, angle_deg, (150.0, 148.5 + offset))
        pieces = cv2.connectedComponents(truth, connectivity=8)[0] - 1
        assert pieces == 1
        assert truth.any(axis=1).sum() >= 22
        assert truth.sum(axis=1).max() <= 4


@pytest.mark.parametrize("angle_deg", [0.0, 33.0])
def test_what_lies_beyond_the_border_is_mirrored(angle_deg: float) -> None:
    """A window at a corner is that of the image mirrored outwards beforehand."""
    image, mask = wavy(320, 300), branches(300)
    mask = np.vstack([mask, mask[:20]])
    for y, x in ((3, 5), (2, 150), (318, 297)):
        near = resampled(image, mask, 64, 80, angle_deg, (y, x))
        grown, grown_mask = (
            np.asarray(cv2.copyMakeBorder(plane, 90, 90, 90, 90, cv2.BORDER_REFLECT_101), np.uint8)
            for plane in (image, mask)
        )
        far = resampled(grown, grown_mask, 64, 80, angle_deg, (y + 90, x + 90))
        assert np.abs(near[0].astype(int) - far[0].astype(int)).max() <= 1
        assert (near[1] != far[1]).mean() < 0.001


def test_all_eight_turns_and_mirrors_are_exact() -> None:
    pairs = torch.from_numpy(np.stack([numbered(32, 32), branches(32)])).repeat(8, 1, 1, 1)
    original = pairs[0].numpy().copy()
    turn_over(pairs, np.arange(8))
    wanted = {
        np.ascontiguousarray(np.rot90(plane, turns, axes=(1, 2))).tobytes()
        for plane in (original, original[:, :, ::-1])
        for turns in range(4)
    }
    assert {pair.tobytes() for pair in pairs.numpy()} == wanted
    assert np.array_equal(pairs[0].numpy(), original)


def test_a_patch_does_not_depend_on_what_it_is_cut_with() -> None:
    """Above all not on how many pixels are worked on at a time."""
    image, mask = numbered(400, 500), branches(400)
    mask = np.hstack([mask, mask[:, :100]])
    sampler = DevicePatchSampler([image], [mask], PatchConfig(48, 0.6, ANYTHING), seed=5)
    together = sampler.batch(0, 24)
    for rank in range(24):
        alone = sampler.batch(0, 1, rank, 24)
        assert torch.equal(alone[0][0], together[0][rank])
        assert torch.equal(alone[1][0], together[1][rank])

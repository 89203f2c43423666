"""Images on the device: at their own size, mirrored where a window stands out of them."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.training.config import AugmentConfig, PatchConfig
from edgecrack.training.patch_sampler import DevicePatchSampler
from edgecrack.training.resident import ResidentImages
from tests.training.pictures import Bytes, branches, diagonal, numbered

AROUND_PX = 60


def mirrored_outwards(plane: Bytes) -> Bytes:
    around = AROUND_PX
    grown = cv2.copyMakeBorder(plane, around, around, around, around, cv2.BORDER_REFLECT_101)
    return np.asarray(grown, np.uint8)


@settings(max_examples=100)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    y=st.integers(-AROUND_PX, AROUND_PX),
    x=st.integers(-AROUND_PX, AROUND_PX),
    side=st.integers(1, 40),
)
def test_a_window_anywhere_is_that_of_the_image_mirrored_beforehand(
    height: int, width: int, y: int, x: int, side: int
) -> None:
    image, mask = numbered(height, width), diagonal(height, width)
    y, x = min(y, height + AROUND_PX - side), min(x, width + AROUND_PX - side)
    resident = ResidentImages([numbered(3, 5), image], [diagonal(3, 5), mask])
    second, top, left = (torch.tensor([value]) for value in (1, y, x))
    pair = resident.cut(second, top, left, side)[0].numpy()
    window = np.s_[y + AROUND_PX :, x + AROUND_PX :]
    wanted = [mirrored_outwards(plane)[window][:side, :side] for plane in (image, mask // 255)]
    assert np.array_equal(pair, wanted)
    low = torch.stack([top, left])[..., None]
    counted = resident.crack_pixels(second, low, low + side).item()
    if side <= min(height, width) and 0 <= y <= height - side and 0 <= x <= width - side:
        assert counted == np.count_nonzero(wanted[1])
    assert (counted > 0) == bool(wanted[1].any())
    assert counted <= np.count_nonzero(mask)


def bytes_to_hold(augment: AugmentConfig) -> int:
    """What forty small images take at most until patches can be drawn from them."""
    images, masks = [numbered(64, 64)] * 40, [branches(64)] * 40
    tracemalloc.start()
    try:
        sampler = DevicePatchSampler(images, masks, PatchConfig(192, 0.5, augment))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sampler.batch(0, 8)[0].shape == (8, 1, 192, 192)
    return most


def test_memory_does_not_grow_with_the_windows_that_are_cut() -> None:
    """Small photos, shrunk to a quarter, are seen mirrored many times over; none is held so."""
    plain = bytes_to_hold(AugmentConfig())
    assert bytes_to_hold(AugmentConfig(scale_range=(0.25, 3.0), rotation_deg=20)) < 1.1 * plain


@pytest.mark.parametrize("with_crack", [True, False])
def test_small_images_are_shown_from_every_side_when_they_are_shrunk(with_crack: bool) -> None:
    """The crack pixel that was drawn lies anywhere in the patch, not at one of its corners."""
    mask = np.zeros((24, 24), np.uint8)
    mask[11, 9] = 255
    augment = AugmentConfig(scale_range=(0.25, 1.0))
    config = PatchConfig(32, float(with_crack), augment)
    sampler = DevicePatchSampler([numbered(24, 24)], [mask], config)
    truths = np.concatenate([sampler.batch(step, 16)[1][:, 0].numpy() for step in range(40)])
    assert truths.any(axis=(1, 2)).all() == with_crack
    if with_crack:
        profile = truths.sum(axis=(0, 1)), truths.sum(axis=(0, 2))
        for along in profile:
            middle = np.average(np.arange(32), weights=along)
            assert middle == pytest.approx(15.5, abs=2)

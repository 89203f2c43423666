"""Blur: OpenCV's Gaussian, and motion along a straight line."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from edgecrack.training.augmentation import filter_patches, gaussian_blur, motion_kernels
from tests.training.pictures import numbered


@pytest.mark.parametrize("sigma", [0.4, 0.7, 1.0, 1.4])
@pytest.mark.parametrize("side", [8, 33])
def test_gaussian_agrees_with_opencv(sigma: float, side: int) -> None:
    image = numbered(side, side).astype(np.float32)
    ours = gaussian_blur(torch.from_numpy(image)[None].clone(), torch.tensor([sigma]))[0].numpy()
    theirs = cv2.GaussianBlur(image, (9, 9), sigma, borderType=cv2.BORDER_REFLECT_101)
    assert np.abs(ours - theirs).max() < 0.01


def test_blur_keeps_a_crack_where_it_is() -> None:
    image = torch.full((1, 33, 33), 200.0)
    image[:, :, 16] = 40
    patch = gaussian_blur(image, torch.tensor([1.2]))[0].numpy()
    assert (patch.argmin(axis=1) == 16).all()
    assert np.allclose(patch, patch[:, ::-1], atol=1e-4)


@pytest.mark.parametrize("angle_deg", [0, 30, 45, 90, 120, 179])
@pytest.mark.parametrize("length_px", [0.0, 2.0, 6.5, 15.0])
def test_motion_is_a_line_of_the_length_and_direction_asked(
    angle_deg: float, length_px: float
) -> None:
    kernel = motion_kernels(np.radians([angle_deg]), np.array([length_px]), 15)[0]
    assert kernel.sum() == pytest.approx(1)
    assert kernel.min() >= 0
    assert np.allclose(kernel, kernel[::-1, ::-1])
    y, x = np.mgrid[:17, :17] - 8
    # Splatting onto the grid adds a variance of at most a quarter of a pixel per axis.
    along = x * np.cos(np.radians(angle_deg)) + y * np.sin(np.radians(angle_deg))
    aside = x * np.sin(np.radians(angle_deg)) - y * np.cos(np.radians(angle_deg))
    assert (kernel * along**2).sum() == pytest.approx(length_px**2 / 12, abs=0.26)
    assert (kernel * aside**2).sum() <= 0.26


def test_each_patch_is_filtered_by_its_own_kernel_as_opencv_does() -> None:
    image = numbered(24, 24).astype(np.float32)
    kernels = np.random.default_rng(1).random((3, 5, 5))
    ours = filter_patches(torch.from_numpy(image).repeat(3, 1, 1), kernels).numpy()
    for patch, kernel in zip(ours, kernels, strict=True):
        theirs = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        assert np.allclose(patch, theirs, rtol=1e-4)


def test_even_gray_stays_even() -> None:
    kernels = motion_kernels(np.array([0.3, 1.9]), np.array([7.0, 3.0]), 9)
    assert torch.allclose(
        filter_patches(torch.full((2, 16, 16), 99.0), kernels), torch.tensor(99.0)
    )

"""The soft skeleton against a slow reference, and what it finds on shapes that anyone can judge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgecrack.training.losses import soft_dilate, soft_erode, soft_skeleton

Floats = NDArray[np.float64]
CROSS = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
SQUARE = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def over_neighbours(
    image: Floats, offsets: list[tuple[int, int]], choose: Callable[[list[float]], float]
) -> Floats:
    """The least or greatest of each pixel's neighbours within the image, in plain loops."""
    height, width = image.shape
    result = np.empty_like(image)
    for y, x in np.ndindex(image.shape):
        inside = [(y + dy, x + dx) for dy, dx in offsets]
        inside = [(v, u) for v, u in inside if 0 <= v < height and 0 <= u < width]
        result[y, x] = choose([float(image[place]) for place in inside])
    return result


def slow_skeleton(image: Floats, iterations: int) -> Floats:
    skeleton = np.zeros_like(image)
    for _ in range(iterations + 1):
        eroded = over_neighbours(image, CROSS, min)
        ridge = np.maximum(image - over_neighbours(eroded, SQUARE, max), 0)
        skeleton = skeleton + np.maximum(ridge - skeleton * ridge, 0)
        image = eroded
    return skeleton


def bar(thickness: int) -> torch.Tensor:
    """A horizontal bar through the middle of [1, 15, 21], from edge to edge."""
    maps = torch.zeros(1, 15, 21)
    top = 7 - thickness // 2
    maps[:, top : top + thickness] = 1
    return maps


@pytest.mark.parametrize("iterations", [1, 3])
def test_it_is_the_reference_s(iterations: int) -> None:
    maps = np.random.default_rng(3).random((2, 9, 12))
    fast = soft_skeleton(torch.from_numpy(maps), iterations).numpy()
    for found, image in zip(fast, maps, strict=True):
        assert np.allclose(found, slow_skeleton(image, iterations), rtol=0, atol=1e-12)


def test_erosion_and_dilation_are_the_reference_s() -> None:
    image = np.random.default_rng(4).random((7, 10))
    maps = torch.from_numpy(image)[None]
    assert np.array_equal(soft_erode(maps)[0].numpy(), over_neighbours(image, CROSS, min))
    assert np.array_equal(soft_dilate(maps)[0].numpy(), over_neighbours(image, SQUARE, max))


@pytest.mark.parametrize("thickness", [1, 3, 5, 7])
def test_a_bar_becomes_its_centreline(thickness: int) -> None:
    assert torch.equal(soft_skeleton(bar(thickness), 5), bar(1))


def test_too_few_iterations_leave_wide_cracks_without_a_line() -> None:
    assert soft_skeleton(bar(7), 1).sum() == 0


def test_values_stay_between_0_and_1_and_flat_maps_are_empty() -> None:
    skeleton = soft_skeleton(torch.rand(4, 32, 32), 6)
    assert skeleton.min() >= 0
    assert skeleton.max() <= 1
    assert soft_skeleton(torch.full((1, 16, 16), 0.7), 5).sum() == 0

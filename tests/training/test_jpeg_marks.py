"""JPEG's marks: those that OpenCV's encoder leaves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from edgecrack.training.augmentation import compress, quantisation_steps
from tests.training.pictures import Bytes, numbered, wavy


def compressed(image: Bytes, quality: int) -> Bytes:
    steps = torch.from_numpy(quantisation_steps(np.array([quality])).astype(np.float32))
    result = compress(torch.from_numpy(image).float()[None], steps)[0]
    assert torch.equal(result, result.round())
    return result.to(torch.uint8).numpy()


def by_opencv(image: Bytes, quality: int) -> Bytes:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def noise(side: int) -> Bytes:
    """Away from black and white, where clipping would hide what was rounded."""
    return np.random.default_rng(1).integers(70, 186, (side, side), dtype=np.uint8)


PICTURES = {"waves": wavy(128, 128), "stripes": numbered(64, 64), "noise": noise(96)}


@pytest.mark.parametrize("quality", [1, 20, 49, 50, 75, 95, 100])
@pytest.mark.parametrize("name", PICTURES)
def test_agrees_with_opencv(name: str, quality: int) -> None:
    """To 0.3 gray levels on average, and to one level in 96 % of the pixels.

    The rest are blocks in which a coefficient falls between two steps: the encoder works in whole
    numbers, and rounds a few in a thousand the other way.
    """
    ours, theirs = compressed(PICTURES[name], quality), by_opencv(PICTURES[name], quality)
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.mean() < 0.3
    assert (difference <= 1).mean() > 0.96


def test_lower_quality_loses_more() -> None:
    image = noise(64)
    lost = [
        np.abs(compressed(image, quality).astype(int) - image.astype(int)).mean()
        for quality in (95, 75, 50, 20)
    ]
    assert lost == sorted(lost)
    assert lost[0] < 4 < lost[-1]


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_even_gray_stays_even(level: int) -> None:
    result = compressed(np.full((16, 16), level, np.uint8), 50)
    assert (result == result[0, 0]).all()
    assert abs(int(result[0, 0]) - level) <= 1


def test_each_patch_has_its_own_quality() -> None:
    image = noise(32)
    steps = torch.from_numpy(quantisation_steps(np.array([20, 90])).astype(np.float32))
    both = compress(torch.from_numpy(np.stack([image, image])).float(), steps)
    for patch, quality in zip(both, (20, 90), strict=True):
        assert np.array_equal(patch.to(torch.uint8).numpy(), compressed(image, quality))

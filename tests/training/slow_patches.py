"""Patches drawn and changed one by one, in numpy and OpenCV: the slow reference of the sampler.

It knows the turns, sizes, tones, Gaussian blur and noise of `AugmentConfig`, and no more of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.training.config import AugmentConfig, PatchConfig

_MAX_DRAWS = 32  # tries for a patch without crack before the least cracked of them is taken


@dataclass(frozen=True)
class _Resident:
    """One image in memory with what makes drawing from it quick."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    crack_yx: NDArray[np.int32]
    crack_sum: NDArray[np.int32]  # integral image: crack pixels above and left

    def crack_pixels(self, y: int, x: int, size: int) -> int:
        table = self.crack_sum
        return int(
            table[y + size, x + size] - table[y, x + size] - table[y + size, x] + table[y, x]
        )


def _make_resident(image: NDArray[np.uint8], mask: NDArray[np.uint8], side: int) -> _Resident:
    missing_y, missing_x = max(0, side - image.shape[0]), max(0, side - image.shape[1])
    if missing_y or missing_x:
        border = (0, missing_y, 0, missing_x)
        image = np.asarray(cv2.copyMakeBorder(image, *border, cv2.BORDER_REFLECT_101), np.uint8)
        mask = np.asarray(cv2.copyMakeBorder(mask, *border, cv2.BORDER_REFLECT_101), np.uint8)
    crack = (mask > 0).astype(np.uint8)
    return _Resident(
        np.ascontiguousarray(image),
        np.ascontiguousarray(mask),
        np.argwhere(crack).astype(np.int32),
        np.asarray(cv2.integral(crack, sdepth=cv2.CV_32S), dtype=np.int32),
    )


class SlowPatchSampler:
    """Draws batches of patches with a fixed share of cracked ones.

    Args:
        images: preprocessed frames, uint8 [H, W] each.
        masks: the truth of each, uint8 [H, W], above 0 where there is crack.
        config: patch size, share and augmentation.
        seed: with the step, decides every draw.
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8]],
        masks: Sequence[NDArray[np.uint8]],
        config: PatchConfig,
        seed: int = 0,
    ) -> None:
        self.config = config
        self.seed = seed
        # A patch that will be shrunk is cut larger; reserve that much on every image.
        self._largest = config.augment.largest_cut_px(config.patch_px)
        self._residents = [
            _make_resident(image, mask, self._largest)
            for image, mask in zip(images, masks, strict=True)
        ]
        self._cracked = [index for index, item in enumerate(self._residents) if len(item.crack_yx)]

    def batch(self, step: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The batch of a training step; the same (seed, step, size) gives the same batch.

        Returns:
            Patches and masks, uint8 [size, 1, patch_px, patch_px] each; masks are 0 or 1.
        """
        generator = np.random.default_rng((self.seed, step))
        side = self.config.patch_px
        patches = np.empty((size, 1, side, side), dtype=np.uint8)
        masks = np.empty_like(patches)
        with_crack = generator.random(size) < self.config.crack_share
        for index in range(size):
            cut = cut_px(self.config.augment, side, generator)
            image, mask = self._draw(bool(with_crack[index]), cut, generator)
            patches[index, 0], masks[index, 0] = augment(
                image, mask, side, self.config.augment, generator
            )
        return patches, masks

    def _draw(
        self, with_crack: bool, cut: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if with_crack:
            resident = self._residents[self._cracked[generator.integers(len(self._cracked))]]
            y, x = _corner_around_crack(resident, cut, generator)
        else:
            resident = self._residents[generator.integers(len(self._residents))]
            y, x = _corner_without_crack(resident, cut, generator)
        window = np.s_[y : y + cut, x : x + cut]
        return resident.image[window], resident.mask[window]


def _corner_around_crack(
    resident: _Resident, cut: int, generator: np.random.Generator
) -> tuple[int, int]:
    """Top-left corner of a window that contains a crack pixel drawn at random."""
    pixel = resident.crack_yx[generator.integers(len(resident.crack_yx))]
    corner = []
    for position, length in zip(pixel, resident.image.shape, strict=True):
        lowest = max(0, int(position) - cut + 1)
        highest = min(int(position), length - cut)
        corner.append(int(generator.integers(lowest, highest + 1)))
    return corner[0], corner[1]


def _corner_without_crack(
    resident: _Resident, cut: int, generator: np.random.Generator
) -> tuple[int, int]:
    """Top-left corner of a window without crack, or of the least cracked of `_MAX_DRAWS`."""
    height, width = resident.image.shape
    corners_y = generator.integers(0, height - cut + 1, _MAX_DRAWS)
    corners_x = generator.integers(0, width - cut + 1, _MAX_DRAWS)
    best, fewest = (int(corners_y[0]), int(corners_x[0])), cut * cut + 1
    for y, x in zip(corners_y.tolist(), corners_x.tolist(), strict=True):
        count = resident.crack_pixels(y, x, cut)
        if count == 0:
            return y, x
        if count < fewest:
            best, fewest = (y, x), count
    return best


def cut_px(config: AugmentConfig, side: int, generator: np.random.Generator) -> int:
    """Draw the side of the window that becomes a patch of `side` pixels."""
    low, high = config.scale_range
    if low == high:
        return side
    scale = float(np.exp(generator.uniform(np.log(low), np.log(high))))
    return min(config.largest_cut_px(side), max(8, round(side / scale)))


def augment(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    side: int,
    config: AugmentConfig,
    generator: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Change one window and bring it to the patch size.

    Args:
        image: uint8 [C, C], the window.
        mask: uint8 [C, C], above 0 where there is crack.
        side: side of the patch in pixels.
        config: strength of each change.
        generator: source of every draw.

    Returns:
        Patch uint8 [side, side] and mask uint8 [side, side] of 0 and 1.
    """
    truth = (mask > 0).astype(np.uint8)
    if image.shape[0] != side:
        shrinking = image.shape[0] > side
        method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (side, side), interpolation=method), np.uint8)
        # Thin cracks vanish under nearest-neighbour shrinking: keep what is 40 % covered.
        covered = cv2.resize(truth * 255, (side, side), interpolation=method)
        truth = (np.asarray(covered) >= (102 if shrinking else 128)).astype(np.uint8)
    if config.geometry:
        turns = int(generator.integers(4))
        image, truth = np.rot90(image, turns), np.rot90(truth, turns)
        if generator.random() < 0.5:
            image, truth = image[:, ::-1], truth[:, ::-1]
    image = _change_tone(np.ascontiguousarray(image), config, generator)
    return image, np.ascontiguousarray(truth)


def _change_tone(
    image: NDArray[np.uint8], config: AugmentConfig, generator: np.random.Generator
) -> NDArray[np.uint8]:
    if config.tone > 0:
        contrast = 1 + generator.uniform(-config.tone, config.tone)
        offset = 255 * generator.uniform(-config.tone, config.tone) / 2
        gamma = float(np.exp(generator.uniform(-config.tone, config.tone)))
        levels = 255 * (np.arange(256) / 255) ** gamma
        table = np.clip(np.rint((levels - 128) * contrast + 128 + offset), 0, 255)
        image = np.asarray(cv2.LUT(image, table.astype(np.uint8)), np.uint8)
    if config.invert_probability and generator.random() < config.invert_probability:
        image = np.asarray(255 - image, np.uint8)
    if config.blur_probability and generator.random() < config.blur_probability:
        sigma = float(generator.uniform(0.4, 1.4))
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if config.noise_levels > 0:
        spread = generator.uniform(0, config.noise_levels)
        noise = generator.standard_normal(image.shape, dtype=np.float32) * np.float32(spread)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image

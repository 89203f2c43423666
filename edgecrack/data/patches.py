"""Random training patches, cut from images that stay in memory.

Patches are drawn from a generator seeded with (seed, step), so any step can be drawn again
without drawing those before it: that is what makes an interrupted run resumable. numpy and
OpenCV only; knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.data.augment import AugmentConfig, augment
from edgecrack.errors import ConfigError, DataError

_MAX_DRAWS = 32  # tries for a patch without crack before the least cracked of them is taken


@dataclass(frozen=True)
class PatchConfig:
    """How patches are drawn.

    Attributes:
        patch_px: side of a patch in pixels, a multiple of 8, 8 to 1024.
        crack_share: share of patches that contain at least one crack pixel, 0..1 (paper: 0.6).
        augment: what is changed on each patch.
    """

    patch_px: int = 48
    crack_share: float = 0.6
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not 8 <= self.patch_px <= 1024 or self.patch_px % 8:
            raise ConfigError(f"patch size is {self.patch_px}", "give a multiple of 8, 8 to 1024")
        if not 0 <= self.crack_share <= 1:
            raise ConfigError(f"crack share is {self.crack_share}", "give a number from 0 to 1")


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


class PatchSampler:
    """Draws batches of patches with a fixed share of cracked ones.

    Args:
        images: preprocessed frames, uint8 [H, W] each.
        masks: the truth of each, uint8 [H, W], above 0 where there is crack.
        config: patch size, share and augmentation.
        seed: with the step, decides every draw.

    Raises:
        DataError: there are no images, none has any crack, or a mask has another size.
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8]],
        masks: Sequence[NDArray[np.uint8]],
        config: PatchConfig,
        seed: int = 0,
    ) -> None:
        if not images or len(images) != len(masks):
            raise DataError(
                f"there are {len(images)} images and {len(masks)} masks", "give one mask per image"
            )
        for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
            if image.shape != mask.shape:
                raise DataError(
                    f"image {index} has shape {image.shape} but its mask {mask.shape}",
                    "give masks of their images' size",
                )
        self.config = config
        self.seed = seed
        # A patch that will be shrunk is cut larger; reserve that much on every image.
        self._largest = config.augment.largest_cut_px(config.patch_px)
        self._residents = [
            _make_resident(image, mask, self._largest)
            for image, mask in zip(images, masks, strict=True)
        ]
        self._cracked = [index for index, item in enumerate(self._residents) if len(item.crack_yx)]
        if not self._cracked and config.crack_share > 0:
            raise DataError(
                "no training image has any crack pixel", "check the masks, or set crack share to 0"
            )

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
            cut = self.config.augment.cut_px(side, generator)
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

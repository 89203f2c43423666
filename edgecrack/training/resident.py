"""Training images and their truth, held on the training device in flat tensors.

Images differ in size, so they lie one behind the other, and a row of a patch is a slice of one
long tensor. Per image pixel that takes 6 bytes (gray value 1, truth 1, integral image 4), and
per crack pixel 4 more: 230 MB for 189 images of 448x448. Knows where pixels are; what is drawn
from them is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecrack.errors import DataError

Bytes = NDArray[np.uint8]


class ResidentImages:
    """Images, masks and what makes drawing from them quick, on one device.

    Args:
        images: uint8 [H, W] each.
        masks: uint8 [H, W] each, above 0 where there is crack.
        smallest_px: an image with a shorter side is mirrored outwards to this.
        device: where the tensors lie.

    Attributes:
        height, width: int64 [images], sides in pixels after mirroring outwards.
        crack_counts: int64 [images], crack pixels of each, in numpy.
        first_crack: int64 [images], where each image's pixels begin in `crack_at`, in numpy.
        crack_at: int32, the crack pixels of all images as `y * width + x`.

    Raises:
        DataError: there is no image, or one does not fit its mask.
    """

    def __init__(
        self,
        images: Sequence[Bytes],
        masks: Sequence[Bytes],
        smallest_px: int,
        device: torch.device | str = "cpu",
    ) -> None:
        _check(images, masks)
        sides = np.array([image.shape for image in images], np.int64)
        height, width = np.maximum(sides, smallest_px).T
        first_pixel, pixels = _starts(height * width)
        first_sum, sums = _starts((height + 1) * (width + 1))
        gray, truth = np.empty(pixels, np.uint8), np.empty(pixels, np.uint8)
        crack_sum = np.empty(sums, np.int32)
        crack_at: list[NDArray[np.int32]] = []
        for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
            grown = _mirror_outwards(image, smallest_px)
            crack = (_mirror_outwards(mask, smallest_px) > 0).astype(np.uint8)
            here = slice(first_pixel[index], first_pixel[index] + grown.size)
            gray[here], truth[here] = grown.ravel(), crack.ravel()
            table = np.asarray(cv2.integral(crack, sdepth=cv2.CV_32S), np.int32)
            crack_sum[first_sum[index] : first_sum[index] + table.size] = table.ravel()
            crack_at.append(np.flatnonzero(crack).astype(np.int32))
        self.device = torch.device(device)
        self.crack_counts = np.array([len(found) for found in crack_at], np.int64)
        self.first_crack, _ = _starts(self.crack_counts)
        # One more entry, so that an image without crack has something to look at in vain.
        crack_at.append(np.zeros(1, np.int32))
        self.crack_at = self._hold(np.concatenate(crack_at))
        self.height, self.width = self._hold(height), self._hold(width)
        self._first_pixel, self._first_sum = self._hold(first_pixel), self._hold(first_sum)
        self._gray, self._truth = self._hold(gray), self._hold(truth)
        self._crack_sum = self._hold(crack_sum)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.crack_counts)

    def cut(self, image: Tensor, y: Tensor, x: Tensor, side: int) -> Tensor:
        """Square windows with their truth.

        Args:
            image: int64 [N], of which image.
            y: int64 [N], top row; the window must lie inside the image, and so must
            x: int64 [N], its left column.
            side: side of the windows in pixels.

        Returns:
            uint8 [N, 2, side, side]: gray values, and truth as 0 or 1.
        """
        width = self.width[image]
        first = self._first_pixel[image] + y * width + x
        rows = torch.arange(side, device=self.device) * width[:, None] + first[:, None]
        # `unfold` is a view of every run of `side` bytes; picking from it copies whole rows.
        planes = [
            plane.unfold(0, side, 1).index_select(0, rows.flatten()).view(-1, side, side)
            for plane in (self._gray, self._truth)
        ]
        return torch.stack(planes, dim=1)

    def crack_pixels(self, image: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Crack pixels inside rectangles.

        Args:
            image: int64 [N], of which image.
            low: int64 [2, N, C], first rows and first columns of C rectangles each.
            high: int64 [2, N, C], the rows and columns behind their last.

        Returns:
            int32 [N, C].
        """
        stride, table = (self.width[image] + 1)[:, None], self._crack_sum
        top, bottom = (self._first_sum[image][:, None] + y * stride for y in (low[0], high[0]))
        left, right = low[1], high[1]
        below = table[bottom + right] - table[bottom + left]
        return below - table[top + right] + table[top + left]

    def _hold(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _check(images: Sequence[Bytes], masks: Sequence[Bytes]) -> None:
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
        if image.ndim != 2 or not image.size or image.dtype != np.uint8:
            raise DataError(
                f"image {index} is {image.dtype} of shape {image.shape}",
                "give gray images, uint8 [H, W]",
            )


def _mirror_outwards(plane: Bytes, smallest_px: int) -> Bytes:
    missing_y = max(0, smallest_px - plane.shape[0])
    missing_x = max(0, smallest_px - plane.shape[1])
    if not missing_y and not missing_x:
        return plane
    border = cv2.copyMakeBorder(plane, 0, missing_y, 0, missing_x, cv2.BORDER_REFLECT_101)
    return np.asarray(border, np.uint8)


def _starts(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Where each of several runs begins in a row of them, and the length of all."""
    ends = np.cumsum(lengths)
    return ends - lengths, int(ends[-1])

"""Training images and their labels, held on the training device in flat tensors.

Images differ in size, so they are stored one behind the other, and a patch row is a slice of one
long tensor. That takes 6 bytes per image pixel (gray value 1, label 1, integral image 4) and 4 more
per crack pixel: 230 MB for 189 images of 448x448. A window that extends beyond its image is filled
with the mirror image when it is cut.
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
    """Images, masks and the tables for fast drawing, on one device.

    Args:
        images: uint8 [H, W] each.
        masks: uint8 [H, W] each, above 0 on crack.
        device: of the tensors.

    Attributes:
        height, width: int64 [images], sides in pixels.
        crack_counts: int64 [images], crack pixels of each, in numpy.
        first_crack: int64 [images], where each image's pixels start in `crack_at`, in numpy.
        crack_at: int32, the crack pixels of all images as `y * width + x`.

    Raises:
        DataError: there is no image, or one does not match its mask.
    """

    def __init__(
        self,
        images: Sequence[Bytes],
        masks: Sequence[Bytes],
        device: torch.device | str = "cpu",
    ) -> None:
        _check(images, masks)
        height, width = np.array([image.shape for image in images], np.int64).T
        first_pixel, pixels = _starts(height * width)
        first_sum, sums = _starts((height + 1) * (width + 1))
        gray, truth = np.empty(pixels, np.uint8), np.empty(pixels, np.uint8)
        crack_sum = np.empty(sums, np.int32)
        crack_at: list[NDArray[np.int32]] = []
        for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
            crack = (mask > 0).astype(np.uint8)
            here = slice(first_pixel[index], first_pixel[index] + image.size)
            gray[here], truth[here] = image.ravel(), crack.ravel()
            table = np.asarray(cv2.integral(crack, sdepth=cv2.CV_32S), np.int32)
            crack_sum[first_sum[index] : first_sum[index] + table.size] = table.ravel()
            crack_at.append(np.flatnonzero(crack).astype(np.int32))
        self.device = torch.device(device)
        self.crack_counts = np.array([len(found) for found in crack_at], np.int64)
        self.first_crack, _ = _starts(self.crack_counts)
        # One more entry, so that the index of an image without crack is valid.
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
        """Square windows with their labels; beyond an image's border, its mirror image.

        Args:
            image: int64 [N], index of the image.
            y: int64 [N], top row; may be outside the image.
            x: int64 [N], left column; likewise.
            side: side of the windows in pixels.

        Returns:
            uint8 [N, 2, side, side]: gray values, and labels as 0 or 1.
        """
        offset, width = torch.arange(side, device=self.device), self.width[image]
        if self._lie_inside(image, y, x, side):
            first = self._first_pixel[image] + y * width + x
            rows = (offset * width[:, None] + first[:, None]).flatten()
            # `unfold` is a view of every run of `side` bytes; picking from it copies whole rows.
            planes = [
                plane.unfold(0, side, 1).index_select(0, rows).view(-1, side, side)
                for plane in (self._gray, self._truth)
            ]
            return torch.stack(planes, dim=1)
        row = mirrored(y[:, None] + offset, self.height[image][:, None])
        column = mirrored(x[:, None] + offset, width[:, None])
        row_start = self._first_pixel[image][:, None] + row * width[:, None]
        at = row_start[:, :, None] + column[:, None, :]
        return torch.stack([self._gray.take(at), self._truth.take(at)], dim=1)

    def _lie_inside(self, image: Tensor, y: Tensor, x: Tensor, side: int) -> bool:
        """Whether all windows are known to be inside their images, without waiting for a device."""
        if self.device.type != "cpu":
            return False  # the host would have to wait
        fits_down = (y >= 0) & (y + side <= self.height[image])
        fits_right = (x >= 0) & (x + side <= self.width[image])
        return bool((fits_down & fits_right).all())

    def crack_pixels(self, image: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Crack pixels in rectangles; one that is also seen mirrored counts once.

        Args:
            image: int64 [N], index of the image.
            low: int64 [2, N, C], first rows and columns of C rectangles each, which may extend
                beyond the image.
            high: int64 [2, N, C], the rows and columns after their last, above `low`.

        Returns:
            int32 [N, C].
        """
        length = torch.stack([self.height[image], self.width[image]])[..., None]
        low, high = shown_part(low, high, length)
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
                "give masks of the size of their images",
            )
        if image.ndim != 2 or not image.size or image.dtype != np.uint8:
            raise DataError(
                f"image {index} is {image.dtype} of shape {image.shape}",
                "give gray images, uint8 [H, W]",
            )


def mirrored(index: Tensor, length: Tensor) -> Tensor:
    """The pixel of a line at an index, where the line is continued by its mirror image.

    The first and the last pixel are not repeated: -1 is 1, and `length` is `length - 2`.

    Args:
        index: int64, any numbers.
        length: int64, pixels of the line, 1 or more; broadcasts with `index`.

    Returns:
        int64, 0 to `length - 1`.
    """
    period = (2 * length - 2).clamp_min(1)
    place = index.remainder(period)
    return torch.where(place < length, place, period - place)


def shown_part(low: Tensor, high: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels of a line that a section of it shows, where the line is `mirrored`.

    Args:
        low: int64, the first index of the section, any number.
        high: int64, the index after its last, above `low`.
        length: int64, pixels of the line.

    Returns:
        The first of these pixels, and the one after the last; all between are shown.
    """
    period = (2 * length - 2).clamp_min(1)
    first = low.remainder(period)
    last = first + (high - low) - 1
    ends = mirrored(first, length), mirrored(last, length)
    turns_at_start = last >= period
    end = length - 1
    turns_at_end = ((first <= end) & (last >= end)) | (last >= period + end)
    lowest = torch.minimum(*ends).masked_fill(turns_at_start, 0)
    highest = torch.where(turns_at_end, end, torch.maximum(*ends))
    return lowest, highest + 1


def _starts(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Start of each of several concatenated sections, and their total length."""
    ends = np.cumsum(lengths)
    return ends - lengths, int(ends[-1])

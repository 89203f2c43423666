"""Square patches over a whole image, and the mean of their outputs: the paper's test.

A patch at every n-th position in both directions, plus those that end at the last row and
column, so that every pixel is covered. Knows arrays only; must not know what predicts, and
`training/predictor.py` averages the same grid in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgecrack.errors import ConfigError

PAPER_PATCH_PX = 48
_SIZE_MULTIPLE = 8  # the network halves a patch's sides three times
_BATCH_PX = 1 << 17  # 56 patches of 48x48; larger batches leave a core's cache and are slower

Corners = NDArray[np.int64]


@dataclass(frozen=True)
class PatchStride:
    """Which patches are averaged.

    Attributes:
        patch_px: side of a patch, a multiple of 8 from 16.
        stride_px: distance of neighbouring patches, 1 to `patch_px`; the paper's is 1.
    """

    patch_px: int = PAPER_PATCH_PX
    stride_px: int = 1

    def __post_init__(self) -> None:
        if self.patch_px < 16 or self.patch_px > 4096 or self.patch_px % _SIZE_MULTIPLE:
            raise ConfigError(
                f"the patch is {self.patch_px} px", "give a multiple of 8 from 16 to 4096"
            )
        if not 1 <= self.stride_px <= self.patch_px:
            raise ConfigError(
                f"the stride is {self.stride_px} px",
                f"give 1 to {self.patch_px} px, so that patches of {self.patch_px} px leave no gap",
            )


def axis_starts(length: int, patch: int, stride: int) -> Corners:
    """Where patches begin along one axis: every `stride`-th position and the last one.

    Args:
        length: the axis in pixels, at least `patch`.
        patch: side of a patch in pixels.
        stride: distance in pixels.

    Returns:
        int64 [n], rising from 0 to `length - patch`.
    """
    starts = np.arange(0, length - patch + 1, stride, dtype=np.int64)
    if starts[-1] != length - patch:
        starts = np.append(starts, length - patch)
    return starts


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """The patches of one image size.

    Attributes:
        frame_hw: the image's height and width.
        padded_hw: the same, but no side shorter than a patch.
        patch_px: side of a patch.
        starts_y: int64 [rows], the patches' first rows.
        starts_x: int64 [columns], the patches' first columns.
    """

    frame_hw: tuple[int, int]
    padded_hw: tuple[int, int]
    patch_px: int
    starts_y: Corners
    starts_x: Corners

    def __len__(self) -> int:
        """Number of patches."""
        return len(self.starts_y) * len(self.starts_x)

    def pad(self, prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image, mirrored outwards at its bottom and right where a patch would not fit."""
        missing = [whole - own for whole, own in zip(self.padded_hw, prepared.shape, strict=True)]
        return np.pad(prepared, [(0, pixels) for pixels in missing], mode="symmetric")

    def coverage(self) -> NDArray[np.int64]:
        """How many patches cover each pixel: int64 [H, W] of the padded size, at least 1."""
        inside = np.arange(self.patch_px)
        along = [
            np.bincount((starts[:, None] + inside).ravel(), minlength=length)
            for starts, length in zip((self.starts_y, self.starts_x), self.padded_hw, strict=True)
        ]
        return np.outer(*along).astype(np.int64)

    def batches(self, pixels: int = _BATCH_PX) -> Iterator[tuple[Corners, Corners]]:
        """First rows and first columns of the patches, row by row, of `pixels` in all at a time."""
        size = max(1, pixels // self.patch_px**2)
        for first in range(0, len(self), size):
            number = np.arange(first, min(first + size, len(self)))
            row, column = np.divmod(number, len(self.starts_x))
            yield self.starts_y[row], self.starts_x[column]

    def pixel_numbers(self) -> Corners:
        """Place of a patch's pixels after its corner in the flat padded image, int64 [P * P]."""
        inside = np.arange(self.patch_px)
        return np.add.outer(inside * self.padded_hw[1], inside).ravel().astype(np.int64)


def plan_patches(frame_hw: tuple[int, int], config: PatchStride) -> PatchGrid:
    """The patches of an image."""
    patch, stride = config.patch_px, config.stride_px
    height, width = (max(length, patch) for length in frame_hw)
    starts = [axis_starts(length, patch, stride) for length in (height, width)]
    return PatchGrid(frame_hw, (height, width), patch, *starts)


def average_patches(
    prepared: NDArray[np.uint8],
    config: PatchStride,
    infer: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """Mean of what a runner says of every patch that covers a pixel.

    Args:
        prepared: uint8 [H, W], preprocessed as a whole.
        config: the patches.
        infer: from uint8 [N, 1, P, P] to uint8 [N, 1, P, P], 255 = certain crack.

    Returns:
        uint8 [H, W].
    """
    grid = plan_patches((prepared.shape[0], prepared.shape[1]), config)
    padded = grid.pad(prepared)
    windows = sliding_window_view(padded, (config.patch_px, config.patch_px))
    inside = grid.pixel_numbers()
    sums = np.zeros(padded.size, np.int64)  # integers: exact in any order
    for rows, columns in grid.batches():
        outputs = infer(np.ascontiguousarray(windows[rows, columns][:, None]))
        places = (rows * padded.shape[1] + columns)[:, None] + inside
        np.add.at(sums, places.ravel(), outputs.ravel().astype(np.int64))
    mean = np.rint(sums.reshape(padded.shape) / grid.coverage())
    height, width = grid.frame_hw
    return np.ascontiguousarray(mean[:height, :width].astype(np.uint8))

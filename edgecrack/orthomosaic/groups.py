"""Connected groups of crack pixels in an image processed window by window.

Touching groups in neighbouring windows are joined; the size of a group is known once all windows
have been added.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.regions import Region
from edgecrack.orthomosaic.geotiff import Box

_Labels = NDArray[np.int64]


class Groups:
    """The 8-connected groups of a mask, window by window.

        groups = Groups(width)
        for row in rows:             # first time: all boxes, from the upper left, row by row
            for box in row:
                groups.add(box, mask_of(box))
        groups.finish(min_area_px=60)
        for row in rows:             # second time: the same boxes and masks
            for box in row:
                kept = groups.kept(box, mask_of(box))

    Args:
        width: image width in pixels.
    """

    def __init__(self, width: int) -> None:
        self._count = 1  # 0 is the background
        self._first: dict[tuple[int, int], int] = {}
        self._stats: list[NDArray[np.int64]] = [np.zeros((1, 5), np.int64)]
        self._parents: dict[int, int] = {}
        # Labels along the row above, with one place more at either end, and along the left box.
        self._above: _Labels = np.zeros(width + 2, np.int64)
        self._below: _Labels = np.zeros(width + 2, np.int64)
        self._left: _Labels = np.zeros(0, np.int64)
        self._keeps: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.regions: tuple[Region, ...] = ()

    def add(self, box: Box, mask: NDArray[np.uint8]) -> None:
        """Add a window in the first pass.

        Args:
            box: the window.
            mask: uint8 [H, W] of its size; non-zero is crack.
        """
        if box.left == 0:
            self._above, self._below = self._below, np.zeros_like(self._below)
            self._left = np.zeros(box.height, np.int64)
        count, labels, stats = _labelled(mask)
        self._first[box.top, box.left] = self._count - 1
        boxes = stats[1:].astype(np.int64)
        boxes[:, :2] += (box.left, box.top)
        boxes[:, 2:4] += boxes[:, :2]  # left, top, right, bottom, area
        self._stats.append(boxes)
        first = self._count - 1
        top, bottom, left, right = (
            np.where(edge > 0, edge.astype(np.int64) + first, 0)
            for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1])
        )
        above = self._above[box.left : box.right + 2]
        for shift in range(3):
            self._join(top, above[shift : shift + box.width])
        for shift in (-1, 0, 1):
            begin, end = max(0, shift), box.height + min(0, shift)
            self._join(left[begin - shift : end - shift], self._left[begin:end])
        self._below[box.left + 1 : box.right + 1] = bottom
        self._left = right
        self._count += count - 1

    def finish(self, min_area_px: int) -> None:
        """End the first pass; groups smaller than this are specks."""
        stats = np.concatenate(self._stats)
        roots = np.arange(self._count)
        for label in self._parents:
            roots[label] = self._root(label)
        whole = stats.copy()
        np.minimum.at(whole[:, 0], roots, stats[:, 0])
        np.minimum.at(whole[:, 1], roots, stats[:, 1])
        np.maximum.at(whole[:, 2], roots, stats[:, 2])
        np.maximum.at(whole[:, 3], roots, stats[:, 3])
        whole[:, 4] = np.bincount(roots, stats[:, 4], self._count)
        keeps = whole[:, 4] >= min_area_px
        keeps[0] = False
        own = np.flatnonzero(keeps & (roots == np.arange(self._count)))
        order = own[np.lexsort((whole[own, 0], whole[own, 1], -whole[own, 4]))]
        self.regions = tuple(
            Region((left, top, right, bottom), area)
            for left, top, right, bottom, area in whole[order].tolist()
        )
        self._keeps = keeps[roots]

    def kept(self, box: Box, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A window's mask without specks, uint8 [H, W], 0 or 255."""
        _, labels, _ = _labelled(mask)
        keeps = self._keeps[np.where(labels > 0, labels + self._first[box.top, box.left], 0)]
        return np.where(keeps, np.uint8(255), np.uint8(0))

    def _join(self, some: _Labels, others: _Labels) -> None:
        touch = (some > 0) & (others > 0)
        pairs = np.unique(np.stack([some[touch], others[touch]]), axis=1)
        for one, other in pairs.T.tolist():
            lower, upper = sorted((self._root(one), self._root(other)))
            if lower != upper:
                self._parents[upper] = lower

    def _root(self, label: int) -> int:
        root = label
        while (parent := self._parents.get(root)) is not None:
            root = parent
        while label != root:  # path compression
            parent = self._parents[label]
            self._parents[label], label = root, parent
        return root


def _labelled(
    mask: NDArray[np.uint8],
) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_32S, cv2.CCL_GRANA
    )
    return count, np.asarray(labels, np.int32), np.asarray(stats, np.int32)

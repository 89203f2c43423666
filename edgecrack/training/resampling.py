"""Cut windows of images resized and turned by any angle, gray values and truth alike.

Pixels are interpolated once, bilinearly, after smoothing as far as the window shrinks; beyond
the image's border it is mirrored. Knows nothing of why a window was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgecrack.training.augment_settings import AugmentConfig
from edgecrack.training.patch_placement import Placements, Shapes
from edgecrack.training.resident import ResidentImages

# Thin cracks vanish under nearest-neighbour shrinking: keep what is 40 % covered.
_COVERED, _COVERED_IF_SHRUNK = 0.5, 0.4
_SPARE_PX = 6  # room for the neighbours that interpolation and smoothing look at
_SIDE_MULTIPLE = 32  # windows of like size are read together; a multiple of 2, for halving
# Pixels that are worked on at a time: on a processor they stay in its cache, elsewhere in bounds.
_AT_ONCE_PX, _AT_ONCE_PX_ELSEWHERE = 2**17, 2**24


def largest_window_px(side: int, config: AugmentConfig) -> int:
    """Side of the largest window that is read for a patch of `side` pixels."""
    largest = config.largest_cut_px(side)
    if not config.resamples:
        return largest
    worst = np.radians(min(45.0, config.rotation_deg))
    return int(_window_px(Shapes(np.array([largest]), np.array([worst])))[0])


class Resampler:
    """Cuts windows, resized and turned about their points.

    Args:
        resident: the images.
        side: side of the patches in pixels.
        config: bounds the shapes of the windows.
    """

    def __init__(self, resident: ResidentImages, side: int, config: AugmentConfig) -> None:
        self._resident, self._side = resident, side
        self._largest_px = largest_window_px(side, config)
        # Large buffers taken anew for every step cost more than the work that is done in them.
        self._buffers = torch.empty((2, 0), device=resident.device)

    def cut(self, places: Placements, shapes: Shapes) -> Tensor:
        """Windows brought to the patch's size.

        Returns:
            uint8 [N, 2, side, side]: gray values, and truth as 0 or 1.
        """
        side, device, count = self._side, self._resident.device, len(shapes.cut_px)
        # What a patch looks at depends on its own shape and the configuration alone, so that it
        # is the same, whatever it is drawn together with. A processor gains from small windows
        # that stay in its cache, other devices from few and large steps.
        step, small = shapes.cut_px / side, device.type == "cpu"
        window = _window_px(shapes) if small else np.full(count, self._largest_px)
        groups = list(_alike(window, step, _AT_ONCE_PX if small else _AT_ONCE_PX_ELSEWHERE))
        order = np.concatenate(groups)
        views = _views(self._resident, places, shapes, step, window, order, side)
        patches = torch.empty((count, 2, side, side), dtype=torch.uint8, device=device)
        first = 0
        for members in groups:
            here = slice(first, first := first + len(members))
            own = _Views(views.corner[:, here], views.mapping[:, here])
            shrinks = step[members].max() > 1
            sampled = self._sample(own, int(window[members[0]]), float(step[members].max()))
            patches[here, 0].copy_(sampled[:, 0].add_(0.5))  # which rounds, as bytes are cut off
            covered = _COVERED_IF_SHRUNK if shrinks else _COVERED
            torch.ge(sampled[:, 1], covered, out=patches[here, 1].view(torch.bool))
        return patches.index_select(0, torch.from_numpy(np.argsort(order)).to(device))

    def _sample(self, views: _Views, window: int, largest_step: float) -> Tensor:
        """float32 [N, 2, side, side]: gray values, and the share of each pixel that is crack."""
        image, top, left = views.corner
        seen = self._resident.cut(image, top, left, window)
        if self._buffers.shape[1] < seen.numel():
            self._buffers = torch.empty((2, seen.numel()), device=seen.device)
        planes, spare = (buffer[: seen.numel()].view(seen.shape) for buffer in self._buffers)
        planes.copy_(seen)
        if largest_step <= 1:
            return _interpolate(planes, views.mapping, self._side, pooled=1)
        pooled = 2 if largest_step > 2 else 1
        if pooled == 2:
            planes = functional.avg_pool2d(planes, 2)
            spare = torch.empty_like(planes)
        share = _smooth(planes, spare, views.mapping[_STEP] / pooled)
        return _interpolate(planes, views.mapping, self._side, pooled).mul_(share)


_ZERO_Y, _ZERO_X, _ALONG, _ACROSS, _STEP = range(5)


@dataclass(frozen=True)
class _Views:
    """How patch pixels map to pixels of the windows that are read.

    Attributes:
        corner: int64 [3, N]: image, top row and left column of each window.
        mapping: float64 [5, N]: zero_y, zero_x, along, across and step. Patch pixel (i, j) is at
            `zero + i * (along, -across) + j * (across, along)` in its window, as (y, x).
    """

    corner: Tensor
    mapping: Tensor


def _window_px(shapes: Shapes) -> NDArray[np.int64]:
    """Sides of upright windows that hold all that turned ones look at."""
    turned = shapes.cut_px * (np.abs(np.cos(shapes.angle)) + np.abs(np.sin(shapes.angle)))
    units = np.ceil((turned + _SPARE_PX) / _SIDE_MULTIPLE).astype(np.int64)
    return np.asarray(_SIDE_MULTIPLE * units)


def _alike(
    window: NDArray[np.int64], step: NDArray[np.float64], at_once: int
) -> Iterator[NDArray[np.int64]]:
    """Members that are resampled in one go: windows of one size, enlarged or shrunk alike.

    The host knows all that decides it; no device is asked.

    Args:
        window: int64 [N], sides of the windows that are read.
        step: float64 [N], pixels of the image per pixel of the patch.
        at_once: how many pixels to read at a time.
    """
    kinds = np.stack([window, np.searchsorted([1.0, 2.0], step, side="left")])
    for kind in np.unique(kinds, axis=1).T:
        members = np.flatnonzero((kinds == kind[:, None]).all(axis=0))
        most = max(1, at_once // int(kind[0]) ** 2)
        for first in range(0, len(members), most):
            yield members[first : first + most]


def _views(
    resident: ResidentImages,
    places: Placements,
    shapes: Shapes,
    step: NDArray[np.float64],
    window: NDArray[np.int64],
    order: NDArray[np.int64],
    side: int,
) -> _Views:
    known = np.stack([step * np.cos(shapes.angle), step * np.sin(shapes.angle), step, window])
    along, across, step_of, window_of = torch.from_numpy(known[:, order]).to(resident.device)
    rows = torch.from_numpy(order).to(resident.device)
    image = places.image[rows]
    y, x, at_y, at_x = torch.stack([places.y, places.x, places.at_y, places.at_x])[:, rows]
    zero = torch.stack([y - along * at_y - across * at_x, x - along * at_x + across * at_y])
    middle = zero + (side - 1) / 2 * torch.stack([along + across, along - across])
    # At the image's border the window is moved inwards where it fits: what is then mirrored about
    # its last row is mirrored about the image's own, and reading whole rows is quicker.
    room = torch.stack([resident.height[image], resident.width[image]]) - window_of
    around = torch.floor(middle - (window_of - 2) / 2)
    corner = torch.where(room < 0, around, torch.minimum(around.clamp_min(0), room))
    mapping = torch.cat([zero - corner, torch.stack([along, across, step_of])])
    return _Views(torch.cat([image[None], corner.long()]), mapping)


def _smooth(planes: Tensor, sides: Tensor, step: Tensor) -> Tensor:
    """Sum over a square of `step` pixels around each pixel, in place.

    Args:
        planes: float32 [N, 2, H, W]; holds the sums afterwards.
        sides: of the same shape, to work in.
        step: float64 [N], 1 to 2.

    Returns:
        float32 [N, 1, 1, 1], what turns the sums into averages.
    """
    # The square covers the middle pixel whole and `(step - 1) / 2` of its neighbours.
    outer = ((step - 1) / 2).float()[:, None, None, None]
    for axis in (-1, -2):
        length = planes.shape[axis]
        before, after = planes.narrow(axis, 0, length - 2), planes.narrow(axis, 2, length - 2)
        torch.add(before, after, out=sides.narrow(axis, 1, length - 2))
        torch.mul(planes.narrow(axis, 1, 1), 2, out=sides.narrow(axis, 0, 1))
        torch.mul(planes.narrow(axis, -2, 1), 2, out=sides.narrow(axis, -1, 1))
        planes.addcmul_(sides, outer)
    return (step**-2).float()[:, None, None, None]


def _interpolate(planes: Tensor, mapping: Tensor, side: int, pooled: int) -> Tensor:
    """float32 [N, 2, H, W], halved if `pooled` is 2 -> [N, 2, side, side]."""
    zero_y, zero_x, along, across = mapping[:_STEP]
    grid = torch.empty((len(planes), 2, side, side), device=planes.device)
    index = torch.arange(side, device=planes.device, dtype=torch.float64)
    to_unit = 2 / (pooled * (planes.shape[-1] - 1))
    for axis, zero, by_column, by_row in (
        (0, zero_x, along, -across),
        (1, zero_y, across, along),
    ):
        start = (zero - (pooled - 1) / 2)[:, None] * to_unit - 1
        columns = (start + by_column[:, None] * to_unit * index).float()
        rows = (by_row[:, None] * to_unit * index).float()
        torch.add(columns[:, None, :], rows[:, :, None], out=grid[:, axis])
    return functional.grid_sample(
        planes,
        grid.permute(0, 2, 3, 1),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=True,
    )

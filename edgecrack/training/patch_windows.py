"""Windows of images that become patches: where they are placed, and how they are cut and resampled.

All random numbers come from the caller, one row per patch, so a patch depends on its own row alone.
Plain windows are copied byte for byte. Resized or rotated ones are interpolated once, bilinearly,
after smoothing as far as they shrink. Beyond the image's border both see its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgecrack.training.augmentation import change_members
from edgecrack.training.config import AugmentConfig
from edgecrack.training.resident import ResidentImages

# Candidates for a window without crack, before the least cracked is used. Most images have one
# among the first few.
_ROUNDS = ((0, 4), (4, 12), (12, 32))
_CANDIDATES = _ROUNDS[-1][1]
_PIXEL, _Y, _X, _SCALE, _ANGLE, _CANDIDATES_AT = range(6)
PLACEMENT_DRAWS = _CANDIDATES_AT + 2 * _CANDIDATES
_PARTS = 4  # a rotated window is checked as 4 x 4 upright squares that cover it

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Shapes:
    """Size and rotation of the windows that become patches.

    Attributes:
        cut_px: int64 [N], side of the window.
        angle: float64 [N], its rotation in radians.
    """

    cut_px: NDArray[np.int64]
    angle: NDArray[np.float64]


@dataclass(frozen=True)
class Placements:
    """Where windows are: the patch pixel `(at_y, at_x)` shows the image point `(y, x)`.

    Attributes:
        image: int64 [N], index of the image.
        y, x: float64 [N], a point of the image; whole numbers are pixel centres.
        at_y, at_x: float64 [N], where that point is in the patch. Around crack it is the pixel
            that was drawn, otherwise the centre.
    """

    image: Tensor
    y: Tensor
    x: Tensor
    at_y: Tensor
    at_x: Tensor


def draw_shapes(draws: Draws, side: int, config: AugmentConfig) -> Shapes:
    """Sizes and rotations of windows.

    Args:
        draws: float64 [N, PLACEMENT_DRAWS] in 0..1.
        side: side of the patches in pixels.
        config: limits of scale and rotation.
    """
    low, high = np.log(config.scale_range)
    scale = np.exp(low + (high - low) * draws[:, _SCALE])
    cut = np.clip(np.rint(side / scale), 8, config.largest_cut_px(side)).astype(np.int64)
    return Shapes(cut, np.radians(config.rotation_deg) * (2 * draws[:, _ANGLE] - 1))


def place(
    resident: ResidentImages,
    image: NDArray[np.int64],
    with_crack: NDArray[np.bool_],
    shapes: Shapes,
    draws: Draws,
    side: int,
) -> Placements:
    """Place a window of each shape in its image; rotated about its point it may extend beyond it.

    Args:
        resident: the images; one smaller than its window is continued by its mirror image.
        image: int64 [N], index of each patch's image.
        with_crack: bool [N]; where True, a crack pixel is drawn and shown by the patch. Where
            False, the window is free of crack if any of 32 candidates is, or else the least
            cracked.
        shapes: sizes and rotations of the windows.
        draws: float64 [N, PLACEMENT_DRAWS] in 0..1.
        side: side of the patches in pixels.
    """
    device = resident.device
    images = torch.from_numpy(image).to(device)
    points = torch.empty((4, len(image)), dtype=torch.float64, device=device)
    for chosen, found in ((with_crack, _around_crack), (~with_crack, _clear_of_crack)):
        rows = np.flatnonzero(chosen)
        if len(rows):
            own = Shapes(shapes.cut_px[rows], shapes.angle[rows])
            at = torch.from_numpy(rows).to(device)
            points[:, at] = found(resident, image[rows], own, draws[rows], side)
    return Placements(images, *points)


def _around_crack(
    resident: ResidentImages, image: NDArray[np.int64], shapes: Shapes, draws: Draws, side: int
) -> Tensor:
    """A crack pixel of each image and where the patch shows it: y, x, at_y, at_x."""
    device = resident.device
    own = np.floor(draws[:, _PIXEL] * resident.crack_counts[image]).astype(np.int64)
    pixel = torch.from_numpy(resident.first_crack[image] + own).to(device)
    cut = torch.from_numpy(shapes.cut_px).to(device)
    where = torch.from_numpy(draws[:, [_Y, _X]].T.copy()).to(device)
    images = torch.from_numpy(image).to(device)
    height, width = resident.height[images], resident.width[images]
    index = resident.crack_at[pixel].long()
    position = torch.stack([index // width, index % width])
    room = torch.stack([height, width]) - cut
    lowest, highest = position - cut + 1, position
    # A window extends beyond its image only where it does not fit.
    lowest = torch.where(room < 0, lowest, lowest.clamp_min(0))
    highest = torch.where(room < 0, highest, torch.minimum(highest, room))
    corner = lowest + torch.floor(where * (highest - lowest + 1)).long()
    seen_at = (2 * (position - corner) + 1) * side // (2 * cut)
    return torch.cat([position, seen_at]).double()


def _clear_of_crack(
    resident: ResidentImages, image: NDArray[np.int64], shapes: Shapes, draws: Draws, side: int
) -> Tensor:
    """The centre of the first window without crack, or of the least cracked candidate."""
    device = resident.device
    images = torch.from_numpy(image).to(device)
    cut = torch.from_numpy(shapes.cut_px).to(device)
    angle = torch.from_numpy(shapes.angle).to(device) if shapes.angle.any() else None
    length = torch.stack([resident.height[images], resident.width[images]])
    room = torch.where(length < cut, length, length - cut + 1)
    share = torch.from_numpy(draws[:, _CANDIDATES_AT:]).to(device)
    corners = torch.floor(share.view(-1, 2, _CANDIDATES).transpose(0, 1) * room[..., None]).long()

    best = corners[..., 0].clone()
    fewest = torch.full_like(cut, torch.iinfo(torch.int64).max)
    rows = torch.arange(len(cut), device=device)
    for first, last in _ROUNDS:
        tries = corners[:, rows, first:last]
        turned = None if angle is None else angle[rows]
        counts = _crack_pixels(resident, images[rows], tries, cut[rows], turned)
        count, which = counts.min(dim=1)  # the first of equals
        better = count < fewest[rows]
        found = tries.gather(2, which.expand(2, -1)[..., None])[..., 0]
        best[:, rows] = torch.where(better, found, best[:, rows])
        fewest[rows] = torch.where(better, count.long(), fewest[rows])
        if device.type == "cpu":  # elsewhere a query costs more than checking every candidate
            rows = rows[fewest[rows] > 0]
            if not len(rows):
                break
    middle = torch.full_like(best, (side - 1) / 2, dtype=torch.float64)
    return torch.cat([best + (cut - 1).double() / 2, middle])


def _crack_pixels(
    resident: ResidentImages,
    image: Tensor,
    corners: Tensor,
    cut: Tensor,
    angle: Tensor | None,
) -> Tensor:
    """Crack pixels in windows or, if rotated, in upright squares that cover them.

    Args:
        resident: the images.
        image: int64 [N].
        corners: int64 [2, N, C], rows and columns of the windows before rotation.
        cut: int64 [N], side of the windows.
        angle: float64 [N], rotations about their centres in radians, or None.

    Returns:
        int64 [N, C].
    """
    if angle is None:
        return resident.crack_pixels(image, corners, corners + cut[:, None])
    part = cut / _PARTS
    offset = torch.arange(_PARTS, device=cut.device) - (_PARTS - 1) / 2
    along, across = (part * angle.cos())[:, None], (part * angle.sin())[:, None]
    u, v = (axis.flatten() for axis in torch.meshgrid(offset, offset, indexing="ij"))
    middles = torch.stack([along * u + across * v, along * v - across * u])
    # One pixel more, for the neighbours that interpolation reads.
    reach = (along.abs() + across.abs()) / 2 + 1
    low = torch.floor(middles - reach).long()[:, :, None] + (corners + cut[:, None] // 2)[..., None]
    high = low + torch.ceil(2 * reach).long()[..., None] + 1
    # Parts beyond the image show its mirror image, which is checked as well.
    counts = resident.crack_pixels(image, low.flatten(2), high.flatten(2))
    return counts.view(*corners.shape[1:], -1).sum(dim=-1)


def cut_plain(resident: ResidentImages, places: Placements, side: int) -> Tensor:
    """Unchanged windows: uint8 [N, 2, side, side], gray values and labels as 0 or 1."""
    y, x = (places.y - places.at_y).long(), (places.x - places.at_x).long()
    return resident.cut(places.image, y, x, side)


def turn_over(patches: Tensor, turn: NDArray[np.int64]) -> None:
    """Mirror and rotate by quarter turns, exactly and in place.

    Args:
        patches: [N, ..., side, side].
        turn: int64 [N], which of the eight ways, 0 to 7; 0 changes nothing.
    """
    ways: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda chosen: chosen.flip(-1),
        lambda chosen: chosen.flip(-2),
        lambda chosen: chosen.transpose(-1, -2),
    )
    for bit, way in enumerate(ways):
        change_members(patches, (turn >> bit) & 1 == 1, way)


# Thin cracks vanish under nearest-neighbour shrinking: keep pixels that are 40 % covered.
_COVERED, _COVERED_IF_SHRUNK = 0.5, 0.4
_SPARE_PX = 6  # for the neighbours that interpolation and smoothing read
_SIDE_MULTIPLE = 32  # windows of similar size are read together; even, for halving
# Pixels per step: on a CPU they stay in its cache, on a GPU memory stays bounded.
_AT_ONCE_PX, _AT_ONCE_PX_ELSEWHERE = 2**17, 2**24


def largest_window_px(side: int, config: AugmentConfig) -> int:
    """Side of the largest window that is read for a patch of `side` pixels."""
    largest = config.largest_cut_px(side)
    if not config.resamples:
        return largest
    worst = np.radians(min(45.0, config.rotation_deg))
    return int(_window_px(Shapes(np.array([largest]), np.array([worst])))[0])


class Resampler:
    """Cuts windows that are resized and rotated about their points.

    Args:
        resident: the images.
        side: side of the patches in pixels.
        config: bounds the shapes of the windows.
    """

    def __init__(self, resident: ResidentImages, side: int, config: AugmentConfig) -> None:
        self._resident, self._side = resident, side
        self._largest_px = largest_window_px(side, config)
        # Allocating large buffers at every step costs more than the work done in them.
        self._buffers = torch.empty((2, 0), device=resident.device)

    def cut(self, places: Placements, shapes: Shapes) -> Tensor:
        """Windows resampled to the patch size.

        Returns:
            uint8 [N, 2, side, side]: gray values, and labels as 0 or 1.
        """
        side, device, count = self._side, self._resident.device, len(shapes.cut_px)
        # A patch depends on its own shape and the configuration alone, not on the rest of its
        # batch. A CPU gains from small windows that stay in its cache, a GPU from few large steps.
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
            patches[here, 0].copy_(sampled[:, 0].add_(0.5))  # rounds, since bytes are truncated
            covered = _COVERED_IF_SHRUNK if shrinks else _COVERED
            torch.ge(sampled[:, 1], covered, out=patches[here, 1].view(torch.bool))
        return patches.index_select(0, torch.from_numpy(np.argsort(order)).to(device))

    def _sample(self, views: _Views, window: int, largest_step: float) -> Tensor:
        """float32 [N, 2, side, side]: gray values, and the crack share of each pixel."""
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
    """Sides of upright windows that contain the rotated ones."""
    turned = shapes.cut_px * (np.abs(np.cos(shapes.angle)) + np.abs(np.sin(shapes.angle)))
    units = np.ceil((turned + _SPARE_PX) / _SIDE_MULTIPLE).astype(np.int64)
    return np.asarray(_SIDE_MULTIPLE * units)


def _alike(
    window: NDArray[np.int64], step: NDArray[np.float64], at_once: int
) -> Iterator[NDArray[np.int64]]:
    """Members that are resampled together: windows of one size, all enlarged or all shrunk.

    Args:
        window: int64 [N], sides of the windows that are read.
        step: float64 [N], pixels of the image per pixel of the patch.
        at_once: pixels to read at a time.
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
    # At the image's border the window is moved inwards where it fits: mirroring about its last row
    # is then mirroring about the image's own, and reading whole rows is faster.
    room = torch.stack([resident.height[image], resident.width[image]]) - window_of
    around = torch.floor(middle - (window_of - 2) / 2)
    corner = torch.where(room < 0, around, torch.minimum(around.clamp_min(0), room))
    mapping = torch.cat([zero - corner, torch.stack([along, across, step_of])])
    return _Views(torch.cat([image[None], corner.long()]), mapping)


def _smooth(planes: Tensor, sides: Tensor, step: Tensor) -> Tensor:
    """Sum over a square of `step` pixels around each pixel, in place.

    Args:
        planes: float32 [N, 2, H, W]; contains the sums afterwards.
        sides: a work buffer of the same shape.
        step: float64 [N], 1 to 2.

    Returns:
        float32 [N, 1, 1, 1], the factor that turns sums into averages.
    """
    # The square covers the central pixel fully and `(step - 1) / 2` of its neighbours.
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

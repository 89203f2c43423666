"""Where patches lie: which window of an image, around crack or clear of it.

Every random number comes from the caller, one row of them per patch, so a patch depends on its
own row alone. Knows nothing of pixel values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecrack.training.augment_settings import AugmentConfig
from edgecrack.training.resident import ResidentImages

# Windows looked at for one without crack, before the least cracked is taken. Most images have
# one among the first few.
_ROUNDS = ((0, 4), (4, 12), (12, 32))
_CANDIDATES = _ROUNDS[-1][1]
_PIXEL, _Y, _X, _SCALE, _ANGLE, _CANDIDATES_AT = range(6)
PLACEMENT_DRAWS = _CANDIDATES_AT + 2 * _CANDIDATES
_PARTS = 4  # a turned window is looked at as 4 x 4 upright squares that cover it

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Shapes:
    """How large a window is that becomes a patch, and how it is turned.

    Attributes:
        cut_px: int64 [N], side of the window.
        angle: float64 [N], its turn in radians.
    """

    cut_px: NDArray[np.int64]
    angle: NDArray[np.float64]


@dataclass(frozen=True)
class Placements:
    """Where patches lie: the patch pixel `(at_y, at_x)` shows the image point `(y, x)`.

    Attributes:
        image: int64 [N], of which image.
        y, x: float64 [N], a point of the image; whole numbers are centres of pixels.
        at_y, at_x: float64 [N], where that point is in the patch. Around crack it is the pixel
            that was drawn, otherwise the middle.
    """

    image: Tensor
    y: Tensor
    x: Tensor
    at_y: Tensor
    at_x: Tensor


def draw_shapes(draws: Draws, side: int, config: AugmentConfig) -> Shapes:
    """Sizes and turns of windows.

    Args:
        draws: float64 [N, PLACEMENT_DRAWS] in 0..1.
        side: side of the patches in pixels.
        config: how much may change.
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
    """Lay a window of each shape into its image; turned about its point it may stand out of it.

    Args:
        resident: the images; of one smaller than its window its mirror image is seen beside it.
        image: int64 [N], of which image each patch is.
        with_crack: bool [N]; where True, a crack pixel is drawn and shown by the patch. Where
            False, the window is clear of crack if any of 32 tries is, or else the least cracked.
        shapes: sizes and turns of the windows.
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
    # A window stands out of its image only where it does not fit.
    lowest = torch.where(room < 0, lowest, lowest.clamp_min(0))
    highest = torch.where(room < 0, highest, torch.minimum(highest, room))
    corner = lowest + torch.floor(where * (highest - lowest + 1)).long()
    seen_at = (2 * (position - corner) + 1) * side // (2 * cut)
    return torch.cat([position, seen_at]).double()


def _clear_of_crack(
    resident: ResidentImages, image: NDArray[np.int64], shapes: Shapes, draws: Draws, side: int
) -> Tensor:
    """The middle of the first window without crack, or of the least cracked of all tries."""
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
        if device.type == "cpu":  # elsewhere, asking costs more than looking at every candidate
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
    """Crack pixels in windows, or, if turned, in upright squares that cover them.

    Args:
        resident: the images.
        image: int64 [N].
        corners: int64 [2, N, C], rows and columns of the windows before they are turned.
        cut: int64 [N], side of the windows.
        angle: float64 [N], turns about their middles in radians, or None.

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
    # One pixel more, for the neighbours that interpolation looks at.
    reach = (along.abs() + across.abs()) / 2 + 1
    low = torch.floor(middles - reach).long()[:, :, None] + (corners + cut[:, None] // 2)[..., None]
    high = low + torch.ceil(2 * reach).long()[..., None] + 1
    # What stands out of the image shows its mirror image, which is looked at as well.
    counts = resident.crack_pixels(image, low.flatten(2), high.flatten(2))
    return counts.view(*corners.shape[1:], -1).sum(dim=-1)

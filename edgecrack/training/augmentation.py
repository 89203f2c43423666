"""Changes to the appearance of training patches; their labels stay as they are.

Applied in the order in which they happen to a picture: the surface, the light on it, the lens and
camera motion, the tone curve, noise, compression. Each change draws its own random numbers, so
enabling one leaves the others as they are. The host knows which patches are changed, so it never
waits for the device.

A bar's or a cable's shadow is a dark line, and so is a crack. The shadow is perfectly straight,
has one width and one darkness, and the surface shows through; it is drawn that way and labelled
as background.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgecrack.training.config import AugmentConfig


def change_members(
    batch: Tensor,
    chosen: NDArray[np.bool_],
    change: Callable[..., Tensor],
    *parameters: NDArray[np.float64],
) -> None:
    """Apply a change to the chosen members of a batch, in place.

    Args:
        batch: [N, ...].
        chosen: bool [N].
        change: called with the chosen members [M, ...] and their parameters, float32 [M, ...] on
            the batch's device; returns the changed members. It may work in place.
        parameters: [N, ...] each, on the host.
    """
    rows = np.flatnonzero(chosen)
    if len(rows):
        at = torch.from_numpy(rows).to(batch.device)
        own = [to_device(values[rows], batch.device) for values in parameters]
        batch.index_copy_(0, at, change(batch.index_select(0, at), *own))


def to_device(values: NDArray[np.float64], device: torch.device) -> Tensor:
    """Parameters of patches as float32 on the device."""
    return torch.from_numpy(values.astype(np.float32)).to(device)


def between(
    draws: NDArray[np.float64], low: float | NDArray[np.float64], high: float
) -> NDArray[np.float64]:
    """Draws in 0..1 spread evenly from `low` to `high`."""
    return low + (high - low) * draws


def between_logarithmically(
    draws: NDArray[np.float64], low: float, high: float
) -> NDArray[np.float64]:
    """Draws in 0..1 spread evenly in the logarithm from `low` to `high`."""
    return low * np.asarray(high / low) ** draws


_GAUSSIAN_REACH_PX = 4  # three standard deviations of the widest blur, 1.4 px
_STOPS_PER_PX = 4  # sampling of a motion line


def gaussian_blur(patches: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur each patch, mirrored at its border.

    Args:
        patches: float32 [N, H, W].
        sigma_px: float32 [N], standard deviations in pixels, 0.3 to 1.4.

    Returns:
        float32 [N, H, W].
    """
    reach = _GAUSSIAN_REACH_PX
    distance = torch.arange(reach + 1, device=patches.device)
    weights = torch.exp(-0.5 * (distance / sigma_px[:, None]) ** 2)
    weights = weights / (2 * weights.sum(dim=1, keepdim=True) - weights[:, :1])
    weights = weights[:, :, None, None]
    for axis, padding in ((-1, (reach, reach, 0, 0)), (-2, (0, 0, reach, reach))):
        length = patches.shape[axis]
        padded = functional.pad(patches, padding, mode="reflect")
        patches = patches.mul_(weights[:, 0])
        for offset in range(1, reach + 1):
            both = padded.narrow(axis, reach - offset, length) + padded.narrow(
                axis, reach + offset, length
            )
            patches.addcmul_(both, weights[:, offset])
    return patches


def motion_kernels(
    angle: NDArray[np.float64], length_px: NDArray[np.float64], longest_px: int
) -> NDArray[np.float64]:
    """Kernels of straight even motion.

    Args:
        angle: float64 [N], direction in radians.
        length_px: float64 [N], distance moved, 0 to `longest_px`.
        longest_px: bounds the size of the kernels.

    Returns:
        float64 [N, K, K], each with sum 1; K is odd and at least `longest_px`.
    """
    count, reach = len(angle), longest_px // 2 + 1
    size = 2 * reach + 1
    stops = max(2, _STOPS_PER_PX * longest_px)
    along = ((np.arange(stops) + 0.5) / stops - 0.5) * length_px[:, None]
    y, x = reach + along * np.sin(angle)[:, None], reach + along * np.cos(angle)[:, None]
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    down, right = y - top, x - left
    kernels = np.zeros((count, size, size))
    member = np.arange(count)[:, None]
    for dy, share_y in ((0, 1 - down), (1, down)):
        for dx, share_x in ((0, 1 - right), (1, right)):
            np.add.at(kernels, (member, top + dy, left + dx), share_y * share_x / stops)
    return kernels


def filter_patches(patches: Tensor, kernels: NDArray[np.float64]) -> Tensor:
    """Correlate each patch with its own kernel; border pixels are repeated beyond it.

    Args:
        patches: float32 [N, H, W].
        kernels: float64 [N, K, K], on the host, K odd.

    Returns:
        float32 [N, H, W].
    """
    reach, (height, width) = kernels.shape[-1] // 2, patches.shape[-2:]
    padded = functional.pad(patches, (reach,) * 4, mode="replicate")
    weights = torch.from_numpy(kernels.astype(np.float32)).to(patches.device)
    result = torch.zeros_like(patches)
    # A line covers few pixels of its kernel, and the host knows which.
    for y, x in np.argwhere(kernels.any(axis=0)).tolist():
        view = padded[:, y : y + height, x : x + width]
        result.addcmul_(view, weights[:, y, x, None, None])
    return result


BLOCK_PX = 8
# ITU-T T.81, table K.1: steps of luminance coefficients at quality 50, by rows.
_LUMINANCE_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.int64,
)

_FINENESS = 8  # libjpeg rounds coefficients to eighths before it rounds them to steps


def quantisation_steps(quality: NDArray[np.int64]) -> NDArray[np.int64]:
    """Quantisation steps of the cosine coefficients.

    Args:
        quality: int64 [N], 1 to 100.

    Returns:
        int64 [N, 8, 8], 1 to 255.
    """
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    scaled = (_LUMINANCE_STEPS * percent[:, None, None] + 50) // 100
    return np.clip(scaled, 1, 255)


def compress(patches: Tensor, steps: Tensor) -> Tensor:
    """Gray patches after JPEG compression.

    Only the rounding of cosine coefficients in 8x8 blocks loses anything, so the lossless rest of
    the format is left out. Quality has libjpeg's meaning.

    Args:
        patches: float32 [N, H, W], gray levels 0..255; H and W are multiples of 8.
        steps: float32 [N, 8, 8], from `quantisation_steps`.

    Returns:
        float32 [N, H, W], whole gray levels.
    """
    count, height, width = patches.shape
    rows, columns = height // BLOCK_PX, width // BLOCK_PX
    levels = patches.round().clamp_(0, 255).sub_(128)
    blocks = levels.view(count, rows, BLOCK_PX, columns, BLOCK_PX).permute(0, 2, 4, 1, 3)
    blocks = blocks.reshape(count, BLOCK_PX**2, rows * columns)
    # The cosine transform of a block is one product with a 64 x 64 matrix. With a product per
    # patch, the result does not depend on the rest of the batch.
    transform = torch.from_numpy(_cosine_transform()).to(patches.device)
    forward, back = (
        matrix.expand(count, -1, -1) for matrix in (_FINENESS * transform, transform.T)
    )
    step = steps.view(count, BLOCK_PX**2, 1)
    coefficients = torch.bmm(forward, blocks).round_().div_(step * _FINENESS)
    # Halves, which are frequent, round away from zero.
    coefficients.add_(coefficients.sign().mul_(0.5)).trunc_().mul_(step)
    blocks = torch.bmm(back, coefficients)
    blocks = blocks.view(count, BLOCK_PX, BLOCK_PX, rows, columns).permute(0, 3, 1, 4, 2)
    return blocks.reshape(count, height, width).round_().add_(128).clamp_(0, 255)


def _cosine_transform() -> NDArray[np.float32]:
    """Orthonormal two-dimensional DCT-II of 8x8 blocks, [64, 64]."""
    frequency, place = np.mgrid[:BLOCK_PX, :BLOCK_PX]
    one = np.cos(np.pi * (2 * place + 1) * frequency / (2 * BLOCK_PX)) * np.sqrt(2 / BLOCK_PX)
    one[0] /= np.sqrt(2)
    return np.kron(one, one).astype(np.float32)


SHADING_DRAWS = 18
_SECOND_EDGE_SHARE = 0.6  # broad shadows that end at two edges: corners and bands
_RAILING_SHARE = 0.3  # bars that come in parallel rows
_BAR_WIDTH_PX = (2.0, 12.0)
_BAR_SOFTNESS_PX = (0.7, 3.0)
_FAR_PX = 1e6

Draws = NDArray[np.float64]


def shade(patches: Tensor, draws: Draws, config: AugmentConfig) -> None:
    """Shade some of the patches, in place.

    Args:
        patches: float32 [N, side, side], gray levels.
        draws: float64 [N, SHADING_DRAWS] in 0..1.
        config: how many, and how dark.
    """
    side = patches.shape[-1]
    if config.gradient > 0:
        angle = 2 * np.pi * draws[:, 0]
        slope = config.gradient * draws[:, 1] / ((side - 1) / 2)
        _tilt(patches, np.stack([slope * np.cos(angle), slope * np.sin(angle)]))
    shadowed = draws[:, 2] < config.shadow_probability
    change_members(patches, shadowed, _darken_beyond_edges, _edges(draws[:, 3:11], side, config))
    barred = draws[:, 11] < config.bar_probability
    change_members(patches, barred, _darken_below_bars, _bars(draws[:, 12:], side, config))


def _edges(draws: Draws, side: int, config: AugmentConfig) -> Draws:
    """Two edges per patch, [N, 2, (normal x, normal y, offset, softness, darkness)]."""
    first = 2 * np.pi * draws[:, 0]
    second = first + between(draws[:, 1], np.pi / 4, 7 / 4 * np.pi)
    angle = np.stack([first, second], axis=1)
    offset = between(draws[:, 2:4], -0.35, 0.35) * side
    # A single edge has its partner so far away that the whole patch is beyond it.
    offset[draws[:, 4] >= _SECOND_EDGE_SHARE, 1] = -_FAR_PX
    softness = between_logarithmically(draws[:, 5:7], 1.0, side / 6)
    darkness = between(draws[:, 7:8], 0.3, 1) * config.shadow_darkness
    both = np.broadcast_to(darkness, angle.shape)
    return np.stack([np.cos(angle), np.sin(angle), offset, softness, both], axis=-1)


def _bars(draws: Draws, side: int, config: AugmentConfig) -> Draws:
    """A row of bars per patch.

    Returns:
        [N, (normal x, normal y, offset, half width, softness, period, darkness)].
    """
    angle = 2 * np.pi * draws[:, 0]
    offset = between(draws[:, 1], -0.45, 0.45) * side
    width = between_logarithmically(draws[:, 2], *_BAR_WIDTH_PX)
    softness = between(draws[:, 3], *_BAR_SOFTNESS_PX)
    # One draw decides whether there is a row and, rescaled, how far apart its bars are.
    spread = draws[:, 4] / _RAILING_SHARE
    period = np.where(spread < 1, between(spread, 3 * width + 8, 0.6 * side + 40), _FAR_PX)
    darkness = between(draws[:, 5], 0.3, 1) * config.shadow_darkness
    normal = np.cos(angle), np.sin(angle)
    return np.stack([*normal, offset, width / 2, softness, period, darkness], axis=-1)


def _tilt(patches: Tensor, slopes: Draws) -> None:
    x, y = _from_middle(patches)
    to_right, down = to_device(slopes, patches.device)[..., None, None]
    patches.mul_((1 + to_right * x) + down * y)


def _darken_beyond_edges(patches: Tensor, edges: Tensor) -> Tensor:
    x, y = _from_middle(patches)
    inside = torch.ones_like(patches)
    for edge in edges.unbind(dim=1):
        normal_x, normal_y, offset, softness, _ = (v[:, None, None] for v in edge.unbind(dim=1))
        depth = (normal_x * x + normal_y * y - offset).div_(softness).add_(0.5).clamp_(0, 1)
        inside.mul_(depth * depth * (3 - 2 * depth))
    darkness = edges[:, 0, -1, None, None]
    return patches.mul_(1 - darkness * inside)


def _darken_below_bars(patches: Tensor, bars: Tensor) -> Tensor:
    x, y = _from_middle(patches)
    normal_x, normal_y, offset, half_width, softness, period, darkness = (
        value[:, None, None] for value in bars.unbind(dim=1)
    )
    distance = normal_x * x + normal_y * y - offset
    distance.sub_(period * torch.round(distance / period)).abs_()
    covered = (half_width - distance).div_(softness).add_(0.5).clamp_(0, 1)
    return patches.mul_(1 - darkness * covered)


def _from_middle(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels to the right of and below the middle, float32 [1, 1, side] and [1, side, 1]."""
    side = patches.shape[-1]
    offset = torch.arange(side, device=patches.device) - (side - 1) / 2
    return offset[None, None, :], offset[None, :, None]


_OWN_DRAWS = 13
APPEARANCE_DRAWS = _OWN_DRAWS + SHADING_DRAWS
_NOISE_STREAM = 2  # other than that of batches and epoch orders
_NOISE_BANK = 2**20  # offsets at which a patch's noise may start
_BLUR_SIGMA_PX = (0.4, 1.4)
_SHORTEST_MOTION_PX = 2.0


class Appearance:
    """Changes tone, light, sharpness, noise and compression artefacts of patches.

    Args:
        config: strength of each change.
        side: side of the patches in pixels.
        seed: of the noise, of which every patch gets a section.
        device: where the patches are.
    """

    def __init__(
        self, config: AugmentConfig, side: int, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        self._config, self._area = config, side * side
        bank = _NOISE_BANK + self._area if config.noise_levels > 0 else 0
        generator = np.random.default_rng((seed, _NOISE_STREAM))
        self._noise = torch.from_numpy(generator.standard_normal(bank, np.float32)).to(device)
        self._idle = not (
            config.tone > 0
            or config.gradient > 0
            or config.noise_levels > 0
            or config.invert_probability > 0
            or config.blur_probability > 0
            or (config.motion_probability > 0 and config.motion_blur_px > 0)
            or config.shadow_probability > 0
            or config.bar_probability > 0
            or config.jpeg_probability > 0
        )

    def change(self, patches: Tensor, draws: Draws) -> Tensor:
        """Change each patch by its row of random numbers.

        Args:
            patches: uint8 [N, side, side].
            draws: float64 [N, APPEARANCE_DRAWS] in 0..1.

        Returns:
            uint8 [N, side, side]; `patches` is not changed.
        """
        if self._idle:
            return patches.contiguous()
        config = self._config
        own, light = draws[:, :_OWN_DRAWS], draws[:, _OWN_DRAWS:]
        levels = patches.float()
        change_members(levels, own[:, 0] < config.invert_probability, lambda some: 255 - some)
        shade(levels, light, config)
        _blur(levels, own[:, 1:6], config)
        if config.tone > 0:
            _change_tone(levels, own[:, 6:9], config.tone)
        if config.noise_levels > 0:
            self._add_noise(levels, own[:, 9:11])
        _compress(levels, own[:, 11:13], config)
        return levels.round_().clamp_(0, 255).to(torch.uint8)

    def _add_noise(self, levels: Tensor, draws: Draws) -> None:
        spread = to_device(self._config.noise_levels * draws[:, 0], levels.device)
        start = torch.from_numpy(np.floor(_NOISE_BANK * draws[:, 1]).astype(np.int64))
        stretches = self._noise.unfold(0, self._area, 1)
        noise = stretches.index_select(0, start.to(levels.device)).view(levels.shape)
        levels.addcmul_(noise, spread[:, None, None])


def _blur(levels: Tensor, draws: Draws, config: AugmentConfig) -> None:
    blurred = draws[:, 0] < config.blur_probability
    change_members(levels, blurred, gaussian_blur, between(draws[:, 1], *_BLUR_SIGMA_PX))
    rows = np.flatnonzero(draws[:, 2] < config.motion_probability)
    if len(rows) and config.motion_blur_px:
        shortest = min(_SHORTEST_MOTION_PX, config.motion_blur_px)
        length = between(draws[rows, 3], shortest, config.motion_blur_px)
        kernels = motion_kernels(np.pi * draws[rows, 4], length, config.motion_blur_px)
        at = torch.from_numpy(rows).to(levels.device)
        levels.index_copy_(0, at, filter_patches(levels.index_select(0, at), kernels))


def _change_tone(levels: Tensor, draws: Draws, strength: float) -> None:
    """Gamma, then contrast about middle gray, then brightness; the order of levels is kept."""
    signed = 2 * draws - 1
    gamma = to_device(np.exp(strength * signed[:, 0]), levels.device)[:, None, None]
    contrast = 1 + strength * signed[:, 1]
    offset = 128 - 128 * contrast + 255 * strength * signed[:, 2] / 2
    levels.mul_(1 / 255).clamp_(0, 1).pow_(gamma)
    levels.mul_(to_device(255 * contrast, levels.device)[:, None, None])
    levels.add_(to_device(offset, levels.device)[:, None, None])


def _compress(levels: Tensor, draws: Draws, config: AugmentConfig) -> None:
    low, high = config.jpeg_quality
    quality = np.floor(between(draws[:, 1], low, high + 1)).astype(np.int64)
    steps = quantisation_steps(quality).astype(np.float64)
    change_members(levels, draws[:, 0] < config.jpeg_probability, compress, steps)

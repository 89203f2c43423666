"""Changes to the looks of training patches; the truth stays what it was.

In the order in which they happen to a picture: the surface, the light on it, the lens and the
moving camera, the camera's tone curve, its noise, its compression. Each change reads random
numbers of its own, so switching one on or off leaves the others as they are.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecrack.training.augment_settings import AugmentConfig
from edgecrack.training.blur import filter_patches, gaussian_blur, motion_kernels
from edgecrack.training.jpeg_marks import compress, quantisation_steps
from edgecrack.training.partial_batch import between, change_members, to_device
from edgecrack.training.shading import SHADING_DRAWS, shade

_OWN_DRAWS = 13
APPEARANCE_DRAWS = _OWN_DRAWS + SHADING_DRAWS
_NOISE_STREAM = 2  # apart from the draws of batches and the orders of epochs
_NOISE_BANK = 2**20  # places in the bank where a patch's noise may begin
_BLUR_SIGMA_PX = (0.4, 1.4)
_SHORTEST_MOTION_PX = 2.0

Draws = NDArray[np.float64]


class Appearance:
    """Changes tone, light, sharpness, noise and compression of patches.

    Args:
        config: strength of each change.
        side: side of the patches in pixels.
        seed: decides the bank of noise, of which every patch takes a stretch.
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
        """Change each patch as its row of random numbers says.

        Args:
            patches: uint8 [N, side, side].
            draws: float64 [N, APPEARANCE_DRAWS] in 0..1.

        Returns:
            uint8 [N, side, side]; `patches` is left alone.
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
    """Gamma, then contrast about middle gray, then brightness; dark stays darker than bright."""
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

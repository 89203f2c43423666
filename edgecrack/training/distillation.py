"""The teacher of a distilled network: a finished, usually wider one that is only asked.

It sees the same changed patches as its student. Knows how to ask a network; the loss is in
`losses.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecrack.model.unet import CrackUNet


class Teacher:
    """A network that takes no part in training: no gradient, no copy, no place in checkpoints.

    No `nn.Module`, so that neither optimizer nor checkpoint nor other processes find it.

    Args:
        network: the finished network.
    """

    def __init__(self, network: CrackUNet) -> None:
        self._network = network.eval().requires_grad_(False)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        """The same: the averaged copy of a student needs no teacher of its own."""
        return self

    def margin(self, tiles: Tensor) -> Tensor:
        """Crack logit less background logit.

        Args:
            tiles: float [N, 1, H, W] in 0..1; the network follows them to their device.

        Returns:
            Float [N, H, W], outside any gradient.
        """
        with torch.no_grad():
            logits = self._network.to(tiles.device)(tiles)
        margin: Tensor = logits[:, 1].float() - logits[:, 0].float()
        return margin

"""The training loss: cross-entropy on the two-way logits plus Dice on the crack channel.

Dice alone gives no gradient for false alarms on tiles without crack, which are most of what a
robot sees; cross-entropy alone drowns thin cracks in background. The paper sums the two.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

DICE_SMOOTH = 1.0


def dice_loss(crack_probability: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice over the whole batch, smoothed so that an empty batch gives 0, not 0/0.

    Args:
        crack_probability: float [N, H, W] in 0..1.
        truth: float [N, H, W], 0 or 1.

    Returns:
        Scalar in 0..1.
    """
    overlap = (crack_probability * truth).sum()
    total = crack_probability.sum() + truth.sum()
    return 1.0 - (2.0 * overlap + DICE_SMOOTH) / (total + DICE_SMOOTH)


def segmentation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy plus Dice, computed in float32 at least, whatever the network's precision.

    Cross-entropy works on logits: a softmax output of 1.0000001 breaks its plain form.

    Args:
        logits: [N, 2, H, W] (background, crack).
        truth: integer [N, H, W], 0 or 1.

    Returns:
        Scalar.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    cross_entropy = functional.cross_entropy(logits, truth.long())
    crack_probability = torch.softmax(logits, dim=1)[:, 1]
    return cross_entropy + dice_loss(crack_probability, truth.to(logits.dtype))

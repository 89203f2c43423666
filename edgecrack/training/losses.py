"""The training loss: cross-entropy and Dice, as in the paper; centreline Dice; distillation.

Dice alone has no gradient for false positives on tiles without crack, which are most of what a
robot sees; with cross-entropy alone, background outweighs thin cracks. The paper sums the two.

Every term is a formula over sums of pixels. The sums are added up over all processes before the
formula is applied, so the loss is that of the whole batch, however it is divided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgecrack.model.unet import CrackUNet
from edgecrack.training.config import DiceDenominator, LossConfig


def soft_erode(maps: Tensor) -> Tensor:
    """Minimum of each pixel and its four neighbours; [N, H, W] -> [N, H, W]."""
    vertical = -functional.max_pool2d(-maps, (3, 1), stride=1, padding=(1, 0))
    horizontal = -functional.max_pool2d(-maps, (1, 3), stride=1, padding=(0, 1))
    return torch.minimum(vertical, horizontal)


def soft_dilate(maps: Tensor) -> Tensor:
    """Maximum of each pixel and its eight neighbours; [N, H, W] -> [N, H, W]."""
    return functional.max_pool2d(maps, 3, stride=1, padding=1)


def soft_skeleton(maps: Tensor, iterations: int) -> Tensor:
    """The soft skeleton of a crack map: its centrelines, differentiable by way of pooling.

    Shit et al., "clDice - a novel topology-preserving loss function for tubular structure
    segmentation", CVPR 2021, algorithm 1.

    Args:
        maps: float [N, H, W] in 0..1, N at least 1.
        iterations: erosions, at least half the width in pixels of the widest crack.

    Returns:
        Float [N, H, W] in 0..1.
    """
    skeleton = functional.relu(maps - soft_dilate(soft_erode(maps)))
    for _ in range(iterations):
        maps = soft_erode(maps)
        ridge = functional.relu(maps - soft_dilate(soft_erode(maps)))
        skeleton = skeleton + functional.relu(ridge - skeleton * ridge)
    return skeleton


SMOOTH = 1.0
_DEFAULT = LossConfig()


def _alone(sums: Tensor) -> Tensor:
    return sums


def segmentation_loss(
    logits: Tensor,
    truth: Tensor,
    config: LossConfig = _DEFAULT,
    *,
    teacher_margin: Tensor | None = None,
    combine: Callable[[Tensor], Tensor] = _alone,
) -> Tensor:
    """The weighted sum of all terms, in float32 or wider, whatever the network's precision.

    Cross-entropy works on logits: a softmax output of 1.0000001 breaks the plain form.

    Args:
        logits: [N, 2, H, W] (background, crack).
        truth: integer [N, H, W], 0 or 1.
        config: the terms and their weights.
        teacher_margin: the teacher's crack logit minus its background logit, [N, H, W]; required
            with a distillation weight.
        combine: adds up float [K] over all processes; the default is for one process.

    Returns:
        Scalar, the same in every process.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    crack = truth.to(logits.dtype)
    probability = torch.softmax(logits, dim=1)[:, 1]
    terms = [(1.0, cross_entropy_sums(logits, truth, config.label_smoothing), mean_of)]
    if config.dice_weight > 0:
        sums = dice_sums(probability, crack, config.dice_denominator)
        terms.append((config.dice_weight, sums, dice_of))
    if config.cl_dice_weight > 0:
        sums = cl_dice_sums(probability, crack, config.cl_dice_iterations)
        terms.append((config.cl_dice_weight, sums, cl_dice_of))
    if config.distillation_weight > 0 and teacher_margin is not None:
        margin = logits[:, 1] - logits[:, 0]
        temperature = config.distillation_temperature
        sums = divergence_sums(margin, teacher_margin.to(logits.dtype), temperature)
        terms.append((config.distillation_weight, sums, mean_of))
    totals = combine(torch.cat([sums for _, sums, _ in terms]))
    parts = torch.split(totals, [len(sums) for _, sums, _ in terms])
    weighted = [
        weight * formula(part) for (weight, _, formula), part in zip(terms, parts, strict=True)
    ]
    return torch.stack(weighted).sum()


def mean_of(sums: Tensor) -> Tensor:
    """(sum, count) -> mean."""
    return sums[0] / sums[1]


def cross_entropy_sums(logits: Tensor, truth: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy summed over pixels, and their number; see `mean_of`."""
    total = functional.cross_entropy(
        logits, truth.long(), reduction="sum", label_smoothing=label_smoothing
    )
    return torch.stack([total, total.new_tensor(truth.numel())])


def dice_sums(probability: Tensor, crack: Tensor, denominator: DiceDenominator = "sums") -> Tensor:
    """Overlap and total of two maps, float [N, H, W] in 0..1 each; see `dice_of`.

    The total is that of the maps, or of their squares (Milletari et al., "V-Net", 2016): a pixel
    with probability 0.5 then counts 0.25 instead of 0.5.
    """
    if denominator == "squares":
        total = probability.square().sum() + crack.square().sum()
    else:
        total = probability.sum() + crack.sum()
    return torch.stack([(probability * crack).sum(), total])


def dice_of(sums: Tensor) -> Tensor:
    """1 - Dice over the whole batch, smoothed so that an empty batch gives 0, not 0/0."""
    overlap, total = sums
    loss: Tensor = 1.0 - (2.0 * overlap + SMOOTH) / (total + SMOOTH)
    return loss


def cl_dice_sums(probability: Tensor, crack: Tensor, iterations: int) -> Tensor:
    """Length of each centreline inside the other map, and in total; see `cl_dice_of`."""
    predicted, true = (soft_skeleton(item, iterations) for item in (probability, crack))
    return torch.stack(
        [(predicted * crack).sum(), predicted.sum(), (true * probability).sum(), true.sum()]
    )


def cl_dice_of(sums: Tensor) -> Tensor:
    """1 - clDice over the whole batch: the harmonic mean of topology precision and sensitivity."""
    predicted_within, predicted, true_within, true = sums
    precision = (predicted_within + SMOOTH) / (predicted + SMOOTH)
    sensitivity = (true_within + SMOOTH) / (true + SMOOTH)
    loss: Tensor = 1.0 - 2.0 * precision * sensitivity / (precision + sensitivity)
    return loss


def divergence_sums(margin: Tensor, teacher_margin: Tensor, temperature: float = 1.0) -> Tensor:
    """Divergence of the crack probability from the teacher's; see `mean_of`.

    Each pixel adds the binary cross-entropy with the teacher's probability minus that
    probability's own entropy, which is 0 where both agree. Both probabilities are softened by the
    temperature, and the sum is scaled by its square, which keeps the size of the gradient (Hinton
    et al., "Distilling the knowledge in a neural network", 2015).

    Args:
        margin: crack logit minus background logit, [N, H, W].
        teacher_margin: the teacher's, [N, H, W].
        temperature: 1 or above.

    Returns:
        Float [2]: the sum over pixels, and their number.
    """
    own, wanted = margin / temperature, teacher_margin / temperature
    probability = torch.sigmoid(wanted)
    cross_entropy, entropy = (
        functional.binary_cross_entropy_with_logits(item, probability, reduction="none")
        for item in (own, wanted)
    )
    total = (cross_entropy - entropy).sum() * temperature**2
    return torch.stack([total, total.new_tensor(margin.numel())])


class Teacher:
    """The teacher of a distilled network: finished, usually wider, and not trained.

    Not an `nn.Module`, so that neither optimizer nor checkpoint nor other processes include it.

    Args:
        network: the finished network.
    """

    def __init__(self, network: CrackUNet) -> None:
        self._network = network.eval().requires_grad_(False)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        """The same object: the averaged copy of a student needs no teacher of its own."""
        return self

    def margin(self, tiles: Tensor) -> Tensor:
        """Crack logit minus background logit.

        Args:
            tiles: float [N, 1, H, W] in 0..1; the network is moved to their device.

        Returns:
            Float [N, H, W], without gradient.
        """
        with torch.no_grad():
            logits = self._network.to(tiles.device)(tiles)
        margin: Tensor = logits[:, 1].float() - logits[:, 0].float()
        return margin

"""The optimizer, and its learning rate at every step.

Knows nothing of losses or data.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from edgecrack.training.config import OptimizerConfig

_FINAL_LEARNING_RATE_SHARE = 0.01


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer of all weights of a network."""
    if config.name == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    return torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )


def learning_rate_share(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Share of the highest learning rate that a step uses, 0 to 1."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return _FINAL_LEARNING_RATE_SHARE + (1 - _FINAL_LEARNING_RATE_SHARE) * cosine

"""Sums over all processes of a run; without other processes they change nothing.

Knows torch.distributed and tensors; who starts the processes is in `launch.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from edgecrack.metrics import THRESHOLDS, ThresholdCounts, Tolerance

_FIELDS = ("predicted", "predicted_matched", "truth", "truth_matched")


def process_count() -> int:
    """Number of processes that are connected; 1 without any connection."""
    return distributed.get_world_size() if _connected() else 1


def _connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        # Every process has this same gradient of the whole batch's loss, and takes from it the
        # part that its own patches cause. What is wanted is the sum of the parts, but gradients
        # of weights are averaged over processes, hence the factor.
        return gradient * distributed.get_world_size()


def sum_over_processes(values: Tensor) -> Tensor:
    """Add up a tensor of one shape over all processes, gradient included.

    A loss made of such sums has, once the gradients of the weights are averaged over processes
    as `DistributedDataParallel` does, the gradient that one process with all patches would have.

    Returns:
        The sum, the same in every process.
    """
    if process_count() == 1:
        return values
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def pool_over_processes(
    counts: Sequence[ThresholdCounts], tolerance: Tolerance, device: torch.device | str = "cpu"
) -> ThresholdCounts:
    """Add up the counts of all images of all processes, exactly, for they are integers.

    Args:
        counts: one item per image of this process; may be empty where another process has one.
        tolerance: theirs.
        device: where this process may exchange tensors.
    """
    sums = np.zeros((len(_FIELDS), len(THRESHOLDS)), dtype=np.int64)
    for item in counts:
        sums += np.stack([getattr(item, name) for name in _FIELDS])
    if process_count() > 1:
        total = torch.from_numpy(sums).to(device)
        distributed.all_reduce(total)
        sums = total.cpu().numpy()
    return ThresholdCounts(tolerance, *sums)

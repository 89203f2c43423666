"""Change some members of a batch and leave the others alone.

Which members are chosen is known to the host, so the device is never asked and waited for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
            the batch's device; gives the changed members. It may work in place.
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
    """Draws in 0..1 spread from `low` to `high`, every ratio alike."""
    return low * np.asarray(high / low) ** draws

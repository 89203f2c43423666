"""Random networks whose outputs are not saturated, so that a small mistake shows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edgecrack.artifacts import Pooling
from edgecrack.model.unet import CrackUNet, NetworkConfig


def random_tiles(count: int, tile_hw: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """uint8 [count, 1, H, W]."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, 1, *tile_hw), dtype=np.uint8)


def lively_network(
    pooling: Pooling = "gated-scale",
    width: int = 2,
    *,
    gate_bias: bool = False,
    tile_hw: tuple[int, int] = (32, 40),
    seed: int = 0,
) -> CrackUNet:
    """A random network with non-zero biases whose crack probability spreads over 0..1.

    He-normal weights alone give logits in the hundreds, and a saturated softmax looks the same
    whatever is wrong before it; so the last layer is scaled until half of the crack probabilities
    on random tiles of this size lie between 0.27 and 0.73.
    """
    torch.manual_seed(seed)
    network = CrackUNet(NetworkConfig(width, pooling, gate_bias)).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.2)
            elif "gate" in name:
                parameter.normal_(std=0.7)
        logits = network(torch.from_numpy(random_tiles(2, tile_hw, seed)).float() / 255)
        quarter, half, three_quarters = np.quantile(logits[:, 1] - logits[:, 0], [0.25, 0.5, 0.75])
        scale = float(2 / (three_quarters - quarter))
        network.fuse.weight.mul_(scale)
        assert network.fuse.bias is not None
        network.fuse.bias.mul_(scale)
        network.fuse.bias[1] -= scale * float(half)
    return network


def crack_by_torch(network: CrackUNet, tiles: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What the network gives as trained, in levels of 255, [N, 1, H, W]."""
    with torch.no_grad():
        logits = network(torch.from_numpy(tiles).float() / 255)
    crack = torch.softmax(logits, dim=1)[:, 1:2].numpy()
    return np.asarray(np.rint(crack * 255), dtype=np.int64)


def assert_spread(levels: NDArray[np.int64]) -> None:
    """The outputs are not stuck at 0 or 255, where a difference could not be seen."""
    between = ((levels > 10) & (levels < 245)).mean()
    assert between > 0.5, f"only {between:.0%} of the outputs are unsaturated"
    assert levels.std() > 15, f"the outputs vary by {levels.std():.1f} levels only"

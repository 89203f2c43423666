"""The network rewritten for inference: the same function in fewer and cheaper operators.

Three changes, all exact up to float rounding:

* uint8 in and out, with the input's scale folded into the first layer's weights;
* the border ratio of partial convolution is a constant of the tile size, where it is kept;
* heads, fusion and the two-way softmax are linear up to the last step, so each scale needs
  one channel instead of two, and concatenating eight full-size maps becomes adding four:
  softmax's crack channel is sigmoid(crack logit - background logit).

The only change that is not exact comes before: `network_with_border`.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecrack.export.border import FUSED_SCALES, Border
from edgecrack.model.partial_conv import KERNEL_SIZE, PartialConv2d, border_ratio
from edgecrack.model.unet import Block, CrackUNet


def network_with_border(network: CrackUNet, border: Border) -> CrackUNet:
    """A copy of the network in the form that is exported.

    "exact" is the network as trained. In "fused" the convolutions of the two finest scales pad
    with zeros and omit the ratio, so that ReLU follows directly.
    """
    if border == "exact":
        return network
    result = copy.deepcopy(network)
    for block in (*result.encoder[:FUSED_SCALES], *result.decoder[-FUSED_SCALES:]):
        convolutions = cast(Block, block).convolutions
        for index, convolution in enumerate(convolutions):
            convolutions[index] = _without_ratio(convolution)
    return result


def _without_ratio(source: nn.Module) -> nn.Module:
    """A plain convolution with the weights of a partial convolution."""
    if not isinstance(source, PartialConv2d):
        return source
    outputs, inputs = source.weight.shape[:2]
    result = nn.Conv2d(inputs, outputs, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
    result.weight, result.bias = source.weight, source.bias
    return result


class LoweredPartialConv(nn.Module):
    """Partial convolution for one map size, with its ratio baked in."""

    ratio: Tensor

    def __init__(self, source: PartialConv2d, map_hw: tuple[int, int]) -> None:
        super().__init__()
        self.weight, self.bias = source.weight, nn.Parameter(source.bias[:, None, None])
        # Not cloned: layers of the same size share one constant in the file.
        self.register_buffer("ratio", border_ratio(*map_hw))

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        return functional.conv2d(features, self.weight, padding=1) * self.ratio + self.bias


class LoweredBlock(nn.Module):
    """A block for one map size."""

    def __init__(self, source: Block, map_hw: tuple[int, int]) -> None:
        super().__init__()
        self.project = source.project
        self.convolutions = nn.ModuleList(
            LoweredPartialConv(item, map_hw) if isinstance(item, PartialConv2d) else item
            for item in source.convolutions
        )

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        shortcut = self.project(features)
        result = shortcut
        for convolution in self.convolutions:
            result = functional.relu(convolution(result))
        total: Tensor = shortcut + result
        return total


def _convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A 1x1 convolution with these values."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], kernel_size=1)
    layer.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return layer


def _fold_heads(network: CrackUNet) -> list[nn.Conv2d]:
    """One single-channel head per scale; their full-size sum is the difference of the logits."""
    fuse = network.fuse.state_dict()
    share = (fuse["weight"][1] - fuse["weight"][0]).flatten()  # [8], two per scale
    constant = fuse["bias"][1] - fuse["bias"][0]
    folded = []
    for index, head in enumerate(network.heads):
        values = head.state_dict()
        pair = share[2 * index : 2 * index + 2]
        weight = torch.einsum("o,oihw->ihw", pair, values["weight"])[None]
        # Bilinear weights sum to one, so a bias may be added before resizing.
        bias = pair @ values["bias"] + (constant if index == 0 else 0.0)
        folded.append(_convolution(weight, bias[None]))
    return folded


class LoweredNetwork(nn.Module):
    """uint8 tiles in, uint8 crack probability out.

    Args:
        network: the trained network; unchanged weights are shared.
        tile_hw: the tile's size in pixels, multiples of 8.

    Shape:
        uint8 [N, 1, H, W] -> uint8 [N, 1, H, W].
    """

    def __init__(self, network: CrackUNet, tile_hw: tuple[int, int]) -> None:
        super().__init__()
        self.tile_hw = tile_hw
        sizes = [(tile_hw[0] >> level, tile_hw[1] >> level) for level in range(4)]
        encoder = [
            LoweredBlock(cast(Block, block), size)
            for block, size in zip(network.encoder, sizes, strict=True)
        ]
        decoder = [
            LoweredBlock(cast(Block, block), size)
            for block, size in zip(network.decoder, sizes[2::-1], strict=True)
        ]
        first = encoder[0].project.state_dict()
        encoder[0].project = _convolution(first["weight"] / 255.0, first["bias"])
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(decoder)
        self.pools, self.upsamples = network.pools, network.upsamples
        self.heads = nn.ModuleList(_fold_heads(network))

    def forward(self, tiles: Tensor) -> Tensor:
        """Run the network; see the class."""
        features, skips = tiles.to(torch.float32), []
        for block, pool in zip(list(self.encoder)[:-1], self.pools, strict=True):
            features = block(features)
            skips.append(features)
            features = pool(features)
        features = self.encoder[-1](features)
        difference = self._full_size(self.heads[0](features))
        for upsample, block, head, skip in zip(
            self.upsamples, self.decoder, list(self.heads)[1:], reversed(skips), strict=True
        ):
            features = block(torch.cat([skip, upsample(features)], dim=1))
            difference = difference + self._full_size(head(features))
        return torch.round(torch.sigmoid(difference) * 255.0).to(torch.uint8)

    def _full_size(self, scale: Tensor) -> Tensor:
        factor = self.tile_hw[1] // scale.shape[-1]
        if factor == 1:
            return scale
        # A factor instead of a size, which would put the batch's shape into the graph.
        return functional.interpolate(
            scale, scale_factor=float(factor), mode="bilinear", align_corners=False
        )

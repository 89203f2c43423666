"""The crack-segmentation network: a U-Net with Gated Scale Pooling and multi-scale fusion.

Paper, section II. It outputs logits; softmax belongs to the loss and to the exported graph.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from edgecrack.artifacts import Pooling
from edgecrack.errors import ConfigError
from edgecrack.model.gated_scale_pool import make_pool
from edgecrack.model.partial_conv import PartialConv2d
from edgecrack.settings import settings

SIZE_MULTIPLE = 8  # three poolings halve the sides three times
CLASS_COUNT = 2  # background, crack
_CONVOLUTIONS_PER_BLOCK = 4


@settings()
class NetworkConfig:
    """What defines a network's parameters.

    Attributes:
        width: channels of the first block, doubled after each pooling; 1 to 256. The paper's is
            most likely 32; 16 and 8 are for edge devices.
        pooling: the pooling between encoder blocks.
        gate_bias: give the gating filters a bias.
    """

    width: Annotated[int, Field(ge=1, le=256)] = 16
    pooling: Pooling = "gated-scale"
    gate_bias: bool = False

    def to_dict(self) -> dict[str, int | str | bool]:
        """The parameters as a checkpoint's JSON stores them."""
        return asdict(self)


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """1x1 convolution, He-normal weights and zero bias."""
    layer = nn.Conv2d(in_channels, out_channels, kernel_size=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """1x1 convolution, then four 3x3 partial convolutions with ReLU beside a residual path.

    Shape:
        [N, in_channels, H, W] -> [N, out_channels, H, W].
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = _convolution(in_channels, out_channels)
        self.convolutions = nn.ModuleList(
            PartialConv2d(out_channels, out_channels) for _ in range(_CONVOLUTIONS_PER_BLOCK)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Run the block; see the class."""
        shortcut = self.project(features)
        result = shortcut
        for convolution in self.convolutions:
            result = functional.relu(convolution(result))
        total: Tensor = shortcut + result
        return total


class Upsample(nn.ConvTranspose2d):
    """Transposed 2x2 convolution that doubles the sides and halves the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels // 2, kernel_size=2, stride=2)
        # Each output pixel sees `channels` inputs through one tap, hence fan-in = channels.
        nn.init.normal_(self.weight, std=(2.0 / channels) ** 0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class CrackUNet(nn.Module):
    """Seven blocks, three poolings, four fused heads.

    Args:
        config: width and pooling.

    Shape:
        float [N, 1, H, W] in 0..1 -> logits [N, 2, H, W] (background, crack); H and W are
        multiples of 8.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        channels = [self.config.width * factor for factor in (1, 2, 4, 8)]
        self.encoder = nn.ModuleList(
            Block(before, after) for before, after in zip([1, *channels], channels, strict=False)
        )
        self.pools = nn.ModuleList(
            make_pool(self.config.pooling, count, gate_bias=self.config.gate_bias)
            for count in channels[:-1]
        )
        self.upsamples = nn.ModuleList(Upsample(count) for count in channels[:0:-1])
        self.decoder = nn.ModuleList(Block(2 * count, count) for count in channels[-2::-1])
        self.heads = nn.ModuleList(_convolution(count, CLASS_COUNT) for count in channels[::-1])
        self.fuse = _convolution(CLASS_COUNT * len(channels), CLASS_COUNT)

    def forward(self, tiles: Tensor) -> Tensor:
        """Run the network; see the class.

        Raises:
            ConfigError: H or W is not a multiple of 8.
        """
        height, width = tiles.shape[-2:]
        if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
            raise ConfigError(
                f"a tile is {width}x{height} px", "give sides that are multiples of 8"
            )
        features, skips = tiles, []
        for block, pool in zip(self.encoder[:-1], self.pools, strict=True):
            features = block(features)
            skips.append(features)
            features = pool(features)
        features = self.encoder[-1](features)
        scales = [self.heads[0](features)]
        for upsample, block, head, skip in zip(
            self.upsamples, self.decoder, self.heads[1:], reversed(skips), strict=True
        ):
            features = block(torch.cat([skip, upsample(features)], dim=1))
            scales.append(head(features))
        full_size = [
            scale
            if scale.shape[-2:] == tiles.shape[-2:]
            else functional.interpolate(
                scale, size=(height, width), mode="bilinear", align_corners=False
            )
            for scale in scales
        ]
        logits: Tensor = self.fuse(torch.cat(full_size, dim=1))
        return logits


def parameter_count(network: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)

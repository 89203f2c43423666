"""A plain U-Net on a ResNet-34, as general segmentation libraries build it.

What a team would train that takes an encoder off the shelf: 24.4 million parameters. Its weights
are random; it serves to measure time and memory, and finds nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE_MULTIPLE = 32  # five halvings
_STEM = 64
_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # channels, blocks, stride
_DECODER = (256, 128, 64, 32, 16)
# ImageNet's, of values from 0 to 1; a gray frame is given to all three channels.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: [N, inputs, H, W] -> [N, outputs, H/s, W/s]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inputs, outputs, stride), nn.ReLU(), *_convolution(outputs, outputs)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.body(features) + self.shortcut(features))


class DecoderBlock(nn.Module):
    """Doubles the size, joins a skip connection, and convolves twice."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inputs + skip, outputs),
            nn.ReLU(),
            *_convolution(outputs, outputs),
            nn.ReLU(),
        )

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        features = functional.interpolate(features, scale_factor=2.0, mode="nearest")
        if skip is not None:
            features = torch.cat([features, skip], dim=1)
        result: Tensor = self.body(features)
        return result


class PlainUNet(nn.Module):
    """uint8 [N, 1, H, W] -> uint8 [N, 1, H, W]; H and W are multiples of 32.

    As in a model file of edgecrack, scaling and sigmoid are inside and a byte per pixel goes in
    and comes out, so that neither is at an advantage.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1))
        self.stem = nn.Sequential(
            nn.Conv2d(3, _STEM, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(_STEM),
            nn.ReLU(),
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        stages, before = [], _STEM
        for channels, blocks, stride in _STAGES:
            parts = [ResidualBlock(before, channels, stride)]
            parts += [ResidualBlock(channels, channels, 1) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*parts))
            before = channels
        self.stages = nn.ModuleList(stages)
        skips = (256, 128, 64, _STEM, 0)
        self.decoder = nn.ModuleList(
            DecoderBlock(inputs, skip, outputs)
            for inputs, skip, outputs in zip((before, *_DECODER), skips, _DECODER, strict=False)
        )
        self.head = nn.Conv2d(_DECODER[-1], 1, 3, padding=1)

    def forward(self, tiles: Tensor) -> Tensor:
        """Run the network; see the class."""
        picture = (tiles.to(torch.float32) / 255.0 - self.mean) / self.deviation
        features = self.stem(picture)
        skips = [features]
        features = self.pool(features)
        for stage in self.stages:
            features = stage(features)
            skips.append(features)
        skips.pop()
        for block in self.decoder:
            features = block(features, skips.pop() if skips else None)
        return torch.round(torch.sigmoid(self.head(features)) * 255.0).to(torch.uint8)


def plain_unet() -> PlainUNet:
    """The network for inference, with the same random weights each time."""
    torch.manual_seed(0)
    return PlainUNet().eval()

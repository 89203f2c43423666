"""What partial-convolution padding costs in training, and what scaling only the ring saves.

Forward and backward through four 3x3 convolutions on 16 maps of 128 x 128 px in bfloat16, at
the channels of the first two scales: a plain zero-padded convolution, the border ratio
multiplied over the whole map, and `PartialConv2d`, which scales the outermost ring in place.
Times are relative to the plain convolution in the same run.

    python benchmarks/border_scaling.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.model.partial_conv import PartialConv2d, border_ratio  # noqa: E402

_CHANNELS = (8, 16)
_MAPS, _SIDE_PX, _LAYERS = 16, 128, 4


def plain(layer: PartialConv2d, features: Tensor) -> Tensor:
    return functional.conv2d(features, layer.weight, layer.bias, padding=1)


def whole_map(layer: PartialConv2d, features: Tensor) -> Tensor:
    convolved = functional.conv2d(features, layer.weight, padding=1)
    ratio = border_ratio(_SIDE_PX, _SIDE_PX, convolved.dtype)
    return torch.addcmul(layer.bias.to(convolved.dtype)[:, None, None], convolved, ratio)


def ring(layer: PartialConv2d, features: Tensor) -> Tensor:
    result: Tensor = layer(features)
    return result


def seconds(
    convolve: Callable[[PartialConv2d, Tensor], Tensor], layer: PartialConv2d, maps: Tensor
) -> float:
    features = maps.to(torch.bfloat16).requires_grad_()
    started = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(_LAYERS):
            features = functional.relu(convolve(layer, features))
    torch.autograd.backward(features.float().sum())
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    figures: dict[str, object] = {"threads": torch.get_num_threads()}
    for channels in _CHANNELS:
        layer = PartialConv2d(channels, channels)
        maps = torch.randn(_MAPS, channels, _SIDE_PX, _SIDE_PX)
        maps = maps.contiguous(memory_format=torch.channels_last)
        times: dict[str, list[float]] = {"plain": [], "whole_map": [], "ring": []}
        for _ in range(rounds):
            for name, convolve in (("plain", plain), ("whole_map", whole_map), ("ring", ring)):
                times[name].append(seconds(convolve, layer, maps))
        base = statistics.median(times["plain"])
        figures[f"channels_{channels}_plain_ms"] = round(1000 * base, 1)
        for name in ("whole_map", "ring"):
            figures[f"channels_{channels}_{name}"] = round(statistics.median(times[name]) / base, 2)
    write_result("border_scaling", figures, "torch")


if __name__ == "__main__":
    main()

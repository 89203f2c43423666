"""What partial-convolution padding costs in training, and what scaling only the ring saves.

Forward and backward through four 3x3 convolutions on 16 maps of 128 x 128 px in bfloat16, at
the channels of the first two scales: a plain zero-padded convolution, and both forms of
`PartialConv2d`: on a CPU the outermost ring is scaled in place, elsewhere the whole map by one
operation. Times are relative to the plain convolution in the same run. Then the operations that
a training step of width 8 dispatches (forward, loss and backward, without views) in each form.

    python benchmarks/border_scaling.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.model.partial_conv import PartialConv2d, scale_map, scale_ring  # noqa: E402
from edgecrack.model.unet import CrackUNet, NetworkConfig  # noqa: E402
from edgecrack.training.losses import segmentation_loss  # noqa: E402

_CHANNELS = (8, 16)
_MAPS, _SIDE_PX, _LAYERS, _WIDTH = 16, 128, 4, 8
Form = Callable[[PartialConv2d, Tensor], Tensor]


def plain(layer: PartialConv2d, features: Tensor) -> Tensor:
    return functional.conv2d(features, layer.weight, layer.bias, padding=1)


def whole_map(layer: PartialConv2d, features: Tensor) -> Tensor:
    return scale_map(features, layer.weight, layer.bias)


def ring(layer: PartialConv2d, features: Tensor) -> Tensor:
    return scale_ring(features, layer.weight, layer.bias)


FORMS: dict[str, Form] = {"plain": plain, "whole_map": whole_map, "ring": ring}


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is dispatched and touches values; a view starts no kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        returns = [item.alias_info for item in function._schema.returns]
        self.count += not any(item and not item.is_write for item in returns)
        return function(*arguments, **(keywords or {}))


def operations(convolve: Form) -> int:
    """Dispatched by one training step on 48 px patches."""
    network = CrackUNet(NetworkConfig(_WIDTH))
    tiles, truth = torch.rand(2, 1, 48, 48), torch.randint(0, 2, (2, 48, 48))
    with mock.patch.object(PartialConv2d, "forward", convolve):
        segmentation_loss(network(tiles), truth).backward()  # type: ignore[no-untyped-call]
        counted = Operations()
        with counted:
            segmentation_loss(network(tiles), truth).backward()  # type: ignore[no-untyped-call]
    return counted.count


def seconds(convolve: Form, layer: PartialConv2d, maps: Tensor) -> float:
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
        times: dict[str, list[float]] = {name: [] for name in FORMS}
        for _ in range(rounds):
            for name, convolve in FORMS.items():
                times[name].append(seconds(convolve, layer, maps))
        base = statistics.median(times["plain"])
        figures[f"channels_{channels}_plain_ms"] = round(1000 * base, 1)
        for name in ("whole_map", "ring"):
            ratios = [own / base for own, base in zip(times[name], times["plain"], strict=True)]
            figures[f"channels_{channels}_{name}"] = round(statistics.median(ratios), 2)
    counts = {name: operations(convolve) for name, convolve in FORMS.items()}
    write_result("border_operations", {"width": _WIDTH, **counts}, "torch")
    write_result("border_scaling", figures, "torch")


if __name__ == "__main__":
    main()

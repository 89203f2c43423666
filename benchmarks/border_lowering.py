"""What the border ratio of partial convolution costs in the exported graph, and its cheapest form.

The ratio is 1 except on the outermost ring of a map. Three forms of the same function are
exported and run by ONNX Runtime beside a plain network without any ratio, on real tiles:

* multiply: the whole map times a constant of its size, as `--border exact` writes it;
* ring: the ring by separate convolutions, joined to the inside by Concat;
* ones: a constant channel carries bias / ratio into the convolution, so that ReLU follows it
  at once and one multiplication comes last.

    python benchmarks/border_lowering.py CHECKPOINT --data FOLDER [--rounds 15] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.export import lowering  # noqa: E402
from edgecrack.export.graph import ExportConfig, build_onnx  # noqa: E402
from edgecrack.model.partial_conv import PartialConv2d, border_ratio  # noqa: E402
from edgecrack.preprocess import preprocess  # noqa: E402
from edgecrack.training.checkpoints import load_network  # noqa: E402

# isort: split
import onnxruntime  # noqa: E402 - after edgecrack, which keeps it from sending usage data

TILE_HW = (256, 256)


class PlainConv(nn.Module):
    """No ratio: ordinary zero padding. Another function, the peer that the others are timed by."""

    def __init__(self, source: PartialConv2d, map_hw: tuple[int, int]) -> None:
        super().__init__()
        self.weight, self.bias = source.weight, source.bias

    def forward(self, features: Tensor) -> Tensor:
        return functional.conv2d(features, self.weight, self.bias, padding=1)


class RingConv(nn.Module):
    """The inside by an unpadded convolution, each side of the ring by a separate one."""

    ratio: Tensor

    def __init__(self, source: PartialConv2d, map_hw: tuple[int, int]) -> None:
        super().__init__()
        self.weight, self.bias = source.weight, source.bias
        kernel = source.weight.detach()
        self.top = nn.Parameter(kernel[:, :, 1:])
        self.bottom = nn.Parameter(kernel[:, :, :2])
        self.left = nn.Parameter(kernel[:, :, :, 1:] * 1.5)
        self.right = nn.Parameter(kernel[:, :, :, :2] * 1.5)
        self.register_buffer("ratio", border_ratio(*map_hw)[:, :, :1].clone())
        self.offset = nn.Parameter(source.bias.detach()[:, None, None])

    def forward(self, features: Tensor) -> Tensor:
        inside = functional.conv2d(features, self.weight, self.bias)
        left = functional.conv2d(features[..., :2], self.left, self.bias)
        right = functional.conv2d(features[..., -2:], self.right, self.bias)
        top = functional.conv2d(features[:, :, :2], self.top, padding=(0, 1))
        bottom = functional.conv2d(features[:, :, -2:], self.bottom, padding=(0, 1))
        middle = torch.cat([left, inside, right], dim=3)
        ends = [edge * self.ratio + self.offset for edge in (top, bottom)]
        return torch.cat([ends[0], middle, ends[1]], dim=2)


class OnesConv(nn.Module):
    """relu(r c + b) = r relu(c + b / r), and a channel of ones times b / 9 sums to b / r."""

    ratio: Tensor
    ones: Tensor

    def __init__(self, source: PartialConv2d, map_hw: tuple[int, int]) -> None:
        super().__init__()
        share = source.bias.detach()[:, None, None, None].expand(-1, 1, 3, 3) / 9.0
        self.weight = nn.Parameter(torch.cat([source.weight.detach(), share], dim=1))
        self.register_buffer("ratio", border_ratio(*map_hw))

    def forward(self, features: Tensor) -> Tensor:
        ones = torch.ones_like(features[:, :1])
        convolved = functional.conv2d(torch.cat([features, ones], dim=1), self.weight, padding=1)
        return functional.relu(convolved) * self.ratio


FORMS: dict[str, Callable[..., nn.Module]] = {
    "plain": PlainConv,
    "multiply": lowering.LoweredPartialConv,
    "ring": RingConv,
    "ones": OnesConv,
}


def session_of(serialised: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(serialised, options, providers=["CPUExecutionProvider"])


def real_tiles(folder: Path, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """uint8 [count, 1, 256, 256]: the upper left tile of so many images."""
    samples = list(open_dataset(folder).samples("all"))[:count]
    tiles = [preprocess(sample.image())[: TILE_HW[0], : TILE_HW[1]] for sample in samples]
    return np.stack(tiles)[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    network, spec = load_network(given.checkpoint)
    figures: dict[str, object] = {"width": spec.width, "threads": given.threads}
    sessions = {}
    for name, form in FORMS.items():
        with mock.patch.object(lowering, "LoweredPartialConv", form):
            model = build_onnx(network, ExportConfig(TILE_HW, border="exact"))
        figures[f"{name}_nodes"] = len(model.graph.node)
        figures[f"{name}_operators"] = dict(Counter(node.op_type for node in model.graph.node))
        sessions[name] = session_of(model.SerializeToString(), given.threads)
    tiles = real_tiles(given.data, 16)
    levels = {
        name: np.concatenate(
            [session.run(None, {"tiles": tiles[first : first + 4]})[0] for first in range(0, 16, 4)]
        ).astype(int)
        for name, session in sessions.items()
    }
    for name in FORMS:
        largest = np.abs(levels[name] - levels["multiply"]).max()
        figures[f"{name}_largest_difference_of_255"] = int(largest)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(given.rounds):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, {"tiles": tiles[:4]})
            times[name].append(time.perf_counter() - started)
    for name in FORMS:
        pairs = zip(times[name], times["plain"], strict=True)
        ratios = [own / plain for own, plain in pairs]
        figures[f"{name}_time_over_plain"] = round(statistics.median(ratios), 2)
    write_result(f"border_lowering_width{spec.width}", figures, "onnxruntime", "torch")


if __name__ == "__main__":
    main()

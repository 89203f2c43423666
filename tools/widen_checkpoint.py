"""Makes a checkpoint of twice the width that computes the same, for further training.

    python tools/widen_checkpoint.py NARROW.safetensors -o WIDE.safetensors [--seed 0]

Every channel is duplicated. What reads a channel shares its weight between the two, unevenly, so
that training moves them apart. Source: Chen et al., "Net2Net: Accelerating Learning via Knowledge
Transfer", 2016.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.errors import ModelFileError  # noqa: E402
from edgecrack.model.unet import CrackUNet  # noqa: E402
from edgecrack.model_target import check_model_target  # noqa: E402
from edgecrack.training.checkpoints import load_network, save_weights  # noqa: E402

_UNEVEN = 0.3
_LARGEST_DIFFERENCE = 1e-3


def shared(weight: Tensor, dim: int, generator: torch.Generator) -> Tensor:
    """The weights of inputs that are there twice, in two uneven shares, along an axis."""
    part = 0.5 + _UNEVEN * (2 * torch.rand(weight.shape, generator=generator) - 1)
    return torch.cat([weight * part, weight * (1 - part)], dim)


def twice(weight: Tensor) -> Tensor:
    """The weights of outputs that are there twice."""
    return torch.cat([weight, weight])


def widened(narrow: CrackUNet, seed: int) -> CrackUNet:
    """A network of twice the width with the same function."""
    generator = torch.Generator().manual_seed(seed)
    config = dataclasses.replace(narrow.config, width=2 * narrow.config.width)
    wide, weights = CrackUNet(config), {}
    for name, value in narrow.state_dict().items():
        if name.startswith("fuse."):
            weights[name] = value
        elif name.startswith("heads."):
            weights[name] = value if name.endswith("bias") else shared(value, 1, generator)
        elif name.endswith("bias") or name.startswith("pools."):
            weights[name] = twice(value)
        elif name.startswith("upsamples."):  # [inputs, outputs, 2, 2]
            weights[name] = shared(torch.cat([value, value], 1), 0, generator)
        elif name == "encoder.0.project.weight":
            weights[name] = twice(value)
        elif name.startswith("decoder.") and ".project." in name:
            skip, below = value.chunk(2, 1)  # one after the other, each twice
            inputs = [shared(skip, 1, generator), shared(below, 1, generator)]
            weights[name] = twice(torch.cat(inputs, 1))
        else:
            weights[name] = twice(shared(value, 1, generator))
    wide.load_state_dict(weights)
    return wide.eval()


def widen(source: Path, target: Path, seed: int) -> float:
    """Write `target`; returns the largest difference of a logit on random tiles.

    Raises:
        EdgecrackError: as for every command that reads and writes model files.
    """
    check_model_target(target, (".safetensors",), [source])
    narrow, spec = load_network(source)
    wide = widened(narrow.eval(), seed)
    with torch.no_grad():
        tiles = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(1))
        difference = float((narrow(tiles) - wide(tiles)).abs().max())
    if difference > _LARGEST_DIFFERENCE:
        raise ModelFileError(f"{source} cannot be widened: {difference:g} off", "report it")
    described = dataclasses.replace(
        spec, width=wide.config.width, kind="checkpoint", parent_sha256=spec.sha256, scores=()
    )
    save_weights(wide.state_dict(), described, target)
    return difference


def main() -> None:
    """Widen the checkpoint that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    difference = widen(given.checkpoint, given.output, given.seed)
    print(f"wrote {given.output}; its logits differ by {difference:.1g} at most")


if __name__ == "__main__":
    main()

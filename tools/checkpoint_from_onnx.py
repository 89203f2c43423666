"""Recovers a checkpoint from an edgecrack FP32 ONNX file, as far as the file allows.

    python tools/checkpoint_from_onnx.py MODEL.onnx -o START.safetensors

Training can then start from a model of which only the ONNX file was kept. All weights are the
same; an export folds the two channels of each head and their fusion into one, and here they are
created as equal and opposite, so that the network computes the same. On generated walls the
checkpoint, in the file's own form of the border ratio, must agree with the file to 1 of 255 levels.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from edgecrack.artifacts import ModelSpec, read_model_file
from edgecrack.errors import ModelFileError
from edgecrack.export.border import parse_border
from edgecrack.export.lowering import LoweredNetwork, network_with_border
from edgecrack.export.model_scores import labelled_tiles
from edgecrack.model.unet import CrackUNet, NetworkConfig
from edgecrack.model_target import check_model_target
from edgecrack.onnx_graph.graph_file import GraphRun, read_graph
from edgecrack.training.checkpoints import save_weights

_LARGEST_DIFFERENCE = 1  # of 255 levels


def network_of(graph: ModelProto, spec: ModelSpec) -> CrackUNet:
    """The network with a graph's weights.

    Raises:
        ModelFileError: the graph lacks a weight, or has one of another shape.
    """
    network = CrackUNet(
        NetworkConfig(width=spec.width, pooling=spec.pooling, gate_bias=spec.gate_bias)
    )
    stored = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
    weights = {}
    try:
        for name, value in network.state_dict().items():
            if name.startswith(("heads.", "fuse.")):
                continue
            weights[name] = torch.tensor(stored[name]).reshape(value.shape)
        weights["encoder.0.project.weight"] *= 255.0  # the input's scale, folded in by the export
        for index in range(len(network.heads)):
            for part in ("weight", "bias"):
                folded = torch.tensor(stored[f"heads.{index}.{part}"])
                weights[f"heads.{index}.{part}"] = torch.cat([-folded, folded])
    except (KeyError, RuntimeError) as error:
        raise ModelFileError(
            f"the graph holds no network of width {spec.width} ({error})",
            "give an ONNX file that edgecrack export wrote",
        ) from error
    # Crack logit less background logit is then the sum of what the heads held folded.
    share = torch.tensor([[0.5, 0.0], [0.0, 0.5]]).repeat(1, len(network.heads))
    weights["fuse.weight"] = share[:, :, None, None]
    weights["fuse.bias"] = torch.zeros(2)
    network.load_state_dict(weights)
    return network.eval()


def largest_difference(
    network: CrackUNet, graph: bytes, spec: ModelSpec, tiles: NDArray[np.uint8]
) -> int:
    """Between the network, in the file's form, and the file, in levels of 255."""
    border = parse_border(str(spec.extra.get("border", "exact")))
    lowered = LoweredNetwork(network_with_border(network, border), spec.tile_hw).eval()
    with torch.no_grad():
        own = [lowered(torch.from_numpy(tiles[i : i + 1])) for i in range(len(tiles))]
    theirs = GraphRun(graph, spec.batch)(tiles)
    ours = torch.cat(own).numpy().reshape(theirs.shape)
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


def convert(model: Path, target: Path) -> int:
    """Write `target` and its sidecar; returns the largest difference in levels of 255.

    Raises:
        EdgecrackError: as for every command that reads and writes model files.
    """
    check_model_target(target, (".safetensors",), [model])
    source = read_model_file(model)
    spec = source.spec
    graph = read_graph(source, "fp32")
    network = network_of(graph, spec)
    serialised = graph.SerializeToString()
    tiles, _ = labelled_tiles(None, spec, serialised)
    difference = largest_difference(network, serialised, spec, tiles.pixels[:16])
    if difference > _LARGEST_DIFFERENCE:
        raise ModelFileError(
            f"the checkpoint differs from {model} by {difference} of 255 levels",
            "give an ONNX file that edgecrack export wrote",
        )
    described = dataclasses.replace(
        spec,
        kind="checkpoint",
        parent_sha256=spec.sha256,
        extra={
            name: spec.extra[name]
            for name in ("training", "folded_temperature")
            if name in spec.extra
        },
    )
    save_weights(network.state_dict(), described, target)
    return difference


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    given = parser.parse_args()
    difference = convert(given.model, given.output)
    print(f"wrote {given.output}; it differs from the file by {difference} of 255 levels at most")


if __name__ == "__main__":
    main()

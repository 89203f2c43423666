"""A model of which only the ONNX file was kept becomes a checkpoint again: the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgecrack.artifacts import ModelSpec, read_verified_spec, write_model
from edgecrack.errors import ModelFileError
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.training.checkpoints import load_network
from tests.model.networks import crack_by_torch, random_tiles
from tools.checkpoint_from_onnx import convert


def test_the_bundled_model_becomes_a_checkpoint_again(tmp_path: Path) -> None:
    target = tmp_path / "start.safetensors"
    assert convert(BUNDLED_MODEL, target) <= 1
    network, spec = load_network(target)
    bundled = read_verified_spec(BUNDLED_MODEL)
    assert (spec.kind, spec.parent_sha256) == ("checkpoint", bundled.sha256)
    assert (spec.preprocess, spec.threshold) == (bundled.preprocess, bundled.threshold)
    # Both channels of the heads are alive, so that training can move them apart.
    heads = [value for name, value in network.state_dict().items() if "heads" in name]
    assert all(value.abs().amax() > 0 for value in heads)
    assert (crack_by_torch(network, random_tiles(1, (64, 64), seed=0)) >= 0).all()


def test_a_graph_without_the_weights_is_refused(tmp_path: Path) -> None:
    graph = onnx.load(str(BUNDLED_MODEL))
    bias = next(item for item in graph.graph.initializer if item.name == "heads.0.bias")
    for node in graph.graph.node:
        node.input[:] = ["another" if name == bias.name else name for name in node.input]
    bias.name = "another"
    spec = read_verified_spec(BUNDLED_MODEL)
    path = tmp_path / "other.onnx"
    write_model(path, graph.SerializeToString(), ModelSpec.from_dict(spec.to_dict()))
    with pytest.raises(ModelFileError, match=r"holds no network of width 8 \('heads.0.bias'\)"):
        convert(path, tmp_path / "start.safetensors")
    assert not (tmp_path / "start.safetensors").exists()


def test_weights_are_the_graph_s(tmp_path: Path) -> None:
    target = tmp_path / "start.safetensors"
    convert(BUNDLED_MODEL, target)
    network, _ = load_network(target)
    stored = {
        item.name: onnx.numpy_helper.to_array(item)
        for item in onnx.load(str(BUNDLED_MODEL)).graph.initializer
    }
    for name, value in network.state_dict().items():
        if name.startswith(("heads.", "fuse.")):
            continue
        factor = 255 if name == "encoder.0.project.weight" else 1
        np.testing.assert_allclose(value.numpy().ravel(), factor * stored[name].ravel(), rtol=1e-6)

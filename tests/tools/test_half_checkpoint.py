"""Weights in half the bytes: the same network to three digits, and a start for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecrack.artifacts import read_verified_spec
from edgecrack.errors import ModelFileError
from edgecrack.training.checkpoints import SPEC_KEY, SafetensorsCheckpointIO, load_network
from tests.evaluation.checkpoints import write_checkpoint
from tests.model.networks import crack_by_torch, random_tiles
from tools.half_checkpoint import halve


def test_the_network_is_the_same_and_the_file_half_as_large(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path / "whole.safetensors", width=8)
    half = tmp_path / "half.safetensors"
    assert halve(whole, half) < 1e-3
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    (before, spec), (after, described) = load_network(whole), load_network(half)
    assert described.parent_sha256 == spec.sha256 == read_verified_spec(whole).sha256
    assert (described.width, described.preprocess) == (spec.width, spec.preprocess)
    tiles = random_tiles(2, (64, 64), seed=0)
    difference = crack_by_torch(before, tiles).astype(int) - crack_by_torch(after, tiles)
    assert np.abs(difference).max() <= 2


def test_weights_too_large_for_it_are_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "large.safetensors")
    files = SafetensorsCheckpointIO()
    checkpoint = files.load_checkpoint(path)
    assert SPEC_KEY in checkpoint
    checkpoint["state_dict"]["network.fuse.bias"] += 1e6
    files.save_checkpoint(checkpoint, path)
    with pytest.raises(ModelFileError, match=r"fuse\.bias in .* float16"):
        halve(path, tmp_path / "half.safetensors")
    assert not (tmp_path / "half.safetensors").exists()

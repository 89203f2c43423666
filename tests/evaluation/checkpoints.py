"""Checkpoints and model files of tiny networks, made in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecrack.artifacts import ModelSpec


def write_checkpoint(
    path: Path,
    pooling: Any = "gated-scale",
    seed: int = 0,
    width: int = 2,
    extra: dict[str, Any] | None = None,
) -> Path:
    """A checkpoint of an untrained network whose map is neither flat nor saturated."""
    pytest.importorskip("lightning", reason="a checkpoint needs the train extra")
    from edgecrack.training.checkpoints import SPEC_KEY, SafetensorsCheckpointIO
    from tests.model.networks import lively_network

    network = lively_network(pooling, width, seed=seed)
    weights = {f"network.{key}": value for key, value in network.state_dict().items()}
    spec = ModelSpec("checkpoint", pooling, width, sha256="0", extra=extra or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    SafetensorsCheckpointIO().save_checkpoint(
        {"state_dict": weights, SPEC_KEY: spec.to_dict()}, path
    )
    return path

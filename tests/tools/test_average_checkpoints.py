"""The mean of two checkpoints: weight by weight, by share, and only of one kind of network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgecrack.errors import ConfigError, EdgecrackError, ModelFileError
from edgecrack.training.checkpoints import load_network
from tests.evaluation.checkpoints import write_checkpoint
from tools.average_checkpoints import average


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_every_weight_is_the_mean(tmp_path: Path, share: float) -> None:
    before, after = (
        write_checkpoint(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (0, 1)
    )
    target = tmp_path / "mean.safetensors"
    average(before, after, target, share)
    first, second, mean = (load_network(path)[0].state_dict() for path in (before, after, target))
    assert not torch.equal(first["fuse.weight"], second["fuse.weight"])
    for name, value in mean.items():
        torch.testing.assert_close(value, (1 - share) * first[name] + share * second[name])


@pytest.mark.parametrize(
    ("width", "share", "error", "words"),
    [(4, 0.5, ModelFileError, "different networks"), (2, 1.5, ConfigError, r"share is 1\.5")],
)
def test_what_cannot_be_averaged(
    tmp_path: Path, width: int, share: float, error: type[EdgecrackError], words: str
) -> None:
    before = write_checkpoint(tmp_path / "before.safetensors")
    after = write_checkpoint(tmp_path / "after.safetensors", width=width)
    with pytest.raises(error, match=words):
        average(before, after, tmp_path / "mean.safetensors", share)
    assert not (tmp_path / "mean.safetensors").exists()

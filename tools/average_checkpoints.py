"""Averages the weights of two checkpoints, one trained from the other.

    python tools/average_checkpoints.py BEFORE.safetensors AFTER.safetensors -o MEAN.safetensors
    python tools/average_checkpoints.py BEFORE.safetensors AFTER.safetensors -o MEAN.safetensors \
        --share 0.78    # of the second

What a run gained and what it forgot are then mixed, too. Networks of different beginnings have
nothing to do with each other's weights. Source: Wortsman et al., "Model soups", 2022.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.errors import ConfigError, ModelFileError  # noqa: E402
from edgecrack.model_target import check_model_target  # noqa: E402
from edgecrack.training.checkpoints import load_network, save_weights  # noqa: E402


def average(before: Path, after: Path, target: Path, share: float = 0.5) -> None:
    """Write `target` and its sidecar.

    Args:
        before: a checkpoint.
        after: another of the same network and the same preparation of frames.
        target: where to write.
        share: of `after` in each weight, 0 to 1.

    Raises:
        ConfigError: the share is out of range.
        ModelFileError: the checkpoints are of different networks.
        EdgecrackError: as for every command that reads and writes model files.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the share is {share}", "give 0 to 1")
    check_model_target(target, (".safetensors",), [before, after])
    (first, spec), (second, other) = load_network(before), load_network(after)
    if first.config != second.config or spec.preprocess != other.preprocess:
        raise ModelFileError(
            f"{before} and {after} are of different networks, or frames are prepared otherwise",
            "give two checkpoints of one line of training",
        )
    weights = second.state_dict()
    state = {name: value.lerp(weights[name], share) for name, value in first.state_dict().items()}
    described = dataclasses.replace(other, parent_sha256=other.sha256, scores=())
    save_weights(state, described, target)


def main() -> None:
    """Average what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the second, 0 to 1")
    given = parser.parse_args()
    average(given.before, given.after, given.output, given.share)
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()

"""A checkpoint's weights alone, in float16: an eighth of the size of one with its training state.

    python tools/half_checkpoint.py runs/NAME/last.safetensors -o SMALL.safetensors

`edgecrack train --init` and `edgecrack export` accept it like any other; what they compute with is
float32 again. Of a model that is shipped, export the checkpoint itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.errors import ModelFileError  # noqa: E402
from edgecrack.model_target import check_model_target  # noqa: E402
from edgecrack.training.checkpoints import load_network, save_weights  # noqa: E402


def halve(source: Path, target: Path) -> float:
    """Write `target` and its sidecar; returns the largest relative change of a weight.

    The change is relative to the largest weight of the same tensor.

    Raises:
        EdgecrackError: as for every command that reads and writes model files.
    """
    check_model_target(target, (".safetensors",), [source])
    network, spec = load_network(source)
    state, largest = {}, 0.0
    for name, value in network.state_dict().items():
        half = value.half()
        if not half.isfinite().all():
            raise ModelFileError(
                f"{name} in {source} holds weights beyond what float16 can", "keep it as it is"
            )
        change = (half.float() - value).abs().max() / value.abs().max().clamp_min(1e-12)
        largest = max(largest, float(change))
        state[name] = half
    described = dataclasses.replace(spec, parent_sha256=spec.sha256)
    save_weights(state, described, target)
    return largest


def main() -> None:
    """Halve the checkpoint that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    given = parser.parse_args()
    change = halve(given.checkpoint, given.output)
    print(f"wrote {given.output}; no weight changed by more than {change:.1g} of its tensor's")


if __name__ == "__main__":
    main()

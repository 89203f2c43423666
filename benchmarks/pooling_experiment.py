"""Gated Scale Pooling against max pooling and stacked pooling, the same recipe and several seeds.

Trains each pooling with each seed on CFD's training split. Runs that are done are not repeated, so
the script can be stopped and started again; `--worker 1/2` and `--worker 2/2` share the runs
between two processes. `edgecrack evaluate` scores the weights after the last step on the test
split, all checkpoints at once.

    python benchmarks/pooling_experiment.py --out runs/pooling
    edgecrack evaluate runs/pooling/*/last.safetensors --data DIR --protocol patch-stride-8
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.model.unet import NetworkConfig  # noqa: E402
from edgecrack.training.config import (  # noqa: E402
    AugmentConfig,
    OptimizerConfig,
    PatchConfig,
    TrainingConfig,
)
from edgecrack.training.fit import train  # noqa: E402

POOLINGS = ("gated-scale", "max", "stacked")


def recipe(options: argparse.Namespace, pooling: str, seed: int, out: Path) -> TrainingConfig:
    """The paper's patches and batch; another optimizer, fewer steps, Dice of sums."""
    return TrainingConfig(
        data=(str(options.data / "cfd"),),
        out=out,
        network=NetworkConfig(width=options.width, pooling=pooling),  # type: ignore[arg-type]
        patches=PatchConfig(patch_px=48, crack_share=0.6, augment=AugmentConfig()),
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=200, clip_norm=1.0),
        batch_size=32,
        epochs=options.epochs,
        steps_per_epoch=options.steps_per_epoch,
        average_decay=0.998,
        precision="bf16",
        hold_out=0.0,
        seed=seed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=Path("runs/pooling"))
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps-per-epoch", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--worker", default="1/1")
    options = parser.parse_args()
    number, _, workers = options.worker.partition("/")
    runs = [(pooling, seed) for seed in range(options.seeds) for pooling in POOLINGS]
    for pooling, seed in runs[int(number) - 1 :: int(workers)]:
        out = options.out / f"{pooling}-{seed}"
        if (out / "curves.png").exists():
            continue
        started = (out / "last.safetensors").exists()
        config = recipe(options, pooling, seed, out)
        train(TrainingConfig(**{**vars(config), "resume": started}), print)


if __name__ == "__main__":
    main()

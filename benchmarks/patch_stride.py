"""What the stride of the paper's test costs in accuracy: stride 1 is exact, and slow on a CPU.

Scores a checkpoint on some images of CFD's test split at several strides and on whole images, and
gives the largest and the mean change of a pixel from stride 1.

    python benchmarks/patch_stride.py CHECKPOINT [--data DIR] [--images 4] [--result NAME]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.data.patches import PAPER_PATCH_PX, PatchStride  # noqa: E402
from edgecrack.metrics import count_image, ods, pool  # noqa: E402
from edgecrack.training.predictor import (  # noqa: E402
    CheckpointNetwork,
    CheckpointPredictor,
    PatchPredictor,
)

STRIDES = (1, 2, 4, 8, 16, 24)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--result", default="patch_stride")
    options = parser.parse_args()
    network = CheckpointNetwork(options.checkpoint)
    test = open_dataset(options.data / "cfd").samples("test")
    samples = test[:: max(1, len(test) // options.images)][: options.images]
    maps: dict[str, list[Any]] = {}
    rows: dict[str, dict[str, float]] = {}
    for name in [*map(str, STRIDES), "whole"]:
        if name == "whole":
            predict: Any = CheckpointPredictor(network)
        else:
            predict = PatchPredictor(network, PatchStride(PAPER_PATCH_PX, int(name)))
        begin = time.perf_counter()
        maps[name] = [predict(sample.image()) for sample in samples]
        seconds = (time.perf_counter() - begin) / len(samples)
        changes = [
            np.abs(found.astype(int) - exact.astype(int))
            for found, exact in zip(maps[name], maps["1"], strict=True)
        ]
        counts = [
            count_image(found, sample.mask() > 0, "square")
            for found, sample in zip(maps[name], samples, strict=True)
        ]
        rows[name] = {
            "ods": round(100 * ods(pool(counts)).f1, 2),
            "largest_change_levels": int(max(change.max() for change in changes)),
            "mean_change_levels": round(float(np.mean([change.mean() for change in changes])), 3),
            "seconds_per_image": round(seconds, 2),
        }
        print(name, rows[name], flush=True)
    names = [sample.name for sample in samples]
    write_result(options.result, {"images": names, "strides": rows}, "torch")


if __name__ == "__main__":
    main()

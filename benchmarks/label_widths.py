"""How wide people mark cracks, and how wide the generator's exact masks are.

The width at a ridge point of a mask is twice its distance to the background, less one. The
median over all ridge points of a set is reported, for CFD, uav315 and generated walls.

    python benchmarks/label_widths.py [--data DIR]    # DIR holds cfd/ and uav315/
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.synthetic import WallConfig, generate_wall  # noqa: E402

_WALLS = 200


def median_width_px(masks: Iterable[NDArray[np.uint8]]) -> float:
    """Median width in pixels over the ridges of masks, uint8 [H, W], above 0 on crack."""
    widths = []
    for mask in masks:
        # A border of background, so that a crack which leaves the picture has an edge there.
        framed = np.pad((mask > 0).astype(np.uint8), 1)
        distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        highest = cv2.dilate(distance, np.ones((3, 3), np.uint8))
        ridge = (framed > 0) & (distance >= highest - 1e-6)
        widths.append(2 * distance[ridge] - 1)
    return float(np.median(np.concatenate(widths)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    data = parser.parse_args().data
    figures: dict[str, object] = {}
    for name in ("cfd", "uav315"):
        samples = open_dataset(data / name).samples("train")
        figures[f"{name}_train_px"] = round(median_width_px(item.mask() for item in samples), 2)
    walls = [generate_wall(WallConfig(seed=seed, size_hw=(320, 320))) for seed in range(_WALLS)]
    cracked = [wall.mask for wall in walls if wall.mask.any()]
    cross = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    figures["walls_px"] = round(median_width_px(cracked), 2)
    figures["walls_widened_px"] = round(
        median_width_px(np.asarray(cv2.dilate(mask, cross), np.uint8) for mask in cracked), 2
    )
    write_result("label_widths", figures, "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()

"""How bfloat16 changes the masks: OpenVINO against ONNX Runtime, on walls and on photos.

Intersection over union of the masks at the model's threshold, over all tiles of a set, and the
largest difference of values, of 255. `cpu_self_test.py` takes the first of them on its built-in
walls as what bfloat16 has to keep.

    python benchmarks/bfloat16_agreement.py --data DIR [MODEL]...    # default: the bundled model

DIR holds folders of photos; up to 12 of each are taken, three tiles of each.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.artifacts import ModelFile, ModelSpec, read_model_file  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.preprocess import prepare  # noqa: E402
from edgecrack.runtime.backends.cpu_self_test import built_in_tiles  # noqa: E402
from edgecrack.runtime.backends.onnx_runtime import OnnxRuntimeRunner  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.backends.openvino_runner import (  # noqa: E402
    CpuPrecision,
    OpenVINORunner,
    OpenVINOSettings,
)

SETS = {
    "concrete tiles": "concrete_tiles/positive",
    "survey frames": "survey_frames",
    "road frames": "road_frames/images",
    "CFD": "cfd/images",
    "UAV": "uav315/images",
}
PHOTOS = 12
FEWEST_PIXELS = 50  # of crack in a tile, so that one pixel is not half of it
PRECISIONS: tuple[CpuPrecision, ...] = ("bf16", "f32")

Tiles = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def tiles_of(folder: Path, spec: ModelSpec) -> list[Tiles]:
    """Two corners and the middle of photos at even distances, prepared."""
    paths = sorted(each for kind in ("*.jpg", "*.png") for each in folder.glob(kind))
    height, width = spec.tile_hw
    tiles = []
    for path in paths[:: max(1, len(paths) // PHOTOS)][:PHOTOS]:
        photo = cv2.imread(str(path))
        if photo is None:
            continue
        image = np.asarray(prepare(np.asarray(photo, np.uint8), spec.preprocess))
        more = [
            (0, max(0, wanted - has)) for wanted, has in zip(spec.tile_hw, image.shape, strict=True)
        ]
        image = np.pad(image, more, mode="reflect")
        rest = image.shape[0] - height, image.shape[1] - width
        for y, x in sorted({(0, 0), (rest[0] // 2, rest[1] // 2), rest}):
            tiles.append(image[y : y + height, x : x + width])
    return tiles


def agreement(found: Mask, wanted: Mask) -> float | None:
    """Intersection over union of masks; None of empty ones."""
    either = int((found | wanted).sum())
    return round(int((found & wanted).sum()) / either, 4) if either else None


def compared(found: Tiles, wanted: Tiles, level: int) -> dict[str, Any]:
    masks = found >= level, wanted >= level
    single = [
        agreement(one, other)
        for one, other in zip(*masks, strict=True)
        if other.sum() >= FEWEST_PIXELS
    ]
    return {
        "tiles": len(found),
        "crack_pixels": int(masks[1].sum()),
        "agreement": agreement(masks[0], masks[1]),
        "worst_tile": min((each for each in single if each is not None), default=None),
        "largest_difference": int(np.abs(found.astype(np.int16) - wanted).max()),
    }


def rows_of(model: ModelFile, data: Path) -> list[dict[str, Any]]:
    """A row for each set and precision."""
    level = uint8_level(model.spec.threshold)
    sets = {"built-in walls": list(built_in_tiles(model, 2)[:, 0])}
    sets |= {name: tiles_of(data / folder, model.spec) for name, folder in SETS.items()}
    rows = []
    with OnnxRuntimeRunner(model) as base:
        for precision in PRECISIONS:
            settings = OpenVINOSettings(precision, 1, 1)
            with OpenVINORunner(model, settings, threads=2) as runner:
                for name, listed in sets.items():
                    if not listed:
                        continue
                    tiles = np.stack(listed)[:, None]
                    row = compared(runner.infer(tiles), base.infer(tiles), level)
                    about = {"model": model.path.name, "precision": precision, "set": name}
                    rows.append(about | row)
                    print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", type=Path, nargs="*", default=[BUNDLED_MODEL])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    rows = [row for path in options.models for row in rows_of(read_model_file(path), options.data)]
    write_result("bfloat16_agreement", {"rows": rows}, "onnxruntime", "openvino")


if __name__ == "__main__":
    main()

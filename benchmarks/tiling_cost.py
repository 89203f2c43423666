"""What tiles cost and what they change: seam error over pixels computed per pixel emitted.

The bundled model's checkpoint is exported with tiles of several sizes and once with a tile as
large as the frame, which has no seams. Frames are cut to a multiple of 8, so that the whole frame
needs no padding; the network runs at full size alone. Times do not come into it: a CPU's speed per
pixel is the same at any tile size.

    python benchmarks/tiling_cost.py --data DIR        # DIR holds video/ and survey_frames/
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402

CHECKPOINT = ROOT / "models" / "research" / "edgecrack-next.safetensors"
TILES = (128, 192, 256, 384, 512)
OVERLAPS = (8, 16, 32, 48, 64, 96)
HW = (480, 848)

Image = NDArray[np.uint8]


def frames_of(data: Path, count: int) -> list[Image]:
    """Frames of the wall video at even distances, and survey frames cut to the same size."""
    frames: list[Image] = []
    with open_source(str(data / "video" / "wall_robot.mp4")) as source:
        number = 0
        while len(frames) < count and (frame := source.read()) is not None:
            if number % 60 == 0:
                image = frame.image
                if image.shape[0] > image.shape[1]:
                    image = np.ascontiguousarray(image.transpose(1, 0, 2))
                frames.append(image[: HW[0], : HW[1]])
            number += 1
    paths = sorted((data / "survey_frames").rglob("*.jpg"))
    for path in paths[:: max(1, len(paths) // count)][:count]:
        photo = cv2.imread(str(path))
        if photo is not None and photo.shape[0] >= HW[0] and photo.shape[1] >= HW[1]:
            frames.append(np.asarray(photo[: HW[0], : HW[1]], np.uint8))
    return frames


def exported(folder: Path, tile_hw: tuple[int, int]) -> Path:
    """The model with tiles of a size."""
    target = folder / f"{tile_hw[0]}x{tile_hw[1]}.onnx"
    command = [
        sys.executable, "-m", "edgecrack", "export", str(CHECKPOINT), "-o", str(target),
        "--tile", f"{tile_hw[0]}x{tile_hw[1]}", "--threshold", "0.9",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return target


def compared(found: list[Image], whole: list[Image], level: int) -> dict[str, float]:
    """How far maps are from those without seams."""
    apart = np.concatenate(
        [np.abs(a.astype(int) - b).ravel() for a, b in zip(found, whole, strict=True)]
    )
    masks = [((a >= level), (b >= level)) for a, b in zip(found, whole, strict=True)]
    either = sum(int((a | b).sum()) for a, b in masks)
    both = sum(int((a & b).sum()) for a, b in masks)
    return {
        "largest": int(apart.max()),
        "percentile_99_9": float(np.percentile(apart, 99.9)),
        "mean": float(apart.mean()),
        "mask_iou": both / max(1, either),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--frames", type=int, default=8)
    options = parser.parse_args()
    frames = frames_of(options.data, options.frames)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_detector(exported(folder, HW), scales=(1.0,)) as detector:
            whole = [detector.probability_of(frame) for frame in frames]
            level = round(255 * detector.threshold)
        for tile in TILES:
            model = exported(folder, (tile, tile))
            for overlap in OVERLAPS:
                if overlap > tile // 4:
                    continue
                with open_detector(model, scales=(1.0,), overlap_px=overlap) as detector:
                    found = [detector.probability_of(frame) for frame in frames]
                    tiles = len(detector.plan(HW).cut(np.zeros(HW, np.uint8)))
                row = {
                    "tile_px": tile,
                    "overlap_px": overlap,
                    "tiles": tiles,
                    "pixels_per_pixel": round(tiles * tile * tile / (HW[0] * HW[1]), 3),
                    **compared(found, whole, level),
                }
                rows.append(row)
                print(row, flush=True)
    write_result(
        "tiling_cost", {"frames": len(frames), "frame_hw": HW, "rows": rows}, "onnxruntime"
    )


if __name__ == "__main__":
    main()

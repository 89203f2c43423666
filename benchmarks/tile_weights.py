"""By which weight overlapping tiles are blended: seam error and scores, on the same tiles.

The network runs once on each tile; its outputs are then blended by each weight. Seam error is the
difference from the network run on the whole frame at once, where there is no seam: at full size
alone, and for tiles of 256 px at all sizes together. Scores are those of the bundled model on
uav315's test photos, at all sizes. Differences from the runtime's own weight come with 95 %
intervals (bootstrap over frames or photos, the same draws for all). Times do not come into it.

    python benchmarks/tile_weights.py [--data DIR] [--quick]

DIR holds video/, survey_frames/ and uav315/.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.tiling_cost import HW, exported, frames_of  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.metrics import ThresholdCounts, count_image, ods, pool, score_at  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.runtime.scales import ScaledPlan, merged, resized  # noqa: E402
from edgecrack.runtime.tiling import TilePlan  # noqa: E402

Image = NDArray[np.uint8]
Weight = NDArray[np.float64]

# Tile and overlap; of overlaps that lead to the same tiles of these frames, one.
CUTS = ((192, 32), (256, 32), (256, 48), (256, 64), (256, 96), (512, 32))
OWN = "linear, outer quarter left out (edgecrack)"
DRAWS = 1000
_LEAST = 1e-3  # as MONAI's importance map, so that no pixel is without weight


def side_weight(rise: Callable[[Weight], Weight]) -> Callable[[int, int, int], Weight]:
    """A weight that rises over each overlap by a function of 0..1, and is 1 in between."""

    def weight(tile: int, before: int, after: int) -> Weight:
        position = np.arange(tile) + 0.5
        result = np.ones(tile)
        if before > 0:
            result = np.minimum(result, rise(np.clip(position / before, 0, 1)))
        if after > 0:
            result = np.minimum(result, rise(np.clip((tile - position) / after, 0, 1)))
        return result

    return weight


def linear(left_out: float) -> Callable[[Weight], Weight]:
    """From 0 to 1 over what is left of an overlap when this share of it is left out at each end."""
    return lambda share: np.asarray(
        np.clip((share - left_out) / (1 - 2 * left_out), 0, 1), dtype=np.float64
    )


def rising_hann(share: Weight) -> Weight:
    return np.asarray(np.sin(np.pi / 2 * share) ** 2, dtype=np.float64)


def gaussian(tile: int, before: int, after: int) -> Weight:
    """MONAI's importance map, along one axis: sigma is an eighth of the tile."""
    away = np.arange(tile) + 0.5 - tile / 2
    return np.asarray(np.exp(-0.5 * (away / (0.125 * tile)) ** 2), dtype=np.float64)


def triangle(tile: int, before: int, after: int) -> Weight:
    return np.asarray(1 - np.abs((np.arange(tile) + 0.5) / (tile / 2) - 1), dtype=np.float64)


def hann(tile: int, before: int, after: int) -> Weight:
    return np.asarray(np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2, dtype=np.float64)


WEIGHTS: dict[str, Callable[[int, int, int], Weight]] = {
    OWN: side_weight(linear(0.25)),
    "uniform": side_weight(np.ones_like),
    "linear over the overlap": side_weight(linear(0)),
    "linear, outer eighth left out": side_weight(linear(0.125)),
    "linear, outer three eighths left out": side_weight(linear(0.375)),
    "keep the centre (a step in the middle)": side_weight(
        lambda share: (share >= 0.5).astype(np.float64)
    ),
    "Hann over the overlap": side_weight(rising_hann),
    "triangle over the tile": triangle,
    "Hann over the tile": hann,
    "Gaussian over the tile (MONAI)": gaussian,
}


def axis_weights(
    weight: Callable[[int, int, int], Weight], tile: int, offsets: tuple[int, ...], length: int
) -> NDArray[np.float32]:
    """Weight of every pixel of every tile along one axis, summing to 1 at each frame pixel."""
    size = max(length, tile)
    raw = np.empty((len(offsets), tile))
    total = np.zeros(size)
    for index, offset in enumerate(offsets):
        before = offsets[index - 1] + tile - offset if index else 0
        after = offset + tile - offsets[index + 1] if index + 1 < len(offsets) else 0
        raw[index] = weight(tile, before, after)
        total[offset : offset + tile] += raw[index]
    # A pixel to which no tile gives weight is shared out: tiles of three may leave one.
    for index, offset in enumerate(offsets):
        raw[index] = np.maximum(raw[index], _LEAST * (total[offset : offset + tile] < _LEAST))
    total = np.zeros(size)
    for index, offset in enumerate(offsets):
        total[offset : offset + tile] += raw[index]
    for index, offset in enumerate(offsets):
        raw[index] /= total[offset : offset + tile]
    return raw.astype(np.float32)


def weighted(plan: ScaledPlan, name: str) -> ScaledPlan:
    """The same tiles, blended by another weight."""

    def level(each: TilePlan) -> TilePlan:
        height, width = each.tile_hw
        return replace(
            each,
            weights_y=axis_weights(WEIGHTS[name], height, each.offsets_y, each.frame_hw[0]),
            weights_x=axis_weights(WEIGHTS[name], width, each.offsets_x, each.frame_hw[1]),
        )

    return replace(plan, levels=tuple(level(each) for each in plan.levels))


def maps_by_weight(detector: CrackDetector, frames: list[Image]) -> dict[str, list[Image]]:
    """Crack maps of frames, blended by each weight, of one run of the network."""
    found: dict[str, list[Image]] = {name: [] for name in WEIGHTS}
    for frame in frames:
        prepared = np.asarray(detector.prepare(frame))
        plan = detector.plan((frame.shape[0], frame.shape[1]))
        tiles = detector.runner.infer(plan.cut(prepared))
        for name in WEIGHTS:
            found[name].append(weighted(plan, name).stitch(tiles))
        if not np.array_equal(found[OWN][-1], plan.stitch(tiles)):
            raise SystemExit("the weight that is called edgecrack's is not")
    return found


def whole_maps(
    folder: Path, sizes: list[tuple[int, int]], frames: list[Image], detector: CrackDetector
) -> list[Image]:
    """Crack maps without a seam: one tile as large as the frame at each size."""
    levels: list[list[Image]] = []
    prepared = [np.asarray(detector.prepare(frame)) for frame in frames]
    for hw in sizes:
        target = folder / f"{hw[0]}x{hw[1]}.onnx"
        model = target if target.exists() else exported(folder, hw)
        with open_detector(model, scales=(1.0,), backend="onnxruntime") as one:
            levels.append([one.runner.infer(resized(each, hw)[None, None])[0, 0]
                           for each in prepared])  # fmt: skip
    return [merged(maps, HW, "max") for maps in zip(*levels, strict=True)]


def seams(found: list[Image], whole: list[Image], level: int) -> NDArray[np.float64]:
    """Of each frame: mean difference, pixels in both masks, pixels in either; float64 [N, 3]."""
    return np.array(
        [
            (
                np.abs(one.astype(int) - other).mean(),
                ((one >= level) & (other >= level)).sum(),
                ((one >= level) | (other >= level)).sum(),
            )
            for one, other in zip(found, whole, strict=True)
        ]
    )


def iou(table: NDArray[np.float64]) -> float:
    return float(table[:, 1].sum() / max(1.0, table[:, 2].sum()))


def interval(values: list[float]) -> list[float]:
    return [round(float(each), 4) for each in np.quantile(values, (0.025, 0.975))]


def seam_rows(tables: dict[str, NDArray[np.float64]]) -> dict[str, dict[str, Any]]:
    """Of each weight the seam error, and how it differs from the runtime's own."""
    own = tables[OWN]
    draws = np.random.default_rng(0).integers(0, len(own), (DRAWS, len(own)))
    rows: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        rows[name] = {
            "mean_difference": round(float(table[:, 0].mean()), 4),
            "mask_iou": round(iou(table), 4),
            "iou_over_own": round(iou(table) - iou(own), 4),
            "iou_interval": interval([iou(table[draw]) - iou(own[draw]) for draw in draws]),
        }
        print(f"  {name:42} {rows[name]}", flush=True)
    return rows


def scores(counts: list[dict[str, ThresholdCounts]], threshold: float) -> tuple[float, float]:
    """ODS within 2 px, and strict F1 at the model's threshold, percent."""
    best = ods(pool([each["square"] for each in counts])).f1
    strict = score_at(pool([each["strict"] for each in counts]), threshold).f1
    return 100 * best, 100 * strict


def label_rows(data: Path, count: int | None) -> dict[str, dict[str, Any]]:
    """Of each weight the scores on uav315's test photos."""
    samples = open_dataset(data / "uav315").samples("test")[:count]
    with open_detector(backend="onnxruntime") as detector:
        maps = maps_by_weight(detector, [sample.image() for sample in samples])
        threshold = detector.threshold
    truths = [sample.mask() > 0 for sample in samples]
    counted: dict[str, list[dict[str, ThresholdCounts]]] = {
        name: [
            {kind: count_image(found, truth, kind) for kind in ("square", "strict")}
            for found, truth in zip(each, truths, strict=True)
        ]
        for name, each in maps.items()
    }
    draws = np.random.default_rng(0).integers(0, len(samples), (DRAWS // 5, len(samples)))
    rows: dict[str, dict[str, Any]] = {}
    drawn = {
        name: np.array([scores([each[i] for i in draw], threshold) for draw in draws])
        for name, each in counted.items()
    }
    for name, each in counted.items():
        apart = drawn[name] - drawn[OWN]
        best, strict = scores(each, threshold)
        rows[name] = {
            "ods": round(best, 2),
            "strict_f1": round(strict, 2),
            "ods_over_own_interval": interval(apart[:, 0].tolist()),
            "strict_f1_over_own_interval": interval(apart[:, 1].tolist()),
        }
        print(f"  {name:42} {rows[name]}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--frames", type=int, default=12, help="of the video, and of the survey")
    parser.add_argument("--quick", action="store_true", help="few frames, two cuts, no file")
    given = parser.parse_args()
    frames = frames_of(given.data, 2 if given.quick else given.frames)
    cut_rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_detector(scales=(1.0,), backend="onnxruntime") as bundled:
            whole = whole_maps(folder, [HW], frames, bundled)
            level = uint8_level(bundled.threshold)
            halves = [HW, (HW[0] // 2, HW[1] // 2)]
            whole_at_all = whole_maps(folder, halves, frames, bundled)
        for tile, overlap in CUTS[:2] if given.quick else CUTS:
            model = exported(folder, (tile, tile))
            for scales, wanted in (((1.0,), whole), ((1.0, 0.5), whole_at_all)):
                if len(scales) > 1 and (tile, overlap) not in ((256, 32), (256, 64)):
                    continue
                with open_detector(
                    model, scales=scales, overlap_px=overlap, backend="onnxruntime"
                ) as detector:
                    tiles = len(detector.plan(HW))
                    print(f"tile {tile}, overlap {overlap}, {len(scales)} sizes: {tiles} tiles")
                    maps = maps_by_weight(detector, frames)
                rows = seam_rows({key: seams(each, wanted, level) for key, each in maps.items()})
                cut_rows.append(
                    {
                        "tile_px": tile,
                        "overlap_px": overlap,
                        "scales": list(scales),
                        "tiles": tiles,
                        "pixels_per_pixel": round(tiles * tile**2 / (HW[0] * HW[1]), 3),
                        "weights": rows,
                    }
                )
    labels = label_rows(given.data, 4 if given.quick else None)
    figures = {"frames": len(frames), "frame_hw": HW, "cuts": cut_rows, "uav315_test": labels}
    if not given.quick:
        write_result("tile_weights", figures, "onnxruntime", "numpy")


if __name__ == "__main__":
    main()

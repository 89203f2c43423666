"""INT8's gate before and after, on the same INT8 graphs: without labels and with them.

Before: a file could lose 0.5 points of ODS, of strict F1 and of recall on thin cracks, as
measured, and without labels what FP32 finds was the truth. After: `edgecrack.calibration.gate`.
Each graph has all layers in INT8. Two controls are corrupted on purpose and must be refused:
ranges at three tenths, which clip what a crack does, and ranges ten times as wide, which leave it
a dozen steps. And one row for scale is no INT8 at all: the FP32 file on tiles with noise of two
grey levels.

Folders without labels are subsets made by links, so that no labels lie beside the images.

    python benchmarks/gate_without_labels.py [--data DIR] [--model FILE] [--seeds 2]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from edgecrack.artifacts import ModelSpec, read_model_file  # noqa: E402
from edgecrack.calibration.accuracy import Accuracy  # noqa: E402
from edgecrack.calibration.gate import Gate, Verdict  # noqa: E402
from edgecrack.calibration.held_out import HeldOut  # noqa: E402
from edgecrack.calibration.quantize import layer_inputs, quantize  # noqa: E402
from edgecrack.calibration.ranges import (  # noqa: E402
    METHODS,
    Histogram,
    Method,
    collect_histograms,
    range_of,
)
from edgecrack.calibration.sampler import (  # noqa: E402
    SamplerConfig,
    open_frames,
    sample_tiles,
)
from edgecrack.metrics import uint8_level  # noqa: E402
from edgecrack.onnx_graph.graph_file import GraphRun, read_graph  # noqa: E402
from edgecrack.onnx_graph.precision import simulate_half  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402

LABELLED = ("uav315", "cfd")
FOLDERS = ("uav315/images", "road_frames/images", "concrete_tiles/positive")
IMAGES = 120
SPOILED: dict[str, tuple[Method, float]] = {
    "ranges x 0.3": ("entropy", 0.3),
    "ranges x 10": ("minmax", 10.0),
}
NOISE_LEVELS = 2.0
_OLD_LIMIT = 0.5
_SUFFIXES = (".png", ".jpg", ".jpeg")


def link_images(source: Path, folder: Path, seed: int) -> Path:
    """A folder with links to some of the images, drawn by seed."""
    images = sorted(path for path in source.iterdir() if path.suffix.lower() in _SUFFIXES)
    count = min(IMAGES, len(images))
    chosen = np.random.default_rng(seed).choice(len(images), count, replace=False)
    folder.mkdir(parents=True)
    for index in sorted(chosen.tolist()):
        (folder / images[index].name).symlink_to(images[index].resolve())
    return folder


class Model:
    """The FP32 file, and outputs of INT8 graphs made from it."""

    def __init__(self, path: Path) -> None:
        source = read_model_file(path)
        self.spec: ModelSpec = source.spec
        self.content = path.read_bytes()
        self._graph = read_graph(source, "fp32")
        self.run = GraphRun(self._graph, self.spec.batch)

    def held_out(self, data: Path, seed: int) -> tuple[NDArray[np.uint8], HeldOut]:
        """Tiles that set ranges, uint8 [N, 1, H, W], and those that judge."""
        level = uint8_level(self.spec.threshold)
        frames = open_frames(data, seed)
        tiles, drawn = sample_tiles(
            frames,
            SamplerConfig(seed=seed),
            self.spec.preprocess,
            self.spec.tile_hw,
            lambda pixels: self.run(pixels) >= level,
        )
        part = HeldOut(
            frames.name,
            "labels" if frames.labelled else "agreement",
            drawn,
            self.run(drawn.pixels),
            self.spec.threshold,
        )
        part.require_judgeable()
        return tiles.pixels, part

    def histograms(self, tiles: NDArray[np.uint8]) -> dict[str, Histogram]:
        inputs = sorted(set(layer_inputs(self._graph).values()))
        return collect_histograms(self._graph, inputs, tiles, self.spec.batch)

    def ranges(self, tiles: NDArray[np.uint8], method: Method) -> dict[str, float]:
        return {name: range_of(found, method) for name, found in self.histograms(tiles).items()}

    def graph_of(self, ranges: dict[str, float]) -> onnx.ModelProto:
        """All layers in INT8."""
        return quantize(self._graph, ranges)

    def int8(self, ranges: dict[str, float]) -> GraphRun:
        """The same, as a GPU would round it."""
        return GraphRun(simulate_half(self.graph_of(ranges)), self.spec.batch)

    def outputs(
        self, tiles: NDArray[np.uint8], part: HeldOut, seed: int
    ) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """What each INT8 graph gives on the held-out tiles, by the graph's name."""
        histograms = self.histograms(tiles)
        wanted: dict[str, tuple[Method, float]] = {name: (name, 1.0) for name in METHODS}
        wanted |= SPOILED
        for name, (method, factor) in wanted.items():
            ranges = {key: factor * range_of(found, method) for key, found in histograms.items()}
            yield name, self.int8(ranges)(part.tiles.pixels)
        noise = np.random.default_rng(seed).normal(0, NOISE_LEVELS, part.tiles.pixels.shape)
        noisy = np.clip(np.rint(part.tiles.pixels + noise), 0, 255).astype(np.uint8)
        yield f"FP32, noise of {NOISE_LEVELS:g} levels", self.run(noisy)


def old_rule(reference: Accuracy, own: Accuracy) -> dict[str, Any]:
    """The rule before: three drops as measured, 0.5 points each."""
    drops = {
        name: round(getattr(reference, name) - getattr(own, name), 3)
        for name in ("ods", "strict_f1", "thin_recall")
    }
    return {"drops": drops, "passed": max(drops.values()) <= _OLD_LIMIT}


def row(part: HeldOut, output: NDArray[np.uint8], seed: int) -> dict[str, Any]:
    reference, own = part.accuracy(part.expected), part.accuracy(output)
    verdict: Verdict = part.judge(Gate(), output, seed)
    return {
        "before": old_rule(reference, own),
        "after": {
            "passed": verdict.passed,
            "scores": {item.score: item.to_dict() for item in verdict.judged},
            "not_judged": list(verdict.missing),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    model = Model(given.model)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for seed in range(given.seeds):
            sets = {name: given.data / name for name in LABELLED}
            for source in FOLDERS:
                folder = Path(name) / str(seed) / source.replace("/", "-")
                sets[f"{source}, no labels"] = link_images(given.data / source, folder, seed)
            for title, data in sets.items():
                tiles, part = model.held_out(data, seed)
                run: dict[str, Any] = {
                    "data": title,
                    "seed": seed,
                    "gate": part.kind,
                    "tiles": len(part.tiles),
                    "images": part.tiles.images,
                    "tiles_without_crack": int((~part.tiles.truth.any((1, 2))).sum()),
                    "graphs": {},
                }
                for graph, output in model.outputs(tiles, part, seed):
                    run["graphs"][graph] = row(part, output, seed)
                    print(title, seed, graph, run["graphs"][graph], flush=True)
                runs.append(run)
    figures = {"width": model.spec.width, "model_sha256": model.spec.sha256, "runs": runs}
    write_result("gate_without_labels", {**figures, **summary(runs)}, "onnxruntime", "numpy")


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How many graphs of each kind either rule lets through, by gate."""
    counts: dict[str, dict[str, Any]] = {}
    for run in runs:
        for name, found in run["graphs"].items():
            own = counts.setdefault(run["gate"], {}).setdefault(
                name, {"graphs": 0, "before": 0, "after": 0}
            )
            own["graphs"] += 1
            own["before"] += found["before"]["passed"]
            own["after"] += found["after"]["passed"]
    return {"passed": counts}


if __name__ == "__main__":
    main()

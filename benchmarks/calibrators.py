"""Which way of choosing INT8 ranges costs least: entropy, percentile, minmax or mse.

Each method sets ranges from the same tiles of uav315's train split, three sets of tiles drawn
by three seeds; all layers are INT8. Judged on held-out tiles of uav315's val split, which is where
the default is chosen, and on the test images of uav315 and CFD, which decide nothing.

    python benchmarks/calibrators.py [--data DIR] [--model FILE]    # DIR holds cfd/ and uav315/
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA, Images, load_images, score  # noqa: E402
from edgecrack.artifacts import read_model_file  # noqa: E402
from edgecrack.calibration.accuracy import Accuracy, measure_accuracy  # noqa: E402
from edgecrack.calibration.quantize import layer_inputs, quantize  # noqa: E402
from edgecrack.calibration.ranges import METHODS, collect_histograms, range_of  # noqa: E402
from edgecrack.calibration.sampler import (  # noqa: E402
    SamplerConfig,
    open_frames,
    sample_tiles,
)
from edgecrack.metrics import uint8_level  # noqa: E402
from edgecrack.onnx_graph.graph_file import GraphRun, read_graph  # noqa: E402
from edgecrack.onnx_graph.precision import simulate_half  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402

_SCORES = ("ods", "strict_f1", "thin_recall")


def drops(reference: Accuracy, own: Accuracy) -> dict[str, float]:
    found = {f"{name}_drop": getattr(reference, name) - getattr(own, name) for name in _SCORES}
    return {**found, "largest_difference": float(own.largest_difference)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    source = read_model_file(given.model)
    spec = source.spec
    graph = read_graph(source, "fp32")
    float_run = GraphRun(graph, spec.batch)
    level = uint8_level(spec.threshold)
    tests = [load_images(given.data / name, "test") for name in ("uav315", "cfd")]
    expected = {images.name: images.maps(graph, spec) for images in tests}
    references = {images.name: score(images, expected[images.name], spec) for images in tests}
    inputs = sorted(set(layer_inputs(graph).values()))
    rows: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(given.seeds):
        tiles, held_out = sample_tiles(
            open_frames(given.data / "uav315", seed),
            SamplerConfig(seed=seed),
            spec.preprocess,
            spec.tile_hw,
            lambda pixels: float_run(pixels) >= level,
        )
        histograms = collect_histograms(graph, inputs, tiles.pixels, spec.batch)
        wanted = float_run(held_out.pixels)
        reference = measure_accuracy(wanted, held_out.truth, spec.threshold, wanted)
        for method in METHODS:
            ranges = {tensor: range_of(values, method) for tensor, values in histograms.items()}
            quantized = quantize(graph, ranges)
            own = GraphRun(simulate_half(quantized), spec.batch)(held_out.pixels)
            accuracy = measure_accuracy(own, held_out.truth, spec.threshold, wanted)
            difference = np.abs(own.astype(np.int16) - wanted.astype(np.int16)).mean()
            found = {**drops(reference, accuracy), "mean_difference": float(difference)}
            rows[method]["uav315 val, held-out tiles"].append(found)
            for images in tests:
                rows[method][images.name].append(
                    _on_test(images, quantized, spec, expected, references)
                )
            print(seed, method, rows[method], flush=True)
    figures: dict[str, Any] = {"width": spec.width, "seeds": given.seeds}
    for used, sets in rows.items():
        figures[used] = {
            name: {
                key: {
                    "mean": round(statistics.mean(item[key] for item in found), 3),
                    "all": [round(item[key], 3) for item in found],
                }
                for key in found[0]
            }
            for name, found in sets.items()
        }
    write_result("calibrators", figures, "onnxruntime", "onnx", "numpy")


def _on_test(
    images: Images,
    quantized: Any,
    spec: Any,
    expected: dict[str, Any],
    references: dict[str, Accuracy],
) -> dict[str, float]:
    maps = images.maps(quantized, spec)
    wanted = expected[images.name]
    own = drops(references[images.name], score(images, maps, spec, wanted))
    difference = np.abs(maps.astype(np.int16) - wanted.astype(np.int16)).mean()
    return {**own, "mean_difference": float(difference)}


if __name__ == "__main__":
    main()

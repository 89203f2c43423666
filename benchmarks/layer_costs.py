"""What each layer costs in INT8, and what keeping the worst in FP16 gains.

Each layer is quantized alone and judged by the output's mean squared difference from FP32 on
calibration tiles of uav315; then the worst 0 to 5 are kept in FP16, and all else is INT8, scored
on held-out tiles. The same functions that `edgecrack calibrate` uses.

    python benchmarks/layer_costs.py [--data DIR] [--model FILE] [--method entropy]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from edgecrack.artifacts import read_model_file  # noqa: E402
from edgecrack.calibration import defaults  # noqa: E402
from edgecrack.calibration.accuracy import measure_accuracy  # noqa: E402
from edgecrack.calibration.calibrating import rank_layers  # noqa: E402
from edgecrack.calibration.quantize import (  # noqa: E402
    layer_inputs,
    layer_work,
    quantizable_layers,
    quantize,
)
from edgecrack.calibration.ranges import collect_histograms, parse_method, range_of  # noqa: E402
from edgecrack.calibration.sampler import (  # noqa: E402
    SamplerConfig,
    open_frames,
    sample_tiles,
)
from edgecrack.metrics import uint8_level  # noqa: E402
from edgecrack.onnx_graph.graph_file import GraphRun, read_graph  # noqa: E402
from edgecrack.onnx_graph.precision import simulate_half  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402

_RANKING_TILES = 48
_MOST_KEPT = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--method", default=defaults.METHOD)
    given = parser.parse_args()
    source = read_model_file(given.model)
    spec = source.spec
    graph = read_graph(source, "fp32")
    run, level = GraphRun(graph, spec.batch), uint8_level(spec.threshold)
    tiles, held_out = sample_tiles(
        open_frames(given.data / "uav315"),
        SamplerConfig(),
        spec.preprocess,
        spec.tile_hw,
        lambda pixels: run(pixels) >= level,
    )
    inputs = sorted(set(layer_inputs(graph).values()))
    method = parse_method(given.method)
    histograms = collect_histograms(graph, inputs, tiles.pixels, spec.batch)
    ranges = {name: range_of(values, method) for name, values in histograms.items()}
    layers, ranking = quantizable_layers(graph), tiles.pixels[:_RANKING_TILES]
    expected = run(ranking).astype(np.float32)

    def error_alone(layer: str) -> float:
        alone = quantize(graph, ranges, [name for name in layers if name != layer], half=False)
        return float(((GraphRun(alone, spec.batch)(ranking) - expected) ** 2).mean())

    costs = rank_layers(layers, error_alone)
    work = layer_work(graph)
    total = sum(work.values())
    wanted = run(held_out.pixels)
    reference = measure_accuracy(wanted, held_out.truth, spec.threshold, wanted)
    kept_rows: list[dict[str, Any]] = []
    for count in range(_MOST_KEPT + 1):
        kept = [cost.name for cost in costs[:count]]
        graph_kept = simulate_half(quantize(graph, ranges, kept))
        output = GraphRun(graph_kept, spec.batch)(held_out.pixels)
        accuracy = measure_accuracy(output, held_out.truth, spec.threshold, wanted)
        difference = np.abs(output.astype(np.int16) - wanted.astype(np.int16)).mean()
        kept_rows.append(
            {
                "kept": kept,
                "ods_drop": round(reference.ods - accuracy.ods, 3),
                "thin_recall_drop": round(reference.thin_recall - accuracy.thin_recall, 3),
                "mean_difference": round(float(difference), 4),
            }
        )
    figures: dict[str, Any] = {
        "width": spec.width,
        "method": method,
        "layers": {
            cost.name: {
                "squared_error": round(cost.error, 3),
                "share_of_multiplications": round(work[cost.name] / total, 4),
            }
            for cost in costs
        },
        "left_out": {
            name: round(share / total, 5) for name, share in work.items() if name not in layers
        },
        "keeping": kept_rows,
    }
    write_result("layer_costs", figures, "onnxruntime", "onnx")


if __name__ == "__main__":
    main()

"""What leaving out the border ratio costs in accuracy and saves in time, by number of scales.

The bundled model with the ratio on every scale (exact), and with it left out on the finest scale,
the two finest (what `edgecrack export` writes), three and all four. Scores on all test images of
CFD and uav315, tiled as on the robot, each less those of the exact form with a bootstrap interval
over images; how far from a tile's border outputs differ; and times of ONNX Runtime beside the
exact form, in interleaved pairs.

    python benchmarks/border_ratio.py [--data DIR] [--model FILE] [--rounds 21]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA, GraphRunner  # noqa: E402
from edgecrack.artifacts import ModelSpec, read_model_file  # noqa: E402
from edgecrack.data.datasets import Sample, open_dataset  # noqa: E402
from edgecrack.evaluation.image_results import evaluate  # noqa: E402
from edgecrack.evaluation.model_groups import Group, ScoredModel  # noqa: E402
from edgecrack.evaluation.paired import compare  # noqa: E402
from edgecrack.export import border  # noqa: E402
from edgecrack.export.border import depth_px  # noqa: E402
from edgecrack.onnx_graph.graph_file import read_graph  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import CrackDetector  # noqa: E402

# isort: split
import onnxruntime  # noqa: E402 - after edgecrack, which keeps it from sending usage data

SETS = ("cfd", "uav315")
BANDS_PX = (0, 1, 2, 4, 8, 16, 24, 32, 64, 128)
TIMED_TILES = 4


def forms_of(graph: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """The exact form, then with the ratio left out on 1 to 4 scales from the finest on."""
    forms = {"exact": border.with_border(graph, "exact")}
    for scales in range(1, 5):
        with mock.patch.object(border, "FUSED_SCALES", scales):
            forms[f"out_on_{scales}"] = border.with_border(forms["exact"], "fused")
    return forms


@dataclass(frozen=True, eq=False)
class Outputs:
    """What one form gives for a set: tiles uint8 [N, H, W], and the frames' blended maps."""

    tiles: NDArray[np.uint8]
    maps: list[NDArray[np.uint8]]


def run(graph: onnx.ModelProto, spec: ModelSpec, samples: list[Sample]) -> Outputs:
    runner = GraphRunner(graph, spec)
    detector = CrackDetector(runner, "form")
    tiles, maps = [], []
    for sample in samples:
        frame = detector.prepare(sample.image())
        plan = detector.plan((frame.shape[0], frame.shape[1]))
        tiles.append(runner.infer(plan.cut(frame)))
        maps.append(plan.stitch(tiles[-1]))
    return Outputs(np.concatenate(tiles)[:, 0], maps)


def group(name: str, samples: list[Sample], outputs: Outputs, spec: ModelSpec) -> Group:
    given = iter(outputs.maps)
    found = evaluate(lambda image: next(given), samples, threshold=spec.threshold)
    model = ScoredModel(name, Path(name), spec, found, lambda image: image[..., 0], {})
    return Group(name, name, (model,))


def scores(own: Group, exact: Group, threshold: float) -> dict[str, Any]:
    found = own.evaluations[0]
    row: dict[str, Any] = {
        "ods": round(found.ods("square").f1, 5),
        "strict_f1": round(found.ods("strict").f1, 5),
        "strict_f1_at_own_threshold": round(found.score_at("strict", threshold).f1, 5),
        "f1_at_own_threshold": round(found.score_at("square", threshold).f1, 5),
    }
    if own is not exact:
        row["points_less_exact_and_interval"] = {
            item.key: [points(value) for value in (item.value, item.low, item.high)]
            for item in compare(own, exact).differences
        }
    return row


def points(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 3)


def differences(own: Outputs, exact: Outputs, threshold: float) -> dict[str, Any]:
    """How far the forms differ, by distance from the tile's border, and in whole frames."""
    levels = np.abs(own.tiles.astype(np.int16) - exact.tiles.astype(np.int16))
    depth = depth_px(*levels.shape[1:])
    bands = {}
    for first, last in itertools.pairwise(BANDS_PX):
        inside = levels[:, (depth >= first) & (depth < last)]
        bands[f"{first} to {last - 1} px"] = {
            "over_1_of_255": round(float((inside > 1).mean()), 5),
            "mean_levels": round(float(inside.mean()), 4),
            "largest_levels": int(inside.max()),
        }
    reach = [depth[one > 1].max(initial=-1) + 1 for one in levels]
    level = threshold * 255
    changed = [(a >= level) != (b >= level) for a, b in zip(own.maps, exact.maps, strict=True)]
    edge = [depth_px(*item.shape) < 32 for item in changed]
    return {
        "tiles": len(levels),
        "largest_reach_px": int(max(reach)),
        "reach_of_95_percent_of_the_tiles_px": int(np.quantile(reach, 0.95)),
        "by_distance_from_the_tile_s_border": bands,
        "frame_pixels_decided_otherwise": {
            "within_32_px_of_the_frame_s_border": share(changed, edge),
            "elsewhere": share(changed, [~item for item in edge]),
        },
    }


def share(changed: list[NDArray[np.bool_]], where: list[NDArray[np.bool_]]) -> float:
    counted = sum(int(item[place].sum()) for item, place in zip(changed, where, strict=True))
    return round(counted / sum(int(place.sum()) for place in where), 6)


def times(forms: dict[str, onnx.ModelProto], threads: int, rounds: int) -> dict[str, Any]:
    """Median time over the exact form's in the same round, with the quartiles."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = {
        name: onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for name, graph in forms.items()
    }
    height, width = (
        item.dim_value for item in forms["exact"].graph.input[0].type.tensor_type.shape.dim[2:]
    )
    generator = np.random.default_rng(0)
    tiles = generator.integers(0, 256, (TIMED_TILES, 1, height, width), dtype=np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 1):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, {"tiles": tiles})
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    table = {}
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds["exact"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        table[name] = {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--rounds", type=int, default=21)
    given = parser.parse_args()
    source = read_model_file(given.model)
    spec = source.spec
    forms = forms_of(read_graph(source, "fp32"))
    figures: dict[str, Any] = {
        "model_sha256": spec.sha256,
        "bytes": {name: len(graph.SerializeToString()) for name, graph in forms.items()},
        "nodes": {name: len(graph.graph.node) for name, graph in forms.items()},
    }
    for threads in (1, 2):
        figures[f"time_over_exact_{threads}_threads"] = times(forms, threads, given.rounds)
    for name in SETS:
        samples = list(open_dataset(given.data / name).samples("test"))
        exact = run(forms["exact"], spec, samples)
        reference = group("exact", samples, exact, spec)
        table = {"exact": scores(reference, reference, spec.threshold)}
        for form, graph in list(forms.items())[1:]:
            own = run(graph, spec, samples)
            table[form] = scores(group(form, samples, own, spec), reference, spec.threshold)
            table[form]["differences"] = differences(own, exact, spec.threshold)
            print(name, form, table[form], flush=True)
        figures[f"{name} test, {len(samples)} images"] = table
    write_result(f"border_ratio_width{spec.width}", figures, "onnxruntime", "onnx")


if __name__ == "__main__":
    main()

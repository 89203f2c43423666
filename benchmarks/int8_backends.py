"""What an INT8 file for CPUs gives on ONNX Runtime and OpenVINO: values, masks, speed, and why.

    edgecrack calibrate edgecrack/models/edgecrack-bundled.onnx --data DATA/uav315 \\
        --for cpu -o int8.onnx
    python benchmarks/int8_backends.py int8.onnx [--parent FP32.onnx] [--rounds 15] [--isa avx2]

- ways: each pair of ways to run the file or its parent, on the self-test's walls: the largest and
  the mean difference of 255, and intersection over union of the masks. "as written" is ONNX Runtime
  without its optimizations, which quantizes and computes in float32 as the graph says.
- layers: one layer in INT8 at a time, with the file's own steps: OpenVINO against "as written".
- concatenation: an INT8 convolution of random integers behind a concatenation and without, against
  sums in whole numbers: the mistake alone.
- speed: in turn, times as fast as ONNX Runtime on the parent; medians and quartiles of rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bfloat16_agreement import agreement  # noqa: E402
from benchmarks.cpu_isa import ISAS, limit_instructions  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from edgecrack.artifacts import ModelFile, read_model_file  # noqa: E402
from edgecrack.calibration.quantize import quantizable_layers, quantize  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.runtime.backends.base import Runner  # noqa: E402
from edgecrack.runtime.backends.cpu_self_test import built_in_tiles  # noqa: E402
from edgecrack.runtime.backends.onnx_runtime import (  # noqa: E402
    OnnxRuntimeRunner,
    default_threads,
)
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.backends.openvino_runner import (  # noqa: E402
    OpenVINORunner,
    OpenVINOSettings,
    import_openvino,
)

# isort: split
import onnx  # noqa: E402
import onnxruntime  # noqa: E402 - after edgecrack, which keeps it from sending usage data
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

Tiles = NDArray[np.uint8]
LEVELS = 127
CHANNELS, SIDE = 16, 32
STEP = np.float32(0.05)


def as_written(content: bytes, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """ONNX Runtime without optimizations: each node as the graph has it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options)
    return np.asarray(session.run(None, inputs)[0])


def on_openvino(content: bytes, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    core = import_openvino().Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(content), "CPU", options)
    return np.asarray(compiled(inputs)[0])


def compared(found: Tiles, wanted: Tiles, level: int) -> dict[str, Any]:
    apart = np.abs(found.astype(np.int16) - wanted)
    return {
        "largest_difference": int(apart.max()),
        "mean_difference": round(float(apart.mean()), 4),
        "agreement": agreement(found >= level, wanted >= level),
    }


def steps_of(model: onnx.ModelProto) -> dict[str, float]:
    """By tensor, the magnitude that its INT8 covers."""
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    return {
        node.input[0]: float(values[node.input[1]]) * LEVELS
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


def layer_rows(int8: ModelFile, parent: ModelFile, tiles: Tiles) -> dict[str, Any]:
    """Each layer alone in INT8: how far OpenVINO is from the graph as written."""
    graph = onnx.load_from_string(parent.content)
    ranges = steps_of(onnx.load_from_string(int8.content))
    inputs = {node.name: node.input[0] for node in graph.graph.node}
    layers = [name for name in quantizable_layers(graph) if inputs[name] in ranges]
    joined = {node.output[0] for node in graph.graph.node if node.op_type == "Concat"}
    # A file for CPUs leaves these in FP32 and has no steps for them; the maps' own extent serves.
    missing = [name for name in quantizable_layers(graph) if inputs[name] in joined - set(ranges)]
    ranges |= extents(graph, {inputs[name] for name in missing}, tiles)
    rows = {}
    for layer in [*layers, *missing]:
        others = [name for name in quantizable_layers(graph) if name != layer]
        content = quantize(graph, ranges, others, half=False).SerializeToString()
        given = {"tiles": tiles}
        apart = np.abs(on_openvino(content, given).astype(int) - as_written(content, given))
        rows[layer] = {
            "reads_concatenation": inputs[layer] in joined,
            "largest_difference": int(apart.max()),
            "mean_difference": round(float(apart.mean()), 4),
        }
        print(layer, rows[layer], flush=True)
    return rows


def extents(graph: onnx.ModelProto, names: set[str], tiles: Tiles) -> dict[str, float]:
    """The largest magnitude of tensors on these tiles."""
    if not names:
        return {}
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    ordered = sorted(names)
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ordered
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(ordered, {"tiles": tiles})
    return {name: float(np.abs(item).max()) for name, item in zip(ordered, found, strict=True)}


def mistake(behind_concatenation: bool) -> dict[str, float]:
    """An INT8 1x1 convolution of random integers against sums in whole numbers."""
    random = np.random.default_rng(0)
    shape = (1, CHANNELS, SIDE, SIDE)
    halves = [random.normal(0, 3, shape).astype(np.float32) for _ in range(2)]
    weights = random.integers(-LEVELS, LEVELS + 1, (CHANNELS, 2 * CHANNELS, 1, 1)).astype(np.int8)
    scales = random.uniform(0.001, 0.011, CHANNELS).astype(np.float32)
    constants = {"step": STEP, "zero": np.int8(0), "weights": weights, "scales": scales}
    names = ["a", "b"] if behind_concatenation else ["joined"]
    nodes = [helper.make_node("Concat", names, ["joined"], axis=1)] * behind_concatenation
    nodes += [
        helper.make_node("QuantizeLinear", ["joined", "step", "zero"], ["steps"]),
        helper.make_node("DequantizeLinear", ["steps", "step", "zero"], ["values"]),
        helper.make_node("DequantizeLinear", ["weights", "scales"], ["kernel"], axis=0),
        helper.make_node("Conv", ["values", "kernel"], ["sums"]),
    ]
    values = halves if behind_concatenation else [np.concatenate(halves, axis=1)]
    inputs = dict(zip(names, values, strict=True))
    graph = helper.make_graph(
        nodes,
        "mistake",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, item.shape)
         for name, item in inputs.items()],
        [helper.make_tensor_value_info("sums", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(item), name) for name, item in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 20)]
    content = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    levels = np.clip(np.rint(np.concatenate(halves, axis=1) / STEP), -128, 127)
    whole = np.einsum("oc,nchw->nohw", weights[:, :, 0, 0].astype(np.float64), levels)
    wanted = whole * scales[None, :, None, None] * float(STEP)
    apart = np.abs(on_openvino(content, inputs) - wanted)
    return {
        "largest": round(float(apart.max()), 4),
        "mean": round(float(apart.mean()), 4),
        "largest_as_written": round(float(np.abs(as_written(content, inputs) - wanted).max()), 4),
        "largest_value": round(float(np.abs(wanted).max()), 2),
    }  # fmt: skip


def speeds(runners: dict[str, Runner], tiles: Tiles, rounds: int) -> dict[str, Any]:
    """Times as fast as the first, by round."""
    ratios: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(rounds + 1):
        took = {}
        for name, runner in runners.items():
            began = time.perf_counter()
            runner.infer(tiles)
            took[name] = time.perf_counter() - began
        base = next(iter(took.values()))
        if number:  # the first round warms up
            for name, seconds in took.items():
                ratios[name].append(base / seconds)
    return {
        name: {
            "times_as_fast": round(statistics.median(values), 3),
            "quartiles": [round(each, 3) for each in statistics.quantiles(values, n=4)],
        }
        for name, values in ratios.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("int8", type=Path)
    parser.add_argument("--parent", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--isa", choices=ISAS, help="limit OpenVINO to these instructions")
    parser.add_argument("--no-layers", action="store_true", help="leave the search by layer out")
    options = parser.parse_args()
    limit_instructions(options.isa)
    int8, parent = read_model_file(options.int8), read_model_file(options.parent)
    threads, level = default_threads(), uint8_level(parent.spec.threshold)
    tiles = built_in_tiles(parent, threads)
    settings = OpenVINOSettings("f32", threads, 1)
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for name, model in {"FP32": parent, "INT8": int8}.items():
            base = OnnxRuntimeRunner(model, threads=threads)
            runners[f"onnxruntime, {name}"] = stack.enter_context(base)
            other = OpenVINORunner(model, settings, threads=threads)
            runners[f"openvino, {name}"] = stack.enter_context(other)
        maps = {name: runner.infer(tiles) for name, runner in runners.items()}
        timed = speeds(runners, tiles, options.rounds)
    maps["as written, INT8"] = as_written(int8.content, {"tiles": tiles})
    names = list(maps)
    figures: dict[str, Any] = {
        "isa": options.isa,
        "rounds": options.rounds,
        "gate_openvino": (int8.spec.calibration or {}).get("openvino"),
        "ways": {
            f"{one} | {other}": compared(maps[one], maps[other], level)
            for place, one in enumerate(names)
            for other in names[place + 1 :]
        },
        "speed": timed,
        "concatenation": {"behind": mistake(True), "without": mistake(False)},
    }
    if not options.no_layers:
        figures["layers"] = layer_rows(int8, parent, tiles[:4])
    for part in ("ways", "speed", "concatenation"):
        for name, row in figures[part].items():
            print(name, row)
    suffix = f"_{options.isa}" if options.isa else ""
    write_result(f"int8_backends{suffix}", figures, "onnxruntime", "openvino", "onnx")


if __name__ == "__main__":
    main()

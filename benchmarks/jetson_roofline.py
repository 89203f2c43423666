"""What Jetson Orin modules should reach with the bundled model: an estimate, not a measurement.

Nothing of this was run on a Jetson. Operations and bytes are counted from the ONNX graph, kernel by
kernel as TensorRT would fuse it, compared with the published peaks of each module (a roofline):
a kernel takes the longer of its operations over the arithmetic reached and its bytes over the
bandwidth reached. Two cases bound it:

- good: kernels for as few channels as a tensor core's instruction takes (8 outputs), 60 % of peak,
  80 % of the bandwidth, no channel stored that is not there, joined maps written into their place,
  2 us a kernel.
- poor: kernels whose narrowest tile is 32 outputs, 25 % of peak, 50 % of the bandwidth, channels
  stored in full vectors (16 in FP16, 32 in INT8), joined maps copied, 8 us a kernel.

INT8 here quantizes every convolution; the file that `calibrate` writes keeps some in FP16. The
CPU's part of a frame (preprocessing, cutting, blending) is not in it, nor is the camera's.

    python benchmarks/jetson_roofline.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.tile_plans import FRAMES, SCALES  # noqa: E402
from edgecrack.calibration.quantize import layer_work  # noqa: E402
from edgecrack.constants import OVERLAP_PX  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.scales import ScalesConfig, plan_scales  # noqa: E402
from edgecrack.runtime.tiling import TilingConfig  # noqa: E402

BATCH = 8  # tiles per call of an engine, as `build-engine` tunes it
POINTWISE = {"Relu", "Add", "Sub", "Mul", "Div", "Sigmoid", "Round", "Cast"}
CONVOLUTIONS = {"Conv", "ConvTranspose"}


@dataclass(frozen=True)
class Module:
    """Published peaks of a module's GPU, without sparsity.

    Attributes:
        multiprocessors: each does 1,024 FP16 or 2,048 INT8 multiply-adds in a clock.
        clock_mhz: highest clock of the GPU.
        bandwidth_gb_s: of its memory, which the CPU shares.
    """

    multiprocessors: int
    clock_mhz: int
    bandwidth_gb_s: float

    def peak_tops(self, precision: str) -> float:
        adds = 2048 if precision == "int8" else 1024
        return 2 * adds * self.multiprocessors * self.clock_mhz / 1e6


MODULES = {
    "Orin Nano 8GB": Module(8, 625, 68),
    "Orin Nano 8GB, Super": Module(8, 1020, 102),
    "Orin NX 16GB": Module(8, 918, 102.4),
    "AGX Orin 64GB": Module(16, 1300, 204.8),
}


@dataclass(frozen=True)
class Case:
    """What is reached of the peaks; see the module."""

    of_peak: float
    of_bandwidth: float
    copies_joined: bool
    outputs: int
    stored: dict[str, int]
    kernel_us: float


CASES = {
    "good": Case(0.6, 0.8, False, 8, {"fp16": 1, "int8": 1}, 2),
    "poor": Case(0.25, 0.5, True, 32, {"fp16": 16, "int8": 32}, 8),
}


@dataclass(frozen=True)
class Kernel:
    """What runs at once: multiply-adds of a tile, channels it gives, and the maps it moves."""

    macs: float
    outputs: int
    maps: tuple[tuple[int, int], ...]  # channels and pixels of each map read or written
    weights: int


def padded(count: int, to: int) -> int:
    return -(-count // to) * to


def kernels_of(model: onnx.ModelProto, *, copies_joined: bool) -> list[Kernel]:
    """The graph's kernels for one tile; a pointwise chain joins what it follows."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    infos = (*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in infos}
    sizes = {item.name: list(item.dims) for item in model.graph.initializer}
    work = layer_work(model)
    group_of: dict[str, int] = {}
    groups: list[list[onnx.NodeProto]] = []
    for node in model.graph.node:
        before = [group_of[name] for name in node.input if name in group_of]
        joins = node.op_type in POINTWISE and bool(before)
        if joins:
            groups[max(before)].append(node)
        else:
            groups.append([node])
        for name in node.output:
            group_of[name] = max(before) if joins else len(groups) - 1
    readers: dict[str, set[int]] = {}
    for index, nodes in enumerate(groups):
        for node in nodes:
            for name in node.input:
                readers.setdefault(name, set()).add(index)
    found = []
    for index, nodes in enumerate(groups):
        made = {name for node in nodes for name in node.output}
        read = {name for node in nodes for name in node.input if name in shapes} - made
        left = {name for name in made if readers.get(name, {-1}) != {index}}
        if nodes[0].op_type == "Concat" and not copies_joined:
            continue  # what comes before writes into its place
        maps = [shapes[name] for name in (*read, *left) if len(shapes[name]) == 4]
        convolutions = [node for node in nodes if node.op_type in CONVOLUTIONS]
        weights = [sizes[node.input[1]] for node in convolutions]
        found.append(
            Kernel(
                sum(work[node.name] for node in convolutions),
                max((shapes[node.output[0]][1] for node in convolutions), default=0),
                tuple((shape[1], shape[2] * shape[3]) for shape in maps),
                sum(_product(each) for each in weights),
            )
        )
    return found


def _product(values: list[int]) -> int:
    result = 1
    for value in values:
        result *= value
    return result


def bytes_of(kernel: Kernel, case: Case, precision: str) -> float:
    """Bytes that a kernel moves for one tile; weights are read once for a batch."""
    size = 1 if precision == "int8" else 2
    vector = case.stored[precision]
    # A map of one channel stays as it is in any layout.
    maps = sum((padded(c, vector) if c > 1 else 1) * pixels for c, pixels in kernel.maps)
    return size * (maps + kernel.weights / BATCH)


def tile_ms(kernels: list[Kernel], module: Module, case: Case, precision: str) -> dict[str, float]:
    """Time of one tile of a full batch, and how much of it is bound by memory."""
    total = bound = 0.0
    for kernel in kernels:
        macs = kernel.macs
        if kernel.outputs:
            macs *= padded(kernel.outputs, case.outputs) / kernel.outputs
        compute_ms = 2e3 * macs / (case.of_peak * module.peak_tops(precision) * 1e12)
        moved = bytes_of(kernel, case, precision)
        move_ms = 1e3 * moved / (case.of_bandwidth * module.bandwidth_gb_s * 1e9)
        total += max(compute_ms, move_ms) + case.kernel_us / 1e3 / BATCH
        bound += move_ms if move_ms > compute_ms else 0.0
    return {"ms": total, "bound_by_memory": bound / total}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="no file")
    given = parser.parse_args()
    model = onnx.load(BUNDLED_MODEL)
    kernels = {
        name: kernels_of(model, copies_joined=case.copies_joined) for name, case in CASES.items()
    }
    macs = sum(layer_work(model).values())
    weights = sum(_product(list(item.dims)) for item in model.graph.initializer)
    moved = {
        f"{name}, {precision}": round(
            sum(bytes_of(each, case, precision) for each in kernels[name]) / 1e6, 2
        )
        for name, case in CASES.items()
        for precision in ("fp16", "int8")
    }
    frames = {
        name: len(plan_scales(hw, ScalesConfig(SCALES), TilingConfig((256, 256), OVERLAP_PX)))
        for name, hw in FRAMES.items()
    }
    rows: list[dict[str, Any]] = []
    for name, module in MODULES.items():
        for precision in ("fp16", "int8"):
            of = {case: tile_ms(kernels[case], module, CASES[case], precision) for case in CASES}
            rows.append(
                {
                    "module": name,
                    "precision": precision,
                    "peak_tops": round(module.peak_tops(precision), 1),
                    "tile_ms": [round(of[case]["ms"], 3) for case in CASES],
                    "bound_by_memory": [round(of[case]["bound_by_memory"], 2) for case in CASES],
                    "share_of_peak": [
                        round(2e-9 * macs / of[case]["ms"] / module.peak_tops(precision), 3)
                        for case in CASES
                    ],
                    "frame_ms": {
                        frame: [round(tiles * of[case]["ms"], 1) for case in CASES]
                        for frame, tiles in frames.items()
                    },
                }
            )
            print(rows[-1])
    figures = {
        "is": "an estimate from published peaks; nothing was run on these modules",
        "model": BUNDLED_MODEL.name,
        "tile_macs": macs,
        "weights": weights,
        "tile_mb_moved": moved,
        "kernels": {name: len(each) for name, each in kernels.items()},
        "frame_tiles": frames,
        "frame_gmacs": {name: round(macs * tiles / 1e9, 1) for name, tiles in frames.items()},
        "cases": {name: asdict(case) for name, case in CASES.items()},
        "modules": {name: asdict(module) for name, module in MODULES.items()},
        "rows": rows,
    }
    for key in ("tile_macs", "weights", "tile_mb_moved", "kernels", "frame_tiles", "frame_gmacs"):
        print(key, figures[key])
    if not given.quick:
        write_result("jetson_roofline", figures, "onnx")


if __name__ == "__main__":
    main()

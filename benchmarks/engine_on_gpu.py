"""Engines of one model on the GPU of this machine: parity, latency, throughput, share of copies.

Builds FP32, FP16 and INT8 for this GPU with each TensorRT that is installed, runs 200 real tiles
through each beside ONNX Runtime on the CPU, and times single tiles, full batches, and the copies
alone. The file is written after every row, and what a row raises is recorded as its error. Buffers,
streams and copies are tried through each CUDA library on their own, so that they are known to work
even where no engine runs.

    python benchmarks/engine_on_gpu.py [--data DIR] [--model FILE] [--int8 FILE]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from benchmarks.rows import Rows  # noqa: E402
from edgecrack.artifacts import read_verified_spec  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.export.build import BuildConfig, build  # noqa: E402
from edgecrack.export.engine.config import EngineConfig  # noqa: E402
from edgecrack.nvidia.cuda.open import LIBRARIES, open_cuda  # noqa: E402
from edgecrack.nvidia.gpu import gpu_devices, why_no_gpu  # noqa: E402
from edgecrack.nvidia.tensorrt_module import installed_flavours  # noqa: E402
from edgecrack.preprocess import preprocess  # noqa: E402
from edgecrack.runtime.backends.base import Runner  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL, open_runner  # noqa: E402
from edgecrack.runtime.tiling import TilingConfig, plan_tiles  # noqa: E402

Tiles = NDArray[np.uint8]


def real_tiles(data: Path, tile_hw: tuple[int, int], count: int) -> Tiles:
    """uint8 [count, 1, H, W], cut from CFD's and uav315's test images."""
    found: list[Tiles] = []
    for name in ("cfd", "uav315"):
        for sample in open_dataset(data / name).samples("test"):
            frame = preprocess(sample.image())
            plan = plan_tiles((frame.shape[0], frame.shape[1]), TilingConfig(tile_hw, 0))
            found.extend(plan.cut(frame))
    order = np.random.default_rng(0).permutation(len(found))[:count]
    return np.stack([found[index] for index in order])


def seconds(call: Callable[[], object], rounds: int) -> list[float]:
    for _ in range(5):
        call()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def try_buffers(library: str) -> dict[str, Any]:
    """Pinned buffers to the GPU and back on two streams, and how fast."""
    size = 64 << 20
    cuda = open_cuda(library)
    with cuda.current():
        streams = [cuda.create_stream(), cuda.create_stream()]
        sent, back = cuda.allocate_pinned(size), cuda.allocate_pinned(size)
        pointer = cuda.allocate_device(size)
        sent[:] = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)

        def round_trip() -> None:
            cuda.copy_to_device(pointer, sent, streams[0])
            cuda.synchronize(streams[0])
            cuda.copy_to_host(back, pointer, streams[1])
            cuda.synchronize(streams[1])

        took = statistics.median(seconds(round_trip, 10))
        equal = bool(np.array_equal(sent, back))
        facts = {
            "version": cuda.version,
            "captures_graphs": cuda.captures_graphs,
            "device": cuda.device_name(),
            "compute_capability": cuda.compute_capability(),
            "round_trip_equal": equal,
            "gigabytes_per_s_each_way": round(2 * size / took / 1e9, 2),
        }
        cuda.free_device(pointer)
        cuda.free_pinned(sent)
        cuda.free_pinned(back)
        for stream in streams:
            cuda.destroy_stream(stream)
    return facts


def copy_seconds(batch: int, tile_hw: tuple[int, int]) -> float:
    """Time of one batch's copies in and out, without any network."""
    cuda = open_cuda()
    size = batch * tile_hw[0] * tile_hw[1]
    with cuda.current():
        stream, pointer = cuda.create_stream(), cuda.allocate_device(size)
        host = cuda.allocate_pinned(size)

        def copies() -> None:
            cuda.copy_to_device(pointer, host, stream)
            cuda.copy_to_host(host, pointer, stream)
            cuda.synchronize(stream)

        took = statistics.median(seconds(copies, 50))
        cuda.free_device(pointer)
        cuda.free_pinned(host)
        cuda.destroy_stream(stream)
    return took


def measure(runner: Runner, tiles: Tiles, expected: Tiles, most: int) -> dict[str, Any]:
    difference = np.abs(runner.infer(tiles).astype(np.int16) - expected.astype(np.int16))
    single = seconds(lambda: runner.infer(tiles[:1]), 100)
    full = seconds(lambda: runner.infer(tiles[:most]), 100)
    stream = seconds(lambda: runner.infer(tiles), 5)
    copies = copy_seconds(most, runner.spec.tile_hw)
    return {
        "largest_difference": int(difference.max()),
        "mean_difference": round(float(difference.mean()), 4),
        "one_tile_ms": round(1e3 * statistics.median(single), 3),
        "one_tile_p95_ms": round(1e3 * statistics.quantiles(single, n=20)[-1], 3),
        f"{most}_tiles_ms": round(1e3 * statistics.median(full), 3),
        "tiles_per_s": round(len(tiles) / statistics.median(stream), 1),
        "copies_share_of_full_batch": round(copies / statistics.median(full), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--int8", type=Path, help="its INT8 file, of `edgecrack calibrate`")
    parser.add_argument("--tiles", type=int, default=200)
    given = parser.parse_args()
    if (reason := why_no_gpu()) is not None:
        sys.exit(f"this benchmark needs an NVIDIA GPU: {reason}")
    rows = Rows(
        "engine_on_gpu", {"gpu": gpu_devices()[0].name, "tiles": given.tiles}, "onnxruntime"
    )
    for library in LIBRARIES:
        rows.add(library, partial(try_buffers, library))
    tiles = real_tiles(given.data, read_verified_spec(given.model).tile_hw, given.tiles)
    sources = {"fp32": given.model, "fp16": given.model, "int8": given.int8}
    with tempfile.TemporaryDirectory() as name:
        for flavour in installed_flavours():
            for precision, source in sources.items():
                if source is not None:
                    output = Path(name) / f"{flavour}.{precision}.engine"
                    measured = partial(_engine, source, output, precision, flavour, tiles)
                    rows.add(f"{flavour} {precision}", measured)


def _engine(
    source: Path, output: Path, precision: Any, flavour: Any, tiles: Tiles
) -> dict[str, Any]:
    report = build(source, output, BuildConfig(precision, engine=EngineConfig(flavour=flavour)))
    with open_runner(report.onnx_file) as runner:
        expected = runner.infer(tiles)
        started = time.perf_counter()
        runner.infer(tiles[:32])
        cpu_tiles_per_s = 32 / (time.perf_counter() - started)
    most = (report.engine.spec.engine or {})["batch"][2]
    with open_runner(output) as runner:
        found = measure(runner, tiles, expected, most)
        found["runs_on"] = runner.backend
    found["times_onnx_runtime_on_this_cpu"] = round(found["tiles_per_s"] / cpu_tiles_per_s, 1)
    found["bytes"] = report.engine.size_bytes
    found["build_seconds"] = round(report.engine.seconds, 1)
    return found


if __name__ == "__main__":
    main()

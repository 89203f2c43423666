"""What runs an ONNX file fastest on this CPU: ONNX Runtime and OpenVINO, on the same tiles.

In turn in one process with the same number of threads; each round gives ratios over bare ONNX
Runtime, and their medians and quartiles are reported. Beside each the largest difference from ONNX
Runtime's values, of 255, and the share of pixels that are on the other side of the threshold.

    python benchmarks/cpu_backends.py [--frames 8] [--rounds 9] [--model FILE] [--video FILE]
        [--isa avx2]

`--isa` holds OpenVINO to a lesser processor's instructions, and the names of the kernels that ran
are checked. ONNX Runtime has no such limit: bare, it uses all that the processor has.
With `--isa avx2` a copy of it that finds no AVX-512 (`mlas_without_avx512.py`) runs beside it, and
`over_without_avx512` are the ratios over that one.

Without the real video in EDGECRACK_DATA it takes the generated demo.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.cpu_isa import ISAS, exceeding, executed, limit_instructions  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from benchmarks.mlas_without_avx512 import PatchedRuntime  # noqa: E402
from benchmarks.stream_efficiency import bare_seconds, tiles_of  # noqa: E402
from edgecrack.artifacts import ModelFile, read_model_file  # noqa: E402
from edgecrack.errors import EdgecrackError  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.runtime.backends.backend_choice import machine_facts  # noqa: E402
from edgecrack.runtime.backends.base import Runner  # noqa: E402
from edgecrack.runtime.backends.onnx_runtime import OnnxRuntimeRunner  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.backends.openvino_runner import (  # noqa: E402
    CpuPrecision,
    OpenVINORunner,
    OpenVINOSettings,
)
from edgecrack.runtime.detector import CrackDetector  # noqa: E402

# isort: split
import onnxruntime  # noqa: E402 - after edgecrack, which keeps it from sending usage data

PRECISIONS: tuple[CpuPrecision, ...] = ("f32", "bf16")


def seconds_of(runner: Runner, frames: list[NDArray[np.uint8]]) -> float:
    started = time.perf_counter()
    for tiles in frames:
        runner.infer(tiles)
    return time.perf_counter() - started


def opened(model: ModelFile, threads: int, stack: ExitStack) -> dict[str, Runner]:
    """Every way to run the model that this machine has, by name."""
    runners: dict[str, Runner] = {}
    runners["onnxruntime, edgecrack's runner"] = stack.enter_context(
        OnnxRuntimeRunner(model, threads=threads)
    )
    for precision in PRECISIONS:
        for streams, batch in ((1, None), (1, 2), (threads, 1), (threads, 2), (threads, 4)):
            settings = OpenVINOSettings(precision, streams, batch)
            try:
                runner = stack.enter_context(OpenVINORunner(model, settings, threads=threads))
            except EdgecrackError as error:
                print(f"{settings.words}: {error}", file=sys.stderr)
                continue
            runners[f"openvino, {settings.words}"] = runner
    return runners


def quartiles(values: list[float]) -> list[float]:
    return [round(each, 3) for each in statistics.quantiles(values, n=4)]


def main() -> None:
    data = Path(os.environ.get("EDGECRACK_DATA", ROOT.parent / "shared" / "data"))
    video = data / "video" / "wall_robot.mp4"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--video", default=str(video) if video.exists() else "demo")
    parser.add_argument("--isa", choices=ISAS, help="hold OpenVINO to these instructions")
    options = parser.parse_args()
    limit_instructions(options.isa)
    threads = len(os.sched_getaffinity(0))
    model = read_model_file(options.model)
    kernels = executed(model, "f32")
    if beyond := exceeding(kernels, options.isa):
        sys.exit(f"{options.isa} was asked for, and these ran: {', '.join(beyond)}")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    bare = onnxruntime.InferenceSession(model.content, settings)
    with ExitStack() as stack:
        runners = opened(model, threads, stack)
        detector = CrackDetector(next(iter(runners.values())), options.model.name)
        frames = tiles_of(options.video, detector, options.frames)
        wanted = [np.concatenate([bare.run(None, {"tiles": each[:, None][i]})[0]
                                  for i in range(len(each))]) for each in frames]  # fmt: skip
        level = uint8_level(model.spec.threshold)
        rows: dict[str, dict[str, Any]] = {}
        for name, runner in runners.items():
            found = [runner.infer(tiles) for tiles in frames]
            apart = [
                np.abs(one.astype(int) - other) for one, other in zip(found, wanted, strict=True)
            ]
            other_side = [((one >= level) != (other >= level)).mean()
                          for one, other in zip(found, wanted, strict=True)]  # fmt: skip
            rows[name] = {
                "largest_difference": int(max(each.max() for each in apart)),
                "other_side_of_threshold": float(np.mean(other_side)),
            }
        ratios: dict[str, list[float]] = {name: [] for name in runners}
        lesser: list[float] = []  # what bare ONNX Runtime gains without AVX-512
        patched = None
        if options.isa == "avx2":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            patched = PatchedRuntime(folder, model.content, frames, threads)
            stack.enter_context(patched)
        for _ in range(options.rounds):
            base = bare_seconds(bare, frames)
            if patched is not None:
                lesser.append(base / patched.seconds())
            for name, runner in runners.items():
                ratios[name].append(base / seconds_of(runner, frames))
        for name, values in ratios.items():
            rows[name] |= {
                "times_as_fast": round(statistics.median(values), 3),
                "quartiles": quartiles(values),
            }
            if lesser:
                over = [one / other for one, other in zip(values, lesser, strict=True)]
                rows[name]["over_without_avx512"] = round(statistics.median(over), 3)
                rows[name]["over_without_avx512_quartiles"] = quartiles(over)
            print(f"{rows[name]['times_as_fast']:.2f} {rows[name]['quartiles']} "
                  f"{rows[name]['largest_difference']:3d} {name}")  # fmt: skip
    figures = {
        "model": options.model.name,
        "frames": len(frames),
        "tiles": sum(map(len, frames)),
        "rounds": options.rounds,
        "facts": machine_facts(threads),
        "isa": options.isa,
        "kernels": kernels,
        "onnxruntime_without_avx512": (
            {"times_as_fast": round(statistics.median(lesser), 3), "quartiles": quartiles(lesser)}
            if lesser
            else None
        ),
        "rows": rows,
    }
    suffix = f"_{options.isa}" if options.isa else ""
    write_result(f"cpu_backends{suffix}", figures, "onnxruntime", "openvino")


if __name__ == "__main__":
    main()

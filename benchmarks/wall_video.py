"""The wall video with all outputs by an earlier commit and by this one, each command in turn.

    git worktree add /tmp/before COMMIT
    python benchmarks/wall_video.py --before /tmp/before [--frames 40] [--rounds 5]

- before: the earlier commit with the model that it bundles; the ratios are over this one.
- the same model, onnxruntime / auto / openvino-bf16: this commit with that very file, at its one
  size; bfloat16 is left out where the processor lacks it.
- the default model, onnxruntime / auto: this commit as it is installed, which runs at more sizes.

Each is a separate process, from its start to its closed files: overlay, masks, probabilities,
JSON lines and a recording. A self-test of the backends is made and kept before the first round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402

_MODEL = Path("edgecrack", "models", "edgecrack-bundled.onnx")


def ways(before: Path) -> dict[str, tuple[Path, list[str]]]:
    """Checkout and further options of each way, by name."""
    same = ["--model", str(before / _MODEL), "--backend"]
    return {
        "before": (before, []),
        "the same model, onnxruntime": (ROOT, [*same, "onnxruntime"]),
        "the same model, auto": (ROOT, [*same, "auto"]),
        "the same model, openvino-bf16": (ROOT, [*same, "openvino-bf16"]),
        "the default model, onnxruntime": (ROOT, ["--backend", "onnxruntime"]),
        "the default model, auto": (ROOT, ["--backend", "auto"]),
    }


def seconds(checkout: Path, words: list[str], video: Path, frames: int) -> float:
    """From the start of a stream to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edgecrack", "stream", "--source", str(video)]
        command += ["--max-frames", str(frames), "--save", "overlay,mask,prob,jsonl"]
        command += ["--out", f"{folder}/out", "--record", f"{folder}/run.mcap", *words]
        started = time.perf_counter()
        subprocess.run(
            command,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - started


def main() -> None:
    data = Path(os.environ.get("EDGECRACK_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--before", type=Path, required=True, help="the earlier checkout")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--video", type=Path, default=data / "video" / "wall_robot.mp4")
    given = parser.parse_args()
    tried = ways(given.before.resolve())
    for name, (checkout, words) in list(tried.items()):
        try:
            seconds(checkout, words, given.video.resolve(), 2)
        except subprocess.CalledProcessError:
            if "bf16" not in name:
                raise
            del tried[name]
    took: dict[str, list[float]] = {name: [] for name in tried}
    for number in range(given.rounds):
        # Who goes first changes, so that neither has the warm files or the cool processor.
        for name in list(tried)[:: 1 if number % 2 else -1]:
            checkout, words = tried[name]
            took[name].append(seconds(checkout, words, given.video.resolve(), given.frames))
    rows = {}
    for name, values in took.items():
        ratios = [one / other for one, other in zip(took["before"], values, strict=True)]
        rows[name] = {
            "seconds": round(statistics.median(values), 2),
            "times_as_fast": round(statistics.median(ratios), 3),
            "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
        }
        print(f"{name:36} {rows[name]}")
    figures = {"frames": given.frames, "rounds": given.rounds, "rows": rows}
    write_result("wall_video", figures, "onnxruntime", "openvino")


if __name__ == "__main__":
    main()

"""Is one checkout slower than another? The same commands from both, in turn.

    git worktree add /tmp/before COMMIT
    python benchmarks/two_checkouts.py --before /tmp/before --model FILE.onnx

Each command runs in a separate process, so that importing counts; a ratio of medians is written.
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


def commands(model: Path, folder: Path) -> dict[str, list[str]]:
    """What is timed, by name."""
    stream = ["stream", "--source", "demo", "--max-frames", "100", "--model", str(model)]
    train = ["train", "--data", "synthetic:24", "--width", "8", "--epochs", "1"]
    train += ["--steps-per-epoch", "30", "--batch", "8", "--patch", "128"]
    return {
        "--help": ["--help"],
        "stream --help": ["stream", "--help"],
        "stream, 100 frames": [*stream, "--out", str(folder / "stream")],
        "train, 30 steps": [*train, "--out", str(folder / "train")],
    }


def seconds(checkout: Path, words: list[str]) -> float:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "edgecrack", *words],
        cwd=checkout,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--model", type=Path, required=True, help="what both stream with")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    checkouts = {"before": given.before.resolve(), "now": ROOT}
    measured: dict[str, dict[str, list[float]]] = {}
    for number in range(given.rounds):
        # Who goes first changes, so that neither has the warm files or the cool processor.
        order = list(checkouts)[:: 1 if number % 2 else -1]
        for label in order:
            with tempfile.TemporaryDirectory() as folder:
                for name, words in commands(given.model.resolve(), Path(folder)).items():
                    took = seconds(checkouts[label], words)
                    measured.setdefault(name, {}).setdefault(label, []).append(took)
    figures = {}
    for name, times in measured.items():
        before, now = (statistics.median(times[label]) for label in ("before", "now"))
        figures[name] = {
            "before_s": round(before, 3), "now_s": round(now, 3), "ratio": round(now / before, 3)
        }  # fmt: skip
        print(name, figures[name])
    write_result("two_checkouts", {"rounds": given.rounds, "commands": figures}, "onnxruntime")


if __name__ == "__main__":
    main()

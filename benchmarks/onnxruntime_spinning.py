"""How long ONNX Runtime's threads should spin for work: speed alone and beside a busy core.

A thread that spins answers faster but holds its core. Each setting runs the same tiles, in
turn; figures are relative to ONNX Runtime's default in the same run. `beside` repeats it while
another process computes on one core, as a robot's other programs do.

    python benchmarks/onnxruntime_spinning.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402

# isort: split
import onnxruntime  # noqa: E402 - after edgecrack, which keeps it from sending usage data

_SETTINGS = {
    "default": {},
    "never": {"allow_spinning": "0"},
    "50_us": {"spin_duration_us": "50"},
    "200_us": {"spin_duration_us": "200"},
    "1000_us": {"spin_duration_us": "1000"},
}


def open_session(entries: dict[str, str], threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for key, value in entries.items():
        options.add_session_config_entry(f"session.intra_op.{key}", value)
    return onnxruntime.InferenceSession(str(BUNDLED_MODEL), options)


def relative_times(rounds: int, threads: int) -> dict[str, float]:
    """Median time of a call over the default's, by setting."""
    tiles = np.random.default_rng(0).integers(0, 256, (4, 1, 256, 256), dtype=np.uint8)
    sessions = {name: open_session(entries, threads) for name, entries in _SETTINGS.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, {"tiles": tiles})
            times[name].append(time.perf_counter() - started)
    base = statistics.median(times["default"])
    return {name: round(statistics.median(values) / base, 3) for name, values in times.items()}


def keep_busy() -> None:
    while True:
        sum(range(10_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    threads = len(os.sched_getaffinity(0))
    alone = relative_times(rounds, threads)
    other = multiprocessing.get_context("spawn").Process(target=keep_busy, daemon=True)
    other.start()
    try:
        beside = relative_times(rounds, threads)
    finally:
        other.kill()
        other.join()
    figures = {
        "threads": threads,
        **{f"alone_{name}": value for name, value in alone.items()},
        **{f"beside_{name}": value for name, value in beside.items()},
    }
    write_result("onnxruntime_spinning", figures, "onnxruntime", "numpy")


if __name__ == "__main__":
    main()

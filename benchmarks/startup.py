"""How long a user waits: `edgecrack --help`, and the first result of `stream` after the start.

Each is a fresh process, several times after one warm-up. Beside them is the time that the
same Python takes to start and do nothing, the limit for any program. The first result is timed
as usual, with the backend that an earlier self-test chose; with each backend by name; and on a
machine that never ran this model, where the self-test comes first.

    python benchmarks/startup.py [--runs 7]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402


def seconds_to_end(command: list[str]) -> float:
    """From the start of a process to its end."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - started


def seconds_to_first_result(backend: str, *, is_new_machine: bool = False) -> float:
    """From the start of `stream` to the first line of `frames.jsonl`."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "edgecrack", "stream", "--source", "demo"]
        command += ["--backend", backend]
        environment = dict(os.environ)
        if is_new_machine:
            environment["XDG_CACHE_HOME"] = cache
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--max-frames", "2", "--out", folder],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        results = Path(folder) / "frames.jsonl"
        while not (results.exists() and results.stat().st_size):
            if process.poll() is not None and not results.exists():
                raise RuntimeError("stream ended without a result")
            time.sleep(0.002)
        elapsed = time.perf_counter() - started
        process.wait(timeout=60)
    return elapsed


def imports_torch() -> bool:
    """Whether a stream loads PyTorch."""
    code = (
        "import sys, tempfile; from edgecrack.cli import app;"
        "app(['stream', '--source', 'demo', '--max-frames', '1', '--out', tempfile.mkdtemp()],"
        " standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    return result.returncode != 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    cases: dict[str, Callable[[], float]] = {
        "python_that_does_nothing": lambda: seconds_to_end([sys.executable, "-c", ""]),
        "help": lambda: seconds_to_end([sys.executable, "-m", "edgecrack", "--help"]),
        "first_result_of_stream": partial(seconds_to_first_result, "auto"),
        "first_result_with_onnxruntime": partial(seconds_to_first_result, "onnxruntime"),
        "first_result_with_openvino": partial(seconds_to_first_result, "openvino"),
        "first_result_with_a_self_test": partial(
            seconds_to_first_result, "auto", is_new_machine=True
        ),
    }
    figures: dict[str, object] = {"runs": runs, "stream_imports_torch": imports_torch()}
    for measure in cases.values():
        measure()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(runs):
        for name, measure in cases.items():
            times[name].append(measure())
    for name, values in times.items():
        figures[f"{name}_s"] = {
            "median": round(statistics.median(values), 3),
            "lowest": round(min(values), 3),
            "highest": round(max(values), 3),
        }
    write_result(
        "startup", figures, "onnxruntime", "numpy", "opencv-python-headless", "typer", "openvino"
    )


if __name__ == "__main__":
    main()

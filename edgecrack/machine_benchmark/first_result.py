"""A candidate in a process of its own: how long until its first result, and how much memory.

    python -m edgecrack.machine_benchmark.first_result MODEL SHA256 BACKEND HEIGHT WIDTH THREADS

The result goes to standard output as JSON. A model of another hash is not run; "-" takes any.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgecrack.artifacts import read_model_file
from edgecrack.errors import ModelFileError
from edgecrack.machine_benchmark.candidates import Candidate
from edgecrack.outside_text import parse_json
from edgecrack.runtime.backends.backend_choice import SELF_TEST_BEGINS

_LONGEST_S = 300.0
_UNKNOWN = {"first_result_s": None, "peak_memory_mb": None}


def first_result(
    candidate: Candidate, hw: tuple[int, int], threads: int
) -> dict[str, float | None]:
    """Seconds from the start of a process to its first result, and its peak memory in MB.

    Both are None where the process had to test which backend is the fastest: that is not what a
    start costs. Where a result of that test is kept, it does not have to.

    Args:
        candidate: what runs; opened before with as many threads, so that a test's result is kept.
        hw: height and width of a frame.
        threads: CPU threads.
    """
    sha256 = "-" if candidate.file is None else candidate.file.spec.sha256
    words = [str(candidate.model), sha256, candidate.backend or "-", *map(str, hw), str(threads)]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, *words],
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=True,
        )
        told = parse_json(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return dict(_UNKNOWN)
    if told["tested"]:
        return dict(_UNKNOWN)
    return {
        "first_result_s": round(told["at"] - began, 3),
        "peak_memory_mb": round(told["peak_memory_mb"], 1),
    }


def peak_memory_mb(status: Path = Path("/proc/self/status")) -> float:
    """The most memory that this program has held, in MB of 1e6 bytes.

    The system's own count of a process (`ru_maxrss`) goes on from that of the one that started it,
    and so shows how large that was; it serves where there is nothing better.

    Args:
        status: what Linux says of the process.
    """
    try:
        for line in status.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024 / 1e6
    except (OSError, ValueError, IndexError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def _main(
    model: str, sha256: str, backend: str, height: str, width: str, threads: str
) -> dict[str, Any]:
    import numpy as np

    told: list[str] = []
    file = read_model_file(Path(model))
    if sha256 not in ("-", file.spec.sha256):
        raise ModelFileError(f"{model} was replaced meanwhile", "run the benchmark again")
    candidate = Candidate(Path(model), None if backend == "-" else backend, "", file)
    frame = np.random.default_rng(0).integers(90, 160, (int(height), int(width), 3), np.uint8)
    with candidate.open(int(threads), told.append) as detector:
        detector.detect(frame)
        # The clock of this machine, which the process that waits reads, too.
        at = time.monotonic()
    tested = any(text.startswith(SELF_TEST_BEGINS) for text in told)
    return {"at": at, "peak_memory_mb": peak_memory_mb(), "tested": tested}


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:7])))

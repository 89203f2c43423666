"""A candidate in a process of its own: how long until its first result, and how much memory.

    python -m edgecrack.machine_benchmark.first_result MODEL BACKEND HEIGHT WIDTH

The result goes to standard output as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgecrack.machine_benchmark.candidates import Candidate

_LONGEST_S = 300.0


def first_result(candidate: Candidate, hw: tuple[int, int]) -> dict[str, float | None]:
    """Seconds from the start of a process to its first result, and its peak memory in MB.

    Args:
        candidate: what runs.
        hw: height and width of a frame.
    """
    words = [str(candidate.model), candidate.backend or "-", *map(str, hw)]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, *words],
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=True,
        )
        told = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return {"first_result_s": None, "peak_memory_mb": None}
    return {
        "first_result_s": round(told["at"] - began, 3),
        "peak_memory_mb": round(told["peak_memory_mb"], 1),
    }


def _main(model: str, backend: str, height: str, width: str) -> dict[str, Any]:
    import numpy as np

    candidate = Candidate(Path(model), None if backend == "-" else backend, "")
    frame = np.random.default_rng(0).integers(90, 160, (int(height), int(width), 3), np.uint8)
    with candidate.open(None) as detector:
        detector.detect(frame)
        # The clock of this machine, which the process that waits reads, too.
        at = time.monotonic()
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"at": at, "peak_memory_mb": peak_kb * 1024 / 1e6}


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:5])))

"""Benchmark candidates: each model file with each backend that runs it here."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelFile, read_model_file
from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.outside_text import parse_json
from edgecrack.runtime.backends.backend_choice import SELF_TEST_BEGINS
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.backends.openvino_runner import has_openvino
from edgecrack.runtime.detector import CrackDetector, open_detector


@dataclass(frozen=True)
class Candidate:
    """A model file and its backend.

    Attributes:
        model: the file.
        backend: as for `open_runner`; None for an engine.
        precision: from the sidecar.
        file: the model already read; None reads it on opening.
    """

    model: Path
    backend: str | None
    precision: str
    file: ModelFile | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The name in the table."""
        return f"{self.model.name}, {self.backend or 'tensorrt'}"

    @property
    def size_bytes(self) -> int:
        """Of the model file."""
        return self.model.stat().st_size if self.file is None else len(self.file.content)

    def options(self, threads: int | None) -> str:
        """The shell options of `edgecrack stream` that run it.

        Args:
            threads: requested CPU threads; None for the default.
        """
        words = [] if self.model == BUNDLED_MODEL else ["--model", str(self.model)]
        if self.backend is not None:
            words += ["--backend", self.backend]
            words += [] if threads is None else ["--threads", str(threads)]
        return shlex.join(words)

    def open(
        self, threads: int | None, on_told: Callable[[str], None] = lambda text: None
    ) -> CrackDetector:
        """Open a detector for this candidate.

        Args:
            threads: CPU threads; an engine needs none.
            on_told: called with a self-test's start and result.
        """
        threads = None if self.backend is None else threads
        return open_detector(
            self.file or self.model, threads=threads, backend=self.backend, on_told=on_told
        )


def candidates(models: Sequence[Path]) -> list[Candidate]:
    """Each model with each backend that this machine may have.

    Args:
        models: ONNX files and engines; empty for the bundled one.

    Raises:
        ModelFileError: a file is missing or not a model.
        ConfigError: a file is given twice.
    """
    if len(set(models)) < len(models):
        raise ConfigError("a model is given twice", "give each once")
    found = []
    for model in models or [BUNDLED_MODEL]:
        file = read_model_file(model)
        spec = file.spec
        backends: list[str | None] = ["onnxruntime"]
        if spec.kind == "engine":
            backends = [None]
        elif has_openvino():
            backends += ["openvino", "openvino-bf16"]
        found += [Candidate(model, backend, spec.precision or "fp32", file) for backend in backends]
    return found


_LONGEST_S = 300.0
_UNKNOWN = {"first_result_s": None, "peak_memory_mb": None}


def first_result(
    candidate: Candidate, hw: tuple[int, int], threads: int
) -> dict[str, float | None]:
    """Seconds from the start of a process to its first result, and its peak memory in MB.

    Both are None if the process had to run the self-test, which is not part of a usual start. With
    a cached result it does not.

    Args:
        candidate: opened before with as many threads, so that the self-test's result is cached.
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
    """Peak memory of this process, in MB of 1e6 bytes.

    `ru_maxrss` starts from the parent's value, so it is only the fallback.

    Args:
        status: the process's status file on Linux.
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
        # The monotonic clock is shared with the waiting process.
        at = time.monotonic()
    tested = any(text.startswith(SELF_TEST_BEGINS) for text in told)
    return {"at": at, "peak_memory_mb": peak_memory_mb(), "tested": tested}


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:7])))

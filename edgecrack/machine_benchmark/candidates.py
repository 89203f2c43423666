"""What is measured: each model file with each backend that runs it here."""

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
    """A model file and what runs it.

    Attributes:
        model: the file.
        backend: as `open_runner` takes it; None for an engine.
        precision: as the sidecar says.
        file: the model as it was read; None reads it when it is opened.
    """

    model: Path
    backend: str | None
    precision: str
    file: ModelFile | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.model.name}, {self.backend or 'tensorrt'}"

    @property
    def size_bytes(self) -> int:
        """Of the model file."""
        return self.model.stat().st_size if self.file is None else len(self.file.content)

    def options(self, threads: int | None) -> str:
        """What to add to `edgecrack stream` to run it so, for a shell.

        Args:
            threads: CPU threads that were asked for; None where none were.
        """
        words = [] if self.model == BUNDLED_MODEL else ["--model", str(self.model)]
        if self.backend is not None:
            words += ["--backend", self.backend]
            words += [] if threads is None else ["--threads", str(threads)]
        return shlex.join(words)

    def open(
        self, threads: int | None, on_told: Callable[[str], None] = lambda text: None
    ) -> CrackDetector:
        """A detector that runs so.

        Args:
            threads: CPU threads; an engine needs none.
            on_told: told of a self-test, and what came of it.
        """
        threads = None if self.backend is None else threads
        return open_detector(
            self.file or self.model, threads=threads, backend=self.backend, on_told=on_told
        )


def candidates(models: Sequence[Path]) -> list[Candidate]:
    """Each model with each backend that this machine may have.

    Args:
        models: ONNX files and engines; of none the bundled one.

    Raises:
        ModelFileError: a file is missing, or is no model.
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

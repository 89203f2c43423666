"""Relative time of two model files on this machine's CPU, such as INT8 against FP32."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgecrack.artifacts import ModelFile, read_model_file
from edgecrack.runtime.backends.cpu_self_test import built_in_tiles
from edgecrack.runtime.backends.onnx_runtime import default_threads
from edgecrack.runtime.backends.open import open_runner

_PASSES = 3
# Times the other's; less is within noise.
_SLOWER = 1.05


@dataclass(frozen=True)
class RelativeTime:
    """The time of one file relative to another.

    Attributes:
        ratio: below 1 is faster.
        backend: what ran the file.
        other_backend: what ran the other.
    """

    ratio: float
    backend: str
    other_backend: str

    @property
    def is_slower(self) -> bool:
        """Whether the file gains nothing on this machine."""
        return self.ratio > _SLOWER


def relative_time(
    model: Path | ModelFile, other: Path | ModelFile, threads: int | None = None
) -> RelativeTime:
    """Run two ONNX files on synthetic walls in turn, each with its fastest backend here.

    Args:
        model: the file.
        other: what it is compared with, of the same tile size.
        threads: CPU threads; None takes all.

    Raises:
        ModelFileError: a file cannot be used.
    """
    files = [read_model_file(each) for each in (model, other)]
    tiles = built_in_tiles(files[1], threads or default_threads())
    with ExitStack() as stack:
        runners = [stack.enter_context(open_runner(each, threads=threads)) for each in files]
        fastest = [float("inf"), float("inf")]
        for number in range(_PASSES + 1):
            for place, runner in enumerate(runners):
                began = time.perf_counter()
                runner.infer(tiles)
                if number:  # the first pass warms up
                    fastest[place] = min(fastest[place], time.perf_counter() - began)
        return RelativeTime(fastest[0] / fastest[1], runners[0].backend, runners[1].backend)

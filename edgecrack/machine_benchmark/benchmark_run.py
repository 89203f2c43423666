"""`edgecrack benchmark`: measures every candidate and recommends one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edgecrack import __version__, metrics
from edgecrack.data.datasets import Sample, open_dataset
from edgecrack.errors import ConfigError, DataError, EdgecrackError, SourceError
from edgecrack.evaluation.image_results import evaluate
from edgecrack.machine_benchmark.candidates import Candidate, candidates, first_result
from edgecrack.machine_benchmark.sustained import (
    Frame,
    Latencies,
    Moment,
    Sustained,
    measure_latencies,
    sustain,
)
from edgecrack.runtime.backends.backend_choice import has_amx, machine_facts
from edgecrack.runtime.backends.onnx_runtime import checked_threads, default_threads
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.sources.open import open_source

BENCHMARK_SCHEMA_VERSION = 1
DEFAULT_MM_PER_PIXEL = 0.5
# Each frame shows at least half of the one before, or the survey cannot follow.
NEW_SHARE = 0.5
_MOST_SCORED = 40
_S_PER_HOUR = 3600


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is measured.

    Attributes:
        models: ONNX files and engines; empty for the bundled one.
        source: the address of the frames, as for `open_source`.
        data: labelled images, for scores; None scores nothing.
        frames: frames per round, 1 to 1000.
        rounds: 2 to 1000.
        minutes: duration of the sustained run of the fastest candidate; 0 skips it.
        mm_per_pixel: for areas.
        threads: CPU threads; None takes all.
    """

    models: tuple[Path, ...] = ()
    source: str = "demo"
    data: Path | None = None
    frames: int = 8
    rounds: int = 5
    minutes: float = 0.0
    mm_per_pixel: float = DEFAULT_MM_PER_PIXEL
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("frames", self.frames, 1, 1000),
            ("rounds", self.rounds, 2, 1000),
            ("minutes", self.minutes, 0, 24 * 60),
            ("mm_per_pixel", self.mm_per_pixel, 1e-4, 1e4),
        ):
            if not low <= value <= high:
                raise ConfigError(f"`{name}` is {value:g}", f"give {low:g} to {high:g}")
        checked_threads(self.threads)


@dataclass(frozen=True)
class Row:
    """A candidate and its measurements.

    Attributes:
        candidate: which.
        problem: why it cannot run here; "" if it was measured.
        latencies: None where it cannot run.
        backend: what ran it, for the user.
        figures: first result, memory, scores; None if unknown.
    """

    candidate: Candidate
    problem: str = ""
    latencies: Latencies | None = None
    backend: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)

    def to_dict(self, mm_per_pixel: float) -> dict[str, Any]:
        """Plain JSON values."""
        found: dict[str, Any] = {
            "model": str(self.candidate.model),
            "precision": self.candidate.precision,
            "backend": self.candidate.backend or "tensorrt",
            "runs_on": self.backend,
            "problem": self.problem,
            "size_mb": round(self.candidate.size_bytes / 1e6, 3),
            **self.figures,
        }
        if self.latencies is not None:
            slowest, fastest = self.latencies.spread
            rate = self.latencies.frames_per_s
            found |= {
                **{f"p{share}_ms": round(self.latencies.percentile(share), 2)
                   for share in (50, 95, 99)},
                "frames_per_s": round(rate, 3),
                "frames_per_s_slowest": round(slowest, 3),
                "frames_per_s_fastest": round(fastest, 3),
                "megapixels_per_s": round(rate * self.latencies.pixels / 1e6, 3),
                "square_metres_per_hour": round(
                    area_per_hour(rate, self.latencies.pixels, mm_per_pixel), 1
                ),
            }  # fmt: skip
        return found


@dataclass(frozen=True)
class Benchmarked:
    """The result of a benchmark.

    Attributes:
        rows: of all candidates, the fastest first; those that cannot run last.
        sustained: of the fastest one; None if skipped.
        document: all as plain JSON values.
    """

    rows: tuple[Row, ...]
    sustained: Sustained | None
    document: dict[str, Any] = field(repr=False)

    @property
    def best(self) -> Row:
        """The fastest of those that need not be asked for by name."""
        return next(row for row in self.rows if row.latencies and is_unasked(row.candidate))


def is_unasked(candidate: Candidate) -> bool:
    """Whether `auto` may choose the backend: exact except for rounding, or bfloat16 with AMX."""
    return candidate.backend != "openvino-bf16" or (candidate.precision == "fp32" and has_amx())


def area_per_hour(frames_per_s: float, pixels: int, mm_per_pixel: float) -> float:
    """Square metres of new wall in an hour, each frame showing half of the one before.

    >>> round(area_per_hour(10.0, 1_000_000, 0.5))
    4500
    """
    frame_m2 = pixels * (mm_per_pixel / 1000) ** 2
    return frames_per_s * _S_PER_HOUR * frame_m2 * NEW_SHARE


def run_benchmark(
    config: BenchmarkConfig,
    on_told: Callable[[str], None] = lambda text: None,
    on_moment: Callable[[Moment], None] = lambda moment: None,
) -> Benchmarked:
    """Measure every candidate.

    Args:
        config: what.
        on_told: called with progress messages.
        on_moment: called with each moment of the sustained run.

    Raises:
        SourceError: the source has no frame.
        DataError: there are no labelled images.
        ModelFileError: a model is missing or invalid.
        ConfigError: no candidate can run here.
    """
    threads = checked_threads(config.threads)
    listed = candidates(config.models)
    samples = _labelled(config.data)
    frames = read_frames(config.source, config.frames)
    on_told(f"{len(listed)} ways to run, {len(frames)} frames, {config.rounds} rounds")
    rows, sustained = _measured(config, listed, frames, samples, threads, on_told, on_moment)
    done = [row for row in rows if row.latencies is not None]
    if not done:
        raise ConfigError(
            f"no model can run here: {rows[0].problem}", "see what edgecrack doctor says"
        )
    done.sort(key=lambda row: -(row.latencies.frames_per_s if row.latencies else 0))
    ordered = (*done, *(row for row in rows if row.latencies is None))
    height, width = frames[0].shape[:2]
    document = {
        "schema_version": BENCHMARK_SCHEMA_VERSION,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "program": f"edgecrack {__version__}",
        "machine": machine_facts(threads),
        "threads_asked": config.threads,
        "source": config.source,
        "frame_hw": [height, width],
        "frames": len(frames),
        "rounds": config.rounds,
        "mm_per_pixel": config.mm_per_pixel,
        "new_share": NEW_SHARE,
        "rows": [row.to_dict(config.mm_per_pixel) for row in ordered],
        "sustained": None if sustained is None else _sustained(sustained, frames[0], config),
    }
    return Benchmarked(ordered, sustained, document)


def read_frames(source: str, count: int) -> list[Frame]:
    """The first frames of a source that have the size of the first.

    Raises:
        SourceError: it has none.
    """
    frames: list[Frame] = []
    with open_source(source) as opened:
        while len(frames) < count and (frame := opened.read()) is not None:
            if not frames or frame.image.shape == frames[0].shape:
                frames.append(np.ascontiguousarray(frame.image))
    if not frames:
        raise SourceError(f"{source} gives no frame", "give another source")
    return frames


def _measured(
    config: BenchmarkConfig,
    listed: Sequence[Candidate],
    frames: Sequence[Frame],
    samples: Sequence[Sample] | None,
    threads: int,
    on_told: Callable[[str], None],
    on_moment: Callable[[Moment], None],
) -> tuple[list[Row], Sustained | None]:
    rows: list[Row] = []
    with ExitStack() as stack:
        opened: list[tuple[Candidate, CrackDetector]] = []
        for candidate in listed:
            try:
                detector = stack.enter_context(candidate.open(threads))
            except EdgecrackError as error:
                rows.append(Row(candidate, str(error)))
                continue
            opened.append((candidate, detector))
        detectors = [detector for _, detector in opened]
        latencies = measure_latencies(
            detectors,
            frames,
            config.rounds,
            lambda done: on_told(f"round {done} of {config.rounds}"),
        )
        for (candidate, detector), found in zip(opened, latencies, strict=True):
            height, width = frames[0].shape[:2]
            figures = first_result(candidate, (height, width), threads)
            figures |= _scores(detector, samples)
            rows.append(Row(candidate, "", found, detector.runner.backend, figures))
        sustained = None
        if config.minutes > 0 and opened:
            advised = [
                row for row in rows if row.latencies is not None and is_unasked(row.candidate)
            ]
            fastest = max(
                advised, key=lambda row: row.latencies.frames_per_s if row.latencies else 0
            )
            on_told(f"{fastest.candidate.name} for {config.minutes:g} minutes")
            detector = next(each for own, each in opened if own == fastest.candidate)
            sustained = sustain(detector, frames, 60 * config.minutes, on_moment)
    return rows, sustained


def _labelled(data: Path | None) -> Sequence[Sample] | None:
    """At most 40 labelled images, those of a test split first; None without data."""
    if data is None:
        return None
    dataset = open_dataset(data)
    samples = dataset.samples("test" if "test" in dataset.splits else None)[:_MOST_SCORED]
    if not samples:
        raise DataError(f"{data} holds no labelled image to score", "give another folder as `data`")
    return samples


def _scores(detector: CrackDetector, samples: Sequence[Sample] | None) -> dict[str, float | None]:
    """F1 at the model's threshold on labelled images."""
    if samples is None:
        return {}
    found = evaluate(detector.probability_of, samples)
    threshold = round(min(0.99, max(0.01, detector.threshold)), 2)
    return {
        "images": float(len(samples)),
        "f1_within_2px": round(metrics.score_at(found.counts("square"), threshold).f1, 4),
        "strict_f1": round(metrics.score_at(found.counts("strict"), threshold).f1, 4),
    }


def _sustained(found: Sustained, frame: Frame, config: BenchmarkConfig) -> dict[str, Any]:
    pixels = frame.shape[0] * frame.shape[1]
    rate = found.frames_per_s
    return {
        "minutes": config.minutes,
        "frames_per_s": round(rate, 3),
        "kept_share": round(found.kept_share, 3),
        "throttled": found.is_throttled,
        "square_metres_per_hour": round(area_per_hour(rate, pixels, config.mm_per_pixel), 1),
        "moments": [moment.to_dict() for moment in found.moments],
    }


def as_json(found: Benchmarked) -> str:
    """The whole result."""
    return json.dumps(found.document, indent=1, allow_nan=False) + "\n"


def is_noisy() -> bool:
    """Whether other programs keep the machine busy, so that results are unreliable."""
    try:
        return os.getloadavg()[0] > 0.5 * default_threads()
    except OSError:
        return False

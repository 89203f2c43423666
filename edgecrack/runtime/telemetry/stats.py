"""Counters of a running stream, and its summary at the end."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from edgecrack.machine_sensors.throttling import ThrottleState
from edgecrack.runtime.frame import FrameResult

RECENT_S = 3.0
LATENCY_WINDOW_FRAMES = 512

# "running" is a part that has just begun, see `run_parts.py`.
EndReason = Literal["end of source", "max frames", "stopped", "failed", "running"]
SourceState = Literal["connecting", "live", "lost", "ended"]
Origin = Literal["given", "installed", "bundled"]


@dataclass(frozen=True)
class ModelInUse:
    """The model of a run.

    Attributes:
        name: of its file.
        sha256: of its file, hexadecimal.
        origin: "given" as an option, "installed" on this machine, or "bundled".
        fallback: why the installed model is not used, as a sentence without a full stop; "" where
            the intended one is used.
    """

    name: str = ""
    sha256: str = ""
    origin: Origin = "given"
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is doing.

    Attributes:
        state: "connecting" before the first frame, "live" while frames come, "lost" while it is
            opened again, "ended" when no more will come.
        reconnects: this and the others are as in `StatsSnapshot`.
    """

    state: SourceState = "connecting"
    reconnects: int = 0
    stalls: int = 0
    open_failures: int = 0
    corrupt_frames: int = 0
    size_changes: int = 0


@dataclass(frozen=True, slots=True)
class Throttling:
    """Throttling of the machine so far.

    Attributes:
        state: as in `ThrottleLook`, but changes only when it has lasted.
        episodes: times that throttling began.
        seconds: total time of throttling.
        frames: processed meanwhile.
    """

    state: ThrottleState = "unknown"
    episodes: int = 0
    seconds: float = 0.0
    frames: int = 0

    @property
    def fps(self) -> float | None:
        """Frames per second while it was throttled; None where it never was."""
        return throttled_rate(self.frames, self.seconds)


def throttled_rate(frames: int, seconds: float) -> float | None:
    """Frames per second while the machine was throttled; None where it never was."""
    return round(frames / seconds, 3) if seconds > 0 else None


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """Counters at one moment.

    Attributes:
        frames: frames processed so far.
        fps: frames per second over the last three seconds.
        fps_overall: frames per second since the start.
        latency_p50_ms: median of `FrameResult.latency_ms` over the last 512 frames; 0 before
            the first.
        latency_p95_ms: 95th percentile of the same.
        inference_p50_ms: median time in the detector's `infer`.
        crack_pixels: crack pixels in the last frame.
        crack_pixels_total: crack pixels in all frames.
        frames_with_cracks: frames with at least one crack pixel.
        drops: frames of a live source that newer ones replaced.
        elapsed_s: seconds since the start.
        skipped: frames left out on purpose, to keep to a target rate or while paused.
        stale: results dropped because they were older than allowed.
        shedding: what an overloaded stream leaves out now; usually "nothing".
        inspected_ratio: share of the last frame's pixels that the network saw.
        ignored_ratio: share of the last frame's pixels that was ignored on purpose.
        threshold: decision threshold of the last frame.
        paused: an operator paused the inspection.
        findings: cracks, each counted once as long as it is in view or near it, without those that
            are too short to be confirmed.
        findings_confirmed: cracks of these that were seen in enough frames.
        source_state: of `SourceHealth`.
        reconnects: times that a lost source delivered again.
        stalls: times that an open source delivered nothing for too long.
        open_failures: attempts to open the source that failed.
        corrupt_frames: frames that arrived damaged and were left out.
        size_changes: times that the frames' size changed.
        measured: frames in which cracks were measured.
        fit_to_measure: measured frames that were fit for it.
        fit_ratio: their share, 0 to 1; None where none was measured.
        site_checks: measured frames with a check sheet in view.
        site_checks_passed: frames of these that passed.
        throttling: whether the machine is throttled.
        throttle_episodes: times that throttling began.
        throttled_s: total time of throttling.
        throttled_frames: frames processed meanwhile.
        throttled_fps: frames per second meanwhile; None where the machine never was throttled.
    """

    frames: int
    fps: float
    fps_overall: float
    latency_p50_ms: float
    latency_p95_ms: float
    inference_p50_ms: float
    crack_pixels: int
    crack_pixels_total: int
    frames_with_cracks: int
    drops: int
    elapsed_s: float
    skipped: int = 0
    stale: int = 0
    shedding: str = "nothing"
    inspected_ratio: float = 1.0
    ignored_ratio: float = 0.0
    threshold: float = 0.5
    paused: bool = False
    findings: int = 0
    findings_confirmed: int = 0
    source_state: SourceState = "connecting"
    reconnects: int = 0
    stalls: int = 0
    open_failures: int = 0
    corrupt_frames: int = 0
    size_changes: int = 0
    measured: int = 0
    fit_to_measure: int = 0
    fit_ratio: float | None = None
    site_checks: int = 0
    site_checks_passed: int = 0
    throttling: ThrottleState = "unknown"
    throttle_episodes: int = 0
    throttled_s: float = 0.0
    throttled_frames: int = 0
    throttled_fps: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, rounded to three decimals."""
        return {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


class StreamStats:
    """Thread-safe counters: the pipeline adds, anyone may take a snapshot.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started_s = clock()
        self._finished_s: deque[float] = deque(maxlen=4096)
        self._latencies_ms: deque[float] = deque(maxlen=LATENCY_WINDOW_FRAMES)
        self._inferences_ms: deque[float] = deque(maxlen=LATENCY_WINDOW_FRAMES)
        self._counts = Counter(frames=0, crack_pixels_total=0, frames_with_cracks=0)
        self._latest: dict[str, Any] = {"threshold": 0.0, "crack_pixels": 0, "drops": 0}
        self._health = SourceHealth()
        self._throttling = Throttling()

    def add(self, result: FrameResult) -> None:
        """Count one processed frame."""
        with self._lock:
            self._finished_s.append(self._clock())
            self._latencies_ms.append(result.latency_ms)
            self._inferences_ms.append(result.inference_ms)
            self._counts["frames"] += 1
            self._counts["crack_pixels_total"] += result.crack_pixels
            self._counts["frames_with_cracks"] += result.crack_pixels > 0
            self._latest.update(
                crack_pixels=result.crack_pixels,
                inspected_ratio=result.inspected_ratio,
                ignored_ratio=result.ignored_ratio,
                threshold=result.threshold,
            )

    def add_stale(self) -> None:
        """Count one result that was too old to be published."""
        with self._lock:
            self._counts["stale"] += 1

    def add_measured(self, *, is_fit: bool, site_passed: bool | None = None) -> None:
        """Count one frame that was measured.

        Args:
            is_fit: whether it was fit for that.
            site_passed: whether the check sheet in view passed; None without one.
        """
        with self._lock:
            self._counts["measured"] += 1
            self._counts["fit_to_measure"] += is_fit
            self._counts["site_checks"] += site_passed is not None
            self._counts["site_checks_passed"] += site_passed is True

    def set_counts(
        self, *, drops: int, skipped: int = 0, findings: tuple[int, int] = (0, 0)
    ) -> None:
        """Set the numbers since the start of frames dropped and skipped, and of cracks.

        Args:
            drops: frames that were dropped.
            skipped: frames that were skipped on purpose.
            findings: number of cracks, and number of confirmed ones.
        """
        with self._lock:
            self._latest.update(
                drops=drops,
                skipped=skipped,
                findings=findings[0],
                findings_confirmed=findings[1],
            )

    def set_state(self, health: SourceHealth, shedding: str, paused: bool) -> None:
        """Set the source's health, what is left out, and whether the stream is paused."""
        with self._lock:
            self._health = health
            self._latest.update(shedding=shedding, paused=paused)

    def set_throttling(self, throttling: Throttling) -> None:
        """Set the throttling so far."""
        with self._lock:
            self._throttling = throttling

    def snapshot(self) -> StatsSnapshot:
        """The current counters."""
        with self._lock:
            now_s = self._clock()
            elapsed_s = max(now_s - self._started_s, 1e-6)
            recent = sum(finished_s > now_s - RECENT_S for finished_s in self._finished_s)
            health = asdict(self._health)
            throttling = self._throttling
            counts, measured = self._counts, self._counts["measured"]
            return StatsSnapshot(
                fps=recent / min(elapsed_s, RECENT_S),
                fps_overall=counts["frames"] / elapsed_s,
                latency_p50_ms=_percentile(self._latencies_ms, 50),
                latency_p95_ms=_percentile(self._latencies_ms, 95),
                inference_p50_ms=_percentile(self._inferences_ms, 50),
                elapsed_s=elapsed_s,
                fit_ratio=share(counts["fit_to_measure"], measured),
                source_state=health.pop("state"),
                throttling=throttling.state,
                throttle_episodes=throttling.episodes,
                throttled_s=throttling.seconds,
                throttled_frames=throttling.frames,
                throttled_fps=throttling.fps,
                **{**counts, **self._latest, **health},
            )


def share(part: int, whole: int) -> float | None:
    """Ratio of two numbers, 0 to 1; None if `whole` is 0."""
    return round(part / whole, 4) if whole else None


def _percentile(values: deque[float], percent: float) -> float:
    return float(np.percentile(np.array(values), percent)) if values else 0.0


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """Summary of a stream.

    Attributes:
        source: the source's name, without credentials.
        model: the detector's name.
        backend: what runs it; "" if unknown.
        threshold: decision threshold, 0 to 1.
        min_area_px: smallest group of crack pixels that was kept.
        started_at: ISO 8601, UTC.
        ended_at: the same; None while it runs.
        end_reason: why the run ended.
        error: message of the error that ended it, or None.
        frames_read: frames that the source delivered.
        frames_expected: frames in the source according to its own count, None without one.
        truncated: the recording is damaged or cut short according to itself or to the count, and
            part of it was not inspected.
        stats: the counters at the end.
        unreadable: files that could not be read and were skipped.
        model_sha256: hash of the model file; "" if unknown.
        model_origin: as `ModelInUse.origin`; "" if unknown.
        model_fallback: as `ModelInUse.fallback`.
    """

    source: str
    model: str
    threshold: float
    min_area_px: int
    started_at: str
    ended_at: str | None
    end_reason: EndReason
    error: str | None
    frames_read: int
    frames_expected: int | None
    truncated: bool
    stats: StatsSnapshot
    unreadable: int = 0
    backend: str = ""
    model_sha256: str = ""
    model_origin: str = ""
    model_fallback: str = ""

    @property
    def lacks_frames(self) -> bool:
        """Whether fewer frames were read than the source has."""
        return self.frames_expected is not None and self.frames_read < self.frames_expected

    def to_dict(self) -> dict[str, Any]:
        """One flat object, as in `summary.json` of a run of one part."""
        head = asdict(self)
        del head["stats"]
        return {**head, **self.stats.to_dict()}


def is_truncated(frames_read: int, frames_expected: int | None) -> bool:
    """Whether a recording ended well before its own frame count.

    Containers that store a duration instead of a count are off by a few frames, so up to
    2 % (at least 2 frames) may be missing.
    """
    if frames_expected is None:
        return False
    return frames_expected - frames_read > max(2.0, 0.02 * frames_expected)

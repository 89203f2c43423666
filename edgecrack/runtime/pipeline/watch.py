"""Keeps a stream's counters current, also while no frames come or the network hangs.

A thread of its own updates them four times a second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from edgecrack.runtime.pipeline.config import PipelineConfig
from edgecrack.runtime.pipeline.inspection import Inspection
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.telemetry.stats import SourceHealth, SourceState, StreamStats

_LOG = logging.getLogger("edgecrack")
_INTERVAL_S = 0.25
# After a request to stop; the frame in progress is usually finished within it.
_PATIENCE_S = 1.25


class Counts(NamedTuple):
    """The pipeline's own counters.

    Attributes:
        frames_read: frames that the source delivered.
        replaced: frames that newer ones replaced between the pipeline's threads.
        skipped: frames left out on purpose.
        ended: the source delivers no more frames.
    """

    frames_read: int
    replaced: int
    skipped: int
    ended: bool


class StreamWatch:
    """Updates the counters and reports a hanging network.

    Args:
        source: its status is read.
        inspection: says how long the network has been busy and what it leaves out.
        config: the run's settings.
        stats: gets the counters.
        counts: the pipeline's own.
        give_up: called once if the run was asked to stop and the network does not return.
    """

    def __init__(
        self,
        source: Source,
        inspection: Inspection,
        config: PipelineConfig,
        stats: StreamStats,
        counts: Callable[[], Counts],
        give_up: Callable[[], None],
    ) -> None:
        self._source, self._inspection = source, inspection
        self._config, self._stats, self._counts = config, stats, counts
        self._ended = threading.Event()
        self._give_up = give_up
        self._hangs = False
        self._stop_seen_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="edgecrack-watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(timeout_s)

    def note(self) -> None:
        """Update the counters; from any thread."""
        counts, status = self._counts(), self._source.status
        self._stats.set_counts(
            drops=counts.replaced + status.drops,
            skipped=counts.skipped,
            findings=self._config.findings(),
        )
        health = status.health
        if health is None:
            health = SourceHealth(
                _state(counts),
                corrupt_frames=self._source.corrupt_frames,
                size_changes=status.size_changes,
            )
        self._stats.set_state(health, self._inspection.effort.name, self._config.is_paused)

    def _run(self) -> None:
        while not self._ended.wait(_INTERVAL_S):
            try:
                self.note()
                self._check_for_hang()
                self._check_for_end()
            except Exception:
                _LOG.exception("the counters could not be updated")

    def _check_for_end(self) -> None:
        if not self._config.stop.is_set():
            return
        now_s = time.monotonic()
        if self._stop_seen_s is None:
            self._stop_seen_s = now_s
        busy_s = self._inspection.busy_s()
        if busy_s > 0 and now_s - self._stop_seen_s >= _PATIENCE_S:
            self._stop_seen_s = float("inf")
            self._give_up()

    def _check_for_hang(self) -> None:
        busy_s = self._inspection.busy_s()
        hangs = busy_s > self._config.hang_timeout_s
        if hangs and not self._hangs:
            self._config.events.emit(
                "network.hangs",
                f"the network has been busy with one frame for {busy_s:.0f} s",
                "error",
                busy_s=round(busy_s, 1),
            )
        elif self._hangs and not hangs:
            self._config.events.emit("network.recovered", "the network answers again")
        self._hangs = hangs


def _state(counts: Counts) -> SourceState:
    if counts.ended:
        return "ended"
    return "live" if counts.frames_read else "connecting"

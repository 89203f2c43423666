"""Keeps a stream's counters current, also while nothing comes or the network hangs.

A thread of its own looks twice a second; the calling thread notes each result besides. Knows
the source's health and the inspection's state; must not know outputs.
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
# After somebody asked the stream to stop; the frame in flight is finished within it as a rule.
_PATIENCE_S = 1.25


class Counts(NamedTuple):
    """What the pipeline counts itself.

    Attributes:
        frames_read: frames that the source delivered.
        replaced: frames that newer ones replaced between the pipeline's threads.
        skipped: frames left out on purpose.
        ended: the source delivers no more.
    """

    frames_read: int
    replaced: int
    skipped: int
    ended: bool


class StreamWatch:
    """Notes counters and says when the network hangs.

    Args:
        source: `health` and `drops` are asked of it where it has them.
        inspection: says how long the network has been busy and what it leaves out.
        config: the run's settings.
        stats: gets the counters.
        counts: the pipeline's own.
        give_up: called once where the run was asked to stop and the network does not come back.
    """

    def __init__(
        self,
        source: Source,
        inspection: Inspection,
        config: PipelineConfig,
        stats: StreamStats,
        counts: Callable[[], Counts],
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._source, self._inspection = source, inspection
        self._config, self._stats, self._counts = config, stats, counts
        self._ended = threading.Event()
        self._give_up = give_up
        self._hangs = False
        self._stop_seen_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="edgecrack-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join(timeout_s)

    def note(self) -> None:
        """Bring the counters up to date; from any thread."""
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
                self._look_for_a_hang()
                self._look_for_the_end()
            except Exception:
                _LOG.exception("the counters could not be brought up to date")

    def _look_for_the_end(self) -> None:
        if not self._config.stop.is_set():
            return
        now_s = time.monotonic()
        if self._stop_seen_s is None:
            self._stop_seen_s = now_s
        busy_s = self._inspection.busy_s()
        if busy_s > 0 and now_s - self._stop_seen_s >= _PATIENCE_S:
            self._stop_seen_s = float("inf")
            self._give_up()

    def _look_for_a_hang(self) -> None:
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

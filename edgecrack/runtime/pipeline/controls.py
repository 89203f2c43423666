"""What a person changes while a stream runs: threshold, pause, recording.

Set from any thread, read by the pipeline between frames. Knows no page and no pipeline.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from edgecrack.errors import ConfigError
from edgecrack.runtime.telemetry.events import EventLog


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """A recording at one moment.

    Attributes:
        active: results are being recorded.
        path: the part in progress or, when none is, the last one; None before the first.
        parts: parts made by this run, the one in progress included.
        bytes_written: in all parts of this run.
        problem: why it stopped by itself, or None.
        dropped: frames of this run left out since the disk was too slow for them.
    """

    active: bool
    path: str | None
    parts: int
    bytes_written: int
    problem: str | None = None
    dropped: int = 0


class Recorder(Protocol):
    """A recording that can be started and stopped; never raises because of the disk."""

    def start(self) -> None:
        """Record from the next result on, into a new part; nothing where it records already."""
        ...

    def stop(self) -> None:
        """Finish the part in progress; it is whole and readable when this returns."""
        ...

    def status(self) -> RecordingStatus:
        """What it is doing now."""
        ...


class StreamControls:
    """The switches of one stream.

    Args:
        threshold: decision threshold to begin with, above 0 and below 1.
        events: hears of every change.
        recorder: None where nothing can be recorded.

    Raises:
        ConfigError: the threshold is out of range.
    """

    def __init__(
        self, threshold: float, events: EventLog | None = None, recorder: Recorder | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._threshold = _checked(threshold)
        self._events = events or EventLog()
        self._paused = threading.Event()
        self.recorder = recorder

    @property
    def threshold(self) -> float:
        """Decision threshold of the next frame."""
        with self._lock:
            return self._threshold

    def set_threshold(self, threshold: float, who: str = "an operator") -> None:
        """Decide by another threshold from the next frame on, for every output.

        Raises:
            ConfigError: not above 0 and below 1.
        """
        _checked(threshold)
        with self._lock:
            before, self._threshold = self._threshold, threshold
        if threshold != before:
            self._events.emit(
                "threshold.changed",
                f"{who} changed the threshold from {before:g} to {threshold:g}",
                before=before,
                threshold=threshold,
            )

    @property
    def paused(self) -> bool:
        """Whether frames are left uninspected on purpose."""
        return self._paused.is_set()

    def pause(self, who: str = "an operator") -> None:
        """Inspect nothing until `resume`; the source stays open."""
        if not self._paused.is_set():
            self._paused.set()
            self._events.emit("stream.paused", f"{who} paused the inspection", "warning")

    def resume(self, who: str = "an operator") -> None:
        """Go on after `pause`."""
        if self._paused.is_set():
            self._paused.clear()
            self._events.emit("stream.resumed", f"{who} resumed the inspection")


def _checked(threshold: float) -> float:
    if not 0 < threshold < 1:
        raise ConfigError(f"threshold is {threshold}", "give a number above 0 and below 1")
    return threshold

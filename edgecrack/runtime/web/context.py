"""What the live page shows and switches, handed over by the stream in one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgecrack.runtime.outputs.findings import FindingTracker
from edgecrack.runtime.pipeline.controls import StreamControls
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.machine_load import MachineMonitor
from edgecrack.runtime.telemetry.stats import StatsSnapshot
from edgecrack.runtime.web.latest_result import LatestResult


@dataclass(frozen=True)
class LiveContext:
    """The parts of a running stream that the page needs.

    Attributes:
        stats: gives the counters as they are now; called from the page's thread.
        events: what happened.
        controls: threshold, pause and recording.
        findings: the findings with their thumbnails.
        machine: load, memory, temperature, disk.
        latest: the newest result; a sink of the stream.
        about: what to show of the run, e.g. source, model, version; no credentials.
        snapshot: writes the newest result as a picture and gives its path, or None where there
            is no result yet. None where nothing is written: the page then only shows it.
    """

    stats: Callable[[], StatsSnapshot]
    events: EventLog
    controls: StreamControls
    findings: FindingTracker
    machine: MachineMonitor
    latest: LatestResult
    about: Mapping[str, str] = field(default_factory=dict)
    snapshot: Callable[[], Path | None] | None = None

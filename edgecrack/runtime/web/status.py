"""What the page says about the run, as plain JSON values, made once a second for all viewers.

Knows the stream's parts; must not know sockets or requests.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio

from edgecrack.runtime.pipeline.config import StreamControls
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.machine_load import MachineMonitor
from edgecrack.runtime.telemetry.stats import StatsSnapshot
from edgecrack.runtime.tracking.finding_book import FindingBook
from edgecrack.runtime.web.last_report import LastReport
from edgecrack.runtime.web.latest_result import LatestResult
from edgecrack.runtime.web.page_worker import Worker

INTERVAL_S = 1.0


def describe(context: LiveContext, viewers: int, max_viewers: int) -> dict[str, Any]:
    """The whole state of a run.

    Args:
        context: the stream.
        viewers: who watch now.
        max_viewers: who may.
    """
    latest, controls = context.latest, context.controls
    age_ms = latest.age_ms()
    recorder = controls.recorder
    return {
        "type": "status",
        "time_ms": time.time_ns() // 1_000_000,
        "about": dict(context.about),
        "stats": context.stats().to_dict(),
        "machine": context.machine.sample().to_dict(),
        "throttling": None if context.throttling is None else context.throttling(),
        "recording": None if recorder is None else asdict(recorder.status()),
        "threshold": controls.threshold,
        "paused": controls.paused,
        "picture": {
            "age_ms": None if age_ms is None else round(age_ms),
            "stale_after_ms": round(latest.stale_after_ms),
            "ended": latest.ended,
        },
        "findings": {
            "count": context.findings.count,
            "confirmed": context.findings.confirmed,
            "revision": _revision(context.findings),
        },
        "coverage": context.findings.coverage,
        "events": {"count": sum(context.events.counts().values())},
        "viewers": {"count": viewers, "limit": max_viewers},
        "saves_snapshots": context.snapshot is not None,
        "report": _last_report(context),
        "measures": context.widths is not None,
        "widths": None if context.widths is None else context.widths(),
    }


def _last_report(context: LiveContext) -> dict[str, Any] | None:
    found = None if context.report is None else context.report.find()
    return None if found is None else found.to_dict()


def _revision(findings: FindingBook) -> str:
    """Changes when the list looks different; not with each frame that an open crack is seen in."""
    told = (
        f"{each.id}.{each.best.frame}.{each.crack.closed:d}{each.crack.confirmed:d}"
        f".{0 if each.measured is None else each.measured.frame}"
        for each in findings.recent()
    )
    return f"{zlib.crc32(' '.join(told).encode()):08x}"


class StatusBoard:
    """The state as text, made at most once a second unless something was switched.

    Args:
        build: makes the state; runs in the worker's thread, since sensors can be slow.
        worker: its thread.
    """

    def __init__(self, build: Callable[[], dict[str, Any]], worker: Worker) -> None:
        self._build, self._worker = build, worker
        self._text = ""
        self._made_s = float("-inf")
        self._making = asyncio.Lock()
        self._switched = asyncio.Event()

    async def text(self, max_age_s: float = INTERVAL_S / 2) -> str:
        """The state as JSON, at most `max_age_s` old."""
        loop = asyncio.get_running_loop()
        async with self._making:
            if loop.time() - self._made_s > max_age_s:
                switched = self._switched
                state = await self._worker.run(self._build)
                self._text = json.dumps(state, allow_nan=False)
                # What was switched meanwhile may not be in it yet.
                self._made_s = loop.time() if switched is self._switched else float("-inf")
            return self._text

    def renew(self) -> None:
        """Something was switched: make it anew, and tell whoever waits."""
        self._made_s = float("-inf")
        switched, self._switched = self._switched, asyncio.Event()
        switched.set()

    async def wait(self) -> None:
        """Until the next state is due."""
        with anyio.move_on_after(INTERVAL_S):
            await self._switched.wait()


@dataclass(frozen=True)
class LiveContext:
    """The parts of a running stream that the page needs.

    Attributes:
        stats: gives the counters as they are now; called from the page's thread.
        events: what happened.
        controls: threshold, pause and recording.
        findings: the cracks with their thumbnails.
        machine: load, memory, temperature, disk.
        latest: the newest result; a sink of the stream.
        about: what to show of the run, e.g. source, model, version; no credentials.
        snapshot: writes the newest result as a picture and gives its path, or None where there
            is no result yet. None where nothing is written: the page then only shows it.
        widths: a few words of the newest measured frame, or None before the first. None where
            nothing is measured.
        report: finds the last report beside the results; None where nothing is written.
        throttling: evidence, clock and temperature of the last look at the machine; None where
            nobody looks.
    """

    stats: Callable[[], StatsSnapshot]
    events: EventLog
    controls: StreamControls
    findings: FindingBook
    machine: MachineMonitor
    latest: LatestResult
    about: Mapping[str, str] = field(default_factory=dict)
    snapshot: Callable[[], Path | None] | None = None
    widths: Callable[[], dict[str, Any] | None] | None = None
    report: LastReport | None = None
    throttling: Callable[[], dict[str, Any]] | None = None

"""What the live page knows of the run: the latest result, the counters, the last report."""

from __future__ import annotations

import asyncio
import json
import queue
import re
import stat
import statistics
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio

from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.pipeline.config import StreamControls
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.machine_load import MachineMonitor
from edgecrack.runtime.telemetry.stats import StatsSnapshot
from edgecrack.runtime.tracking.finding_book import FindingBook

Value = TypeVar("Value")
_MOST_WAITING = 32


class WorkerBusyError(Exception):
    """Too much work is waiting."""


class Worker:
    """A daemon thread that runs functions one after the other.

    Args:
        name: of the thread, after "edgecrack-".
    """

    def __init__(self, name: str) -> None:
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name=f"edgecrack-{name}", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., Value], *arguments: Any) -> Value:
        """What `function(*arguments)` returns or raises, without holding up the event loop.

        Raises:
            WorkerBusyError: too much waits already.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Value] = loop.create_future()

        def settle(value: Value | None, error: BaseException | None) -> None:
            if outcome.done():  # the waiting caller gave up
                return
            if error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(value)  # type: ignore[arg-type]

        def work() -> None:
            value, failure = None, None
            try:
                value = function(*arguments)
            except BaseException as error:
                failure = error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, value, failure)

        try:
            self._work.put_nowait(work)
        except queue.Full:
            raise WorkerBusyError from None
        return await outcome

    def close(self, timeout_s: float) -> bool:
        """Stop after the current work; returns whether it finished in time."""
        with suppress(queue.Empty):
            while True:
                self._work.get_nowait()
        with suppress(queue.Full):
            self._work.put_nowait(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # Waits without a timeout: `close` always ends it, and a daemon does not delay the exit.
        while (work := self._work.get()) is not None:
            work()


SHORTEST_STALE_MS = 2_000.0
_INTERVALS = 9


class Shown(NamedTuple):
    """The newest result.

    Attributes:
        number: 1 for the first of a run.
        result: what the stream found.
        shown_ns: monotonic time of the moment that the picture shows.
    """

    number: int
    result: FrameResult
    shown_ns: int


class LatestResult:
    """Keeps the newest result and says how old it is; any thread may ask.

    Args:
        clock_ns: as `time.monotonic_ns`; a test may give its own.
        max_age_ms: a live result older than this is never shown, not even marked as old.
    """

    name = "page"

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        max_age_ms: float | None = None,
    ) -> None:
        self._clock_ns, self._max_age_ms = clock_ns, max_age_ms
        self._lock = threading.Lock()
        self._newest: Shown | None = None
        self._written_ns = 0
        self._intervals_ms: deque[float] = deque(maxlen=_INTERVALS)
        self._stale_after_ms = SHORTEST_STALE_MS
        self._ended = False
        self._listeners: list[Callable[[], None]] = []

    def write(self, result: FrameResult) -> None:
        """Replace the previous result and wake all waiters; never waits."""
        now_ns = self._clock_ns()
        frame = result.frame
        # A recording is read ahead: time in queues is not the picture's age.
        shown_ns = frame.monotonic_ns if frame.live else now_ns - int(result.latency_ms * 1e6)
        with self._lock:
            number = 1
            if self._newest is not None:
                number = self._newest.number + 1
                self._intervals_ms.append((now_ns - self._written_ns) / 1e6)
                # A robot that takes two seconds a frame is slow, not stuck. The median, so
                # that one long pause does not count as its pace.
                pace_ms = statistics.median(self._intervals_ms)
                self._stale_after_ms = max(SHORTEST_STALE_MS, 3 * pace_ms)
            self._newest = Shown(number, result, shown_ns)
            self._written_ns = now_ns
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def close(self) -> None:
        """The stream has ended; the last result stays visible."""
        with self._lock:
            self._ended = True

    @property
    def ended(self) -> bool:
        """Whether no more results will come."""
        with self._lock:
            return self._ended

    def newest(self) -> Shown | None:
        """The newest result; None before the first, and where it is older than results may be."""
        with self._lock:
            newest = self._newest
        return newest if newest is not None and self.may_be_shown(newest) else None

    def may_be_shown(self, shown: Shown) -> bool:
        """Whether a result is not older than results may be."""
        if self._max_age_ms is None or not shown.result.frame.live:
            return True
        return self._clock_ns() - shown.shown_ns <= self._max_age_ms * 1e6

    def age_ms(self, shown: Shown | None = None) -> float | None:
        """Age of the moment that a result shows, the newest as a rule; None before the first."""
        shown = shown or self.newest()
        return None if shown is None else max(0.0, (self._clock_ns() - shown.shown_ns) / 1e6)

    @property
    def stale_after_ms(self) -> float:
        """Age from which the newest result must not be shown as live."""
        newest = self.newest()
        with self._lock:
            latency_ms = newest.result.latency_ms if newest else 0.0
            stale_ms = self._stale_after_ms + latency_ms
        return stale_ms if self._max_age_ms is None else min(stale_ms, self._max_age_ms)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each write, in the stream's thread; it must not wait or raise.

        Returns:
            A function that ends it.
        """
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe


_REPORT = Path("report") / "report.html"
_MOST_FOLDERS = 100  # looked at, the newest numbers first
LARGEST_BYTES = 64 << 20


@dataclass(frozen=True)
class FoundReport:
    """A report.

    Attributes:
        path: of its page.
        run: name of the run's folder.
        written_s: when, in seconds since 1970.
    """

    path: Path
    run: str
    written_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for the page; no path."""
        written = datetime.fromtimestamp(self.written_s, timezone.utc)
        return {"run": self.run, "written_at": written.isoformat(timespec="seconds")}


class LastReport:
    """Finds the report that was written last, of this run or of an earlier one beside it.

    Args:
        run: folder of the run's results.
        requested: the folder that was asked for; earlier runs lie in it or beside it, numbered.
    """

    def __init__(self, run: Path, requested: Path) -> None:
        self._run, self._requested = run, requested

    def find(self) -> FoundReport | None:
        """The report; None where there is none."""
        found = [each for each in map(_report_of, self._folders()) if each is not None]
        return max(found, key=lambda each: (each.written_s, str(each.path)), default=None)

    def read(self) -> bytes | None:
        """The content of its page; None where there is none.

        Raises:
            OSError: it cannot be read.
        """
        found = self.find()
        if found is None:
            return None
        with found.path.open("rb") as file:
            return file.read(LARGEST_BYTES)

    def _folders(self) -> Iterator[Path]:
        yield self._run
        base = self._requested.resolve()
        yield base
        number = re.compile(re.escape(base.name) + r"-(\d{1,9})")
        try:
            named = [(number.fullmatch(each.name), each) for each in base.parent.iterdir()]
        except OSError:
            return
        numbered = sorted(((int(match[1]), path) for match, path in named if match), reverse=True)
        for _, path in numbered[:_MOST_FOLDERS]:
            yield path


def _report_of(run: Path) -> FoundReport | None:
    """The report in a run's folder; links are ignored, as they could lead anywhere."""
    try:
        if run.is_symlink() or (run / _REPORT.parent).is_symlink():
            return None
        status = (run / _REPORT).lstat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= LARGEST_BYTES:
        return None
    return FoundReport(run / _REPORT, run.resolve().name, status.st_mtime)


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
                # A switch made in the meantime may not be in it yet.
                self._made_s = loop.time() if switched is self._switched else float("-inf")
            return self._text

    def renew(self) -> None:
        """Something was switched: rebuild the status and wake those who wait."""
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
            the machine is not checked.
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

"""Records a stream into MCAP files, in a thread of its own.

    recorder = McapRecorder(RecordingConfig(Path("run.mcap")), events=events, stats=None, about={})
    recorder.write(result)
    recorder.close()

Inspection never depends on it: when the disk is full, slow or gone, the recording stops or leaves
frames out, reports that, and the stream goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from edgecrack.errors import EdgecrackError, first_line
from edgecrack.files import make_folder, output_error
from edgecrack.mcap.message_types import CRACKS_TOPIC, WIDTHS_TOPIC
from edgecrack.mcap.parts.part_names import Part, PartNames
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.handoff import Handoff, TimedOut
from edgecrack.runtime.outputs.output_folder import output_errors
from edgecrack.runtime.pipeline.config import RecordingStatus
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.disk import DiskRoom, free_bytes, recover_leftovers
from edgecrack.runtime.recording.recording_session import LeftOutFrames, RecordingSession
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import StatsSnapshot

QUEUE_FRAMES = 8
CLOSE_S = 1.0
STOP_S = 10.0
# A disk that accepts nothing for so long is too slow even for a recorded source, which can wait.
LONGEST_WAIT_S = 60.0

_LOG = logging.getLogger("edgecrack")
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class _Order:
    """A result to record or, without one, the order to finish the part.

    Attributes:
        run: number of the start to which it belongs.
        result: to be recorded.
        done: set when the part is finished.
    """

    run: int
    result: FrameResult | None = None
    done: threading.Event = field(default_factory=threading.Event)


class McapRecorder:
    """A sink that records into `NAME_0001.mcap` and so on, and can be stopped and started.

    Results of live sources never wait: while the disk is too slow, the newest are left out and
    counted. Results of recordings wait.

    Args:
        config: where and how.
        events: notified of every part and fault, and recorded.
        stats: the stream's counters, recorded once a second; None leaves them out.
        about: of the recording, for each part's metadata: model, source and so on.
        max_age_ms: results of live sources that are older than this when their turn comes, counted
            from the grab, are left out and counted; None records them at any age.
        active: record from the first result on; otherwise wait for `start`.
        free: bytes free on the disk of a folder; a test may give its own.
        clock: seconds, monotonic; a test may give its own.

    Raises:
        OutputError: the folder cannot be made or written, the name is too long for its disk, or
            less room is free there than the reserve.
    """

    name = "recording"

    def __init__(
        self,
        config: RecordingConfig,
        *,
        events: EventLog,
        stats: Callable[[], StatsSnapshot] | None,
        about: Mapping[str, str],
        max_age_ms: float | None = None,
        active: bool = True,
        free: Callable[[Path], int] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        make_folder(config.path.parent)
        names = PartNames(config.path)
        with output_errors(config.path.parent):
            leftovers = names.leftovers()  # before this recording has a part of its own
            names.check_length()
        room = DiskRoom(config, names, events, free, clock)
        if active:
            room.check_start()
        self._folder, self._names, self._events = config.path.parent, names, events
        self._lock = threading.Lock()
        self._active, self._closed = active, False
        self._problem: str | None = None
        self._run_number, self._ended_run = 1, 0
        self._left_out = LeftOutFrames(config.path.parent, max_age_ms, events)
        self._inbox: Handoff[_Order] = Handoff(QUEUE_FRAMES)
        self._session = RecordingSession(
            config, names, room, events, stats, about, self._left_out, clock
        )
        self._unsubscribe = events.subscribe(self._session.on_event)
        self._threads = [
            self._recovery(leftovers),
            threading.Thread(target=self._serve_all, name="edgecrack-recording", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def dropped(self) -> int:
        """Frames left out because the disk was too slow, `stale` ones included."""
        return self._left_out.count

    @property
    def stale(self) -> int:
        """Frames left out because they were too old when their turn came."""
        return self._left_out.stale

    def write(self, result: FrameResult) -> None:
        """Take one result; ignored while nothing is recorded. Errors of the disk are not raised."""
        with self._lock:
            if not self._active:
                return
            run = self._run_number
        at_once = result.frame.live or self._left_out.lasts
        if not self._put(_Order(run, result), 0.0 if at_once else LONGEST_WAIT_S):
            self._left_out.drop()

    def take_widths(self, result: FrameResult, record: Mapping[str, Any]) -> None:
        """Record what was measured in a frame; never waits."""
        if self._is_active:
            self._session.on_record(WIDTHS_TOPIC, result.frame.stamp_ns, record)

    def take_finding(self, record: Mapping[str, Any]) -> None:
        """Record a crack that has left the view for good; never waits."""
        if self._is_active:
            time_ns = record["ended_ns"] or time.time_ns()
            self._session.on_record(CRACKS_TOPIC, time_ns, record)

    def start(self) -> None:
        """Record from the next result on, into a new part; no effect while recording."""
        with self._lock:
            if self._closed or self._active:
                return
            self._active = True
            self._problem = None
            self._run_number += 1
            # Looked up before this run has a part of its own: what a full disk left unfinished.
            leftovers = [] if self._session.part else self._leftovers()
        if leftovers:
            self._recovery(leftovers).start()

    def stop(self) -> None:
        """Finish the part in progress; it is whole and readable when this returns.

        If the disk does not respond, this returns after ten seconds and reports it.
        """
        with self._lock:
            if self._closed:
                return
            self._active = False
            order = _Order(self._run_number)
        deadline_s = time.monotonic() + STOP_S
        taken = self._put(order, STOP_S)
        if not (taken and order.done.wait(max(0.0, deadline_s - time.monotonic()))):
            self._say_unfinished()

    def status(self) -> RecordingStatus:
        """Its current state."""
        progress = self._session.progress
        with self._lock:
            return RecordingStatus(
                self._active,
                progress.path,
                progress.parts,
                progress.bytes_written,
                self._problem,
                self.dropped,
            )

    def close(self) -> None:
        """Record the results taken and finish the part, within about a second."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._active = False
        self._inbox.finish()
        deadline_s = time.monotonic() + CLOSE_S
        for thread in reversed(self._threads):
            thread.join(max(0.0, deadline_s - time.monotonic()))
        self._unsubscribe()
        if self._threads[-1].is_alive():
            self._say_unfinished()

    @property
    def _is_active(self) -> bool:
        with self._lock:
            return self._active

    def _leftovers(self) -> list[Part]:
        try:
            return self._names.leftovers()
        except OSError:
            return []  # the recording itself reports problems with its folder

    def _recovery(self, leftovers: list[Part]) -> threading.Thread:
        return threading.Thread(
            target=recover_leftovers,
            args=(self._names, leftovers, self._events),
            name="edgecrack-recovery",
            daemon=True,
        )

    def _put(self, order: _Order, longest_s: float) -> bool:
        """Queue an order for the thread; False if there was no room in the time given."""
        deadline_s = time.monotonic() + longest_s
        while True:
            try:
                self._inbox.put(order, max(0.0, min(_POLL_S, deadline_s - time.monotonic())))
                return True
            except TimedOut:
                if time.monotonic() >= deadline_s:
                    return False
                with self._lock:
                    is_wanted = self._active and order.run == self._run_number
                if order.result is not None and not is_wanted:
                    return True

    def _serve_all(self) -> None:
        """Serve to the end; no error ends this thread earlier or unreported."""
        while True:
            try:
                if not self._serve():
                    return
            except Exception as error:  # `_serve` handles disk errors, so this is a defect
                self._give_up(error)
                if self._closed:
                    return
                time.sleep(_POLL_S)  # a permanent defect must not use up the CPU

    def _serve(self) -> bool:
        """Carry out one order and what is due; False when no more will come."""
        order: _Order | None = None
        more = True
        try:
            order = self._inbox.get(min(_POLL_S, self._session.due_in_s()))
            more = order is not None
        except TimedOut:
            pass
        try:
            self._carry_out(order, more)
        except Exception as error:
            self._give_up(error)
        finally:
            if order is not None:
                order.done.set()
        self._left_out.settle()
        return more

    def _carry_out(self, order: _Order | None, more: bool) -> None:
        if order is not None and order.result is not None:
            if order.run > self._ended_run:
                self._session.take(order.result)
        elif order is not None or not more:
            if order is not None:
                # A result that was put in at the same moment must not begin another part.
                self._ended_run = order.run
            self._session.finish()
        self._session.tick()

    def _give_up(self, error: Exception) -> None:
        """Stop recording because of an error, and report it once; what is recorded is kept."""
        torn = self._session.give_up()
        problem, remedy = _described(error, self._folder)
        with self._lock:
            is_known = not self._active and self._problem == problem and torn is None
            self._active = False
            self._problem = problem
            self._ended_run = self._run_number
        if is_known:
            return
        if not isinstance(error, OSError | EdgecrackError | cv2.error):
            _LOG.error("the recording failed", exc_info=error)
        kept = f"; {torn} is not whole, recover it with: edgecrack recover {torn}" if torn else ""
        self._events.emit(
            "recording.stopped",
            f"the recording stopped, inspection goes on: {problem}; {remedy}{kept}",
            "error",
            problem=problem,
            file=self._session.progress.path,
        )

    def _say_unfinished(self) -> None:
        path = self._session.progress.path
        self._events.emit(
            "recording.unfinished",
            f"the disk did not accept the end of {path} in time; the next recording of this name "
            f"finishes it, or: edgecrack recover {path}",
            "error",
            file=path,
        )


def _described(error: Exception, folder: Path) -> tuple[str, str]:
    """Problem and remedy; the folder is for errors that name no file."""
    if isinstance(error, OSError):
        error = output_error(error.filename or folder, error)
    if isinstance(error, EdgecrackError):
        return error.problem, error.remedy
    if isinstance(error, MemoryError):
        return "the machine is out of memory", "free some and start the recording again"
    return first_line(error), "report it as a defect"

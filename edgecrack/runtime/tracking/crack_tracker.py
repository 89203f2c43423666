"""Follows every captured frame, and gives each crack of a stream one number.

capture thread   hands over each frame that was captured, those that the network skips included
writer thread    hands over each result
this thread      follows the frames, lays the results on them, keeps what a survey needs
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np

from edgecrack.measurement.cracks import Crack, trace_cracks
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.handoff import Abandoned, Handoff
from edgecrack.runtime.outputs.sinks import PassiveSink
from edgecrack.runtime.tracking.findings import (
    BestView,
    Finding,
    MeasuredView,
    Times,
    thumbnail,
)
from edgecrack.runtime.tracking.kept_run import KeptRun
from edgecrack.survey.confirmation import is_long
from edgecrack.survey.live_cracks import LiveCrack, LiveCracks
from edgecrack.survey.track import SMALLEST_PX, FrameTracker

KEEP = 48
# Frames that may wait to be followed, and how much memory they may take.
_MOST_WAITING, _MOST_WAITING_BYTES = 32, 96_000_000
# So much more of a crack has to be shown, so that one that grows slowly is not drawn each time.
_BETTER = 1.2
_UNFIT_LEVELS, _UNFIT_SPREAD = (8.0, 247.0), 1.0
_PATIENCE_S = 60.0
_REMEMBERED = 64  # frames whose widths may still come


class CrackTracker(PassiveSink):
    """Each crack once, while the stream runs; any thread may read.

    Args:
        on_closed: called with each crack that is out of view for good, in the tracker's thread.
    """

    name = "findings"

    def __init__(self, on_closed: Callable[[Finding], None] | None = None) -> None:
        self._on_closed = on_closed or (lambda finding: None)
        self._kept: KeptRun | None = None
        self._queue: Handoff[Frame | FrameResult] | None = None
        self._lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._findings: dict[int, Finding] = {}
        self._recent: deque[Finding] = deque(maxlen=KEEP)
        self._confirmed = self._long = self._left_out = 0
        self._tracker, self._live = FrameTracker(), LiveCracks()
        self._last = -1
        self._ids: dict[int, list[int]] = {}
        self._measured: dict[int, list[MeasuredView]] = {}
        self._is_live_source = False
        self._thread = threading.Thread(target=self._run, name="edgecrack-track", daemon=True)

    @property
    def count(self) -> int:
        """Cracks so far that are long enough to be told, confirmed or not."""
        with self._lock:
            return self._long + sum(_is_told(each) for each in self._findings.values())

    @property
    def confirmed(self) -> int:
        """Confirmed cracks so far."""
        with self._lock:
            return self._confirmed + sum(e.crack.confirmed for e in self._findings.values())

    @property
    def left_out(self) -> int:
        """Captured frames that were not followed, because too many waited."""
        return self._left_out

    def recent(self, count: int = KEEP) -> list[Finding]:
        """The last cracks, newest first, at most 48."""
        with self._lock:
            told = [each for each in self._findings.values() if _is_told(each)]
            found = sorted([*self._recent, *told], key=lambda each: -each.id)
        return found[:count]

    def keep(self, kept: KeptRun) -> None:
        """Have what a survey needs written down; to be called before the first frame."""
        self._kept = kept

    def watch(self, frame: Frame) -> None:
        """Take a captured frame; a recording waits for it to be followed."""
        queue = self._started(frame)
        if frame.live and queue.waiting >= _most_waiting(frame):
            self._left_out += 1
            return
        with suppress(Abandoned):
            queue.put(frame)

    def write(self, result: FrameResult) -> None:
        """Take the next result.

        Raises:
            OutputError: what a survey needs could not be written.
        """
        queue = self._started(result.frame)
        with suppress(Abandoned):
            queue.put(result)

    def take_measured(self, frame: int, views: list[MeasuredView]) -> None:
        """What the cracks of a frame came to, in the order of `trace_cracks`; from any thread."""
        with self._lock:
            self._measured[frame] = views
            while len(self._measured) > _REMEMBERED:
                del self._measured[next(iter(self._measured))]

    def close(self) -> None:
        """Follow what waits, close all cracks, and end the thread.

        Raises:
            OutputError: what a survey needs could not be written.
        """
        if self._queue is not None:
            self._queue.finish()
            self._thread.join(_PATIENCE_S if self._is_live_source else None)
        try:
            if self._queue is not None:
                with suppress(Abandoned):
                    self._queue.check()
        finally:
            if self._kept is not None:
                self._kept.close()

    def _started(self, frame: Frame) -> Handoff[Frame | FrameResult]:
        with self._start_lock:
            if self._queue is None:
                self._is_live_source = frame.live
                self._queue = Handoff(_most_waiting(frame))
                self._thread.start()
            return self._queue

    def _run(self) -> None:
        queue = self._queue
        if queue is None:
            return
        try:
            while (item := queue.get()) is not None:
                if isinstance(item, Frame):
                    self._follow(item)
                else:
                    self._see(item)
            for crack in self._live.finish():
                self._close_crack(crack)
        except BaseException as error:
            queue.abandon(error)

    def _follow(self, frame: Frame) -> None:
        if min(frame.hw) < SMALLEST_PX or frame.index <= self._last:
            return
        gray = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
        step = self._tracker.add(gray, frame.capture_time_ns, frame.index)
        self._last = frame.index
        is_key = self._live.move(step)
        if self._kept is not None:
            self._kept.note_step(step, frame, is_key=is_key)

    def _see(self, result: FrameResult) -> None:
        if result.frame.index > self._last:
            self._follow(result.frame)  # of a pipeline that hands over results alone
        is_fit = not _is_unfit(result)
        cracks = trace_cracks(result.mask, result.probability)
        ids = [0] * len(cracks)
        closed: list[LiveCrack] = []
        if is_fit:
            ids, closed = self._live.see(result.frame.index, result.frame.hw, cracks)
        for crack in closed:
            self._close_crack(crack)
        if self._kept is not None:
            self._kept.note_result(result, cracks, ids, is_fit=is_fit)
        self._update(result, cracks, ids)

    def _update(self, result: FrameResult, cracks: Sequence[Crack], ids: Sequence[int]) -> None:
        seen: dict[int, Crack] = {}
        for number, shown in zip(ids, cracks, strict=True):
            if number:
                seen.setdefault(number, shown)  # the longest comes first
        with self._lock:
            before, measured = dict(self._findings), dict(self._measured)
        self._ids[result.frame.index] = list(ids)
        while len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]
        found = {}
        for crack in self._live.cracks():
            old = before.get(crack.id)
            own = seen.get(crack.id)
            best = None if old is None else old.best
            if own is not None and (best is None or own.length_px > _BETTER * best.length_px):
                best = _view(result, own)
                if self._kept is not None:
                    self._kept.take_view(crack.id, result, best)
            if best is None:
                continue  # of a frame before this one was merged away
            times = _times(None if old is None else old.times, result, seen=own is not None)
            found[crack.id] = Finding(crack, times, best, None if old is None else old.measured)
        for frame, views in measured.items():
            for number, view in zip(self._ids.get(frame, []), views, strict=False):
                if number in found:
                    known = found[number].measured
                    if known is None or view.shown_px >= known.shown_px:
                        found[number] = replace(found[number], measured=view)
        if self._kept is not None:
            self._kept.forget_views(set(before) - set(found))
        with self._lock:
            self._findings = found
            for frame in measured:
                if frame in self._ids:
                    self._measured.pop(frame, None)

    def _close_crack(self, crack: LiveCrack) -> None:
        with self._lock:
            old = self._findings.pop(crack.id, None)
            if old is None:
                return
            finding = replace(old, crack=crack)
            self._confirmed += crack.confirmed
            if _is_told(finding):
                self._long += 1
                self._recent.append(finding)
        if self._kept is not None:
            self._kept.write_view(crack.id, keep=_is_told(finding))
        if _is_told(finding):
            self._on_closed(finding)


def _most_waiting(frame: Frame) -> int:
    return int(np.clip(_MOST_WAITING_BYTES // max(frame.image.nbytes, 1), 4, _MOST_WAITING))


def _is_told(finding: Finding) -> bool:
    """Specks that one frame in passing showed are counted by the survey alone."""
    crack, best = finding.crack, finding.best
    return crack.confirmed or is_long(
        max(crack.length_px, best.length_px), float(min(best.frame_hw))
    )


def _is_unfit(result: FrameResult) -> bool:
    """Whether the frame is nearly black, white or empty; every fourth pixel tells."""
    some = result.frame.image[::4, ::4]
    low, high = _UNFIT_LEVELS
    return not low <= float(some.mean()) <= high or float(some.std()) < _UNFIT_SPREAD


def _view(result: FrameResult, crack: Crack) -> BestView:
    longest = max(crack.lines, key=lambda line: line.length_px)
    return BestView(
        result.frame.index,
        result.frame.hw,
        crack.xyxy,
        crack.length_px,
        longest.simplified(),
        crack.area_px,
        result.threshold,
        result.position,
        thumbnail(result, crack.xyxy),
    )


def _times(old: Times | None, result: FrameResult, *, seen: bool) -> Times:
    frame = result.frame
    if old is None:
        return Times(
            frame.capture_time_ns, frame.capture_time_ns, frame.media_time_ms, frame.media_time_ms
        )
    if not seen:
        return old
    return replace(old, ended_ns=frame.capture_time_ns, ended_media_ms=frame.media_time_ms)

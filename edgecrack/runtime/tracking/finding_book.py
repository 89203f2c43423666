"""The cracks of a stream, each once: how often it was seen, and the frame that shows it best."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from edgecrack.measurement.cracks import Crack
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.tracking.findings import (
    BestView,
    Finding,
    MeasuredView,
    Times,
    thumbnail,
)
from edgecrack.runtime.tracking.kept_run import KeptRun
from edgecrack.survey.association import is_long
from edgecrack.survey.live_cracks import LiveCrack, LiveCracks
from edgecrack.survey.track import SMALLEST_PX, FrameTracker

KEEP = 48
# A better view must show so much more of a crack; a slowly growing one is not redrawn often.
_BETTER = 1.2
_UNFIT_LEVELS, _UNFIT_SPREAD = (8.0, 247.0), 1.0
_REMEMBERED = 64  # frames whose widths may still come


class FindingBook:
    """Follows frames, places results on them, and keeps the cracks so far.

        book = FindingBook()
        for frame, result in ...:
            book.follow(frame)
            book.see(result)
        print(book.count, book.confirmed)

    One thread calls `follow`, `see` and `finish`; any may read.

    Args:
        on_closed: called in the following thread with each crack that has left the view for good.
    """

    def __init__(self, on_closed: Callable[[Finding], None] | None = None) -> None:
        self._on_closed = on_closed or (lambda finding: None)
        self._kept: KeptRun | None = None
        self._lock = threading.Lock()
        self._findings: dict[int, Finding] = {}
        self._recent: deque[Finding] = deque(maxlen=KEEP)
        self._confirmed = self._long = 0
        self._tracker, self._live = FrameTracker(), LiveCracks()
        self._last = -1
        self._ids: dict[int, list[int]] = {}
        self._measured: dict[int, list[MeasuredView]] = {}

    @property
    def count(self) -> int:
        """Cracks so far that are long enough to be reported, confirmed or not."""
        with self._lock:
            return self._long + sum(_is_reported(each) for each in self._findings.values())

    @property
    def confirmed(self) -> int:
        """Confirmed cracks so far."""
        with self._lock:
            return self._confirmed + sum(e.crack.confirmed for e in self._findings.values())

    @property
    def coverage(self) -> dict[str, Any] | None:
        """How much was seen, and how well; None without a survey."""
        return None if self._kept is None else self._kept.coverage

    def recent(self, count: int = KEEP) -> list[Finding]:
        """The last cracks, newest first, at most 48."""
        with self._lock:
            told = [each for each in self._findings.values() if _is_reported(each)]
            found = sorted([*self._recent, *told], key=lambda each: -each.id)
        return found[:count]

    def keep(self, kept: KeptRun) -> None:
        """Write the files of a survey; call before the first frame."""
        self._kept = kept

    def take_measured(self, frame: int, views: list[MeasuredView]) -> None:
        """Add the measured cracks of a frame in the order of `trace_cracks`; from any thread."""
        with self._lock:
            self._measured[frame] = views
            while len(self._measured) > _REMEMBERED:
                del self._measured[next(iter(self._measured))]

    def follow(self, frame: Frame) -> None:
        """Follow a captured frame.

        Raises:
            OutputError: a survey's files could not be written.
        """
        if min(frame.hw) < SMALLEST_PX or frame.index <= self._last:
            return
        gray = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
        step = self._tracker.add(gray, frame.capture_time_ns, frame.index)
        self._last = frame.index
        is_key = self._live.move(step)
        if self._kept is not None:
            self._kept.note_step(step, frame, is_key=is_key)

    def see(self, result: FrameResult) -> None:
        """Add the findings of a frame.

        Raises:
            OutputError: a survey's files could not be written.
        """
        if result.frame.index > self._last:
            self.follow(result.frame)  # without the captured frames
        is_fit = not _is_unfit(result)
        cracks = result.cracks()
        ids = [0] * len(cracks)
        closed: list[LiveCrack] = []
        if is_fit:
            ignored = None if result.ignored is None else result.ignored.mask
            ids, closed = self._live.see(result.frame.index, result.frame.hw, cracks, ignored)
        for crack in closed:
            self._close_crack(crack)
        if self._kept is not None:
            self._kept.note_result(result, cracks, ids, is_fit=is_fit)
        self._update(result, cracks, ids)

    def finish(self) -> None:
        """Close all cracks.

        Raises:
            OutputError: a survey's files could not be written.
        """
        for crack in self._live.finish():
            self._close_crack(crack)

    def close(self) -> None:
        """Finish the survey's files.

        Raises:
            OutputError: one could not be written.
        """
        if self._kept is not None:
            self._kept.close()

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
                    if crack.confirmed:  # so that a killed run has it, too
                        self._kept.write_view(crack.id, keep=True)
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
            if _is_reported(finding):
                self._long += 1
                self._recent.append(finding)
        if self._kept is not None:
            self._kept.write_view(crack.id, keep=_is_reported(finding))
        if _is_reported(finding):
            self._on_closed(finding)


def _is_reported(finding: Finding) -> bool:
    """Whether to report a crack; specks seen only once are left to the survey."""
    crack, best = finding.crack, finding.best
    return crack.confirmed or is_long(
        max(crack.length_px, best.length_px), float(min(best.frame_hw))
    )


def _is_unfit(result: FrameResult) -> bool:
    """Whether the frame is nearly black, white or uniform, judged by every fourth pixel."""
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

"""Takes the newest frame of a live source and passes over those that waited in buffers.

A network delivers frames that waited as if they were new. But the times that the camera gives its
frames run evenly: a frame that arrives later after its own time than the best one did has waited by
as much.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Protocol

from edgecrack.runtime.sources.options import STALE_AFTER_S

# Between our clock and the camera's; quartz drifts by a tenth of this.
_CLOCK_DRIFT = 2e-4
# A jump of the camera's times, as when its clock is set.
_JUMP_S = 5.0
# Number of frames that had to be waited for; after a pause of the network, one is late itself.
_FRESH = 25
_FALLBACK_RATE_HZ = 30.0
_MAX_DRAIN_S = 1.0
# A stream faster than we grab must not keep us from ever delivering.
_MAX_PASSED_OVER = 64
_MAX_PASSING_OVER_S = 0.2


class StaleFrames:
    """Decides whether a frame newer than the one just taken must have arrived already.

    Without times in the stream, it never does.

    Args:
        frame_rate_hz: as the stream announces it; None if unknown.
    """

    def __init__(self, frame_rate_hz: float | None) -> None:
        self._interval_s = 1.0 / (frame_rate_hz or _FALLBACK_RATE_HZ)
        self._last_media_s: float | None = None
        self._fresh_s: deque[float] = deque(maxlen=_FRESH)
        self._fresh_at_s = 0.0

    def hides_newer(self, waited_s: float, taken_s: float, media_s: float | None) -> bool:
        """Whether the frame is so late that the one after it has arrived, too.

        Args:
            waited_s: how long taking it took; a frame that had to be waited for is the newest.
            taken_s: when it was taken, in s of a clock that runs evenly.
            media_s: its time in the stream, in s; None if unknown.
        """
        if media_s is None or media_s == self._last_media_s:
            return False
        self._last_media_s = media_s
        offset_s = taken_s - media_s
        had_to_wait = waited_s >= 0.5 * self._interval_s
        if self._fresh_s and abs(offset_s - min(self._fresh_s)) > _JUMP_S:
            self._fresh_s.clear()
        # Only a frame that was waited for shows how late the best ones are now. Until one comes,
        # the best is assumed to be as early as the clocks allow, so that no lag creeps in.
        best_s = min(self._fresh_s, default=offset_s)
        best_s -= _CLOCK_DRIFT * (taken_s - self._fresh_at_s)
        if had_to_wait or not self._fresh_s or offset_s < best_s:
            self._fresh_s.append(offset_s)
            self._fresh_at_s = taken_s
            best_s = min(self._fresh_s)
        return not had_to_wait and offset_s - best_s > 1.25 * self._interval_s


class Grabber(Protocol):
    """Takes one frame after the other."""

    def grab(self) -> bool:
        """Take the next frame; waits for it. False where the source has stopped."""
        ...

    @property
    def media_s(self) -> float | None:
        """Time of the frame in the stream, in s; None if unknown."""
        ...


class LiveGrabs:
    """Grabs frames of a camera or network stream.

    Args:
        grabber: takes the frames.
        timeout_s: the grabber's own for one frame.
        frame_rate_hz: as the stream announces it; None if unknown.

    Attributes:
        passed_over: frames so far that were left out for a newer one.
        read_s: when the last frame was read, in s of `time.monotonic`.
        closed: set from any thread to end a call early.
    """

    def __init__(self, grabber: Grabber, timeout_s: float, frame_rate_hz: float | None) -> None:
        self._grabber = grabber
        self._timeout_s = timeout_s
        self._frame_rate_hz = frame_rate_hz
        self._backlog = StaleFrames(frame_rate_hz)
        self.passed_over = 0
        self.read_s = time.monotonic()
        self.closed = False

    def expect_backlog(self) -> None:
        """Treat the next read as one after a pause."""
        self.read_s = -math.inf

    def grab(self) -> bool:
        """Grab past frames that waited for us; False where the source has stopped.

        Grabbing decodes, so only the steps after it are saved.
        """
        until_s = time.monotonic() + _MAX_PASSING_OVER_S
        for _ in range(_MAX_PASSED_OVER):
            before_s = time.monotonic()
            if not self._grab_in_time():
                return False
            now_s = time.monotonic()
            media_s = self._grabber.media_s
            if not self._backlog.hides_newer(now_s - before_s, now_s, media_s) or now_s > until_s:
                break
            self.passed_over += 1
        return True

    def drain(self) -> bool:
        """Pass over the frames in the buffers after a pause: they are as old as the pause.

        A grab that returns immediately took such a frame. One that had to wait took a new one, so
        the next is new as well.

        Returns:
            False where the source has stopped.
        """
        started_s = before_s = time.monotonic()
        if started_s - self.read_s < STALE_AFTER_S:
            return True
        waited_s = 0.3 / (self._frame_rate_hz or _FALLBACK_RATE_HZ)
        while not self.closed and before_s - started_s < _MAX_DRAIN_S:
            if not self._grab_in_time():
                return False
            self.passed_over += 1
            now_s = time.monotonic()
            if now_s - before_s > waited_s:
                break
            before_s = now_s
        return True

    def _grab_in_time(self) -> bool:
        started_s = time.monotonic()
        grabbed = self._grabber.grab()
        # After its timeout FFmpeg returns the last frame that it had, as if it were new.
        return grabbed and time.monotonic() - started_s < 0.9 * self._timeout_s

"""Takes the newest frame of a live source, past those that waited in buffers.

Knows grabs and times; does not convert a picture or know what is done with it.
"""

from __future__ import annotations

import math
import time
from typing import Protocol

from edgecrack.runtime.sources.options import STALE_AFTER_S
from edgecrack.runtime.sources.waiting_frames import WaitingFrames

_MAX_DRAIN_S = 1.0
# A stream faster than we grab must not keep us from ever delivering.
_MAX_PASSED_OVER = 64
_MAX_PASSING_OVER_S = 0.2


class Grabber(Protocol):
    """Takes one frame after the other, as they come."""

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
        grabber: who takes them.
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
        self._backlog = WaitingFrames(frame_rate_hz)
        self.passed_over = 0
        self.read_s = time.monotonic()
        self.closed = False

    def expect_backlog(self) -> None:
        """Take the next read for one after a pause."""
        self.read_s = -math.inf

    def grab(self) -> bool:
        """Grab past frames that waited because we are slow; False where the source has stopped.

        Grabbing decodes, so that what is saved is all that comes after it.
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
        """Pass over what waits in the buffers after a pause: it is as old as the pause.

        A grab that returns at once took such a frame. One that had to wait took a new one, so
        that the next is new as well.

        Returns:
            False where the source has stopped.
        """
        started_s = before_s = time.monotonic()
        if started_s - self.read_s < STALE_AFTER_S:
            return True
        waited_s = 0.3 / (self._frame_rate_hz or 30.0)
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
        # After its timeout FFmpeg gives, as if it were new, the last frame that it had.
        return grabbed and time.monotonic() - started_s < 0.9 * self._timeout_s

"""Tells a frame that has just come from one that waited, by its time in the stream.

The network hands out what waited as if it were new. But the camera's own times go on evenly: a
frame that comes later after its own time than the best one did has waited by as much. Knows times
only, no pictures.
"""

from __future__ import annotations

from collections import deque

# Between our clock and the camera's: quartz keeps to a tenth of this.
_CLOCK_DRIFT = 2e-4
# A jump of the camera's times, as when its clock is set.
_JUMP_S = 5.0
# So many frames that had to be waited for; after a pause of the network, one is late itself.
_FRESH = 25
_FALLBACK_RATE_HZ = 30.0


class WaitingFrames:
    """Decides whether a newer frame than the one just taken must be there already.

    Where the stream gives no times, it never says so.

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
            waited_s: how long taking it took; whoever had to wait has the newest.
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
        # Only a frame that was waited for shows how late the best ones are by now; until one
        # comes, the best is taken for as early as the clocks allow, lest a lag creep in.
        best_s = min(self._fresh_s, default=offset_s)
        best_s -= _CLOCK_DRIFT * (taken_s - self._fresh_at_s)
        if had_to_wait or not self._fresh_s or offset_s < best_s:
            self._fresh_s.append(offset_s)
            self._fresh_at_s = taken_s
            best_s = min(self._fresh_s)
        return not had_to_wait and offset_s - best_s > 1.25 * self._interval_s

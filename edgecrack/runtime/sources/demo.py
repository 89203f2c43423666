"""The built-in demo source: a drive past a synthetic wall, reproducible by its seed."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

from edgecrack.errors import SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import SourceBase
from edgecrack.synthetic import DemoPath

_FORM = "give demo, or demo?frames=240&seed=7&live=1"
_LIMITS = {"frames": (1, 1_000_000), "seed": (0, 2**32 - 1), "live": (0, 1)}
_DEFAULTS = {"frames": 240, "seed": 7, "live": 0}


class DemoSource(SourceBase):
    """Frames of a synthetic wall.

    Args:
        frames: how many, at least 1.
        seed: which wall.
        live: deliver in real time and repeat at the end, as a camera would; otherwise once, as
            fast as they are read.
    """

    def __init__(self, frames: int = 240, seed: int = 7, live: bool = False) -> None:
        self._path = DemoPath(seed=seed, frame_hw=(480, 640), frame_count=frames)
        self._frames = frames
        self._next = 0
        self.corrupt_frames = 0
        self._closed = False
        self._started_s: float | None = None
        self.live = live
        self.name = "demo"
        self.frame_rate_hz: float | None = float(self._path.frame_rate_hz)
        self.frame_count: int | None = None if live else frames

    def read(self) -> Frame | None:
        """The next frame, or None after the last.

        Raises:
            SourceError: a live demo was closed.
        """
        if self._closed and self.live:
            raise SourceError("the demo was closed", "open it again")
        if self._closed or (not self.live and self._next >= self._frames):
            return None
        index = self._next
        self._next += 1
        image = self._path.frame(index % self._frames).image
        rate_hz = self.frame_rate_hz or 25.0
        if self.live:
            self._wait_until(index / rate_hz)
        return Frame(
            image=image,
            index=index,
            capture_time_ns=time.time_ns() if self.live else None,
            source=self.name,
            name=f"{index:06d}",
            media_time_ms=None if self.live else index * 1000.0 / rate_hz,
            live=self.live,
            time_source="arrival" if self.live else "unknown",
            time_uncertainty_ms=0.0 if self.live else None,
        )

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True

    def _wait_until(self, due_s: float) -> None:
        now_s = time.monotonic()
        if self._started_s is None:
            self._started_s = now_s - due_s
        time.sleep(max(0.0, self._started_s + due_s - now_s))


def open_demo(address: str) -> DemoSource:
    """Open `demo` or `demo?frames=240&seed=7&live=1`.

    Raises:
        SourceError: a name after the question mark is unknown, or a value is out of range.
    """
    values = dict(_DEFAULTS)
    query = address.partition("?")[2]
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in _LIMITS:
            raise SourceError(f"{address} has the unknown setting {key}", _FORM)
        lowest, highest = _LIMITS[key]
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise SourceError(
                f"{address} has {key}={text}", f"give a whole number from {lowest} to {highest}"
            )
        values[key] = int(text)
    return DemoSource(values["frames"], values["seed"], bool(values["live"]))

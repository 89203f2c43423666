"""Sources that fail as told, and a clock that moves when it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from edgecrack.errors import SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import SourceBase
from tests.runtime.fakes import frame, picture
from tests.waiting import PATIENCE_S


class FaultySource(SourceBase):
    """Delivers what a script says: a size (a frame of it), an error, "corrupt" or "hang".

    After the script's end it waits until it is closed, as a silent camera would.
    """

    live = True
    frame_rate_hz: float | None = 25.0
    frame_count: int | None = None

    def __init__(self, script: Iterable[object], name: str = "camera:0") -> None:
        self.name = name
        self.corrupt_frames = 0
        self.closed = threading.Event()
        self.let_go = threading.Event()
        self._script = iter(script)
        self._delivered = 0

    def read(self) -> Frame | None:
        for step in self._script:
            if step == "corrupt":
                self.corrupt_frames += 1
                continue
            if step == "hang":
                self.let_go.wait(PATIENCE_S)
                continue
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
                continue
            assert isinstance(step, tuple)
            self._delivered += 1
            return frame(self._delivered - 1, picture(self._delivered, step))
        self.closed.wait(PATIENCE_S)
        raise SourceError(f"{self.name} was closed", "open it again")

    def close(self) -> None:
        self.closed.set()


class Opener:
    """Opens one scripted source after the other; an exception in the list is raised instead."""

    def __init__(self, *sources: FaultySource | Exception | Callable[[], FaultySource]) -> None:
        self._left = list(sources)
        self.opened: list[FaultySource] = []
        self.attempts = 0

    def __call__(self) -> FaultySource:
        self.attempts += 1
        if not self._left:
            raise SourceError("camera:0 is not there", "plug it in")
        following = self._left.pop(0)
        if isinstance(following, Exception):
            raise following
        source = following if isinstance(following, FaultySource) else following()
        self.opened.append(source)
        return source

"""Stand-ins for cameras, models and sinks; and real files for the real ones to read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.regions import Region, measure_cracks
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.sources.base import SourceBase
from edgecrack.terminal.native_logs import silence_native_logs

# Before anything below touches FFmpeg, as in a run of the program.
silence_native_logs()

Image = NDArray[np.uint8]
HW = (48, 64)


def picture(index: int = 0, hw: tuple[int, int] = HW) -> Image:
    """Dark gray with a bright horizontal bar of 6 rows whose length tells the index."""
    image = np.full((*hw, 3), 40, np.uint8)
    image[10:16, 4 : 12 + 2 * (index % 20)] = 250
    return image


def frame(index: int = 0, image: Image | None = None, name: str | None = None) -> Frame:
    return Frame(
        image=picture(index) if image is None else image,
        index=index,
        capture_time_ns=1_700_000_000_123_456_789 + index,
        source="test",
        name=f"{index:06d}" if name is None else name,
        media_time_ms=40.0 * index,
        read_time_ns=1_700_000_000_200_000_000,
    )


def result_of(taken: Frame, latency_ms: float = 12.0) -> FrameResult:
    """The result of a detector that calls bright pixels crack."""
    probability = np.asarray(cv2.cvtColor(taken.image, cv2.COLOR_BGR2GRAY), np.uint8)
    found = measure_cracks(probability, 0.5, 4)
    return FrameResult(
        taken, probability, found.mask, found.crack_pixels, found.regions, latency_ms, 3.0
    )


class ScriptedSource(SourceBase):
    """Delivers `count` frames; calls `before_read(index)` before each, which may raise."""

    def __init__(
        self,
        count: int,
        live: bool = False,
        before_read: Callable[[int], None] | None = None,
        frame_count: int | None = None,
    ) -> None:
        self.live = live
        self.name = "scripted"
        self.frame_rate_hz: float | None = 25.0
        self.frame_count = frame_count
        self.delivered = 0
        self.corrupt_frames = 0
        self.exhausted = threading.Event()
        self._count = count
        self._before_read = before_read or (lambda index: None)

    def read(self) -> Frame | None:
        self._before_read(self.delivered)
        if self.delivered == self._count:
            self.exhausted.set()
            return None
        self.delivered += 1
        taken = frame(self.delivered - 1)
        return Frame(taken.image, taken.index, taken.capture_time_ns, self.name, taken.name)

    def close(self) -> None:
        pass


class BrightDetector:
    """Calls bright pixels crack; `before_infer(n)` runs before the n-th inference."""

    threshold = 0.5
    model_name = "bright"

    def __init__(self, before_infer: Callable[[int], None] | None = None) -> None:
        self._before_infer = before_infer or (lambda number: None)
        self._inferred = 0

    def prepare(self, image: Image) -> Image:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)

    def infer(self, prepared: Image) -> Image:
        self._before_infer(self._inferred)
        self._inferred += 1
        return prepared

    def ignoring(self, ignored: IgnoredPixels | None) -> PartlyBright:
        return PartlyBright(self, ignored)


class PartlyBright(BrightDetector):
    """A bright detector that ignores a part of frames."""

    def __init__(self, whole: BrightDetector, ignored: IgnoredPixels | None) -> None:
        super().__init__()
        self._whole, self._ignored = whole, ignored

    def infer(self, prepared: Image) -> Image:
        found = self._whole.infer(prepared)
        return found if self._ignored is None else np.where(self._ignored.mask, 0, found)

    def close(self) -> None:
        pass


class ListSink:
    """Keeps results; fails on the frame numbered `fail_at`; `before_write` may block."""

    name = "list"

    def __init__(
        self,
        fail_at: int | None = None,
        before_write: Callable[[int], None] | None = None,
        error: Exception | None = None,
    ) -> None:
        self.results: list[FrameResult] = []
        self.closed = 0
        self._fail_at = fail_at
        self._before_write = before_write or (lambda number: None)
        self._error = error or OutputError("cannot write list.txt: disk full", "free some space")

    def write(self, result: FrameResult) -> None:
        self._before_write(len(self.results))
        if len(self.results) == self._fail_at:
            raise self._error
        self.results.append(result)

    def close(self) -> None:
        self.closed += 1

    @property
    def indices(self) -> list[int]:
        return [result.frame.index for result in self.results]


def write_video(path: Path, images: Sequence[Image], code: str = "mp4v", rate: float = 25) -> Path:
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(image)
    writer.release()
    return path


def read_video(path: Path) -> list[Image]:
    capture = cv2.VideoCapture(str(path))
    images: list[Image] = []
    while True:
        got, image = capture.read()
        if not got:
            capture.release()
            return images
        images.append(np.asarray(image, np.uint8))


def stream_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edgecrack-")]


def slow_regions(mask: Image, min_area_px: int) -> list[Region]:
    """8-connected groups by flood fill in plain Python: the reference for the fast ones."""
    todo = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while todo:
        group, border = [], [todo.pop()]
        while border:
            y, x = border.pop()
            group.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & todo
            todo -= near
            border.extend(near)
        ys, xs = [y for y, _ in group], [x for _, x in group]
        if len(group) >= min_area_px:
            found.append(Region((min(xs), min(ys), max(xs) + 1, max(ys) + 1), len(group)))
    return found

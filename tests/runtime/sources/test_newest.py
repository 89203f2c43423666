"""The newest frame of a scripted camera, with a clock that the test sets."""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import replace

import pytest

from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import SourceBase
from edgecrack.runtime.sources.newest import NewestFrames
from tests.runtime.fakes import ScriptedSource, frame, stream_threads
from tests.waiting import PATIENCE_S

LONG_MS = 1000 * PATIENCE_S


class StepCamera(SourceBase):
    """Live; delivers frame by frame as the test lets it, stamped with the test's clock."""

    live = True
    name = "steps"
    frame_rate_hz: float | None = None
    frame_count: int | None = None
    corrupt_frames = 0

    def __init__(self) -> None:
        self.now_ns = 0
        self.error: BaseException | None = None
        self.closed = 0
        self._steps = threading.Semaphore(0)
        self._asked = threading.Semaphore(0)
        self._index = 0

    def step(self, count: int = 1) -> None:
        """Let it deliver, and wait until the last frame has been taken over."""
        for _ in range(count):
            assert self._asked.acquire(timeout=PATIENCE_S)
            self._steps.release()
        assert self._asked.acquire(timeout=PATIENCE_S)
        self._asked.release()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._steps.release()

    def read(self) -> Frame | None:
        self._asked.release()
        self._steps.acquire()
        if self.error is not None:
            raise self.error
        if self.closed:
            raise SourceError("steps was closed", "open it again")
        taken = frame(self._index)
        self._index += 1
        return replace(taken, live=True, monotonic_ns=self.now_ns)

    def close(self) -> None:
        self.closed += 1
        self._steps.release()


def opened(camera: StepCamera) -> NewestFrames:
    return NewestFrames(camera, clock_ns=lambda: camera.now_ns)


def test_read_gives_each_frame_once_and_skips_to_the_newest() -> None:
    camera = StepCamera()
    with opened(camera) as newest:
        camera.step()
        assert newest.read(LONG_MS).index == 0
        camera.step(3)
        assert newest.drops == 2
        assert newest.read(LONG_MS).index == 3
        with pytest.raises(SourceError, match="no new frame within 0 ms"):
            newest.read(0)
        assert newest.drops == 2
    assert camera.closed == 1
    assert stream_threads() == []


def test_read_waits_for_a_frame_that_comes() -> None:
    camera = StepCamera()
    with opened(camera) as newest:
        threading.Timer(0.05, camera.step).start()
        assert newest.read(LONG_MS).index == 0


def test_read_gives_up_when_none_comes() -> None:
    with opened(StepCamera()) as newest, pytest.raises(SourceError, match="within 30 ms"):
        newest.read(30)


def test_read_latest_gives_a_frame_again_but_never_an_old_one() -> None:
    camera = StepCamera()
    with opened(camera) as newest:
        with pytest.raises(SourceError, match="no frame yet"):
            newest.read_latest(1000)
        camera.now_ns = 50_000_000
        camera.step()
        camera.now_ns = 150_000_000
        assert newest.read_latest(100).index == 0
        assert newest.read_latest(100).index == 0
        with pytest.raises(SourceError) as caught:
            newest.read_latest(99)
        assert "100 ms old" in caught.value.problem
        assert "at most 99 ms" in caught.value.problem
        camera.step()
        assert newest.read_latest(0).index == 1
        # Handed out is handed out, by whichever of the two.
        with pytest.raises(SourceError, match="no new frame"):
            newest.read(0)
        camera.step()
        assert newest.drops == 0


def test_an_error_of_the_source_is_raised_by_every_read_from_then_on() -> None:
    camera = StepCamera()
    lost = SourceError("the cable is out", "plug it in")
    with opened(camera) as newest:
        camera.step()
        assert newest.read(LONG_MS).index == 0
        camera.fail(lost)
        for _ in range(2):
            with pytest.raises(SourceError, match="cable"):
                newest.read(LONG_MS)
            with pytest.raises(SourceError, match="cable"):
                newest.read_latest(LONG_MS)


def test_an_error_that_is_raised_again_and_again_does_not_grow() -> None:
    camera = StepCamera()
    lengths = []
    with opened(camera) as newest:
        camera.fail(SourceError("the cable is out", "plug it in"))
        for _ in range(20):
            with pytest.raises(SourceError, match="cable") as caught:
                newest.read(LONG_MS)
            lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert lengths[-1] == lengths[1]  # the first may have waited for it elsewhere
    # Where it came from in the reading thread is still told.
    assert any(step.name == "_run" for step in traceback.extract_tb(caught.value.__traceback__))


def test_a_defect_of_the_source_is_not_lost_either() -> None:
    camera = StepCamera()
    with opened(camera) as newest:
        camera.fail(ZeroDivisionError("a defect"))
        with pytest.raises(ZeroDivisionError):
            newest.read(LONG_MS)


def test_after_close_there_are_no_frames_and_close_may_come_twice() -> None:
    camera = StepCamera()
    newest = opened(camera)
    camera.step()
    newest.close()
    newest.close()
    for read in (newest.read, newest.read_latest):
        with pytest.raises(SourceError, match="closed"):
            read(LONG_MS)
    assert stream_threads() == []


def test_close_ends_a_read_in_another_thread() -> None:
    newest = opened(StepCamera())
    caught: list[BaseException] = []

    def read() -> None:
        try:
            newest.read(LONG_MS)
        except SourceError as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    newest.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert "closed" in str(caught)


def test_a_recording_is_refused() -> None:
    source = ScriptedSource(5)
    with pytest.raises(ConfigError, match="scripted is a recording"):
        NewestFrames(source)
    assert stream_threads() == []


def test_with_the_machines_own_clock() -> None:
    from edgecrack.runtime.sources.open import open_source

    with NewestFrames(open_source("demo?live=1")) as newest:
        first = newest.read(LONG_MS)
        assert newest.read_latest(LONG_MS).index >= first.index
        assert newest.read(LONG_MS).index > first.index
        assert time.monotonic_ns() >= newest.read_latest(LONG_MS).monotonic_ns

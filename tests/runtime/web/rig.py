"""A stream without a pipeline: all that the live page talks to, driven by hand."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from edgecrack.files import write_atomic
from edgecrack.machine_sensors.throttling import ThrottleLook
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.pipeline.config import RecordingStatus, StreamControls
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.machine_load import MachineMonitor
from edgecrack.runtime.telemetry.stats import SourceHealth, StreamStats
from edgecrack.runtime.telemetry.throttle_watch import ThrottleWatch
from edgecrack.runtime.tracking.finding_book import FindingBook
from edgecrack.runtime.web.config import Patience, ServeConfig
from edgecrack.runtime.web.page_state import overlay_jpeg
from edgecrack.runtime.web.server import LiveServer
from edgecrack.runtime.web.status import LastReport, LatestResult, LiveContext
from tests.runtime.fakes import frame, picture, result_of
from tests.waiting import PATIENCE_S


class FakeRecorder:
    """Counts calls; `problem` as a full disk would set it."""

    def __init__(self) -> None:
        self.active = False
        self.parts = 0
        self.bytes_written = 0
        self.problem: str | None = None

    def start(self) -> None:
        self.active, self.problem = True, None
        self.parts += 1

    def stop(self) -> None:
        self.active = False

    def status(self) -> RecordingStatus:
        path = f"run_{self.parts}.mcap" if self.parts else None
        return RecordingStatus(self.active, path, self.parts, self.bytes_written, self.problem)


class Rig:
    """The parts, and a server on a free port of the loopback."""

    def __init__(
        self,
        folder: Path | None = None,
        max_age_ms: float | None = None,
        *,
        measures: bool = False,
    ) -> None:
        self.widths: dict[str, Any] | None = None
        self.events = EventLog()
        self.recorder = FakeRecorder()
        self.controls = StreamControls(0.5, self.events, self.recorder)
        self.stats = StreamStats()
        self.book = FindingBook()
        self.latest = LatestResult(max_age_ms=max_age_ms)
        self.folder = folder
        self.machine_look, self.now_s = ThrottleLook("unknown"), 0.0
        self.throttle = ThrottleWatch(
            lambda: self.machine_look, self.events, self.stats, lambda: self.now_s
        )
        self.health("live")
        self.context = LiveContext(
            stats=self.stats.snapshot,
            events=self.events,
            controls=self.controls,
            findings=self.book,
            machine=MachineMonitor(folder),
            latest=self.latest,
            about={"source": "test camera", "model": "bright.onnx", "version": "0.0"},
            snapshot=None if folder is None else self.snapshot,
            widths=(lambda: self.widths) if measures else None,
            report=None if folder is None else LastReport(folder, folder),
            throttling=self.throttle.status,
        )

    def server(
        self,
        port: int = 0,
        token: str | None = None,
        max_viewers: int = 16,
        max_fps: float = 50,
        patience: Patience | None = None,
    ) -> LiveServer:
        config = ServeConfig("127.0.0.1", port, token, max_viewers, max_fps)
        return LiveServer(config, self.context, patience)

    def health(self, state: str, shedding: str = "nothing") -> None:
        health = SourceHealth(state=state)  # type: ignore[arg-type]
        self.stats.set_state(health, shedding, self.controls.paused)

    def machine(self, look: ThrottleLook, seconds: float) -> None:
        """What the machine tells for so long, looked at every two seconds."""
        self.machine_look = look
        for _ in range(round(seconds / 2)):
            self.now_s += 2
            self.throttle.look()

    def show(self, result: FrameResult) -> None:
        """What the pipeline does with a result."""
        self.stats.add(result)
        self.book.see(result)
        self.latest.write(result)

    def show_bar(self, index: int) -> FrameResult:
        result = live_result(index)
        self.show(result)
        return result

    def show_crack(self, index: int) -> None:
        self.show(crack_result(index))

    def snapshot(self) -> Path | None:
        newest = self.latest.newest()
        if newest is None or self.folder is None:
            return None
        path = self.folder / f"snapshot {newest.number}.jpg"
        write_atomic(path, overlay_jpeg(newest.result))
        return path


def crack_result(index: int) -> FrameResult:
    """A crack of 200 px across a wall without texture, so that each frame stands for itself."""
    image = np.full((240, 320, 3), 40, np.uint8)
    image[100:106, 60:260] = 250
    return result_of(replace(live_result(index).frame, image=image))


def live_result(index: int, hw: tuple[int, int] = (240, 320)) -> FrameResult:
    taken: Frame = frame(index, picture(index, hw))
    fresh = replace(
        taken,
        capture_time_ns=time.time_ns(),
        monotonic_ns=time.monotonic_ns(),
        media_time_ms=None,
        live=True,
    )
    return result_of(fresh)


class Feed:
    """Shows frames from a thread until closed."""

    def __init__(self, rig: Rig, rate_hz: float = 50.0) -> None:
        self._stop = threading.Event()
        self._rig, self._interval_s = rig, 1 / rate_hz
        self.shown = 0
        self._thread = threading.Thread(target=self._run, name="edgecrack-test-feed", daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._rig.show_bar(self.shown)
            self.shown += 1

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)


def client(server: LiveServer, **settings: object) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=PATIENCE_S, **settings)  # type: ignore[arg-type]

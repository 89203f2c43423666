"""A GStreamer pipeline in a child process, read through a pipe.

OpenCV's wheels have no GStreamer; and a pipeline that hangs or crashes, as a camera's driver
does, takes nothing along with it. Knows nothing of the pipeline but that it ends in I420.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Sequence

from edgecrack.errors import EdgecrackError, MissingDependencyError, SourceError, first_line
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources import gst_child
from edgecrack.runtime.sources.base import SourceBase
from edgecrack.runtime.sources.child import Child
from edgecrack.runtime.sources.gst_messages import INSTALL, failure, without_passwords
from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS, MAX_FRAME_RATE_HZ, STALE_AFTER_S
from edgecrack.runtime.sources.pipe import Pipe
from edgecrack.runtime.sources.raw_stream import ELEMENTS, BrokenStreamError, RawFrames

_PROGRAM = "gst-launch-1.0"
# The newest picture waits, not a backlog.
_NEWEST = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"


class PipelineSource(SourceBase):
    """Frames of a GStreamer pipeline in a child process.

    Args:
        pipeline: words of a pipeline that ends in I420.
        name: without credentials.
        timeout_ms: longest wait for each frame, the first included.

    Raises:
        SourceError: it cannot be started, or not even the first frame comes.
        MissingDependencyError: GStreamer is not installed.
    """

    live = True
    frame_count: int | None = None

    def __init__(
        self, pipeline: Sequence[str], name: str, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> None:
        self.name = name
        self.frame_rate_hz: float | None = None
        self.corrupt_frames = 0
        self._timeout_s = timeout_ms / 1000
        self._raw = RawFrames()
        self._lock = threading.Lock()
        self._closed = False
        self._delivered = 0
        self._pipe = Pipe()
        try:
            self._child = self._start(pipeline)
        except BaseException:
            self._pipe.close()
            raise
        self._read_s = time.monotonic()
        try:
            self._first: Frame | None = self._next_frame()
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame:
        """The next frame; after a pause without reading, one from after the pause.

        Raises:
            SourceError: no frame came in time, the pipeline ended, or the source was closed.
        """
        frame, self._first = self._first, None
        if self._closed or frame is None or time.monotonic() - self._read_s > STALE_AFTER_S:
            frame = self._next_frame()
        self._read_s = time.monotonic()
        self._delivered += 1
        return frame

    def close(self) -> None:
        """End the pipeline within half a second; a read in another thread ends with an error."""
        self._closed = True
        self._child.stop()
        if self._lock.acquire(timeout=0.5):
            try:
                self._pipe.close()
            finally:
                self._lock.release()

    def _start(self, pipeline: Sequence[str]) -> Child:
        program = shutil.which(_PROGRAM)
        if program is None:
            raise MissingDependencyError(
                f"{self.name} needs {_PROGRAM}, which is not installed", INSTALL
            )
        tail = f"! {_NEWEST} ! {ELEMENTS} ! fdsink fd={self._pipe.write_end}"
        words = [*pipeline, *tail.split()]
        # English messages, since they are read here.
        settings = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
        command = [program, "-q", "--", *words]
        if without_passwords(words) != " ".join(words):
            # Everybody on this machine can read a command line.
            command = [sys.executable, "-I", gst_child.__file__]
            settings[gst_child.VARIABLE] = json.dumps(words)
        try:
            child = Child(command, self._pipe.write_end, settings)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise SourceError(
                f"{program} cannot be started for {self.name}: {reason}", "check its permissions"
            ) from error
        self._pipe.close_write_end()
        return child

    def _next_frame(self) -> Frame:
        with self._lock:
            try:
                if self._closed:
                    raise self._was_closed()
                return self._receive()
            except BrokenStreamError as error:
                raise SourceError(
                    f"{self.name} stopped: its pipeline sends no pictures ({error})",
                    "try the pipeline with gst-launch-1.0, then start again",
                ) from error
            finally:
                if self._closed:
                    self._pipe.close()

    def _receive(self) -> Frame:
        deadline_s = time.monotonic() + self._timeout_s
        to_pass_over = self._waiting_pictures()
        while True:
            while (data := self._raw.next_picture()) is None:
                self._raw.feed(self._read_pipe(deadline_s))
            time_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
            picture_format = self._raw.format
            if to_pass_over > 0 or picture_format is None:
                to_pass_over -= 1
                continue
            self._pipe.hold_at_most(picture_format.frame_bytes // 2)
            rate_hz = picture_format.frame_rate_hz
            self.frame_rate_hz = rate_hz if rate_hz and rate_hz <= MAX_FRAME_RATE_HZ else None
            return Frame(
                image=picture_format.to_bgr(data),
                index=self._delivered,
                capture_time_ns=time_ns,
                source=self.name,
                name=f"{self._delivered:06d}",
                live=True,
                monotonic_ns=monotonic_ns,
                read_time_ns=time_ns,
                time_source="arrival",
                time_uncertainty_ms=1000 / self.frame_rate_hz if self.frame_rate_hz else None,
            )

    def _waiting_pictures(self) -> int:
        """How many pictures wait in the pipe since the last read, if that is long ago."""
        if self._raw.format is None or time.monotonic() - self._read_s < STALE_AFTER_S:
            return 0
        waiting = self._pipe.waiting_bytes + self._raw.is_inside_picture
        return -(-waiting // self._raw.format.frame_bytes)

    def _read_pipe(self, deadline_s: float) -> bytes:
        data = None if self._closed else self._pipe.read(deadline_s - time.monotonic())
        if self._closed:
            raise self._was_closed()
        if data is None:
            raise SourceError(
                f"{self.name} stopped delivering frames: nothing came for {self._timeout_s:g} s",
                "check the camera, or try the pipeline with gst-launch-1.0",
            )
        if not data:
            raise self._end_of_child()
        return data

    def _was_closed(self) -> SourceError:
        return SourceError(f"{self.name} stopped: it was closed", "open it again")

    def _end_of_child(self) -> EdgecrackError:
        self._child.wait(0.3)  # for what it says at its end
        return failure(self.name, self._child.last_lines, self._child.exit_status)

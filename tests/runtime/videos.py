"""Videos that we wrote, as others see them: the system's ffmpeg and ffprobe, and PyAV."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from tests.runtime import ffmpeg_program
from tests.runtime.fakes import Image
from tests.runtime.ffmpeg_program import require_ffmpeg
from tests.waiting import PATIENCE_S


class Video(NamedTuple):
    """A video as ffprobe sees it; its frames were decoded to be counted."""

    stream: dict[str, Any]
    times_s: list[float]
    key_times_s: list[float]
    duration_s: float

    @property
    def frames(self) -> int:
        return int(self.stream["nb_read_frames"])


def probe(path: Path) -> Video:
    """What ffprobe finds; the test is skipped where there is none."""
    require_ffmpeg()
    entries = "stream:format=duration:packet=pts_time,flags"
    found = ffmpeg_program.probe(path, "-count_frames", "-show_entries", entries)
    (stream,) = found["streams"]
    packets = found["packets"]
    return Video(
        stream,
        [float(packet["pts_time"]) for packet in packets],
        [float(packet["pts_time"]) for packet in packets if packet["flags"].startswith("K")],
        float(found["format"]["duration"]),
    )


def pictures(path: Path) -> list[Image]:
    """The pictures of a video, BGR; all of one that was cut short, too, unlike OpenCV."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        shown = [
            # Older PyAV takes all for BT.601 unless it is told of both sides.
            frame.reformat(format="bgr24", src_colorspace="ITU709", dst_colorspace="ITU601")
            for frame in container.decode(video=0)
        ]
    return [np.asarray(frame.to_ndarray(), np.uint8) for frame in shown]


def complaints(path: Path) -> str:
    """What ffmpeg has to say against a video when it decodes all of it; "" is none."""
    require_ffmpeg()
    words = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return done.stderr

"""The system's ffmpeg and ffprobe: they make the videos of tests, and are the second opinion."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.waiting import PATIENCE_S

TESTED = ("-f", "lavfi", "-i", "testsrc2=size=192x144:rate=25")


def require_ffmpeg(*encoders: str) -> None:
    """Skip the test, with the reason, where the programs or encoders are not there."""
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} (see .ci/run for its package)")
    for encoder in encoders:
        if encoder not in _encoders():
            pytest.skip(f"this machine's ffmpeg has no encoder {encoder}")


@lru_cache(maxsize=1)
def _encoders() -> frozenset[str]:
    listed = _run("ffmpeg", "-hide_banner", "-encoders").decode()
    return frozenset(line.split()[1] for line in listed.splitlines() if len(line.split()) > 2)


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg; existing files are replaced."""
    _run("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments)


def make_video(
    path: Path, *options: str, seconds: float = 1.2, source: tuple[str, ...] = TESTED
) -> Path:
    """A video of a moving test picture."""
    ffmpeg(*source, "-t", str(seconds), *options, path)
    return path


def probe(path: Path, *show: str, track: int = 0) -> dict[str, Any]:
    """What ffprobe says in JSON of the path's video track."""
    given = ("-v", "error", "-of", "json", "-select_streams", f"v:{track}")
    found: dict[str, Any] = json.loads(_run("ffprobe", *given, *show, path))
    return found


def frame_times_ms(path: Path, track: int = 0) -> list[float]:
    """Times of all frames, from the file's beginning, in the order of display."""
    found = probe(
        path, "-show_entries", "frame=pts_time:format=start_time", "-show_format", track=track
    )
    start_s = float(found["format"].get("start_time", 0))
    return [1000 * (float(one["pts_time"]) - start_s) for one in found["frames"]]


def decoded_bgr(path: Path, track: int = 0) -> NDArray[np.uint8]:
    """All frames as ffmpeg decodes and turns them: uint8 [N, H, W, 3]; of one size."""
    raw = _run(
        "ffmpeg", "-nostdin", "-v", "quiet", "-i", path, "-map", f"0:v:{track}",
        *("-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "image2pipe", "-c:v", "ppm", "-"),
    )  # fmt: skip
    frames = []
    while raw:
        magic, size, depth, rest = raw.split(b"\n", 3)
        assert (magic, depth) == (b"P6", b"255")
        width, height = map(int, size.split())
        count = 3 * width * height
        frames.append(np.frombuffer(rest[:count], np.uint8).reshape(height, width, 3)[..., ::-1])
        raw = rest[count:]
    return np.stack(frames)


def _run(program: str, *arguments: str | Path) -> bytes:
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout

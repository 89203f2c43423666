"""How many damaged video frames are detected, by codec, container and kind of damage.

    python benchmarks/damaged_video.py --data DATA [--trials 40]

Four seconds of the wall video are encoded with a key frame each second, then damaged at random:
lost packets of a transport stream, changed bytes, bytes set to zero, bytes cut out. The truth is
what comes out of the sound file: a frame is damaged where more than 40 of its pixels differ by
more than 12 levels from each sound one near it. "shown damaged" is the share of damaged frames
among all that came out; "left out" the share of all frames that did not.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.errors import SourceError  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402

X264 = ("-c:v", "libx264", "-g", "25", "-pix_fmt", "yuv420p")
X265 = ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=25", "-pix_fmt", "yuv420p")
MPEG = ("-g", "25", "-q:v", "4")
FORMATS: dict[str, tuple[str, ...]] = {
    "h264.ts": X264,
    "h264.mp4": X264,
    "h264.mkv": X264,
    "hevc.ts": X265,
    "hevc.mp4": X265,
    "mpeg2.ts": ("-c:v", "mpeg2video", *MPEG),
    "mpeg4.mp4": ("-c:v", "mpeg4", *MPEG),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", "4"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-g", "25", "-deadline", "realtime", "-cpu-used", "8"),
    "av1.mp4": ("-c:v", "libaom-av1", "-g", "25", "-cpu-used", "8"),
}
Gray = NDArray[np.int16]
_NEAR = 7


@dataclass
class Tally:
    """Counts over the trials of one kind of damage."""

    trials: int = 0
    opened: int = 0
    came: int = 0
    came_damaged: int = 0
    sound_left_out: int = 0
    frames: int = 0
    unheard: int = 0

    def to_dict(self) -> dict[str, float]:
        return {
            "trials": self.trials,
            "refused": self.trials - self.opened,
            "shown_damaged_percent": round(100 * self.came_damaged / max(1, self.came), 2),
            "left_out_percent": round(100 * self.sound_left_out / max(1, self.frames), 1),
            "trials_with_unheard_damage_percent": round(100 * self.unheard / self.trials, 1),
        }


def gray_frames(path: Path) -> tuple[dict[int, Gray], int]:
    """Frames by their time in ms, and how many were left out as damaged."""
    frames = {}
    with open_source(path) as source:
        while (frame := source.read()) is not None:
            gray = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY).astype(np.int16)
            frames[round(frame.media_time_ms or 0)] = gray
        return frames, source.corrupt_frames


def damaged(data: bytes, kind: str, rng: random.Random) -> bytes:
    changed, size = bytearray(data), len(data)
    if kind == "lost packets":
        count = rng.choice([1, 1, 2, 7])
        first = 188 * rng.randrange(size // 188 // 8, size // 188 - count)
        del changed[first : first + 188 * count]
        return bytes(changed)
    count = {"changed bytes": rng.choice([1, 4, 16]), "zeros": 1000, "cut out": 1000}[kind]
    first = rng.randrange(size // 8, size - count - 1)
    if kind == "cut out":
        del changed[first : first + count]
    else:
        for place in range(first, first + count):
            changed[place] = 0 if kind == "zeros" else changed[place] ^ rng.randrange(1, 256)
    return bytes(changed)


def is_damaged(gray: Gray, time_ms: int, truth: dict[int, Gray]) -> bool:
    """Whether a frame is none of the sound ones near its time.

    AVI times are counted frames: after lost frames they are too early, but the pictures whole.
    """
    near = sorted(truth, key=lambda other: abs(other - time_ms))[:_NEAR]
    return all(
        truth[other].shape != gray.shape or (np.abs(gray - truth[other]) > 12).sum() > 40
        for other in near
    )


def try_damage(path: Path, kind: str, truth: dict[int, Gray], seed: int, tally: Tally) -> None:
    """Damage a copy of the video once, read it, and count."""
    copy = path.with_name(f"damaged{path.suffix}")
    copy.write_bytes(damaged(path.read_bytes(), kind, random.Random(seed)))
    tally.trials += 1
    try:
        found, heard = gray_frames(copy)
    except SourceError:
        return
    tally.opened += 1
    tally.frames += len(truth)
    tally.came += len(found)
    bad = sum(is_damaged(gray, time_ms, truth) for time_ms, gray in found.items())
    tally.came_damaged += bad
    tally.sound_left_out += max(0, len(truth) - len(found))
    tally.unheard += bool(bad and not heard)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--trials", type=int, default=40)
    given = parser.parse_args()
    wall = given.data / "video" / "wall_robot.mp4"
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, options in FORMATS.items():
            path = Path(folder) / name
            encode = ["ffmpeg", "-v", "error", "-y", "-ss", "2", "-t", "4", "-i", str(wall)]
            encode += ["-vf", "crop=352:288", "-an", *options, str(path)]
            subprocess.run(encode, check=True, capture_output=True)
            truth, false_alarms = gray_frames(path)
            kinds = ["changed bytes", "zeros", "cut out"]
            if path.suffix == ".ts":
                kinds.insert(0, "lost packets")
            row: dict[str, Any] = {"frames": len(truth), "left_out_of_the_sound": false_alarms}
            for kind in kinds:
                tally = Tally()
                for seed in range(given.trials):
                    try_damage(path, kind, truth, seed, tally)
                row[kind] = tally.to_dict()
            result[name] = row
            print(name, row, flush=True)
    write_result("damaged_video", result, "av", "opencv-python-headless")


if __name__ == "__main__":
    main()

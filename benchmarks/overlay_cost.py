"""What a frame of the overlay video costs: CPU time, bytes, and how well thin lines survive.

    python benchmarks/overlay_cost.py --data DIR [--frames 150] [--rounds 5] [--out NAME]

The bundled model's findings are drawn into the frames of DIR/video/wall_robot.mp4. These pictures
are written by OpenCV as before (MPEG-4 Part 2), by `VideoWriter` with each of its encoders, and
with one setting of x264 changed at a time; all in turn, round by round. CPU time is that of all
threads, the median over the rounds. PSNR is of the gray values, over all pixels, and over the crack
pixels and their outlines.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402
from edgecrack.runtime.frame import FrameResult  # noqa: E402
from edgecrack.runtime.outputs.overlay import OUTLINE, draw_overlay  # noqa: E402
from edgecrack.runtime.outputs.video_writer import ENCODERS, Encoder, VideoWriter  # noqa: E402
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402

Picture = NDArray[np.uint8]
RATE_HZ = 30.0
# Settings of x264 that are not taken, each beside those that are.
CHANGES: dict[str, dict[str, str]] = {
    "superfast": {"preset": "superfast", "x264-params": ""},
    "adaptive quantization": {"x264-params": "subme=1:aq-mode=1"},
    "without cabac": {"coder": "vlc"},
    "without subme=1": {"x264-params": ""},
}


class Drawn(NamedTuple):
    """A picture as it is written, and where its thin lines are."""

    image: Picture
    lines: NDArray[np.bool_]


class Writer(NamedTuple):
    """A way to write the pictures; `matrix` is how a reader turns them back into colours."""

    name: str
    write: Callable[[Path, Sequence[Drawn]], None]
    matrix: str


class KeepDrawn:
    """A sink that keeps the overlays, and what drawing them took."""

    name = "pictures"

    def __init__(self) -> None:
        self.drawn: list[Drawn] = []
        self.draw_s = 0.0

    def write(self, result: FrameResult) -> None:
        started_s = time.thread_time()
        image = draw_overlay(result)
        self.draw_s += time.thread_time() - started_s
        lines = (result.mask != 0) | np.all(image == OUTLINE, axis=2)
        self.drawn.append(Drawn(image, lines))

    def close(self) -> None:
        """Nothing to close."""


def write_as_before(path: Path, pictures: Sequence[Drawn]) -> None:
    height, width = pictures[0].image.shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), code, RATE_HZ, (width, height))
    for picture in pictures:
        writer.write(picture.image)
    writer.release()


def writer_of(name: str, encoder: Encoder) -> Writer:
    def write(path: Path, pictures: Sequence[Drawn]) -> None:
        height, width = pictures[0].image.shape[:2]
        writer = VideoWriter(path, (height, width), RATE_HZ, [encoder])
        for number, picture in enumerate(pictures):
            writer.append(picture.image, round(number * 1e9 / RATE_HZ))
        writer.close()

    return Writer(name, write, "ITU709")


def writers() -> list[Writer]:
    found = [Writer("opencv mp4v", write_as_before, "ITU601")]
    present = [encoder for encoder in ENCODERS if encoder.name in av.codecs_available]
    found += [writer_of(encoder.name, encoder) for encoder in present]
    for encoder in present:
        if encoder.name == "libx264":
            found += [
                writer_of(
                    f"libx264, {name}", encoder._replace(options={**encoder.options, **other})
                )
                for name, other in CHANGES.items()
            ]
    return found


def psnr_db(path: Path, pictures: Sequence[Drawn], matrix: str) -> tuple[float, float]:
    """Over all pixels, and over those of thin lines."""
    error = [0.0, 0.0]
    pixels = [0, 0]
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        for picture, frame in zip(pictures, frames, strict=True):
            back = frame.reformat(format="bgr24", src_colorspace=matrix, dst_colorspace="ITU601")
            shown = cv2.cvtColor(back.to_ndarray(), cv2.COLOR_BGR2GRAY).astype(np.float64)
            squares = (shown - cv2.cvtColor(picture.image, cv2.COLOR_BGR2GRAY)) ** 2
            for place, chosen in enumerate((squares, squares[picture.lines])):
                error[place] += float(chosen.sum())
                pixels[place] += chosen.size
    whole, lines = (
        10 * np.log10(255**2 * n / max(e, 1e-9)) for e, n in zip(error, pixels, strict=True)
    )
    return float(whole), float(lines)


def draw(video: Path, frames: int) -> KeepDrawn:
    sink = KeepDrawn()
    with open_detector() as detector, open_source(str(video)) as source:
        run_pipeline(source, detector, [sink], PipelineConfig(max_frames=frames))
    return sink


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default="overlay_cost")
    given = parser.parse_args()
    video = given.data / "video" / "wall_robot.mp4"
    cv2.setNumThreads(1)
    sink = draw(video, given.frames)
    pictures, all_writers = sink.drawn, writers()
    cpu_ms: dict[str, list[float]] = {writer.name: [] for writer in all_writers}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overlay.mp4"
        for number in range(given.rounds):
            for writer in all_writers:
                path.unlink(missing_ok=True)
                started_s = time.process_time()
                writer.write(path, pictures)
                cpu_s = time.process_time() - started_s
                cpu_ms[writer.name].append(cpu_s * 1000 / len(pictures))
                if number == 0:
                    whole_db, lines_db = psnr_db(path, pictures, writer.matrix)
                    found[writer.name] = {
                        "bytes_per_frame": path.stat().st_size // len(pictures),
                        "psnr_db": round(whole_db, 2),
                        "psnr_of_lines_db": round(lines_db, 2),
                    }
    for name, times_ms in cpu_ms.items():
        low, middle, high = np.quantile(times_ms, (0.25, 0.5, 0.75)).tolist()
        times = {"cpu_ms_per_frame": round(middle, 2), "quartiles": [round(low, 2), round(high, 2)]}
        found[name] = {**times, **found[name]}
        print(name, found[name])
    height, width = pictures[0].image.shape[:2]
    figures = {
        "video": video.name,
        "frames": len(pictures),
        "rounds": given.rounds,
        "size": f"{width}x{height}",
        "draw_ms_per_frame": round(sink.draw_s * 1000 / len(pictures), 2),
        "writers": found,
    }
    write_result(given.out, figures, "av", "opencv-python-headless", "numpy")


if __name__ == "__main__":
    main()

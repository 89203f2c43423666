"""The wall video surveyed: what is counted, and how long it takes after the run.

    python benchmarks/wall_survey.py --data DATA --write

Streams the first 301 frames and then all with `survey`, in turn at the video's rate and at a third
of it, and surveys each run; and the first 301 with a network that sees two frames a second, while
all are followed. There is no truth: which of the confirmed cracks is the main one, and
which are none, is judged by eye on the map; the script prints how long the longest is and how many
others there are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack import open_source  # noqa: E402
from edgecrack.constants import MIN_AREA_PX  # noqa: E402
from edgecrack.measurement.regions import measure_cracks  # noqa: E402
from edgecrack.run_survey import survey_run  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402
from edgecrack.runtime.frame import FrameResult  # noqa: E402
from edgecrack.runtime.outputs.output_folder import OutputFolder  # noqa: E402
from edgecrack.runtime.stream import stream_to_folder  # noqa: E402
from edgecrack.runtime.stream_config import StreamConfig  # noqa: E402
from edgecrack.runtime.telemetry.events import EventLog  # noqa: E402
from edgecrack.runtime.tracking.crack_tracker import CrackTracker  # noqa: E402
from edgecrack.runtime.tracking.finding_book import FindingBook  # noqa: E402
from edgecrack.runtime.tracking.kept_run import KeptRun  # noqa: E402

VIDEO = "video/wall_robot.mp4"


def streamed(video: Path, folder: Path, max_frames: int | None) -> Path:
    """The folder of a stream's results."""
    folder, _ = stream_to_folder(
        StreamConfig(str(video), folder, save=("jsonl",), max_frames=max_frames, survey=True)
    )
    return folder


def throttled(video: Path, folder: Path, max_frames: int, every: int) -> Path:
    """As a live stream with a slow network keeps it: every frame followed, few inspected."""
    book = FindingBook()
    book.keep(KeptRun(OutputFolder(folder), EventLog()))
    tracker = CrackTracker(book)
    with open_source(str(video)) as source, open_detector() as detector:
        while (frame := source.read()) is not None and frame.index < max_frames:
            tracker.watch(frame)
            if frame.index % every == 0:
                probability = detector.probability_of(frame.image)
                found = measure_cracks(probability, detector.threshold, MIN_AREA_PX)
                tracker.write(
                    FrameResult(
                        frame, probability, found.mask, found.crack_pixels, found.regions, 0.0, 0.0
                    )
                )
        tracker.close()
    return folder


def surveyed(run: Path, label: str, shown: Path | None) -> dict[str, Any]:
    """Survey a run; the figures."""
    begin, cpu = time.perf_counter(), time.process_time()
    found = survey_run(run)
    seconds, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
    if shown is not None:
        for name in ("map.png", "coverage.png", "strip.png"):
            (shown / f"{label}_{name}").write_bytes((found.folder / name).read_bytes())
    confirmed = [each for each in found.inventory.cracks if each.confirmed]
    kept_mb = sum(f.stat().st_size for f in (run / "survey").rglob("*") if f.is_file()) / 1e6
    frames = len(found.sheets.placements)
    return {
        "frames": frames,
        "sheets": [len(sheet.frames) for sheet in found.sheets.sheets],
        "registration_px": [round(sheet.sigma_px, 2) for sheet in found.sheets.sheets],
        "confirmed": [found.inventory.confirmed.low, found.inventory.confirmed.high],
        "lengths_px": sorted((round(each.length_px) for each in confirmed), reverse=True),
        "unconfirmed": found.inventory.unconfirmed,
        "survey_s": round(seconds, 1),
        "survey_cpu_s": round(cpu_s, 1),
        "kept_mb_a_minute": round(kept_mb / (frames / 30) * 60, 1),
    }


def thinned(video: Path, folder: Path, step: int) -> Path:
    """Every `step`-th frame as PNG files."""
    folder.mkdir()
    with open_source(str(video)) as source:
        while (frame := source.read()) is not None:
            if frame.index % step == 0:
                cv2.imwrite(str(folder / f"{frame.index:06d}.png"), np.asarray(frame.image))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--maps", type=Path, help="a folder for the pictures")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = options.data / VIDEO
        third = thinned(video, folder / "third", 3)
        for label, source, frames in (
            ("begin", video, 301),
            ("begin_third", third, 101),
            ("whole", video, None),
            ("whole_third", third, None),
        ):
            run = streamed(source, folder / label, frames)
            figures[label] = surveyed(run, label, options.maps)
            print(label, figures[label], flush=True)
        run = throttled(video, folder / "begin_two_hz", 301, 15)
        figures["begin_two_hz"] = surveyed(run, "begin_two_hz", options.maps)
        print("begin_two_hz", figures["begin_two_hz"], flush=True)
    if options.write:
        write_result("wall_survey", figures, "opencv-python-headless", "numpy", "onnxruntime")


if __name__ == "__main__":
    main()

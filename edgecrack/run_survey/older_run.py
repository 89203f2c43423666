"""Reads runs without survey data, from their overlay video and their centre lines.

The overlay's frames replace the captured ones. Cracks are drawn on them, so widths cannot be
measured, and the map is tinted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgecrack.errors import SourceError
from edgecrack.files import natural_key
from edgecrack.measurement.fitness import assess
from edgecrack.outside_text import parse_json
from edgecrack.run_survey.kept_lines import (
    PARTS,
    KeptFrame,
    KeptFrames,
    KeptSighting,
    Look,
    crack_of,
)
from edgecrack.runtime.outputs.run_parts import FRAMES_NAME
from edgecrack.runtime.tracking.kept_run import SURVEY_NAME, TRACK_NAME
from edgecrack.survey.track import FrameTracker

_OVERLAYS = "overlay*.mp4"
NOTE = (
    "the run has no data for a survey: this one was made from its overlay, without widths; stream "
    "with --survey to get them"
)


def is_older_run(folder: Path) -> bool:
    """Whether a folder is of a run that wrote `frames.jsonl` but no survey data."""
    parts = (folder, *folder.glob(PARTS))
    kept = any((part / SURVEY_NAME / TRACK_NAME).is_file() for part in parts)
    return not kept and any((part / FRAMES_NAME).is_file() for part in parts)


def read_older_run(folder: Path) -> KeptFrames:
    """Track a run's overlays, part by part, and read the centre lines of its frames.

    Raises:
        SourceError: there is no overlay, or there are no centre lines.
    """
    kept = KeptFrames(folder, note=NOTE)
    parts = [folder, *sorted(folder.glob(PARTS), key=lambda path: natural_key(path.name))]
    for part in parts:
        overlays = sorted(part.glob(_OVERLAYS), key=lambda path: natural_key(path.name))
        if overlays and (part / FRAMES_NAME).is_file():
            _read_part(kept, part, overlays)
    if not kept.frames:
        raise SourceError(
            f"{folder} has neither survey data nor a readable overlay, so no survey can be made",
            "stream with `survey`, or survey the video itself",
        )
    return kept


def _read_part(kept: KeptFrames, part: Path, overlays: list[Path]) -> None:
    tracker = FrameTracker()
    for line, image in zip(_lines(part / FRAMES_NAME), _frames(overlays), strict=False):
        number = len(kept.frames)
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
        hw = gray.shape[0], gray.shape[1]
        if hw != (line.get("height"), line.get("width")):
            raise SourceError(
                f"the overlay in {part} differs in size from the frames",
                "stream with `survey`, or survey the video itself",
            )
        if not isinstance(line.get("lines"), list):
            raise SourceError(
                f"{part / FRAMES_NAME} is from a version that wrote no centre lines",
                "survey the video itself",
            )
        step = tracker.add(gray, None, number)
        name = str(line.get("name", number))
        kept.frames[number] = KeptFrame(name, part, step, None)
        cracks = [crack_of({"lines": [each], "box": [0, 0, 0, 0]}) for each in line["lines"]]
        known = tuple(crack for crack in cracks if crack is not None)
        is_fit = assess(gray).verdict != "unfit"
        inspected = _share(line.get("inspected_ratio"), 1.0)
        ignored = _share(line.get("ignored_ratio"), 0.0)
        missed = max(0.0, 1.0 - inspected - ignored)
        sighting = KeptSighting(is_fit, missed, ignored, known, (0,) * len(known), None)
        kept.sightings.put(number, sighting)
        kept.looks[number] = Look(is_fit, missed, None, ignored)


def _share(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= 1 else default


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for text in file:
            try:
                line = parse_json(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def _frames(overlays: list[Path]) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    for path in overlays:
        video = cv2.VideoCapture(str(path))
        try:
            while True:
                there, image = video.read()
                if not there:
                    break
                yield np.asarray(image, np.uint8)
        finally:
            video.release()

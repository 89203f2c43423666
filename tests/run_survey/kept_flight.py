"""A short flight over a rough wall, as a stream with `survey` keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edgecrack.measurement.regions import measure_cracks
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.measuring.frame_scale import FrameScale
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.tracking.crack_tracker import CrackTracker
from edgecrack.runtime.tracking.finding_book import FindingBook
from edgecrack.runtime.tracking.kept_run import DEFAULT_LIMIT_BYTES, KeptRun
from edgecrack.survey.plane_geometry import Matrix
from tests.runtime.fakes import Image, frame
from tests.survey.small_walls import HW, crack_mask, rough_wall, seen

LONG = [(60, 120), (250, 128), (480, 112), (700, 150)]


def painted_wall(lines: Iterable[Sequence[tuple[int, int]]], width_px: int = 4) -> Image:
    """A wall that is brighter than in the survey's own tests, with dark cracks on it."""
    wall = (0.4 * rough_wall().astype(np.float32) + 110).clip(0, 255).astype(np.uint8)
    mask = np.zeros(wall.shape, np.uint8)
    for line in lines:
        cv2.polylines(mask, [np.array(line, np.int32)], False, 255, width_px)
    inside = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.8)
    return np.clip(wall * (1 - 0.85 * inside), 0, 255).astype(np.uint8)


def views(
    ways: Iterable[Matrix],
    lines: Sequence[Sequence[tuple[int, int]]] = (LONG,),
    first: int = 0,
    hw: tuple[int, int] = HW,
    position: Callable[[int], Position | None] = lambda index: None,
    wall: Image | None = None,
) -> list[FrameResult]:
    wall = painted_wall(lines) if wall is None else wall
    mask = crack_mask(wall.shape, lines)
    results = []
    for index, way in enumerate(ways, first):
        image = np.asarray(cv2.cvtColor(seen(wall, way, hw), cv2.COLOR_GRAY2BGR), np.uint8)
        probability = seen(mask, way, hw)
        found = measure_cracks(probability, 0.5, 4)
        result = FrameResult(
            frame(index, image),
            probability,
            found.mask,
            found.crack_pixels,
            found.regions,
            1.0,
            1.0,
        )
        results.append(replace(result, position=position(index)))
    return results


def keep(
    folder: Path,
    results: Iterable[FrameResult],
    *,
    scale: FrameScale | None = None,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
    events: EventLog | None = None,
    inspects: Callable[[int], bool] = lambda index: True,
) -> FindingBook:
    """Give results to a tracker that keeps what a survey needs."""
    events = events or EventLog()
    book = FindingBook()
    kept = KeptRun(
        OutputFolder(folder),
        events,
        scale,
        limit_bytes=limit_bytes,
        on_measured=book.take_measured,
    )
    book.keep(kept)
    tracker = CrackTracker(book, events)
    for result in results:
        tracker.watch(result.frame)
        if inspects(result.frame.index):
            tracker.write(result)
    tracker.close()
    return book

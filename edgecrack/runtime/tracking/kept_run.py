"""The files that a run keeps for its survey, in the folder `survey` of its results.

    survey/track.jsonl        a line for each captured frame: how it moved, and whether it is kept
    survey/sightings.jsonl    a line for each inspected frame: its cracks' centre lines
    survey/rows.jsonl         widths along the cracks of the frames that were measured
    survey/key_frames/*.jpg   pictures of the key frames, without drawings
    survey/ignored/*.png      where frames were ignored on purpose, white
    survey/views/*.jpg        each crack in the frame that shows it best, without drawings

`run_survey` reads them. Nothing is kept while the robot stands still.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edgecrack.files import write_atomic, write_png
from edgecrack.images.encodings import encode
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.budget import Figure, width_figures
from edgecrack.measurement.cracks import Crack, measure_image
from edgecrack.measurement.fitness import Verdict, assess
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.measuring.frame_scale import FoundScale, FrameScale
from edgecrack.runtime.measuring.measuring_thread import MeasuringThread
from edgecrack.runtime.measuring.width_record import checked_on_site
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.sinks import JsonLines
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.tracking.findings import BestView, MeasuredView, window_around
from edgecrack.scale.applied import CrackInMm, all_in_millimetres, middle_scale, row_scale
from edgecrack.scale.scale import Scale
from edgecrack.survey.plane_geometry import Matrix, normal, overlap
from edgecrack.survey.track import Step
from edgecrack.terminal.wording import interval

# Raised when a field of the lines is removed, renamed or changes its meaning.
KEPT_SCHEMA_VERSION = 1
SURVEY_NAME, IDS_NAME = "survey", "ids.json"
TRACK_NAME, SIGHTINGS_NAME, ROWS_NAME = "track.jsonl", "sightings.jsonl", "rows.jsonl"
KEY_FRAMES_NAME, VIEWS_NAME, IGNORED_NAME = "key_frames", "views", "ignored"
PATTERNS = tuple(
    f"{SURVEY_NAME}/{name}"
    for name in (
        TRACK_NAME,
        SIGHTINGS_NAME,
        ROWS_NAME,
        f"{KEY_FRAMES_NAME}/*.jpg",
        f"{VIEWS_NAME}/*.jpg",
        f"{IGNORED_NAME}/*.png",
    )
)
_QUALITY = 95
_REMEMBERED = 512  # frames whose results may still come
# A frame is measured if so much of it was not in the last measured one.
_LEAST_NEWS = 0.1
# No more pictures are kept if the disk has less left.
_RESERVE_BYTES = 512 * 1024**2
# Largest distance between a stored line and the line found.
_LINE_PX = 0.5
DEFAULT_LIMIT_BYTES = 8 * 1024**3

OnMeasured = Callable[[int, list[MeasuredView]], None]


@dataclass(frozen=True, eq=False)
class _Place:
    """A frame relative to the key frame before it.

    Attributes:
        key: number of the key frame.
        from_key: from its pixels to the frame's.
        before: number of the key frame before `key`; None where the track was lost in between.
        from_before: from the pixels of `before` to those of `key`.
    """

    key: int
    from_key: Matrix
    before: int | None = None
    from_before: Matrix | None = None

    def way_from(self, other: _Place) -> Matrix | None:
        """From another frame's pixels to this one's; None if unknown."""
        if other.key == self.key:
            return normal(self.from_key @ np.linalg.inv(other.from_key))
        if other.key == self.before and self.from_before is not None:
            return normal(self.from_key @ self.from_before @ np.linalg.inv(other.from_key))
        return None


class KeptRun:
    """Writes the files of a survey; for one thread. Measuring has a thread of its own.

    Args:
        folder: of the results.
        events: gets an event when no more pictures are kept.
        scale: finds the scale of frames; None measures in pixels.
        limit_bytes: of all pictures.
        on_measured: called with the cracks of a measured frame, in the measuring thread.

    Raises:
        OutputError: a file cannot be created.
    """

    def __init__(
        self,
        folder: OutputFolder,
        events: EventLog,
        scale: FrameScale | None = None,
        *,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        on_measured: OnMeasured | None = None,
    ) -> None:
        self._folder, self._events, self._scale = folder, events, scale
        self._limit_bytes, self._on_measured = limit_bytes, on_measured
        # Left by a survey of earlier results.
        (folder.path / SURVEY_NAME / IDS_NAME).unlink(missing_ok=True)
        self._bytes = 0
        self._is_full = False
        self._lines = {
            name: JsonLines(folder.claim(f"{SURVEY_NAME}/{name}"))
            for name in (TRACK_NAME, SIGHTINGS_NAME, ROWS_NAME)
        }
        self._views: dict[int, bytes] = {}
        self._last_ignored: tuple[IgnoredPixels | None, str] = (None, "")
        self._ignored_names: set[str] = set()
        self._places: dict[int, _Place] = {}
        self._newest: _Place | None = None
        self._measured: _Place | None = None
        self._thread = MeasuringThread(self._measure)
        # How much of a frame each measured one showed that the last one did not.
        self._news: dict[int, float] = {}
        self._seen: dict[Verdict, float] = {"measure": 0.0, "detect": 0.0, "unfit": 0.0}
        self._square_metres: float | None = 0.0

    @property
    def coverage(self) -> dict[str, Any]:
        """How much was seen so far, and how well; a place seen again counts again.

        In units of a whole frame, and in square metres if all frames had a scale.
        """
        total = sum(self._seen.values())
        metres = self._square_metres
        return {
            "frames": round(total, 2),
            "square_metres": None if metres is None or not total else round(metres, 3),
            "shares": {
                name: round(seen / max(total, 1e-9), 4) for name, seen in self._seen.items()
            },
        }

    def note_step(self, step: Step, frame: Frame, *, is_key: bool) -> None:
        """Note a captured frame.

        Raises:
            OutputError: it cannot be written.
        """
        last = self._newest
        if last is None or step.homography is None:
            self._newest = _Place(frame.index, np.eye(3))
        else:
            way = normal(step.homography @ last.from_key)
            self._newest = _Place(last.key, way, last.before, last.from_before)
            if is_key:
                self._newest = _Place(frame.index, np.eye(3), last.key, way)
        self._places[frame.index] = self._newest
        while len(self._places) > _REMEMBERED:
            del self._places[next(iter(self._places))]
        picture = self._keep_picture(frame) if is_key else None
        self._lines[TRACK_NAME].append(
            {
                "schema_version": KEPT_SCHEMA_VERSION,
                "frame": frame.index,
                "name": frame.name,
                "capture_time_ns": frame.capture_time_ns,
                "media_time_ms": frame.media_time_ms,
                "hw": list(step.hw),
                "state": step.state,
                "reason": step.reason,
                "homography": None if step.homography is None else step.homography.ravel().tolist(),
                "inliers": step.inliers,
                "key": is_key,
                "picture": picture,
            }
        )

    def note_result(
        self, result: FrameResult, cracks: Sequence[Crack], ids: Sequence[int], *, is_fit: bool
    ) -> None:
        """Note the findings of a frame.

        Args:
            result: of the frame.
            cracks: of `trace_cracks`.
            ids: number of each crack while the stream runs, 0 for none.
            is_fit: whether the frame can show cracks at all.

        Raises:
            OutputError: it, or an earlier frame's widths, cannot be written.
        """
        frame = result.frame
        self._lines[SIGHTINGS_NAME].append(
            {
                "schema_version": KEPT_SCHEMA_VERSION,
                "frame": frame.index,
                "fit": is_fit,
                "threshold": round(result.threshold, 4),
                "inspected_ratio": round(result.inspected_ratio, 4),
                "ignored_ratio": round(result.ignored_ratio, 4),
                "ignored": self._ignored(result),
                "position": None if result.position is None else result.position.to_dict(),
                "cracks": [
                    _sighting(crack, number) for crack, number in zip(cracks, ids, strict=True)
                ],
            }
        )
        self._thread.check()
        if self._is_new(result):
            if is_fit:
                self._thread.put(result)
            else:
                self._note_seen(result, "unfit", None)

    def _ignored(self, result: FrameResult) -> str | None:
        """Name of the file of the ignored pixels; equal ones share a file."""
        if result.ignored is None:
            return None
        if result.ignored is not self._last_ignored[0]:
            mask = result.ignored.mask
            digest = hashlib.sha256(repr(mask.shape).encode() + np.packbits(mask).tobytes())
            name = f"{IGNORED_NAME}/{digest.hexdigest()[:16]}.png"
            if name not in self._ignored_names:
                path = self._folder.claim(f"{SURVEY_NAME}/{name}")
                write_png(path, np.where(mask, 255, 0).astype(np.uint8), durable=False)
                self._ignored_names.add(name)
            self._last_ignored = result.ignored, name
        return self._last_ignored[1]

    def take_view(self, number: int, result: FrameResult, best: BestView) -> None:
        """Keep the frame that shows a crack best so far."""
        left, top, right, bottom = window_around(best.xyxy, result.frame.hw)
        picture = np.ascontiguousarray(result.frame.image[top:bottom, left:right])
        self._views[number] = encode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])

    def write_view(self, number: int, *, keep: bool) -> None:
        """Write a crack's best view, or drop it.

        Raises:
            OutputError: it cannot be written.
        """
        view = self._views.pop(number, None)
        if view is not None and keep and self._has_room(len(view)):
            path = self._folder.claim(f"{SURVEY_NAME}/{VIEWS_NAME}/{number:06d}.jpg")
            write_atomic(path, view, durable=False)

    def forget_views(self, numbers: Iterable[int]) -> None:
        """Drop the views of cracks that were merged into others."""
        for number in numbers:
            self._views.pop(number, None)

    def close(self) -> None:
        """Measure the waiting frames, and close the files.

        Raises:
            OutputError: a file could not be written.
        """
        self._thread.finish()
        for lines in self._lines.values():
            lines.close()
        self._thread.check()

    def _keep_picture(self, frame: Frame) -> str | None:
        """Write a key frame's picture; its name, None without room."""
        jpeg = frame.jpeg or encode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not self._has_room(len(jpeg)):
            return None
        name = f"{KEY_FRAMES_NAME}/{frame.index:08d}.jpg"
        write_atomic(self._folder.claim(f"{SURVEY_NAME}/{name}"), jpeg, durable=False)
        return name

    def _has_room(self, wanted: int) -> bool:
        if self._is_full:
            return False
        free = shutil.disk_usage(self._folder.root).free
        if self._bytes + wanted > self._limit_bytes:
            self._say_full(f"{self._limit_bytes / 1024**3:.3g} GiB of pictures are kept")
        elif free < _RESERVE_BYTES:
            self._say_full(f"the disk has {free / 1024**2:.0f} MiB left")
        else:
            self._bytes += wanted
        return not self._is_full

    def _say_full(self, reason: str) -> None:
        self._is_full = True
        self._events.emit(
            "survey.full",
            f"no more pictures are kept for the survey: {reason}; what is seen from now on is "
            "counted and not shown on its map",
            "warning",
            kept_bytes=self._bytes,
        )

    def _is_new(self, result: FrameResult) -> bool:
        """Whether a frame shows enough that the last measured one did not."""
        place = self._places.get(result.frame.index)
        if place is None:
            return False
        hw, news = result.frame.hw, 1.0
        way = None if self._measured is None else place.way_from(self._measured)
        if way is not None:
            news -= overlap(hw, hw, way)
            if news <= _LEAST_NEWS:
                return False
        self._news[result.frame.index] = news
        while len(self._news) > _REMEMBERED:
            del self._news[next(iter(self._news))]
        self._measured = place
        return True

    def _note_seen(self, result: FrameResult, verdict: Verdict, scale: Scale | None) -> None:
        inspected = max(0.0, result.inspected_ratio)
        news = self._news.pop(result.frame.index, 0.0) * inspected
        self._seen[verdict] += news
        if scale is None:
            self._square_metres = None
        elif self._square_metres is not None:
            height, width = result.frame.hw
            across, down = middle_scale(scale, width, height).mm_per_px.tolist()
            self._square_metres += news * height * width * across * down / 1e6

    def _measure(self, result: FrameResult) -> None:
        frame = result.frame
        fitness = assess(frame.image)
        found = None if self._scale is None else self._scale.of(result)
        scale = None if found is None else found.scale
        site, sheet = (None, None) if found is None else checked_on_site(frame.image, found)
        cracks: list[Crack] = []
        # Lines first: a mask of noise has none, and would take seconds to measure.
        if fitness.verdict == "measure" and result.centre_lines():
            mask = result.mask if sheet is None else np.where(sheet, 0, result.mask)
            cracks = measure_image(frame.image, mask.astype(np.uint8, copy=False))
        self._note_seen(result, fitness.verdict, scale)
        in_mm: Sequence[CrackInMm | None] = [None] * len(cracks)
        if scale is not None:
            in_mm = all_in_millimetres(cracks, scale)
        self._lines[ROWS_NAME].append(
            {
                "schema_version": KEPT_SCHEMA_VERSION,
                "frame": frame.index,
                "verdict": fitness.verdict,
                "reason": fitness.reason,
                "blur_px": None if fitness.blur_px is None else round(fitness.blur_px, 3),
                "site_check": site,
                "scale": None if found is None else _frame_scale(found, frame.hw),
                "cracks": [_rows(crack, scale) for crack in cracks],
            }
        )
        if self._on_measured is not None and cracks:
            views = [
                _measured_view(frame.index, crack, mm)
                for crack, mm in zip(cracks, in_mm, strict=True)
            ]
            self._on_measured(frame.index, views)


def _sighting(crack: Crack, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "box": list(crack.xyxy),
        "area_px": crack.area_px,
        "confidence": round(crack.confidence, 3),
        "lines": [line.simplified(_LINE_PX).round(1).tolist() for line in crack.lines],
    }


def _frame_scale(found: FoundScale, hw: tuple[int, int]) -> dict[str, Any]:
    """Origin of a frame's scale, and its value in the middle."""
    record: dict[str, Any] = {"source": found.source, "reason": found.reason}
    if found.scale is None:
        return record
    local = middle_scale(found.scale, hw[1], hw[0])
    across, down = local.mm_per_px.tolist()
    return {
        **record,
        "mm_per_px": round(float(np.sqrt(across * down)), 7),
        "relative": round(float(local.relative.max()), 5),
        "stated": local.is_stated,
    }


def _rows(crack: Crack, scale: Scale | None) -> dict[str, Any]:
    """The measurable rows, with the scale across the crack in each."""
    local = None if scale is None else row_scale(crack, scale)
    rows = []
    for at, row in enumerate(crack.rows):
        width = row.width
        if width.width_px is None:
            continue
        figures = (
            *row.xy, width.width_px, width.low_px, width.high_px,
            width.noise_px, width.depth_px, width.blur_px, width.step_px,
        )  # fmt: skip
        mm = None if local is None else round(float(local.mm_per_px[at]), 7)
        rows.append([*(None if each is None else round(each, 4) for each in figures), mm])
    terms = {} if local is None else local.terms
    return {
        "box": list(crack.xyxy),
        "rows": rows,
        "refused": crack.refused,
        "scale_terms": {name: float(term.mean()) for name, term in terms.items() if term.size},
        "scale_stated": None if local is None else local.is_stated,
    }


def _measured_view(frame: int, crack: Crack, in_mm: CrackInMm | None) -> MeasuredView:
    width_px = width_figures([row.width for row in crack.rows])
    width_mm = None if in_mm is None else in_mm.width_mm
    mean_px = None if width_px is None else width_px.mean
    mean_mm = None if width_mm is None else width_mm.mean
    mean, unit = (mean_px, "px") if mean_mm is None else (mean_mm, "mm")
    length_mm = None if in_mm is None else in_mm.length_mm.value
    return MeasuredView(
        frame,
        f"{crack.length_px:.0f} px" if length_mm is None else f"{length_mm:.0f} mm",
        "" if mean is None else interval(mean.value, mean.low, mean.high, unit),
        _ends(mean_mm),
        _ends(mean_px),
        crack.length_px,
    )


def _ends(figure: Figure | None) -> tuple[float, float, float] | None:
    if figure is None:
        return None
    return round(figure.value, 4), round(figure.low, 4), round(figure.high, 4)

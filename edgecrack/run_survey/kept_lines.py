"""Reads the survey data that `runtime/tracking/kept_run.py` wrote.

Damaged lines and repeated frames are skipped and counted. The parts of a restarted run are
concatenated; tracking is lost between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from edgecrack.errors import SourceError
from edgecrack.measurement.centre_lines import CentreLine
from edgecrack.measurement.cracks import Crack, WidthRow
from edgecrack.measurement.fitness import Verdict
from edgecrack.measurement.width import Width
from edgecrack.outside_text import parse_json
from edgecrack.run_survey.lines_by_frame import LinesByFrame
from edgecrack.runtime.frame import Position
from edgecrack.runtime.tracking.kept_run import (
    KEPT_SCHEMA_VERSION,
    ROWS_NAME,
    SIGHTINGS_NAME,
    SURVEY_NAME,
    TRACK_NAME,
    VIEWS_NAME,
)
from edgecrack.survey.plane_geometry import implausible
from edgecrack.survey.track import SMALLEST_PX, Step

_MOST_PX, _MOST_AREA_PX = 100_000, 300_000_000
_MOST_MM_PER_PX = 1e4
_MOST_NUMBER, _READ_AHEAD = 1e9, 12
PARTS = "part-*"


@dataclass(frozen=True, eq=False)
class KeptFrame:
    """A captured frame.

    Attributes:
        name: its name in the run's other results.
        part: folder of the run's part that it belongs to.
        step: its motion.
        picture: of a key frame, if it was kept.
    """

    name: str
    part: Path
    step: Step
    picture: Path | None


@dataclass(frozen=True, eq=False)
class KeptSighting:
    """The cracks found in an inspected frame.

    Attributes:
        is_fit: whether it is fit to detect cracks.
        missed_ratio: share that should have been inspected but was not, 0 to 1.
        ignored_ratio: share that was ignored on purpose.
        ignored: mask file of the ignored part, white; None if nothing was ignored or it was not
            kept.
        cracks: without widths.
        ids: each crack's number in the stream, 0 for none.
        position: the robot's position, if known.
    """

    is_fit: bool
    missed_ratio: float
    ignored_ratio: float
    cracks: tuple[Crack, ...]
    ids: tuple[int, ...]
    position: Position | None
    ignored: Path | None = None


@dataclass(frozen=True, eq=False)
class KeptWidths:
    """The widths measured in a frame.

    Attributes:
        verdict: what it is fit for.
        boxes: of each crack.
        rows: the measured rows of each crack.
        mm_per_px: scale of each crack's rows; None without a scale.
        terms: the scale's relative standard uncertainties, by source.
        is_stated: whether the scale's uncertainty is known; None without a scale.
        in_middle: scale in the frame's centre, its relative standard uncertainty and whether that
            is known; None without a scale and in older runs.
    """

    verdict: Verdict
    boxes: tuple[tuple[int, ...], ...]
    rows: tuple[tuple[WidthRow, ...], ...]
    mm_per_px: tuple[np.ndarray[Any, np.dtype[np.float64]] | None, ...]
    terms: dict[str, float]
    is_stated: bool | None
    in_middle: tuple[float, float, bool] | None = None


class Look(NamedTuple):
    """How a frame was inspected; the fields are those of `KeptSighting` and `KeptWidths`."""

    is_fit: bool
    missed_ratio: float
    verdict: Verdict | None = None
    ignored_ratio: float = 0.0
    ignored: Path | None = None


@dataclass(eq=False)
class KeptFrames:
    """A run's survey data by frame number; numbers continue from part to part.

    Sightings and widths are read from their files on demand, which limits the memory of long runs.

    Attributes:
        root: folder of the run.
        frames: by frame number, in order.
        sightings: by frame number.
        widths: by frame number.
        looks: by number of the inspected frame.
        live_ids: by frame number and crack index, the crack's number in the stream.
        damaged_lines: number of unusable lines.
        views: by crack number in the stream, a picture of it.
        note: what this survey lacks, as a sentence; empty if nothing.
        blurs_px: sigma of the point spread of each measured frame.
    """

    root: Path
    frames: dict[int, KeptFrame] = field(default_factory=dict)
    sightings: LinesByFrame[KeptSighting] = field(default_factory=lambda: LinesByFrame(2000))
    widths: LinesByFrame[KeptWidths] = field(default_factory=lambda: LinesByFrame(200))
    looks: dict[int, Look] = field(default_factory=dict)
    live_ids: dict[tuple[int, int], int] = field(default_factory=dict)
    damaged_lines: int = 0
    views: dict[int, Path] = field(default_factory=dict)
    note: str = ""
    blurs_px: list[float] = field(default_factory=list)


def read_kept(folder: Path) -> KeptFrames:
    """Read a run's survey data.

    Args:
        folder: of the run's results.

    Raises:
        SourceError: it is not a folder of a run, or has no data for a survey.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder", "give the folder of a run's results")
    parts = [folder, *sorted(folder.glob(PARTS), key=_part_number)]
    parts = [part for part in parts if (part / SURVEY_NAME / TRACK_NAME).is_file()]
    if not parts:
        raise SourceError(
            f"{folder} has no data for a survey",
            "stream with `survey`, or survey the video itself",
        )
    kept = KeptFrames(folder)
    for part in parts:
        _read_part(kept, part)
    if not kept.frames:
        raise SourceError(
            f"no frame can be read from {folder / SURVEY_NAME / TRACK_NAME}",
            f"stream again: its frames are smaller than {SMALLEST_PX} px, the run ended before its "
            "first one, or the file is damaged",
        )
    return kept


def _part_number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() and len(digits) < 9 else 0


def _read_part(kept: KeptFrames, part: Path) -> None:
    folder = part / SURVEY_NAME
    first = max(kept.frames, default=-1) + 1
    last_id = max(kept.live_ids.values(), default=0)
    known: set[int] = set()
    newest = -1
    lost = True  # between two parts
    for line, _ in _lines(kept, folder / TRACK_NAME):
        frame = _frame(line, first, part)
        if frame is None or frame.step.number <= newest:
            kept.damaged_lines += 1
            lost = True
            continue
        if lost and frame.step.homography is not None:
            frame = _cut_off(frame)
        lost, newest = False, frame.step.number
        known.add(newest)
        kept.frames[frame.step.number] = frame
    parse = partial(_sighting, last_id=last_id, folder=folder)
    for line, offset in _lines(kept, folder / SIGHTINGS_NAME):
        number, sighting = _number(line, first), parse(line)
        if number in known and sighting is not None:
            kept.sightings.add(number, folder / SIGHTINGS_NAME, offset, parse)
            kept.looks[number] = Look(
                sighting.is_fit,
                sighting.missed_ratio,
                None,
                sighting.ignored_ratio,
                sighting.ignored,
            )
            ids = enumerate(sighting.ids)
            kept.live_ids.update({(number, place): each for place, each in ids if each})
        elif sighting is None:
            kept.damaged_lines += 1
    for line, offset in _lines(kept, folder / ROWS_NAME):
        number, widths = _number(line, first), _widths(line)
        if number in kept.looks and widths is not None:
            kept.widths.add(number, folder / ROWS_NAME, offset, _widths)
            kept.looks[number] = kept.looks[number]._replace(verdict=widths.verdict)
            if blur := _numbers([line.get("blur_px")], 1):
                kept.blurs_px += blur
        elif widths is None:
            kept.damaged_lines += 1
    # The last frames may have been read ahead and never inspected; they are not part of the run.
    last = max((each for each in kept.looks if each in known), default=newest)
    ahead = [each for each in known if each > last]
    if len(ahead) <= _READ_AHEAD:
        for number in ahead:
            del kept.frames[number]
    for path in (folder / VIEWS_NAME).glob("*.jpg"):
        if path.stem.isdigit() and len(path.stem) < 12:
            kept.views[last_id + int(path.stem)] = path


def _cut_off(frame: KeptFrame) -> KeptFrame:
    """The same frame, with tracking lost."""
    step = frame.step
    cut = Step(step.number, step.time_ns, step.hw, "lost", "lines of the run are missing")
    return KeptFrame(frame.name, frame.part, cut, frame.picture)


def _lines(kept: KeptFrames, path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The lines that are JSON objects of the current schema version, with their offsets."""
    offset = 0
    try:
        with path.open("rb") as file:
            for text in file:
                begin, offset = offset, offset + len(text)
                try:
                    line = parse_json(text)
                except ValueError:
                    line = None
                if isinstance(line, dict) and line.get("schema_version") == KEPT_SCHEMA_VERSION:
                    yield line, begin
                else:
                    kept.damaged_lines += 1
    except OSError:
        kept.damaged_lines += 1


def _number(line: dict[str, Any], first: int) -> int:
    number = line.get("frame")
    return first + number if isinstance(number, int) and 0 <= number < 2**40 else -1


def _frame(line: dict[str, Any], first: int, part: Path) -> KeptFrame | None:
    number, hw = _number(line, first), line.get("hw")
    if number < 0 or hw is None or not _is_size(hw):
        return None
    time_ns = line.get("capture_time_ns")
    size = int(hw[0]), int(hw[1])
    way = _numbers(line.get("homography"), 9)
    matrix = None if way is None else np.array(way, np.float64).reshape(3, 3)
    if matrix is not None and implausible(size, matrix):
        return None
    state, reason = line.get("state"), str(line.get("reason", ""))[:500]
    if state == "tracked" and matrix is None:
        return None
    if state != "tracked":
        matrix = None
    step = Step(
        number,
        time_ns if isinstance(time_ns, int) else None,
        size,
        "tracked" if matrix is not None else "lost",
        reason or "the run began here",
        matrix,
    )
    path = _file_in(part / SURVEY_NAME, line.get("picture"))
    return KeptFrame(str(line.get("name", number)), part, step, path)


def _is_size(hw: Any) -> bool:
    return (
        isinstance(hw, list)
        and len(hw) == 2
        and all(isinstance(each, int) and 0 < each <= _MOST_PX for each in hw)
        and hw[0] * hw[1] <= _MOST_AREA_PX
    )


def _numbers(values: Any, count: int) -> list[float] | None:
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(isinstance(each, (int, float)) and abs(each) < _MOST_NUMBER for each in values):
        return None
    return [float(each) for each in values] if all(map(math.isfinite, values)) else None


def _sighting(line: dict[str, Any], last_id: int, folder: Path) -> KeptSighting | None:
    cracks, ids = [], []
    listed = line.get("cracks")
    if not isinstance(listed, list):
        return None
    for each in listed:
        crack = crack_of(each)
        if crack is None:
            return None
        number = each.get("id")
        ids.append(last_id + number if isinstance(number, int) and number > 0 else 0)
        cracks.append(crack)
    inspected, ignored = (_share(line.get(f"{name}_ratio")) for name in ("inspected", "ignored"))
    missed = max(0.0, 1.0 - inspected - ignored)
    position = _position(line.get("position"))
    return KeptSighting(
        line.get("fit") is True,
        missed,
        ignored,
        tuple(cracks),
        tuple(ids),
        position,
        _file_in(folder, line.get("ignored")),
    )


def _file_in(folder: Path, name: Any) -> Path | None:
    """A file that a line names; None without a name, or if it is outside the folder."""
    if not isinstance(name, str) or not 0 < len(name) < 200 or not name.isprintable():
        return None
    pure = PurePosixPath(name)
    return None if pure.is_absolute() or ".." in pure.parts else folder / name


def _share(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= 1 else 0.0


def crack_of(each: Any) -> Crack | None:
    """A crack without widths from its lines and box; None if they are invalid."""
    if not isinstance(each, dict) or not isinstance(each.get("lines"), list):
        return None
    lines = []
    for points in each["lines"]:
        pairs = [_numbers(point, 2) for point in points] if isinstance(points, list) else [None]
        if None in pairs or len(pairs) < 2:
            return None
        lines.append(CentreLine(np.zeros(0, np.intp), np.array(pairs, np.float64)))
    box = _numbers(each.get("box"), 4)
    outside = any(np.abs(line.xy).max() > 2 * _MOST_PX for line in lines)
    if not lines or box is None or outside:
        return None
    length = sum(line.length_px for line in lines)
    left, top, right, bottom = map(int, box)
    area = each.get("area_px")
    return Crack(
        tuple(lines),
        length,
        area if isinstance(area, int) else 0,
        (left, top, right, bottom),
        0.0,
        _share(each.get("confidence")),
        (),
        None,
        None,
        None,
        None,
    )


def _position(value: Any) -> Position | None:
    if not isinstance(value, dict):
        return None
    names = set(Position.__dataclass_fields__)
    try:
        given = {key: each for key, each in value.items() if key in names}
        for key in ("xyz_m", "quaternion_xyzw"):
            if given.get(key) is not None:
                given[key] = tuple(float(each) for each in given[key])
        return Position(**given)
    except (TypeError, ValueError):
        return None


def _widths(line: dict[str, Any]) -> KeptWidths | None:
    verdict = line.get("verdict")
    if verdict not in ("measure", "detect", "unfit"):
        return None
    boxes, rows, scales = [], [], []
    terms: dict[str, float] = {}
    stated: bool | None = None
    listed = line.get("cracks")
    if not isinstance(listed, list):
        return None
    for each in listed:
        if not isinstance(each, dict):
            return None
        box = _numbers(each.get("box"), 4)
        found = _rows(each.get("rows"))
        if box is None or found is None:
            return None
        boxes.append(tuple(map(int, box)))
        rows.append(tuple(row for row, _ in found))
        mm = [scale for _, scale in found]
        scales.append(None if None in mm else np.array(mm, np.float64))
        given = each.get("scale_terms")
        if isinstance(given, dict):
            terms.update({str(k): float(v) for k, v in given.items() if _share(v) == v})
        if isinstance(each.get("scale_stated"), bool):
            stated = each["scale_stated"]
    middle = _in_middle(line.get("scale"))
    return KeptWidths(verdict, tuple(boxes), tuple(rows), tuple(scales), terms, stated, middle)


def _in_middle(given: Any) -> tuple[float, float, bool] | None:
    if not isinstance(given, dict):
        return None
    found = _numbers([given.get("mm_per_px"), given.get("relative")], 2)
    if found is None or not 0 < found[0] <= _MOST_MM_PER_PX or not 0 <= found[1] <= 1:
        return None
    return found[0], found[1], given.get("stated") is True


def _rows(values: Any) -> list[tuple[WidthRow, float | None]] | None:
    """Parse rows of x, y, width, low, high, noise, depth, blur, step and millimetres per pixel."""
    if not isinstance(values, list):
        return None
    found = []
    for each in values:
        if not isinstance(each, list) or len(each) != 10:
            return None
        mm, figures = each[-1], _numbers([0.0 if one is None else one for one in each[:9]], 9)
        if figures is None or not (mm is None or _numbers([mm], 1)):
            return None
        if mm is not None and not 0 < mm <= _MOST_MM_PER_PX:
            return None
        x, y, width, low, high, noise, depth, blur, step = figures
        if not 0 <= low <= width <= high:
            return None
        measured = Width(
            width, low, high, True, noise_px=noise, depth_px=depth, blur_px=blur, step_px=step
        )
        found.append((WidthRow((x, y), (0.0, 0.0), 0.0, 0, measured), mm))
    return found


def chosen_frames(kept: KeptFrames, most_per_key: int) -> Sequence[int]:
    """Choose the inspected frames that a survey uses, and limit their number.

    So a robot that stands still costs nothing, and long runs fit in memory. Measured frames are
    always included.

    Args:
        kept: the run.
        most_per_key: most frames between two key frames.
    """
    groups: list[list[int]] = [[]]
    for number, frame in kept.frames.items():
        if frame.picture is not None or frame.step.homography is None:
            groups.append([])
        if number in kept.sightings:
            groups[-1].append(number)
    chosen = set(kept.widths) & set(kept.sightings)
    for group in groups:
        if len(group) <= most_per_key:
            chosen.update(group)
        elif group:
            at = np.linspace(0, len(group) - 1, most_per_key).round().astype(int)
            chosen.update(group[each] for each in at.tolist())
    return sorted(chosen)

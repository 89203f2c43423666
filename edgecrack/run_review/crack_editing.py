"""Crack records after a person splits, merges or draws cracks.

Records are as `cracks.json` has them. Figures are taken from those of the parts, never from a new
measurement; unknown ones are null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.measurement.severity import classify, severity_tables
from edgecrack.run_review.placed_frames import PlacedFrame
from edgecrack.run_survey.positions import from_local
from edgecrack.survey.plane_geometry import Points

Record = Mapping[str, Any]

_FIGURES = ("mean", "median", "p95", "max")
_WITHIN_95 = 1.96
# As the survey has them: of a line's length, and of its ends in pixels.
_LINE_SHARE, _ENDS_PX = 0.02, 3.0
_SHORTEST_PX = 3.0
# Of a piece, in a picture that shows it.
_LEAST_POINTS = 2
_NO_WIDTH: dict[str, Any] = {
    **{
        f"{name}{end}_{unit}": None
        for unit in ("px", "mm")
        for name, end in (
            ("mean", ""), ("low", ""), ("high", ""),
            *((figure, end) for figure in _FIGURES[1:] for end in ("", "_low", "_high")),
        )
    },
    "places": 0,
    "frames": [],
}  # fmt: skip


def drawn_record(
    crack_id: str, frame: PlacedFrame, points: Points, sheet: Mapping[str, Any], peers: list[Record]
) -> dict[str, Any]:
    """A crack that a person drew in a frame.

    Args:
        crack_id: its name.
        frame: in which.
        points: float64 [N, 2] along it, in the frame's pixels.
        sheet: of the frame.
        peers: cracks of that sheet, which give its scale's uncertainty.

    Raises:
        ConfigError: it is not a line, or is outside the frame.
    """
    height, width = frame.hw
    if len(points) < 2 or not np.isfinite(points).all():
        raise ConfigError(f"{len(points)} points were drawn", "draw two or more")
    if (points < -1).any() or (points > (width + 1, height + 1)).any():
        raise ConfigError(
            f"a point is outside the frame of {width} x {height} px", "draw inside it"
        )
    line = frame.on_sheet(points)
    length = line_length(line)
    if length < _SHORTEST_PX:
        raise ConfigError(f"the line is {length:.1f} px long", "draw a longer one")
    record: dict[str, Any] = {
        "id": crack_id,
        "status": "confirmed",
        "sheet": frame.sheet,
        "points": _listed(line),
        "lines": [_listed(line)],
        "gaps": [],
        "width": dict(_NO_WIDTH),
        "budget": None,
        "profile": None,
        "class": None,
        "frames": [frame.number],
        "views": 1,
        "confidence": None,
        "best": {
            "frame": frame.number,
            "name": frame.name,
            "points": points.round(1).tolist(),
            "picture": frame.picture,
            "view": None,
        },
        "position": None,
        "place": _place(sheet, line),
    }
    scale = sheet["mm_per_px"]
    shares = [_scale_share(each) for each in peers if each["sheet"] == frame.sheet]
    known = [share for share in shares if share is not None]
    record |= _lengths(length, scale, max(known) if known else None)
    return record


def split_record(
    record: Record,
    place: Points,
    ids: tuple[str, str],
    frames: Mapping[int, PlacedFrame],
    sheet: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A crack in two, cut where its course comes nearest to a place.

    Args:
        record: the crack.
        place: float64 [2], in the sheet's pixels.
        ids: names of the pieces.
        frames: the survey's kept frames, by number.
        sheet: on which it lies.

    Raises:
        ConfigError: the place is at an end, so that a piece would be too short.
    """
    lines = [np.asarray(line, np.float64) for line in record["lines"]]
    number, along = min(
        ((at, *_nearest(line, place)) for at, line in enumerate(lines)), key=lambda each: each[2]
    )[:2]
    cut = lines[number]
    if min(along, line_length(cut) - along) < _SHORTEST_PX:
        raise ConfigError(
            f"the place is at an end of crack {record['id']}", "split it further inside"
        )
    profiles = _line_profiles(record)
    halves = _cut(cut, along)
    parts = _shared_out(halves, [line for at, line in enumerate(lines) if at != number])
    gaps = [np.asarray(gap, np.float64) for gap in record["gaps"]]
    gap_parts = [[gap for gap in gaps if _closest(gap, parts) == side] for side in (0, 1)]
    known = [(line, profiles[at]) for at, line in enumerate(lines) if at != number]
    known += [(half, _profile_part(record, profiles[number], along, side))
              for side, half in enumerate(halves)]  # fmt: skip
    pieces = []
    for side in (0, 1):
        own = sorted(parts[side], key=lambda line: -line_length(line))
        own_profiles = [next(each for line, each in known if line is one) for one in own]
        piece = {**record, "id": ids[side], "budget": None}
        piece |= _course(own, gap_parts[side])
        piece |= _lengths(_total(own, gap_parts[side]), _mm_per_px(record), _scale_share(record))
        piece["line_profiles"], piece["profile"] = own_profiles, own_profiles[0]
        piece["width"] = _width_of(record, own_profiles)
        piece["class"] = _class_of(record, piece["width"])
        piece["best"] = _best_part(record, parts, side, frames)
        piece["place"] = _place(sheet, own[0])
        pieces.append(piece)
    return pieces[0], pieces[1]


def merged_record(
    records: Sequence[Record], crack_id: str, sheets: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Cracks of one sheet as one: all lines, the gap between them not counted.

    Widths count by at how many places they were measured; intervals are those of parts whose
    errors are one error, and the largest and the 95th percentile are the largest of the parts'.
    On another sheet than the first one's, a part is the same crack seen again and adds nothing.

    Args:
        records: two or more, of which the longest gives the best picture.
        crack_id: its name.
        sheets: of the survey, by number.
    """
    first = max(records, key=lambda each: (each["status"] == "confirmed", each["length_px"]))
    same = [each for each in records if each["sheet"] == first["sheet"]]
    listed = sorted(
        (
            (np.asarray(line, np.float64), profile)
            for each in same
            for line, profile in zip(each["lines"], _line_profiles(each), strict=True)
        ),
        key=lambda each: -line_length(each[0]),
    )
    lines = [line for line, _ in listed]
    gaps = [np.asarray(gap, np.float64) for each in same for gap in each["gaps"]]
    frames = sorted({number for each in same for number in each["frames"]})
    confidences = [each["confidence"] for each in same if each["confidence"] is not None]
    merged = {
        **first,
        "id": crack_id,
        "status": "confirmed" if any(_is_sure(each) for each in same) else "unconfirmed",
        "budget": None if len(same) > 1 else first["budget"],
        "elsewhere": [
            *(place for each in records for place in each.get("elsewhere", [])),
            *(
                {"sheet": each["sheet"], "lines": each["lines"]}
                for each in records
                if each["sheet"] != first["sheet"]
            ),
        ],
        "frames": frames,
        "views": max(len(frames), *(each["views"] for each in same)),
        "confidence": round(float(np.mean(confidences)), 3) if confidences else None,
    }
    if len(same) > 1:
        shares = [share for each in same if (share := _scale_share(each)) is not None]
        merged |= _course(lines, gaps)
        merged["line_profiles"] = [profile for _, profile in listed]
        merged["profile"] = merged["line_profiles"][0]
        merged |= _lengths(_total(lines, gaps), _mm_per_px(first), max(shares, default=None))
        merged["place"] = _place(sheets[first["sheet"]], lines[0])
        merged["width"] = _merged_width(same)
        merged["class"] = _class_of(first, merged["width"])
    return merged


def line_length(line: Points) -> float:
    """In the line's pixels."""
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _is_sure(record: Record) -> bool:
    return bool(record["status"] == "confirmed")


def _listed(line: Points) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1)] for x, y in line]


def _course(lines: Sequence[Points], gaps: Sequence[Points]) -> dict[str, Any]:
    listed = [_listed(line) for line in lines]
    return {"points": listed[0], "lines": listed, "gaps": [_listed(gap) for gap in gaps]}


def _total(lines: Sequence[Points], gaps: Sequence[Points]) -> float:
    return sum(map(line_length, [*lines, *gaps]))


def _mm_per_px(record: Record) -> float | None:
    if record["length_mm"] is None or not record["length_px"]:
        return None
    return float(record["length_mm"] / record["length_px"])


def _scale_share(record: Record) -> float | None:
    """Relative standard uncertainty of a crack's scale, from the interval of its length."""
    scale = _mm_per_px(record)
    if scale is None or record["length_high_mm"] is None:
        return None
    length = float(record["length_mm"])
    spread = (float(record["length_high_mm"]) - length) / _WITHIN_95
    line = math.hypot(_LINE_SHARE * length, _ENDS_PX * scale)
    return math.sqrt(max(0.0, spread**2 - line**2)) / length


def _lengths(
    length_px: float, mm_per_px: float | None, scale_share: float | None
) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "length_px": round(length_px, 1), "length_mm": None, "length_low_mm": None,
        "length_high_mm": None,
    }  # fmt: skip
    if mm_per_px is None:
        return found
    length = length_px * mm_per_px
    found["length_mm"] = round(length, 4)
    if scale_share is not None:
        line = math.hypot(_LINE_SHARE * length, _ENDS_PX * mm_per_px)
        spread = _WITHIN_95 * math.hypot(line, scale_share * length)
        found["length_low_mm"] = round(max(0.0, length - spread), 4)
        found["length_high_mm"] = round(length + spread, 4)
    return found


def _nearest(line: Points, place: Points) -> tuple[float, float]:
    """How far along a line it comes nearest to a place, and how near."""
    starts, steps = line[:-1], np.diff(line, axis=0)
    squares = np.maximum((steps**2).sum(axis=1), 1e-12)
    at = np.clip(((place - starts) * steps).sum(axis=1) / squares, 0.0, 1.0)
    feet = starts + at[:, None] * steps
    distances = np.hypot(*(feet - place).T)
    best = int(distances.argmin())
    lengths = np.sqrt(squares)
    return float(lengths[:best].sum() + at[best] * lengths[best]), float(distances[best])


def _cut(line: Points, along: float) -> tuple[Points, Points]:
    way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.array([[np.interp(along, way, line[:, axis]) for axis in (0, 1)]])
    return (
        np.concatenate([line[way < along], at]),
        np.concatenate([at, line[way > along]]),
    )


def _shared_out(
    halves: tuple[Points, Points], others: Sequence[Points]
) -> tuple[list[Points], list[Points]]:
    """Each of the other lines with the half that it hangs together with, nearest ones first."""
    parts, left = ([halves[0]], [halves[1]]), list(others)
    near = [[_apart(line, half) for half in halves] for line in left]
    while left:
        at = min(range(len(left)), key=lambda each: min(near[each]))
        side = int(np.argmin(near.pop(at)))
        line = left.pop(at)
        parts[side].append(line)
        for distances, other in zip(near, left, strict=True):
            distances[side] = min(distances[side], _apart(other, line))
    return parts


def _closest(line: Points, parts: tuple[list[Points], list[Points]]) -> int:
    return int(np.argmin([min(_apart(line, each) for each in part) for part in parts]))


def _apart(points: Points, line: Points) -> float:
    """How near points come to a line."""
    starts, steps = line[:-1], np.diff(line, axis=0)
    squares = np.maximum((steps**2).sum(axis=1), 1e-12)
    away = points[:, None, :] - starts[None]
    at = np.clip((away * steps).sum(axis=2) / squares, 0.0, 1.0)
    feet = away - at[..., None] * steps
    return float(np.sqrt((feet**2).sum(axis=2).min()))


def _line_profiles(record: Record) -> list[dict[str, Any] | None]:
    """The widths along each line; the survey gives those along the longest."""
    found = record.get("line_profiles")
    if found is not None:
        return list(found)
    return [record["profile"], *[None] * (len(record["lines"]) - 1)]


def _profile_part(
    record: Record, profile: Mapping[str, Any] | None, along_px: float, side: int
) -> dict[str, Any] | None:
    """The widths along one side of a cut through a line."""
    if profile is None:
        return None
    scale = _mm_per_px(record) if profile["unit"] == "mm" else 1.0
    at = along_px * (scale or 1.0)
    rows = [row for row in profile["points"] if (row[0] < at) == (side == 0)]
    shift = 0.0 if side == 0 else at
    return {**profile, "points": [[round(row[0] - shift, 4), *row[1:]] for row in rows]}


def _width_of(record: Record, profiles: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Figures from the places along a piece's lines; intervals are of one error in all of them.

    Where a line's own widths are not known, the largest and the 95th percentile are those of the
    whole crack: they may be too large, and are never too small.
    """
    width = dict(_NO_WIDTH)
    units = {each["unit"] for each in profiles if each is not None}
    rows = [row for each in profiles if each is not None for row in each["points"]]
    if not rows or len(units) != 1:
        return width
    values, lows, highs = (np.array([row[at] for row in rows], np.float64) for at in (1, 2, 3))
    (unit,) = units
    figures: dict[str, Callable[[Points], Any]] = {
        "mean": np.mean, "median": np.median, "p95": _percentile_95, "max": np.max,
    }  # fmt: skip
    for name, figure in figures.items():
        prefix = "" if name == "mean" else f"{name}_"
        width[f"{name}_{unit}"] = round(float(figure(values)), 4)
        width[f"{prefix}low_{unit}"] = round(float(figure(lows)), 4)
        width[f"{prefix}high_{unit}"] = round(float(figure(highs)), 4)
    whole = record["width"]
    if None in profiles:
        for name in [each for each in width if each.startswith(("p95", "max"))]:
            width[name] = whole[name]
    if unit == "mm" and whole["mean_mm"] and whole["mean_px"]:
        factor = whole["mean_px"] / whole["mean_mm"]
        for name in [each for each in width if each.endswith("_mm") and width[each] is not None]:
            width[f"{name[:-3]}_px"] = round(width[name] * factor, 4)
    width["places"], width["frames"] = len(rows), whole["frames"]
    return width


def _percentile_95(values: Points) -> float:
    return float(np.percentile(values, 95))


def _merged_width(records: Sequence[Record]) -> dict[str, Any]:
    widths = [each["width"] for each in records if each["width"]["places"]]
    merged = dict(_NO_WIDTH)
    if not widths:
        return merged
    places = np.array([each["places"] for each in widths], np.float64)
    for name in _NO_WIDTH:
        values = [float(each[name]) for each in widths if _is_figure(name, each)]
        if len(values) < len(widths):
            continue
        if name.startswith(("p95", "max")):
            merged[name] = max(values)
        else:
            merged[name] = round(float(np.average(values, weights=places)), 4)
    merged["places"] = int(places.sum())
    merged["frames"] = sorted({number for each in widths for number in each["frames"]})
    return merged


def _is_figure(name: str, width: Mapping[str, Any]) -> bool:
    return name not in ("places", "frames") and width[name] is not None


def _class_of(record: Record, width: Mapping[str, Any]) -> dict[str, Any] | None:
    """The class by the table of the survey; None where that was a table of the user's own."""
    given = record["class"]
    table = next((each for each in severity_tables() if given and each.id == given["table"]), None)
    if table is None or given is None:
        return None
    name = {"percentile_95": "p95", "largest": "max"}.get(table.measure, table.measure)
    prefix = "" if name == "mean" else f"{name}_"
    value, low, high = (width[f"{each}_mm"] for each in (name, f"{prefix}low", f"{prefix}high"))
    if None in (value, low, high):
        return None
    found = classify(table, value, (high - low) / 2 / _WITHIN_95)
    return {
        "table": table.id,
        "measure": table.measure,
        "name": found.name,
        "probability": round(found.probability, 3),
        "probabilities": {each: round(share, 3) for each, share in found.probabilities.items()},
    }


def _best_part(
    record: Record,
    parts: tuple[list[Points], list[Points]],
    side: int,
    frames: Mapping[int, PlacedFrame],
) -> dict[str, Any] | None:
    """The best picture of one piece: the whole crack's where it shows it, else another."""
    best = record["best"]
    frame = None if best is None else frames.get(best["frame"])
    if best is not None and frame is not None:
        points = np.asarray(best["points"], np.float64).reshape(-1, 2)
        own = [_closest(each[None], parts) == side for each in frame.on_sheet(points)]
        if sum(own) >= _LEAST_POINTS:
            return {**best, "points": points[own].round(1).tolist(), "view": None}
    line = max(parts[side], key=line_length)
    seen = [
        (each, each.in_view(line))
        for each in frames.values()
        if each.sheet == record["sheet"] and each.picture is not None
    ]
    if not seen:
        return None
    frame, points = max(seen, key=lambda each: len(each[1]))
    if len(points) < _LEAST_POINTS:
        return None
    return {
        "frame": frame.number,
        "name": frame.name,
        "points": points.round(1).tolist(),
        "picture": frame.picture,
        "view": None,
    }


def _place(sheet: Mapping[str, Any], line: Points) -> dict[str, Any] | None:
    """Where the middle of a line is in space."""
    placed = sheet["placed"]
    if placed is None:
        return None
    middle = line[len(line) // 2]
    axes, origin = np.asarray(placed["axes_m_per_px"]), np.asarray(placed["origin_m"])
    x, y, z = (origin + axes @ middle).tolist()
    found: dict[str, Any] = {
        "by": placed["by"],
        "xyz_m": [round(each, 4) for each in (x, y, z)],
        "spread_m": placed["spread_m"],
        "of_camera": placed["of_camera"],
        "along_only": placed["along_only"],
    }
    if placed["origin_deg"] is not None:
        latitude, longitude, altitude = from_local((x, y, z), tuple(placed["origin_deg"]))
        found |= {
            "latitude_deg": round(latitude, 8),
            "longitude_deg": round(longitude, 8),
            "altitude_m": round(altitude, 3),
        }
    return found

"""`edgecrack plan`: what an inspection run will see, before it starts."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from edgecrack.commands.shared_options import JsonOption, heading
from edgecrack.errors import ConfigError

if TYPE_CHECKING:
    from edgecrack.planning import Plan, PlanConfig

_camera, _run, _results = map(heading, ("Camera", "Run", "Results"))
_NO = "no"
# Factor and unit of the other system.
_IMPERIAL = {
    "mm": (1 / 25.4, "in"),
    "mm/px": (1 / 25.4, "in/px"),
    "m": (1 / 0.3048, "ft"),
    "m away": (1 / 0.3048, "ft away"),
    "m/s": (1 / 0.3048, "ft/s"),
    "m2": (1 / 0.3048**2, "ft2"),
}


def plan(
    distance_m: Annotated[float, _run("METRES")],
    camera: Annotated[Path | None, _camera("FILE")] = None,
    focal_px: Annotated[float | None, _camera("PIXELS")] = None,
    fov_deg: Annotated[float | None, _camera("DEGREES")] = None,
    focal_mm: Annotated[float | None, _camera("MM")] = None,
    sensor_mm: Annotated[float | None, _camera("MM")] = None,
    resolution: Annotated[str | None, _camera("WIDTHxHEIGHT")] = None,
    speed_m_s: Annotated[float, _run("M/S")] = 0.0,
    along: Annotated[str, _run("SIDE")] = "height",
    exposure_ms: Annotated[float | None, _run("MS")] = None,
    fps: Annotated[float | None, _run("COUNT")] = None,
    wanted_overlap: Annotated[float, _run("SHARE")] = 0.7,
    width_mm: Annotated[float | None, _results("MM")] = None,
    bytes_per_frame: Annotated[float | None, _results("BYTES")] = None,
    units: Annotated[str, _results("SYSTEM")] = "metric",
    json_output: JsonOption = False,
) -> None:
    """Calculate what a run will see, before it starts.

    Scale, motion blur, overlap, the thinnest cracks that are found and measured, area and data
    size, for a camera perpendicular to a flat surface. Give the camera as --camera, --focal-px,
    --fov-deg, or --focal-mm with --sensor-mm. JSON is always metric.

    Args:
        distance_m: Distance from the lens to the surface.
        camera: Calibrated camera, with its resolution.
        focal_px: Focal length from a calibration.
        fov_deg: Horizontal field of view; data sheets often state the diagonal one.
        focal_mm: Focal length, with --sensor-mm; not the 35 mm equivalent.
        sensor_mm: Width of the sensor area in the image.
        resolution: Image size in pixels, such as 1920x1080.
        speed_m_s: Speed along the surface; 0 on a tripod.
        along: Image side along which the camera moves: height or width.
        exposure_ms: Exposure time of a frame; required if the camera moves.
        fps: Frames per second.
        wanted_overlap: Wanted overlap of consecutive frames, 0 to 1.
        width_mm: Smallest crack width to measure.
        bytes_per_frame: Size of a recorded frame; default: JPEG of quality 95.
        units: metric; imperial adds inches and feet to the table.
    """
    from edgecrack.planning import PlanConfig
    from edgecrack.planning import plan as plan_run

    if units not in ("metric", "imperial"):
        raise ConfigError(f"--units is {units!r}", "give metric or imperial")
    if camera is not None:
        others = {"--focal-px": focal_px, "--fov-deg": fov_deg, "--focal-mm": focal_mm}
        focal_px, size = _camera_file(camera, others | {"--sensor-mm": sensor_mm}, resolution)
    else:
        size = _size_of(resolution)
    config = PlanConfig(
        width_px=size[0],
        height_px=size[1],
        distance_m=distance_m,
        focal_px=focal_px,
        fov_deg=fov_deg,
        focal_mm=focal_mm,
        sensor_mm=sensor_mm,
        speed_m_s=speed_m_s,
        along=cast(Literal["height", "width"], along),
        exposure_ms=exposure_ms,
        frames_per_second=fps,
        wanted_overlap=wanted_overlap,
        wanted_width_mm=width_mm,
        bytes_per_frame=bytes_per_frame,
    )
    seen = plan_run(config)
    if json_output:
        print(json.dumps(asdict(seen) | {"given": asdict(config)}, indent=2))
    else:
        print(_text(config, seen, imperial=units == "imperial"))
    sys.stdout.flush()


def _size_of(resolution: str | None) -> tuple[int, int]:
    """Width and height from `--resolution`.

    Raises:
        ConfigError: the text is not a size.
    """
    remedy = "give WIDTHxHEIGHT in pixels, such as 1920x1080"
    if resolution is None:
        raise ConfigError("--resolution is not given", remedy)
    sides = resolution.lower().split("x")
    if len(sides) != 2 or not all(
        side.isascii() and side.isdecimal() and len(side) < 9 for side in sides
    ):
        raise ConfigError(f"--resolution is {resolution[:40]!r}", remedy)
    return int(sides[0]), int(sides[1])


def _camera_file(
    path: Path, others: dict[str, float | None], resolution: str | None
) -> tuple[float, tuple[int, int]]:
    """Focal length in pixels, width and height from a camera file.

    Raises:
        ConfigError: another option gives a camera too, the file is not a camera file, or the
            resolution has another aspect ratio.
    """
    from edgecrack.scale.camera_file import read_camera

    given = [name for name, value in others.items() if value is not None]
    if given:
        raise ConfigError(f"--camera and {given[0]} both give a camera", "give one of them")
    read = read_camera(path)
    if resolution is not None:
        read = read.of_size(*_size_of(resolution))
    return float(read.matrix[0, 0]), read.image_size


def _text(config: PlanConfig, seen: Plan, *, imperial: bool) -> str:
    from edgecrack.terminal.table import rows_text

    heads = ["", "metric", *(["imperial"] if imperial else [])]
    rows = [
        [label, _cell(value, unit), *([_imperial_cell(value, unit)] if imperial else [])]
        for label, value, unit in _rows(config, seen)
    ]
    table = rows_text(heads, rows) if imperial else rows_text(["", "value"], rows)
    return "\n".join([table, "", *(f"warning: {text}." for text in seen.warnings)]).rstrip()


_Row = tuple[str, "tuple[float, ...] | float | str | None", str]


def _rows(config: PlanConfig, seen: Plan) -> list[_Row]:
    """Label, value and unit; None if there is no value, which is shown as "no"."""
    from edgecrack.planning import CERTAIN_MM, MOST_MOTION_PX

    overlap = f"{100 * config.wanted_overlap:g} %"
    rows: list[_Row] = [
        ("scale", seen.mm_per_pixel, "mm/px"),
        ("a frame shows, width x height", seen.footprint_m, "m"),
    ]
    if config.speed_m_s:
        rows += [("motion blur", seen.motion_blur_px, "px")]
    if seen.fastest_sharp_m_s is not None:
        rows += [(f"fastest for {MOST_MOTION_PX:g} px of blur", seen.fastest_sharp_m_s, "m/s")]
    if seen.overlap is not None and config.speed_m_s:
        shown = f"{100 * seen.overlap:.0f} %" if seen.overlap >= 0 else "none, gaps"
        rows += [("overlap of frames", shown, "")]
    if seen.fastest_overlapping_m_s is not None:
        rows += [(f"fastest for {overlap} of overlap", seen.fastest_overlapping_m_s, "m/s")]
    if config.speed_m_s:
        rate = seen.lowest_frames_per_second
        rows += [(f"fewest frames for {overlap} of overlap", rate, "frames/s")]
    rows += [
        ("cracks are found from", seen.found_mm, "mm"),
        ("measured in half of the places from", seen.half_measured_mm, "mm"),
        ("measured in nearly all places from", seen.measured_mm, "mm"),
        ("  that width at one place (95 %), +-", seen.place_uncertainty_mm, "mm"),
        ("  its mean along a crack (95 %), +-", seen.mean_uncertainty_mm, "mm"),
        (f"mean sure to +-{CERTAIN_MM:g} mm (k = 2) from", seen.certain_mm, "mm"),
        ("  for all measured widths, up to", seen.certain_within_m, "m away"),
    ]
    if config.wanted_width_mm is not None:
        wanted = f"{config.wanted_width_mm:g} mm is measured up to"
        rows += [(wanted, seen.wanted_within_m, "m away")]
    if config.speed_m_s:
        rows += [("surface in an hour, one pass", seen.m2_per_hour, "m2")]
    if seen.gb_per_hour is not None:
        rows += [("recording in an hour", seen.gb_per_hour, "GB")]
    return rows


def _cell(value: tuple[float, ...] | float | str | None, unit: str, factor: float = 1.0) -> str:
    from edgecrack.planning import figure

    if value is None:
        return _NO
    if isinstance(value, str):
        return value
    sides = value if isinstance(value, tuple) else (value,)
    return f"{' x '.join(figure(side * factor) for side in sides)} {unit}"


def _imperial_cell(value: tuple[float, ...] | float | str | None, unit: str) -> str:
    if value is None or unit not in _IMPERIAL:
        return ""
    factor, name = _IMPERIAL[unit]
    return _cell(value, name, factor)

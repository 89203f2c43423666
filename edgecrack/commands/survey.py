"""`edgecrack survey`: the map of a run, with each crack listed once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecrack.commands.measure import table_named
from edgecrack.commands.shared_options import (
    DistanceOption,
    IgnoreOption,
    JsonOption,
    MaxFramesOption,
    MmPerPixelOption,
    ModelOption,
    ScalesOption,
    SeverityOption,
    SurveyCameraOption,
    ThreadsOption,
    ThresholdOption,
    TiltOption,
    TowardsOption,
    heading,
    results,
    say,
    scales_of,
)
from edgecrack.errors import ConfigError, EdgecrackError
from edgecrack.terminal.wording import counted, interval

if TYPE_CHECKING:
    from edgecrack.run_survey.surveying import Surveyed

_place = heading("Places")
_SHOWN = 12


def survey(
    source: Annotated[str, typer.Argument(metavar="RUN|VIDEO|FOLDER")],
    out: Annotated[Path | None, results("FOLDER", "--out", "-o")] = None,
    severity: SeverityOption = None,
    unconfirmed: Annotated[bool, results("", "--unconfirmed")] = False,
    mount: Annotated[str | None, _place("MOUNT")] = None,
    markers: Annotated[Path | None, _place("FILE")] = None,
    json_output: JsonOption = False,
    mm_per_pixel: MmPerPixelOption = None,
    camera_file: SurveyCameraOption = None,
    distance_m: DistanceOption = None,
    tilt_deg: TiltOption = None,
    tilt_towards_deg: TowardsOption = None,
    max_frames: MaxFramesOption = None,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    scales: ScalesOption = None,
    ignore: IgnoreOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Map a run and list each crack once.

    Writes cracks.json, cracks.csv, the map with numbered cracks, the coverage of the wall, and the
    best view of each crack. A crack is confirmed if at least three frames show it, and at least
    half of those that cover its place; others are listed as unconfirmed.

    Args:
        source: Folder of a run streamed with --survey; or a video, a folder of photos or another
            source of `stream`, which is streamed first.
        out: For a run: folder for its survey; default: `survey` in the run's folder. For a video:
            folder for the run; default: runs/survey.
        unconfirmed: Also draw unconfirmed cracks on the map.
        mount: Camera pose on the robot: x,y,z in m and roll,pitch,yaw in degrees (zero: looking
            along the robot's x axis); or BAG.mcap:BASE:CAMERA, two frames of its /tf_static.
        markers: YAML file with markers and their positions in m, which place the sheets.
    """
    from edgecrack.run_survey.camera_mount import parse_mount
    from edgecrack.run_survey.positions import read_markers
    from edgecrack.run_survey.surveying import SurveyConfig, is_run, survey_run

    mounted = None if mount is None else parse_mount(mount)
    known = None if markers is None else read_markers(markers)
    table = None if severity is None else table_named(severity)
    run, survey_out, unreadable = Path(source), out, None
    if is_run(run):
        of_stream = (
            mm_per_pixel, camera_file, distance_m, tilt_deg, tilt_towards_deg, max_frames, model,
            threshold, scales, ignore, threads,
        )  # fmt: skip
        if any(each is not None for each in of_stream):
            raise ConfigError(
                f"{source} is a run already, with the settings that it was streamed with",
                "omit the options of the stream, or give the video itself",
            )
    else:
        run, unreadable = stream_for_survey(
            source,
            out or Path("runs/survey"),
            (mm_per_pixel, camera_file, distance_m, tilt_deg, tilt_towards_deg),
            model=model,
            max_frames=max_frames,
            threshold=threshold,
            scales=scales_of(scales),
            ignore=ignore,
            threads=threads,
        )
        survey_out = None
    found = survey_run(run, SurveyConfig(survey_out, table, unconfirmed, mounted, known), say)
    if json_output:
        typer.echo((found.folder / "cracks.json").read_text(encoding="utf-8"), nl=False)
    else:
        typer.echo(described(found))
    if unreadable is not None:
        raise unreadable


def stream_for_survey(
    source: str, out: Path, scale: tuple[Any, ...], **options: Any
) -> tuple[Path, EdgecrackError | None]:
    """Stream a source into a folder and keep what a survey needs.

    Args:
        source: as for `stream`.
        out: folder of the run.
        scale: the arguments of `stream_scale`.
        options: other fields of `StreamConfig`.

    Returns:
        The folder of the run, and the error about inputs that could not be read, if any.
    """
    from edgecrack.runtime.measuring.stream_scale import stream_scale
    from edgecrack.runtime.stream import stream_to_folder
    from edgecrack.runtime.stream_config import StreamConfig

    return stream_to_folder(
        StreamConfig(
            source=source,
            out=out,
            save=("jsonl",),
            survey=True,
            scale=stream_scale(*scale),
            **options,
        )
    )


def confirmed_text(low: int, high: int) -> str:
    """The number of confirmed cracks, such as "3 to 4 confirmed cracks"."""
    if low == high:
        return counted(high, "confirmed crack")
    return f"{low} to {high} confirmed cracks"


def described(found: Surveyed) -> str:
    """The summary of a survey for a terminal."""
    count = found.inventory.confirmed
    lines = [
        f"{confirmed_text(count.low, count.high)}, {found.inventory.unconfirmed} unconfirmed, on "
        f"{counted(len(found.sheets.sheets), 'sheet')}"
    ]
    confirmed = [crack for crack in found.document["cracks"] if crack["status"] == "confirmed"]
    confirmed.sort(key=lambda crack: -crack["length_px"])
    for crack in confirmed[:_SHOWN]:
        lines.append(f"  crack {crack['id']}: {_figures(crack)}, in {len(crack['frames'])} frames")
    if len(confirmed) > _SHOWN:
        lines.append(f"  and {len(confirmed) - _SHOWN} more")
    shares = found.document["coverage"]["shares"]
    words = (
        ("measure", "fit to measure"),
        ("detect", "fit to detect"),
        ("unfit", "unfit"),
        ("ignored", "ignored on purpose"),
        ("skipped", "not examined"),
    )
    parts = [f"{shares[name]:.0%} {word}" for name, word in words if shares[name] >= 0.005]
    lines.append(f"of the area in view: {', '.join(parts) or 'nothing'}")
    lines += found.notes
    lines.append(f"survey: {found.folder}")
    return "\n".join(lines)


def _figures(crack: dict[str, Any]) -> str:
    length = crack["length_mm"]
    text = f"{crack['length_px']:.0f} px" if length is None else f"{length:.0f} mm"
    for unit in ("mm", "px"):
        value, low, high = (crack["width"][f"{name}_{unit}"] for name in ("mean", "low", "high"))
        if value is not None:
            return f"{text} long, {interval(value, low, high, unit)} wide"
    return f"{text} long, width not measurable"

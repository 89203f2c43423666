"""`edgecrack survey`: a run's map, and each of its cracks once.

Parses, calls and prints; every import that costs time stands inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecrack.commands.measure import table_named
from edgecrack.commands.shared_options import (
    DistanceOption,
    IgnoreOption,
    MmPerPixelOption,
    ModelOption,
    ScalesOption,
    ThreadsOption,
    ThresholdOption,
    TiltOption,
    TowardsOption,
    heading,
    results,
    scales_of,
)
from edgecrack.errors import ConfigError
from edgecrack.terminal.wording import counted, interval

if TYPE_CHECKING:
    from edgecrack.run_survey.surveying import Surveyed

_place, _scale, _source = map(heading, ("Places", "Scale", "Of a video or photos"))
_SHOWN = 12


def survey(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|VIDEO|FOLDER",
            help="Folder of a run that was streamed with --survey; or a video, a folder of photos "
            "or another source of `stream`, which is streamed first.",
        ),
    ],
    out: Annotated[
        Path | None,
        results(
            "FOLDER",
            "Of a run: where its survey goes; default: `survey` in the run's folder. Of a video: "
            "the run's folder; default: runs/survey.",
            "--out",
            "-o",
        ),
    ] = None,
    severity: Annotated[
        str | None,
        results("TABLE", "Classes by width, such as en-1992:xc3; a JSON or YAML file is your own."),
    ] = None,
    unconfirmed: Annotated[
        bool, results("", "Draw the unconfirmed cracks on the map, too.", "--unconfirmed")
    ] = False,
    mount: Annotated[
        str | None,
        _place(
            "MOUNT",
            "How the camera sits on the robot: x,y,z in m and roll,pitch,yaw in degrees; at zero "
            "it looks along the robot's x. Or BAG.mcap:BASE:CAMERA, two frames of its /tf_static.",
        ),
    ] = None,
    markers: Annotated[
        Path | None,
        _place("FILE", "YAML with markers and their places in m, by which sheets are placed."),
    ] = None,
    json_output: Annotated[
        bool, results("", "Print cracks.json, and nothing else.", "--json")
    ] = False,
    mm_per_pixel: MmPerPixelOption = None,
    camera_file: Annotated[
        str | None, _scale("FILE", "In its place, a calibrated camera, with --distance-m.")
    ] = None,
    distance_m: DistanceOption = None,
    tilt_deg: TiltOption = None,
    tilt_towards_deg: TowardsOption = None,
    max_frames: Annotated[int | None, _source("COUNT", "Stop after so many frames.")] = None,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    scales: ScalesOption = None,
    ignore: IgnoreOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Lay a run's frames on a map, and list each crack once.

    Writes cracks.json, cracks.csv, the map with numbered cracks, what was seen of the wall and how
    well, and each crack at its best. A crack is confirmed where at least three frames, and half of
    those that show its place, show it; all others are listed as unconfirmed.
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
                "leave out the options of the stream, or give the video itself",
            )
    else:
        from edgecrack.runtime.measuring.stream_scale import stream_scale
        from edgecrack.runtime.stream import stream_to_folder
        from edgecrack.runtime.stream_config import StreamConfig

        config = StreamConfig(
            source=source,
            out=Path("runs/survey") if out is None else out,
            model=model,
            save=("jsonl",),
            max_frames=max_frames,
            threshold=threshold,
            scales=scales_of(scales),
            ignore=ignore,
            threads=threads,
            scale=stream_scale(mm_per_pixel, camera_file, distance_m, tilt_deg, tilt_towards_deg),
            survey=True,
        )
        run, unreadable = stream_to_folder(config)
        survey_out = None
    found = survey_run(
        run,
        SurveyConfig(survey_out, table, unconfirmed, mounted, known),
        lambda text: typer.echo(f"edgecrack: {text}", err=True),
    )
    if json_output:
        typer.echo((found.folder / "cracks.json").read_text(encoding="utf-8"), nl=False)
    else:
        typer.echo(described(found))
    if unreadable is not None:
        raise unreadable


def described(found: Surveyed) -> str:
    """What a person wants to know of a survey."""
    count = found.inventory.confirmed
    number = str(count.high) if count.low == count.high else f"{count.low} to {count.high}"
    word = "crack" if number == "1" else "cracks"
    lines = [
        f"{number} confirmed {word}, {found.inventory.unconfirmed} unconfirmed, on "
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
        ("skipped", "not looked at"),
    )
    told = [f"{shares[name]:.0%} {word}" for name, word in words if shares[name] >= 0.005]
    lines.append(f"of what was in view: {', '.join(told) or 'nothing'}")
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

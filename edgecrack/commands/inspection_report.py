"""`edgecrack report`, `inspect` and `verify`: from a run to a document that can be checked.

Parses, calls and prints; every import that costs time stands inside the commands.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    choices,
    heading,
    results,
    scales_of,
)
from edgecrack.errors import AccuracyError
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.run_report.reporting import ReportConfig, Reported

_scale, _source = map(heading, ("Scale", "Input"))

StructureOption = Annotated[
    Path | None,
    results("FILE", "YAML with the structure's elements and faces, by which cracks are placed."),
]
FormatOption = Annotated[
    str,
    results("KINDS", "Some of html, pdf, csv, geojson, wall, coco.", "--format"),
]
LanguageOption = Annotated[str, results("CODE", "Of the page: en or de.")]
UnitsOption = Annotated[
    str, results("UNITS", "Of the page: metric or imperial. The other files are in millimetres.")
]
CommaOption = Annotated[
    bool, results("", "0,38 in cracks.csv, for spreadsheets that want it.", "--decimal-comma")
]
SiteCheckOption = Annotated[
    Path | None,
    results(
        "FILE", "cracks.json that `edgecrack measure` wrote of photos of the check sheet.",
        "--site-check",
    ),
]  # fmt: skip
JsonOption = Annotated[
    bool, results("", "Print what was written as JSON, and nothing else.", "--json")
]


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that was surveyed.")],
    structure: StructureOption = None,
    formats: FormatOption = "html,pdf,csv,coco",
    language: LanguageOption = "en",
    units: UnitsOption = "metric",
    decimal_comma: CommaOption = False,
    site_check: SiteCheckOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write the report of a surveyed run: a page and a PDF to sign, tables, and a manifest.

    The page holds its pictures and needs no other file. manifest.json has the hash of everything
    that the report rests on; edgecrack verify checks it.
    """
    from edgecrack.run_report.reporting import report_run

    config = _config(structure, formats, language, decimal_comma, units, site_check)
    _tell(report_run(run, config), json_output)


def inspect(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE|RUN", help="Whatever `stream` takes; or a run that kept a survey."
        ),
    ],
    out: Annotated[
        Path, results("FOLDER", "Of the run; beside it where an earlier run's is.", "--out", "-o")
    ] = Path("runs/inspection"),
    structure: StructureOption = None,
    severity: Annotated[
        str | None,
        results("TABLE", "Classes by width, such as en-1992:xc3; a JSON or YAML file is your own."),
    ] = None,
    formats: FormatOption = "html,pdf,csv,coco",
    language: LanguageOption = "en",
    units: UnitsOption = "metric",
    decimal_comma: CommaOption = False,
    site_check: SiteCheckOption = None,
    json_output: JsonOption = False,
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
    """Find the cracks of a video or of photos, survey them, and write the report: all in one."""
    from edgecrack.run_report.reporting import report_run
    from edgecrack.run_survey.surveying import SurveyConfig, is_run, survey_run
    from edgecrack.runtime.measuring.stream_scale import stream_scale
    from edgecrack.runtime.stream import stream_to_folder
    from edgecrack.runtime.stream_config import StreamConfig

    config = _config(structure, formats, language, decimal_comma, units, site_check)
    table = None if severity is None else table_named(severity)
    run, unreadable = Path(source), None
    if not is_run(run):
        run, unreadable = stream_to_folder(
            StreamConfig(
                source=source,
                out=out,
                model=model,
                save=("jsonl",),
                max_frames=max_frames,
                threshold=threshold,
                scales=scales_of(scales),
                ignore=ignore,
                threads=threads,
                scale=stream_scale(
                    mm_per_pixel, camera_file, distance_m, tilt_deg, tilt_towards_deg
                ),
                survey=True,
            )
        )
    survey_run(
        run, SurveyConfig(table=table), lambda text: typer.echo(f"edgecrack: {text}", err=True)
    )
    _tell(report_run(run, config), json_output)
    if unreadable is not None:
        raise unreadable


def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Of a reported run, or of measured photos.")
    ],
    json_output: Annotated[
        bool, results("", "Print what was found as JSON, and nothing else.", "--json")
    ] = False,
) -> None:
    """Check that the files of a report are what they were when it was written."""
    from edgecrack.run_report.file_hashes import verify as check

    checked = check(folder)
    if json_output:
        whole = {"folder": str(folder), "whole": checked.is_whole, "files": len(checked.files)}
        lists = {"changed": [*checked.changed], "missing": [*checked.missing]}
        typer.echo(json.dumps({**whole, **lists}))
    else:
        for name in checked.changed:
            typer.echo(f"changed: {_shown(name)}")
        for name in checked.missing:
            typer.echo(f"missing: {_shown(name)}")
    if not checked.is_whole:
        bad = len(checked.changed) + len(checked.missing)
        raise AccuracyError(
            f"{counted(bad, 'file')} of {folder} {'is' if bad == 1 else 'are'} not what the "
            "manifest says",
            "take them from a copy, or report again",
        )
    if not json_output:
        what = "as it was" if len(checked.files) == 1 else "as they were"
        typer.echo(f"{counted(len(checked.files), 'file')} {what}")


def _shown(name: str) -> str:
    """A file's name as one line that does nothing to a terminal."""
    return name if name.isprintable() else ascii(name)


def _config(
    structure: Path | None,
    formats: str,
    language: str,
    decimal_comma: bool,
    units: str,
    site_check: Path | None,
) -> ReportConfig:
    from edgecrack.run_report.report_words import Words
    from edgecrack.run_report.reporting import ReportConfig
    from edgecrack.run_report.site_result import read_site_check
    from edgecrack.run_report.structure import read_structure

    Words(language, units)  # before anything that takes long
    if site_check is not None:
        read_site_check(site_check)
    return ReportConfig(
        choices(formats),
        language,
        None if structure is None else read_structure(structure),
        decimal_comma,
        units,
        site_check,
    )


def _tell(reported: Reported, as_json: bool) -> None:
    count = reported.facts.document["count"]
    if as_json:
        files = [str(file) for file in reported.files]
        typer.echo(json.dumps({"folder": str(reported.folder), "files": files, "count": count}))
        return
    number = (
        f"{count['high']}"
        if count["low"] == count["high"]
        else (f"{count['low']} to {count['high']}")
    )
    typer.echo(f"{number} confirmed {'crack' if number == '1' else 'cracks'}")
    for note in reported.facts.document["notes"]:
        typer.echo(note)
    for file in reported.files:
        typer.echo(f"written: {file}")

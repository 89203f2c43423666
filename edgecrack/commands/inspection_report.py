"""`edgecrack report`, `inspect` and `verify`: reports whose files can be verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecrack.commands.measure import table_named
from edgecrack.commands.shared_options import (
    CommaOption,
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
    choices,
    results,
    say,
    scales_of,
)
from edgecrack.commands.survey import confirmed_text, stream_for_survey
from edgecrack.errors import AccuracyError
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.run_report.reporting import ReportConfig, Reported

StructureOption = Annotated[
    Path | None,
    results(
        "FILE", text="YAML file with the structure's elements and faces, to locate the cracks."
    ),
]
FormatOption = Annotated[
    str,
    results("KINDS", "--format", text="Any of html, pdf, csv, geojson, wall, coco."),
]
LanguageOption = Annotated[str, results("CODE", text="Language of the report: en or de.")]
UnitsOption = Annotated[
    str,
    results("UNITS", text="Units of the report: metric or imperial. Other files use millimetres."),
]
SiteCheckOption = Annotated[
    Path | None,
    results("FILE", text="cracks.json of `edgecrack measure` from photos of the check sheet."),
]


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    structure: StructureOption = None,
    formats: FormatOption = "html,pdf,csv,coco",
    language: LanguageOption = "en",
    units: UnitsOption = "metric",
    decimal_comma: CommaOption = False,
    site_check: SiteCheckOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write the report of a surveyed run: an HTML page, a PDF to sign, tables and a manifest.

    The page embeds its images. manifest.json contains the hashes of all files that the report is
    based on; edgecrack verify checks them.

    Args:
        run: Folder of a surveyed run.
    """
    from edgecrack.run_report.reporting import report_run

    config = _config(structure, formats, language, decimal_comma, units, site_check)
    _show(report_run(run, config), json_output)


def inspect(
    source: Annotated[str, typer.Argument(metavar="SOURCE|RUN")],
    out: Annotated[Path, results("FOLDER", "--out", "-o")] = Path("runs/inspection"),
    structure: StructureOption = None,
    severity: SeverityOption = None,
    formats: FormatOption = "html,pdf,csv,coco",
    language: LanguageOption = "en",
    units: UnitsOption = "metric",
    decimal_comma: CommaOption = False,
    site_check: SiteCheckOption = None,
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
    """Find and survey the cracks in a video or photos, and write the report, in one step.

    Args:
        source: Any source of `stream`, or a run streamed with --survey.
        out: Folder for the run; FOLDER-2 if it contains another.
    """
    from edgecrack.run_report.reporting import report_run
    from edgecrack.run_survey.surveying import SurveyConfig, is_run, survey_run

    config = _config(structure, formats, language, decimal_comma, units, site_check)
    table = None if severity is None else table_named(severity)
    run, unreadable = Path(source), None
    if not is_run(run):
        run, unreadable = stream_for_survey(
            source,
            out,
            (mm_per_pixel, camera_file, distance_m, tilt_deg, tilt_towards_deg),
            model=model,
            max_frames=max_frames,
            threshold=threshold,
            scales=scales_of(scales),
            ignore=ignore,
            threads=threads,
        )
    survey_run(run, SurveyConfig(table=table), say)
    _show(report_run(run, config), json_output)
    if unreadable is not None:
        raise unreadable


def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")],
    json_output: JsonOption = False,
) -> None:
    """Verify that the files of a report are unchanged.

    Args:
        folder: Folder of a reported run or measured photos.
    """
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
            f"{counted(bad, 'file')} of {folder} {'differs' if bad == 1 else 'differ'} from the "
            "manifest",
            "restore them from a copy, or write the report again",
        )
    if not json_output:
        typer.echo(f"{counted(len(checked.files), 'file')} unchanged")


def _shown(name: str) -> str:
    """A file name on one line, without control codes."""
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

    Words(language, units)  # refuses wrong values before the long work
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


def _show(reported: Reported, as_json: bool) -> None:
    count = reported.facts.document["count"]
    if as_json:
        files = [str(file) for file in reported.files]
        typer.echo(json.dumps({"folder": str(reported.folder), "files": files, "count": count}))
        return
    typer.echo(confirmed_text(count["low"], count["high"]))
    for note in reported.facts.document["notes"]:
        typer.echo(note)
    for file in reported.files:
        typer.echo(f"written: {file}")

"""From a surveyed run to its report.

RUN/report/report.html       one file, pictures included
RUN/report/report.pdf        the same on A4
RUN/report/cracks.csv        a row for each crack
RUN/report/cracks.geojson    only where places on the earth are known
RUN/report/cracks.wall.json  lines on the wall in millimetres, where there is a scale
RUN/report/cracks.coco.json  for training and labelling tools
RUN/report/site_check.json   a given site check; later reports of the run include it, too
RUN/report/structure.json    the structure that was given
RUN/manifest.json            SHA-256 of these, of the survey and of what the run kept
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgecrack.errors import ConfigError, OutputError
from edgecrack.extras import require
from edgecrack.files import write_atomic
from edgecrack.run_report.facts import RunFacts, read_facts
from edgecrack.run_report.file_hashes import MANIFEST_NAME, write_manifest
from edgecrack.run_report.formats import as_coco, as_csv, as_geojson, as_wall_lines
from edgecrack.run_report.inspection_page import render_page
from edgecrack.run_report.inspection_pdf import render_pdf
from edgecrack.run_report.report_words import Words
from edgecrack.run_report.site_result import (
    SITE_CHECK_NAME,
    parse_site_check,
    read_site_check,
)
from edgecrack.run_report.structure import Structure
from edgecrack.run_review.review_log import REVIEW_NAME
from edgecrack.run_survey.survey_document import survey_state
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, OutputFolder

FORMATS = ("html", "pdf", "csv", "geojson", "wall", "coco")
DEFAULT_FORMATS = ("html", "pdf", "csv", "coco")
_LIBRARIES = {"html": "jinja2", "pdf": "reportlab"}
REPORT_NAME = "report"
_HIDDEN = (MANIFEST_NAME,)
_STRUCTURE_NAME = "structure.json"
_NAMES = ("report.html", "report.pdf", "cracks.csv", "cracks.geojson", "cracks.wall.json",
          "cracks.coco.json",
          SITE_CHECK_NAME, _STRUCTURE_NAME)  # fmt: skip


@dataclass(frozen=True)
class ReportConfig:
    """Options of a report.

    Attributes:
        formats: of "html", "pdf", "csv", "geojson", "wall" and "coco".
        language: of the page.
        structure: by which cracks are placed; None leaves them on their sheets.
        decimal_comma: in the table.
        units: of the page, "metric" or "imperial"; the other files have millimetres, as the names
            of their fields say.
        site_check: file of a site check, as `edgecrack measure` wrote it of photos of the check
            sheet; None takes that of the last report, or what the run's own frames tell.
    """

    formats: tuple[str, ...] = DEFAULT_FORMATS
    language: str = "en"
    structure: Structure | None = None
    decimal_comma: bool = False
    units: str = "metric"
    site_check: Path | None = None

    def __post_init__(self) -> None:
        unknown = [each for each in self.formats if each not in FORMATS]
        if unknown or not self.formats:
            raise ConfigError(
                f"the formats are {','.join(self.formats)!r}", f"give some of {', '.join(FORMATS)}"
            )
        # Before a video is inspected for an hour, not after it.
        for kind, library in _LIBRARIES.items():
            if kind in self.formats:
                require(library, extra="report", purpose=f"a report as {kind.upper()}")


@dataclass(frozen=True)
class Reported:
    """The report that was written.

    Attributes:
        folder: of the report.
        files: of it, in the order of the formats; what was given for it lies beside them.
        facts: what it says.
    """

    folder: Path
    files: tuple[Path, ...]
    facts: RunFacts


def report_run(run: Path, config: ReportConfig | None = None) -> Reported:
    """Write a surveyed run's report, and the manifest of all that it rests on.

    Raises:
        SourceError: there is no survey, or it does not fit what is asked for.
        ConfigError: the site check is not valid.
        MissingDependencyError: jinja2 or reportlab is not installed.
        OutputError: a file cannot be written.
    """
    config = config or ReportConfig()
    words = Words(config.language, config.units)
    given = _given(run, config)
    site = None
    if SITE_CHECK_NAME in given:
        site = parse_site_check(given[SITE_CHECK_NAME], SITE_CHECK_NAME)
    rests_on = survey_state(run), _review_size(run)
    facts = read_facts(run, config.structure, site)
    made: dict[str, str | bytes] = {}
    for each in config.formats:
        if each == "html":
            made["report.html"] = render_page(facts, words)
        elif each == "pdf":
            made["report.pdf"] = render_pdf(facts, words)
        elif each == "csv":
            made["cracks.csv"] = "\ufeff" + as_csv(facts, decimal_comma=config.decimal_comma)
        elif each == "geojson":
            made["cracks.geojson"] = json.dumps(as_geojson(facts), allow_nan=False) + "\n"
        elif each == "wall":
            made["cracks.wall.json"] = json.dumps(as_wall_lines(facts), allow_nan=False) + "\n"
        else:
            made["cracks.coco.json"] = json.dumps(as_coco(facts), allow_nan=False) + "\n"
    folder = OutputFolder(run / REPORT_NAME)
    if folder.lock() == "busy":
        raise OutputError(f"another report is written into {folder.path}", "wait for it")
    try:
        folder.clear_own(_NAMES)
        for name, content in (*made.items(), *given.items()):
            write_atomic(folder.claim(name), content)
        if rests_on != (survey_state(run), _review_size(run)):
            raise OutputError(
                f"the survey or the review of {run} changed while the report was written",
                "report again",
            )
        write_manifest(run, _all_files(run))
    finally:
        folder.unlock()
    return Reported(folder.path, tuple(folder.path / name for name in made), facts)


def _review_size(run: Path) -> int:
    """Of the review's file, which only grows."""
    try:
        return (run / REVIEW_NAME).stat().st_size
    except OSError:
        return 0


def _given(run: Path, config: ReportConfig) -> dict[str, bytes]:
    """Files that the report rests on and that came from outside of the run, by their names."""
    given: dict[str, bytes] = {}
    before = run / REPORT_NAME / SITE_CHECK_NAME
    if config.site_check is not None:
        given[SITE_CHECK_NAME] = read_site_check(config.site_check)
    elif before.is_file():
        given[SITE_CHECK_NAME] = read_site_check(before)
    if config.structure is not None:
        text = json.dumps(asdict(config.structure), indent=1, ensure_ascii=False)
        given[_STRUCTURE_NAME] = (text + "\n").encode()
    return given


def _all_files(run: Path) -> Sequence[Path]:
    """The report, the survey, the run's files and its settings."""
    return [
        path
        for path in sorted(run.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and path.name not in _HIDDEN
        and (path == run / LEDGER_NAME or not path.name.startswith(".edgecrack"))
    ]

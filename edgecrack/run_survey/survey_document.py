"""Reads and validates a survey's `cracks.json`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgecrack.errors import SourceError
from edgecrack.outside_text import read_json
from edgecrack.runtime.tracking.kept_run import SURVEY_NAME

DOCUMENT_NAME = "cracks.json"
_VERSION = 1
_STATES = ("confirmed", "unconfirmed")


def survey_state(run: Path) -> tuple[int, int]:
    """Modification time and size of a survey's file; they change when a run is surveyed again."""
    try:
        found = (run / SURVEY_NAME / DOCUMENT_NAME).stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_survey(run: Path) -> dict[str, Any]:
    """The content of a run's `survey/cracks.json`.

    Args:
        run: folder of the run.

    Raises:
        SourceError: there is no survey, or it is damaged or has another schema version.
    """
    path = run / SURVEY_NAME / DOCUMENT_NAME
    try:
        found = read_json(path)
    except FileNotFoundError as error:
        raise SourceError(f"{run} has no survey", "run edgecrack survey on it first") from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except ValueError as error:
        raise SourceError(f"{path} is damaged", "run edgecrack survey again") from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    if version != _VERSION:
        raise SourceError(
            f"{path} has schema version {version!r} instead of {_VERSION}",
            "run edgecrack survey again with this version of edgecrack",
        )
    try:
        for crack in found["cracks"]:
            found["sheets"][crack["sheet"]]["mm_per_px"]
            crack["width"]["mean_px"], crack["lines"][0][0][1]
            _require(crack["status"] in _STATES and math.isfinite(crack["length_px"]))
        ids = [int(crack["id"]) for crack in found["cracks"]]
        _require(len(ids) == len(set(ids)))
        found["notes"], found["model"], found["count"]["low"], found["count"]["high"]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise SourceError(f"{path} is damaged", "run edgecrack survey again") from error
    return dict(found)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError

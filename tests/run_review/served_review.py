"""A small surveyed run, and its review served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecrack.measurement.severity import severity_table
from edgecrack.run_review.review_server import ReviewServer
from edgecrack.run_review.review_session import ReviewSession
from edgecrack.run_survey import SurveyConfig, survey_run
from edgecrack.runtime.measuring.frame_scale import FrameScale
from edgecrack.runtime.measuring.stream_scale import StreamScale
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.scale import Quantity
from tests.run_survey.kept_flight import keep, views
from tests.survey.small_walls import along

LINES = [
    [(40, 110), (250, 118), (480, 112)],
    [(60, 210), (180, 216)],
    [(290, 200), (400, 210)],
    [(200, 160), (260, 150)],
]


def survey_small_wall(folder: Path) -> Path:
    """A run of 9 frames with three cracks and an unconfirmed mark, at 0.1 mm a pixel."""
    scale = FrameScale(StreamScale(mm_per_pixel=Quantity(0.1, 0.002)))
    keep(folder, views(along(0, 200, 60, 25.0), LINES), scale=scale)
    survey_run(folder, SurveyConfig(table=severity_table("en-1992:xc3")))
    path = folder / "survey" / "cracks.json"
    document = json.loads(path.read_text())
    document["cracks"][-1]["status"] = "unconfirmed"
    path.write_text(json.dumps(document))
    return folder


@dataclass
class Served:
    """A run whose review is served."""

    run: Path
    session: ReviewSession
    server: ReviewServer

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The review's actions as they are on the disk."""
        text = (self.run / "review.jsonl").read_text()
        lines = [json.loads(each) for each in text.splitlines()[1:]]
        for line in lines:
            del line["number"], line["time"]
            line.pop("of", None)
            line.pop("undoes", None)
        return lines


@contextmanager
def served(run: Path, token: str | None = None, port: int = 0) -> Iterator[Served]:
    with (
        ReviewSession(run) as session,
        ReviewServer(ServeConfig(port=port, token=token), session) as server,
    ):
        yield Served(run, session, server)

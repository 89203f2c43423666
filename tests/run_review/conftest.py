"""A small run that was surveyed, to be reviewed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgecrack.measurement.severity import severity_table
from edgecrack.run_survey import SurveyConfig, survey_run
from edgecrack.runtime.measuring.frame_scale import FrameScale
from edgecrack.runtime.measuring.stream_scale import StreamScale
from edgecrack.scale import Quantity
from tests.run_survey.kept_flight import LONG, keep, views
from tests.survey.small_walls import along

SHORT = [(300, 210), (420, 216)]


@pytest.fixture(scope="session")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.1 mm a pixel; crack 1 is long, crack 2 is short, both are confirmed."""
    folder = tmp_path_factory.mktemp("reviewed")
    scale = FrameScale(StreamScale(mm_per_pixel=Quantity(0.1, 0.002)))
    keep(folder, views(along(0, 440, 60), [LONG, SHORT]), scale=scale)
    survey_run(folder, SurveyConfig(table=severity_table("en-1992:xc3")))
    return folder


@pytest.fixture
def run(surveyed: Path, tmp_path: Path) -> Path:
    """A copy, to be reviewed."""
    return Path(shutil.copytree(surveyed, tmp_path / "run"))

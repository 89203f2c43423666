from __future__ import annotations

import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.survey.coverage import FrameLook, coverage_of
from edgecrack.survey.sheets import Placement, Sheet, Sheets
from tests.survey.small_walls import HW, shifted

AREA = HW[0] * HW[1]


def _laid(*shifts: float) -> tuple[Sheets, Sheet]:
    placements = {frame: Placement(0, shifted(x, 0), HW) for frame, x in enumerate(shifts)}
    frames = tuple(placements)
    sheet = Sheet(0, frames, frames, 0, "", 0.5, 2.0)
    return Sheets((sheet,), placements), sheet


def test_the_best_look_counts_once() -> None:
    laid = _laid(0, 150, 600)
    looks = [FrameLook(0, "measure"), FrameLook(1, "detect")]
    found = coverage_of(*laid, looks)
    assert found.area_px["measure"] == pytest.approx(AREA, rel=0.05)
    assert found.area_px["detect"] == pytest.approx(AREA / 2, rel=0.05)
    assert found.area_px["skipped"] == pytest.approx(AREA, rel=0.05)
    assert found.seen_px == pytest.approx(2.5 * AREA, rel=0.05)
    assert found.share("measure") == pytest.approx(0.4, abs=0.02)
    assert (found.best == 0).any()


def test_what_is_ignored_or_missed_does_not_count_as_seen() -> None:
    upper, left = np.zeros(HW, bool), np.zeros(HW, bool)
    upper[:100], left[:, :100] = True, True
    found = coverage_of(*_laid(0), [FrameLook(0, "measure", ignored=upper, missed=left)])
    assert found.area_px["ignored"] == pytest.approx(AREA / 2, rel=0.06)
    assert found.area_px["skipped"] == pytest.approx(AREA / 6, rel=0.08)
    assert found.area_px["measure"] == pytest.approx(AREA / 3, rel=0.08)


def test_unfit_is_told_from_skipped() -> None:
    found = coverage_of(*_laid(0, 400), [FrameLook(1, "unfit")])
    assert found.area_px["unfit"] == pytest.approx(found.area_px["skipped"], rel=0.1)


def test_a_huge_sheet_has_larger_cells() -> None:
    found = coverage_of(*_laid(0, 2e6), [])
    assert found.best.size < 5_000_000
    assert found.cell_px > 8


def test_masks_of_another_size_and_cells_of_no_size_are_refused() -> None:
    look = FrameLook(0, "measure", ignored=np.zeros((5, 5), bool))
    with pytest.raises(ConfigError, match="frame 0 has shape"):
        coverage_of(*_laid(0), [look])
    with pytest.raises(ConfigError, match="`cell_px` is"):
        coverage_of(*_laid(0), [], cell_px=0)

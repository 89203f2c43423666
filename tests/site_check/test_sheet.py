"""The check sheet's geometry: widths, room around each crack, and that it never changes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.site_check.sheet import (
    BAR_MM,
    MARKER_NUMBERS,
    PAGE_MM,
    WIDTHS_MM,
    Points,
    SheetCrack,
    check_sheet,
)

SHEET = check_sheet()
CRACKS = pytest.mark.parametrize("crack", SHEET.cracks, ids=lambda crack: str(crack.stated_mm))


def test_it_has_the_widths_that_matter() -> None:
    assert tuple(crack.stated_mm for crack in SHEET.cracks) == WIDTHS_MM
    assert WIDTHS_MM == (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0)


@CRACKS
def test_a_crack_is_as_wide_as_stated_and_rough(crack: SheetCrack) -> None:
    assert crack.mean_width_mm == pytest.approx(crack.stated_mm, rel=1e-6)
    assert crack.length_mm >= 40
    across = crack.outline[: len(crack.middle)] - crack.outline[len(crack.middle) :][::-1]
    widths = np.hypot(*across.T)
    assert widths.std() > 0.1 * crack.stated_mm
    assert widths.min() > 0.3 * crack.stated_mm
    assert wandering_mm(crack) > 0.5


def wandering_mm(crack: SheetCrack) -> float:
    """Standard deviation of the middle about a straight line."""
    centred = crack.middle - crack.middle.mean(axis=0)
    return float(np.linalg.svd(centred, compute_uv=False)[1] / np.sqrt(len(centred)))


@CRACKS
def test_every_stretch_of_20_mm_has_the_stated_width(crack: SheetCrack) -> None:
    count = len(crack.middle)
    across = crack.outline[:count] - crack.outline[count:][::-1]
    widths = np.hypot(*across.T)
    means = np.convolve(widths, np.ones(100) / 100, "valid")  # points are 0.2 mm apart
    assert means == pytest.approx(crack.stated_mm, rel=0.04)


@CRACKS
def test_beside_a_crack_there_is_only_paper(crack: SheetCrack) -> None:
    others = [other.outline for other in SHEET.cracks if other is not crack]
    others += [marker.corners for marker in SHEET.markers] + list(SHEET.lines)
    others += [np.array([[text.x_mm, text.y_mm]]) for text in SHEET.texts]
    for other in others:
        assert distance_mm(crack.outline, other) > 4.0


def distance_mm(first: Points, second: Points) -> float:
    return float(np.hypot(*(first[:, None] - second[None]).transpose(2, 0, 1)).min())


def test_a_printer_reaches_all_of_it() -> None:
    rings = [crack.outline for crack in SHEET.cracks] + list(SHEET.lines)
    rings += [marker.corners for marker in SHEET.markers]
    every = np.concatenate(rings)
    assert every.min() >= 10
    assert (every.max(axis=0) <= np.array(PAGE_MM) - 10).all()


def test_the_bar_has_100_mm_and_the_ruler_its_ticks() -> None:
    bar, *ticks = SHEET.lines
    assert np.ptp(bar[:, 0]) == pytest.approx(BAR_MM)
    middles = [tick[:, 0].mean() for tick in ticks]
    assert np.diff(middles) == pytest.approx(1.0)
    assert middles[-1] - middles[0] == pytest.approx(BAR_MM)


def test_markers_tell_the_version() -> None:
    assert tuple(marker.number for marker in SHEET.markers) == MARKER_NUMBERS[SHEET.version]
    every = [number for numbers in MARKER_NUMBERS.values() for number in numbers]
    assert len(set(every)) == len(every)
    assert max(every) < 50
    with pytest.raises(ConfigError, match="version 0"):
        check_sheet(0)


def test_sheets_that_were_printed_stay_what_they_are() -> None:
    """To the hundredth of a millimetre, whatever NumPy is installed; else it is a new version."""
    points = np.concatenate([crack.outline for crack in SHEET.cracks])
    assert points.shape == PRINTED_SHAPE
    rounded = np.floor(points * 100 + 0.5).astype("<i4")
    assert hashlib.sha256(rounded.tobytes()).hexdigest()[:16] == PRINTED_DIGEST


PRINTED_SHAPE = (11_620, 2)
PRINTED_DIGEST = "b0f86f38844dd384"

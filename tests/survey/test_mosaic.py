from __future__ import annotations

import numpy as np
import pytest

from edgecrack.survey.mosaic import DrawnCrack, draw_cracks, make_mosaic
from edgecrack.survey.plane_geometry import Matrix
from edgecrack.survey.sheets import Placement, Sheet, Sheets
from tests.survey.small_walls import HW, rough_wall, seen, shifted


def _laid(path: list[Matrix], gains: dict[int, float] | None = None) -> tuple[Sheets, Sheet]:
    placements = {frame: Placement(0, each, HW) for frame, each in enumerate(path)}
    frames = tuple(placements)
    sheet = Sheet(0, frames, frames, 0, "", 0.5, 2.0, (), gains or {})
    return Sheets((sheet,), placements), sheet


def test_the_map_is_the_wall() -> None:
    wall, path = rough_wall(), [shifted(0, 0), shifted(140, 30), shifted(300, 10)]
    mosaic = make_mosaic(*_laid(path), lambda frame: seen(wall, path[frame]))
    assert mosaic.image.shape == (230, 600, 3)
    away = np.abs(mosaic.image[..., 0].astype(int) - wall[:230, :600])[mosaic.seen]
    assert np.percentile(away, 99) <= 2
    assert (mosaic.image[~mosaic.seen] == 255).all()


def test_the_finer_view_counts() -> None:
    path = [shifted(0, 0, 2.0), shifted(150, 100)]
    levels = {0: np.full(HW, 80, np.uint8), 1: np.full(HW, 160, np.uint8)}
    mosaic = make_mosaic(*_laid(path), levels.get)
    assert mosaic.image[200, 300, 0] > 150
    assert mosaic.image[50, 50, 0] == 80


def test_exposure_is_made_alike() -> None:
    path = [shifted(0, 0), shifted(150, 0)]
    levels = {0: np.full(HW, 80, np.uint8), 1: np.full(HW, 100, np.uint8)}
    mosaic = make_mosaic(*_laid(path, {0: 1.125, 1: 0.9}), levels.get)
    assert np.ptp(mosaic.image[mosaic.seen]) <= 1


def test_a_large_sheet_is_made_smaller_and_a_lost_picture_is_left_out() -> None:
    path = [shifted(0, 0), shifted(3000, 0)]
    pictures = {0: np.zeros(HW, np.uint8)}
    mosaic = make_mosaic(*_laid(path), pictures.get, longest_px=660)
    assert mosaic.image.shape[:2] == (40, 660)
    assert mosaic.seen.mean() == pytest.approx(1 / 11, rel=0.05)


def test_cracks_are_drawn_where_they_are() -> None:
    path = [shifted(-50, -20)]
    mosaic = make_mosaic(*_laid(path), lambda frame: np.full(HW, 128, np.uint8))
    crack = DrawnCrack("7", (np.array([[0.0, 50.0], [100.0, 50.0]]),))
    drawn = draw_cracks(mosaic, [crack, DrawnCrack("8", (), confirmed=False)])
    assert (mosaic.image == 128).all()
    blue, green, red = drawn[70, 60].tolist()
    assert red > 190
    assert max(blue, green) < 90
    assert (drawn[:40] == 128).all()

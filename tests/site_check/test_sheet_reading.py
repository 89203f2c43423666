"""The check sheet, rendered and read: within its intervals, and what is wrong is noticed."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.scale import Quantity, uniform_scale
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.markers import marker_scale, parse_marker
from edgecrack.scale.plane import plane_scale
from edgecrack.site_check import SiteCheck, read_sheet
from edgecrack.site_check.printing import Imaging, View, render_sheet, view_of_sheet

Image = NDArray[np.uint8]
SURE = 0.0025  # relative standard uncertainty of a scale that is sure to 0.5 %


@lru_cache
def rendered(
    mm_per_px: float, tilt_deg: float = 0.0, blur_px: float = 1.0, print_factor: float = 1.0
) -> tuple[View, Image]:
    view = view_of_sheet(mm_per_px, tilt_deg, towards_deg=30.0, turned_deg=3.0)
    image = render_sheet(
        view,
        np.random.default_rng(0),
        Imaging(blur_px=blur_px, ink=0.07),
        print_factor=print_factor,
    )
    image.setflags(write=False)
    return view, image


def straight(mm_per_px: float) -> Any:
    return uniform_scale(Quantity(mm_per_px, SURE * mm_per_px))


def found(check: SiteCheck | None) -> SiteCheck:
    assert check is not None
    return check


@pytest.mark.parametrize(
    ("mm_per_px", "tilt_deg", "blur_px", "narrowest_mm"),
    [(0.1, 10.0, 1.2, 0.1), (0.2, 20.0, 0.7, 0.1), (0.3, 0.0, 1.5, 0.2), (0.4, 15.0, 1.0, 0.2)],
)
def test_it_is_read_within_its_intervals(
    mm_per_px: float, tilt_deg: float, blur_px: float, narrowest_mm: float
) -> None:
    view, image = rendered(mm_per_px, tilt_deg, blur_px)
    check = found(read_sheet(image, view.scale(SURE)))
    assert check.passed, check.sentences()
    assert check.scale.deviation.value == pytest.approx(0, abs=0.002)
    for crack in check.cracks:
        if crack.read_mm is None:
            assert crack.stated_mm < narrowest_mm
            assert "too narrow for this scale" in crack.reason
        else:
            assert crack.read_mm.low <= crack.stated_mm <= crack.read_mm.high
            assert crack.read_mm.value == pytest.approx(crack.stated_mm, abs=0.25 * mm_per_px)


@pytest.mark.parametrize(("print_factor", "words"), [(0.97, "3.0% smaller"), (1.03, "3.0% larger")])
def test_a_sheet_of_the_wrong_size_is_noticed(print_factor: float, words: str) -> None:
    _, image = rendered(0.4, print_factor=print_factor)
    check = found(read_sheet(image, straight(0.4)))
    assert not check.passed
    assert words in check.problems[0]
    assert "printed at another size" in check.problems[0]
    measured = Quantity(100 * print_factor, 0.1)
    assert found(read_sheet(image, straight(0.4), bar_mm=measured)).scale.agrees


def test_a_wrong_distance_is_noticed_and_the_bar_rules_out_the_print() -> None:
    _, image = rendered(0.4)
    check = found(read_sheet(image, straight(0.4 * 1.05), bar_mm=Quantity(100.0, 0.1)))
    assert not check.passed
    assert "the distance or the camera's calibration is wrong" in check.problems[0]


def test_a_bar_that_contradicts_the_scale() -> None:
    _, image = rendered(0.4)
    check = found(read_sheet(image, straight(0.4), bar_mm=Quantity(97.0, 0.1)))
    assert not check.passed
    assert "3.1% larger" in check.problems[0]


def test_what_a_gauge_says_counts_more_than_what_stands_on_the_sheet() -> None:
    _, image = rendered(0.4)
    readings = {0.4: Quantity(0.41, 0.005), 1.0: Quantity(0.7, 0.01), 0.5: Quantity(0.5)}
    check = found(read_sheet(image, straight(0.4), readings))
    by_width = {crack.stated_mm: crack for crack in check.cracks}
    assert by_width[0.4].true_mm == Quantity(0.41, 0.005)
    assert by_width[0.5].true_mm == Quantity(0.5, 0.01)
    assert abs(by_width[0.4].score or 0) < 1
    assert (by_width[1.0].score or 0) > 1.5
    assert "too wide" in by_width[1.0].sentence()
    assert not check.passed


@pytest.mark.parametrize(
    ("readings", "bar_mm", "problem"),
    [
        ({0.45: Quantity(0.4)}, None, "a crack of 0.45 mm"),
        ({0.4: Quantity(4.0)}, None, "0.4 mm was read as 4 mm"),
        ({}, Quantity(3.94), "3.94 mm long instead of 100"),
        ({}, Quantity(float("nan")), "nan mm long instead of 100"),
    ],
)
def test_what_cannot_be(
    readings: dict[float, Quantity], bar_mm: Quantity | None, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_sheet(rendered(0.4)[1], straight(0.4), readings, bar_mm=bar_mm)


@pytest.mark.parametrize("shape", [(0, 10), (20, 20, 4), (20,)])
def test_what_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sheet(np.zeros(shape, np.uint8), straight(0.4))
    with pytest.raises(ConfigError, match="float64"):
        read_sheet(np.zeros((20, 20)), straight(0.4))  # type: ignore[arg-type]


def test_a_camera_of_another_shape() -> None:
    view, image = rendered(0.4)
    with pytest.raises(ConfigError, match="another shape"):
        read_sheet(image[:300], straight(0.4), camera=view.camera)


def test_a_sheet_half_out_of_view() -> None:
    _, image = rendered(0.3)
    width = image.shape[1]
    check = found(read_sheet(image[:, width // 2 :], straight(0.3)))
    assert check.markers == (45, 47, 49)
    assert check.passed, check.sentences()
    gone = [crack.stated_mm for crack in check.cracks if crack.reason == "it is out of view"]
    # The cut runs along the crack of 0.5 mm.
    assert {0.15, 0.3} <= set(gone) <= {0.15, 0.3, 0.5}
    for crack in check.read:
        assert abs(crack.score or 0) < 1


def test_with_too_little_in_view_the_check_fails() -> None:
    _, image = rendered(0.3)
    upper = image[: round(66 / 0.3)]
    check = found(read_sheet(upper, straight(0.3)))
    assert check.markers == (44, 45)
    assert not check.passed
    assert "cracks could be read; 3 are needed" in check.problems[0]


def test_no_sheet() -> None:
    noise = np.random.default_rng(0).integers(90, 160, (300, 400)).astype(np.uint8)
    assert read_sheet(noise, straight(0.4)) is None


def test_one_marker_is_no_sheet() -> None:
    _, image = rendered(0.4)
    assert read_sheet(image[:200, :250], straight(0.4)) is None


def test_two_sheets() -> None:
    _, image = rendered(0.4)
    with pytest.raises(ConfigError, match="more than once"):
        read_sheet(np.hstack([image, image]), straight(0.4))


def test_markers_that_lie_otherwise_are_no_sheet() -> None:
    _, image = rendered(0.4)
    height, width = image.shape
    halves = np.hstack([image[:, width // 2 :], image[:, : width // 2]])
    assert read_sheet(np.vstack([halves, halves[: height // 99]]), straight(0.4)) is None


def test_a_colour_picture_reads_the_same() -> None:
    _, image = rendered(0.4)
    gray = found(read_sheet(image, straight(0.4)))
    colour = found(read_sheet(np.dstack([image] * 3), straight(0.4)))
    assert colour.to_dict() == gray.to_dict()
    json.dumps(gray.to_dict())


def test_a_lens_that_distorts() -> None:
    view, image = rendered(0.4)
    plain = view.camera
    camera = CameraFile(
        plain.matrix, np.array([-0.25, 0.05, 0.0, 0.0]), plain.image_size, "wide", 0.001
    )
    width, height = plain.image_size
    rows, columns = np.indices((height, width))
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64) + 0.5
    rays = camera.rays(pixels)
    places = rays * np.diag(plain.matrix)[:2] + plain.matrix[:2, 2]
    maps = places.reshape(height, width, 2).astype(np.float32)
    seen = np.asarray(cv2.remap(image, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC), np.uint8)
    scale = plane_scale(
        camera, Quantity(view.distance_m, SURE * view.distance_m), Quantity(0.0, 0.2)
    )
    check = found(read_sheet(seen, scale, camera=camera))
    assert check.passed, check.sentences()
    assert check.scale.deviation.value == pytest.approx(0, abs=0.003)


def test_a_sheet_does_not_vouch_for_itself() -> None:
    """With the scale from its own markers another size of the print could not be seen."""
    _, image = rendered(0.3)
    scale = marker_scale(image, parse_marker("aruco:30mm"))
    alone = found(read_sheet(image, scale))
    assert not alone.passed
    assert "measure its bar" in alone.problems[0]
    assert found(read_sheet(image, scale, bar_mm=Quantity(100.0, 0.25))).passed

"""Markers of known size in view."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.scale.markers import find_markers, marker_scale, parse_marker

Image = NDArray[np.uint8]
KIND = parse_marker("aruco:50mm")
HW = (720, 960)


def sheet(number: int = 7, name: str = "4X4_50") -> Image:
    """A marker of 200 px with its white border."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{name}"))
    marker = cv2.aruco.generateImageMarker(dictionary, number, 200)
    return np.asarray(np.pad(marker, 50, constant_values=255), np.uint8)


def put(image: Image, marker: Image, corners: list[tuple[float, float]]) -> None:
    """Draw a sheet so that its four corners come to lie there."""
    side = len(marker)
    square = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(square, np.array(corners, np.float32) - 0.5)
    drawn = cv2.warpPerspective(marker, matrix, HW[::-1], flags=cv2.INTER_AREA)
    inside = cv2.warpPerspective(np.full_like(marker, 255), matrix, HW[::-1])
    np.copyto(image, drawn, where=inside > 127)


def upright(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def gray() -> Image:
    return np.full(HW, 150, np.uint8)


def test_the_scale_where_it_lies() -> None:
    image = gray()
    put(image, sheet(), upright(300, 200, 150))  # 100 px wide, and so 0.5 mm a pixel
    found = marker_scale(image, KIND).local([[375.0, 275.0]], [[1.0, 0.0]])
    assert found.mm_per_px == pytest.approx([0.5], rel=0.005)
    assert found.terms["marker size"] == pytest.approx([0.005])
    assert 0.0005 < found.terms["marker corners"][0] < 0.005


def test_far_away_it_is_less_sure() -> None:
    image = gray()
    put(image, sheet(), upright(100, 100, 150))
    scale = marker_scale(image, KIND)
    near, far = scale.local([[175.0, 175.0], [900.0, 650.0]], [[1.0, 0.0]] * 2).relative
    assert far > 3 * near


@pytest.mark.parametrize("text", ["apriltag:50mm", "aruco-6x6:50mm", "aruco:50mm"])
def test_kinds(text: str) -> None:
    name = {"apriltag": "APRILTAG_36h11", "aruco-6x6": "6X6_250", "aruco": "5X5_100"}
    image = gray()
    put(image, sheet(3, name[text.partition(":")[0]]), upright(300, 200, 150))
    kind = parse_marker(text)
    markers = find_markers(image, kind.family)
    assert [marker.number for marker in markers] == [3]
    scale = marker_scale(image, kind).local([[375.0, 275.0]], [[0.0, 1.0]])
    assert scale.mm_per_px == pytest.approx([0.5], rel=0.01)


def test_two_that_agree_are_surer_than_one() -> None:
    one, two = gray(), gray()
    put(one, sheet(1), upright(100, 300, 150))
    put(two, sheet(1), upright(100, 300, 150))
    put(two, sheet(2), upright(700, 300, 150))
    at = [[480.0, 375.0]]
    single, both = (marker_scale(image, KIND).local(at, [[1.0, 0.0]]) for image in (one, two))
    assert both.mm_per_px == pytest.approx([0.5], rel=0.01)
    assert both.relative[0] < single.relative[0]
    assert both.terms["marker size"] == pytest.approx([0.005])  # of one printer, it stays


def test_two_that_contradict_each_other_are_refused() -> None:
    image = gray()
    put(image, sheet(1), upright(100, 300, 150))
    put(image, sheet(2), upright(700, 300, 180))
    with pytest.raises(ConfigError, match="markers 2 and 1 contradict each other by 2"):
        marker_scale(image, KIND)


def test_one_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no aruco marker was found"):
        marker_scale(gray(), KIND)


def test_one_that_is_too_small() -> None:
    image = gray()
    put(image, sheet(), upright(300, 200, 27))
    with pytest.raises(ConfigError, match=r"only 1[6789] px wide|no aruco marker"):
        marker_scale(image, KIND)


def test_one_that_is_seen_too_obliquely() -> None:
    image = gray()
    put(image, sheet(), [(300, 200), (300 + 150 * math.cos(math.radians(72)), 200),
                         (300 + 150 * math.cos(math.radians(72)), 350), (300, 350)])  # fmt: skip
    with pytest.raises(ConfigError, match="too obliquely, at 7"):
        marker_scale(image, KIND)


def test_in_perspective_the_scale_changes_over_the_image() -> None:
    """A sheet on a wall that recedes upwards, against its own homography."""
    corners = [(400.0, 250.0), (560.0, 250.0), (590.0, 450.0), (370.0, 450.0)]
    image = gray()
    put(image, sheet(), corners)
    sheet_mm = np.array([[0, 0], [75, 0], [75, 75], [0, 75]], np.float32)  # with its border
    truth = cv2.getPerspectiveTransform(np.array(corners, np.float32), sheet_mm)
    scale = marker_scale(image, KIND)
    for place in ((480.0, 300.0), (480.0, 420.0), (300.0, 350.0)):
        ends = np.array([[[place[0] - 0.5, place[1]], [place[0] + 0.5, place[1]]]], np.float32)
        apart = float(np.hypot(*np.diff(cv2.perspectiveTransform(ends, truth)[0], axis=0)[0]))
        found = scale.local([place], [[1.0, 0.0]])
        assert found.mm_per_px == pytest.approx([apart], rel=0.03)
        assert abs(found.mm_per_px[0] / apart - 1) < 3 * found.relative[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the marker is ''"),
        ("aruco", "the marker is 'aruco'"),
        ("qr:50mm", "the marker is 'qr:50mm'"),
        ("aruco:50", "without a unit"),
        ("aruco:0mm", "side is 0"),
        ("aruco:-5mm", "side is -5"),
        ("aruco:50mm+-60mm", "not smaller than its value"),
    ],
)
def test_what_is_no_marker(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_marker(text)
    assert said in str(caught.value)


def test_other_units_of_the_side() -> None:
    assert parse_marker("aruco:5cm").side_mm.value == 50
    assert parse_marker("apriltag:2in").side_mm.value == pytest.approx(50.8)


def test_one_lens_is_one_error_in_all_markers() -> None:
    one, two = gray(), gray()
    put(one, sheet(1), upright(300, 300, 150))
    put(two, sheet(1), upright(300, 300, 150))
    put(two, sheet(2), upright(480, 300, 150))
    corner = [[940.0, 700.0]]
    alone, both = (
        marker_scale(image, KIND).local(corner, [[1.0, 0.0]]).terms["unknown lens"][0]
        for image in (one, two)
    )
    assert both > 0.8 * alone


def test_markers_of_the_check_sheet_are_not_the_users() -> None:
    image = gray()
    put(image, sheet(45), upright(100, 300, 150))
    with pytest.raises(ConfigError, match="no aruco marker"):
        marker_scale(image, KIND)
    put(image, sheet(1), upright(500, 300, 150))
    found = marker_scale(image, KIND).local([[575.0, 375.0]], [[1.0, 0.0]])
    assert found.mm_per_px == pytest.approx([0.5], rel=0.01)

"""A wall that a camera sees from a distance, at an angle, through a lens."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.choice import ScaleConfig
from edgecrack.scale.plane import plane_scale
from edgecrack.scale.quantity import Quantity

EXACT = Quantity(0.0, 0.0)
LENS = np.array([-0.2, 0.06, 0.001, -0.0008, 0.0])


def camera(lens: NDArray[np.float64] | None = None) -> CameraFile:
    matrix = np.array([[900.0, 0, 640], [0, 910.0, 350], [0, 0, 1]])
    return CameraFile(matrix, np.zeros(0) if lens is None else lens, (1280, 720), focal_deviation=0)


def test_straight_on_it_is_distance_by_focal_length() -> None:
    scale = plane_scale(camera(), Quantity(1.8, 0.0), EXACT)
    found = scale.local([[640.5, 350.5], [100.0, 100.0]], [[1.0, 0.0], [0.0, 1.0]])
    assert found.mm_per_px == pytest.approx([2.0, 1800 / 910], rel=1e-6)
    assert found.is_stated
    assert found.relative == pytest.approx([0.0, 0.0], abs=1e-9)


def test_where_the_wall_recedes_it_is_coarser() -> None:
    for towards, place in ((0, (1200, 350)), (90, (640, 700)), (180, (80, 350)), (270, (640, 20))):
        scale = plane_scale(camera(), Quantity(1.0, 0.0), Quantity(25.0, 0.0), towards)
        far, middle = scale.local([place, (640.5, 350.5)], [[1, 0], [1, 0]]).mm_per_px
        assert far > 1.1 * middle


@settings(max_examples=40, deadline=None)
@given(
    tilt=st.floats(0, 40),
    towards=st.floats(0, 360),
    x=st.floats(40, 1240),
    y=st.floats(40, 680),
    angle=st.floats(0, math.pi),
)
def test_points_of_the_wall_that_are_projected_come_back_as_far_apart(
    tilt: float, towards: float, x: float, y: float, angle: float
) -> None:
    """Against OpenCV's own projection of a wall that is built the other way round."""
    seen_by = camera(LENS)
    scale = plane_scale(seen_by, Quantity(1.2, 0.0), Quantity(tilt, 0.0), towards)
    direction = np.array([math.cos(angle), math.sin(angle)])
    ends = np.array([[x, y] - direction / 2, [x, y] + direction / 2])
    # A rotation by the tilt about the axis at right angles to where the wall recedes.
    turn = math.radians(towards)
    axis = np.array([-math.sin(turn), math.cos(turn), 0.0])
    rotation = cv2.Rodrigues(-math.radians(tilt) * axis)[0]
    shift = np.array([0.0, 0.0, 1200.0])

    def project(places: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = np.concatenate([places, np.zeros((len(places), 1))], axis=1)
        pixels, _ = cv2.projectPoints(
            flat, cv2.Rodrigues(rotation)[0], shift, seen_by.matrix, seen_by.distortion
        )
        return np.asarray(pixels, np.float64).reshape(-1, 2) + 0.5

    places = np.zeros((2, 2))
    for _ in range(60):  # Newton, with a slope by differences
        off = ends - project(places)
        slopes = np.stack(
            [(project(places + step) - project(places - step)) / 2 for step in np.eye(2)], axis=-1
        )
        places = places + np.linalg.solve(slopes, off[..., None])[..., 0]
    apart = float(np.hypot(*(places[1] - places[0])))
    found = scale.local([[x, y]], [direction])
    assert float(found.mm_per_px[0]) == pytest.approx(apart, rel=2e-4)


def test_each_uncertain_quantity_is_a_term_of_its_own() -> None:
    known = CameraFile(camera().matrix, np.zeros(0), (1280, 720), focal_deviation=0.003)
    scale = plane_scale(known, Quantity(2.0, 0.02), Quantity(0.0, 2.0))
    found = scale.local([[640.5, 350.5]], [[1.0, 0.0]])
    assert found.terms["distance"] == pytest.approx([0.01], rel=1e-3)
    assert found.terms["focal length"] == pytest.approx([0.003], rel=1e-2)
    corner = scale.local([[20.0, 20.0]], [[1.0, 0.0]])
    assert corner.terms["tilt"][0] > 5 * found.terms["tilt"][0]


def test_a_tilt_to_an_unknown_side_is_less_sure() -> None:
    known = plane_scale(camera(), Quantity(1.0, 0.0), Quantity(30.0, 0.0), 90.0)
    unknown = plane_scale(camera(), Quantity(1.0, 0.0), Quantity(30.0, 0.0))
    places, directions = [[200.0, 600.0]], [[0.0, 1.0]]
    truth = known.local(places, directions).mm_per_px[0]
    found = unknown.local(places, directions)
    assert known.local(places, directions).relative[0] < 1e-9
    assert abs(found.mm_per_px[0] - truth) < 2 * found.relative[0] * found.mm_per_px[0]


def test_a_distance_of_which_nothing_is_stated_is_said_to_be_so() -> None:
    scale = plane_scale(camera(), Quantity(1.0), EXACT)
    assert not scale.local([[1.0, 1.0]], [[1.0, 0.0]]).is_stated


@pytest.mark.parametrize(
    ("tilt", "said"), [(80.0, "the tilt is 80"), (72.0, "does not show the wall")]
)
def test_too_much_of_a_tilt_is_refused(tilt: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plane_scale(camera(), Quantity(1.0, 0.0), Quantity(tilt, 0.0))


def test_the_width_of_a_slanting_crack_on_a_tilted_wall() -> None:
    """What is at right angles to a crack in the image is not on the wall."""
    tilt = math.radians(45)
    scale = plane_scale(camera(), Quantity(1.0, 0.0), Quantity(45.0, 0.0), 0.0)
    # Near the middle a pixel shows d / (f cos tilt) across and d / f down. A crack of 1 mm at 45
    # degrees on the wall runs less steeply in the image; both ends are found by projecting it.
    across, down = 1000 / 900 / math.cos(tilt), 1000 / 910
    along_wall = np.array([1.0, 1.0]) / math.sqrt(2)
    along_image = along_wall / [across, down]
    length = float(np.hypot(*along_image))
    tangent = along_image / length
    normal = np.array([-tangent[1], tangent[0]])
    # A strip of 1 mm by 1 mm covers this many square pixels, and is `length` pixels long.
    width_px = 1 / (across * down) / length
    found = scale.local([[640.5, 350.5]], [normal], across=True).mm_per_px[0]
    assert found * width_px == pytest.approx(1.0, rel=0.01)
    assert scale.local([[640.5, 350.5]], [normal]).mm_per_px[0] * width_px > 1.05


@pytest.mark.parametrize("towards", [-1.0, 361.0, math.nan, math.inf])
def test_a_direction_is_one_of_a_circle(towards: float) -> None:
    with pytest.raises(ConfigError, match="recedes towards"):
        ScaleConfig(
            camera=camera(), distance_m=Quantity(1.0), tilt_deg=Quantity(5.0), towards_deg=towards
        )

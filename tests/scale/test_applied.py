"""Cracks in millimetres: against a wall whose cracks have a known size."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.measurement.cracks import Crack, measure_image
from edgecrack.scale import Quantity, uniform_scale
from edgecrack.scale.applied import all_in_millimetres, in_millimetres, middle_scale
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.plane import plane_scale

SIZE = (640, 480)


def drawn(width_px: float, ends: list[tuple[float, float]]) -> Crack:
    """A blurred bar with noise along a line, and what is measured of it."""
    large = 8
    light = np.full((SIZE[1] * large, SIZE[0] * large), 1.0, np.float32)
    points = (np.array(ends) * large).round().astype(np.int32)
    # OpenCV's lines are a pixel wider than their thickness says.
    cv2.polylines(light, [points], False, 0.1, round(width_px * large) - 1)
    small = cv2.GaussianBlur(cv2.resize(light, SIZE, interpolation=cv2.INTER_AREA), (0, 0), 0.9)
    gray = 200 * np.maximum(small, 0) ** (1 / 2.2)
    gray += np.random.default_rng(1).normal(0, 1.5, gray.shape)
    mask = cv2.resize(light, SIZE, interpolation=cv2.INTER_AREA) < 0.6
    (crack,) = measure_image(np.clip(gray, 0, 255).astype(np.uint8), mask)
    return crack


@pytest.fixture(scope="module")
def level() -> Crack:
    return drawn(4.0, [(60, 240), (580, 240)])


def camera(distortion: NDArray[np.float64] | None = None) -> CameraFile:
    matrix = np.array([[800.0, 0, 319.5], [0, 800.0, 239.5], [0, 0, 1]])
    lens = np.zeros(0) if distortion is None else distortion
    return CameraFile(matrix, lens, SIZE, "bench", 0.002)


def test_a_uniform_scale_multiplies_lengths_and_widths(level: Crack) -> None:
    found = in_millimetres(level, uniform_scale(Quantity(0.1, 0.001)))
    assert found.length_mm.value == pytest.approx(0.1 * level.length_px)
    assert set(found.length_mm.terms) == {"line", "mm per pixel"}
    assert found.length_mm.terms["mm per pixel"] == pytest.approx(0.01 * found.length_mm.value)
    assert found.length_mm.high - found.length_mm.value == pytest.approx(
        1.96 * found.length_mm.deviation
    )
    assert found.width_mm is not None
    assert level.mean is not None
    assert found.width_mm.mean.value == pytest.approx(0.1 * level.mean.value_px)
    assert found.width_mm.mean.low < 0.4 < found.width_mm.mean.high
    assert set(found.width_mm.mean.terms) == {"noise", "depth", "blur", "model", "mm per pixel"}
    assert found.is_stated


def test_an_error_of_the_scale_is_the_same_along_the_crack_and_does_not_average(
    level: Crack,
) -> None:
    exact, unsure = (
        in_millimetres(level, uniform_scale(Quantity(0.1, deviation))) for deviation in (0.0, 0.02)
    )
    assert exact.width_mm is not None
    assert unsure.width_mm is not None
    assert unsure.width_mm.mean.terms["mm per pixel"] == pytest.approx(
        0.2 * unsure.width_mm.mean.value
    )
    assert unsure.width_mm.mean.deviation > exact.width_mm.mean.deviation
    assert set(exact.length_mm.terms) == {"line"}
    assert exact.length_mm.deviation < unsure.length_mm.deviation


def test_what_was_not_stated_is_told(level: Crack) -> None:
    assert not in_millimetres(level, uniform_scale(Quantity(0.1))).is_stated


def test_a_tilted_wall_is_longer_where_it_recedes() -> None:
    """Over the whole line the mean of the wall's own length, from the pinhole's geometry."""
    crack = drawn(4.0, [(120, 240), (520, 240)])
    scale = plane_scale(camera(), Quantity(1.0, 0.0), Quantity(30.0, 0.0), 0.0)
    found = in_millimetres(crack, scale)
    left, right = (
        float(end) for end in sorted((crack.lines[0].xy[0, 0], crack.lines[0].xy[-1, 0]))
    )

    def on_wall(x_px: float) -> float:
        ray = (x_px - 320) / 800  # x / z; the wall is z = 1000 + x tan(30)
        z = 1000 / (1 - ray * math.tan(math.radians(30)))
        return ray * z / math.cos(math.radians(30))

    assert found.length_mm.value == pytest.approx(on_wall(right) - on_wall(left), rel=0.002)
    assert found.width_mm is not None
    assert crack.mean is not None
    # Across the crack the wall is not foreshortened: z / focal length, up to 20 % either way.
    assert found.width_mm.mean.value / crack.mean.value_px == pytest.approx(1000 / 800, rel=0.05)
    assert found.width_mm.largest.value > found.width_mm.mean.value


def test_a_crack_without_rows_has_a_length_alone() -> None:
    """Nothing stands out from a grey picture, and the mask still is where it is."""
    mask = np.zeros((60, 200), bool)
    mask[28:32, 20:180] = True
    (crack,) = measure_image(np.full((60, 200), 128, np.uint8), mask)
    found = in_millimetres(crack, uniform_scale(Quantity(0.2, 0.002)))
    assert found.width_mm is None
    assert found.length_mm.value == pytest.approx(0.2 * crack.length_px)


def test_the_middle_of_a_picture_has_a_scale_in_both_directions() -> None:
    local = middle_scale(plane_scale(camera(), Quantity(1.0, 0.005)), *SIZE)
    assert local.mm_per_px == pytest.approx([1.25, 1.25], rel=0.002)
    assert (local.relative > 0.005).all()


def test_several_cracks_at_once_are_each_as_alone(level: Crack) -> None:
    other = drawn(6.0, [(100, 60), (300, 400)])
    scale = plane_scale(camera(np.array([-0.2, 0.05, 0.001, -0.002])), Quantity(1.0, 0.005))
    together = all_in_millimetres([level, other], scale)
    for one, crack in zip(together, (level, other), strict=True):
        alone = in_millimetres(crack, scale)
        assert one.length_mm.value == pytest.approx(alone.length_mm.value)
        assert one.width_mm is not None
        assert alone.width_mm is not None
        assert one.width_mm.mean.terms == pytest.approx(alone.width_mm.mean.terms)
    assert all_in_millimetres([], scale) == []


def test_a_row_without_a_direction_harms_no_other(level: Crack) -> None:
    """Where a line turns back on itself within a row, across it is nowhere."""
    lost = replace(level, rows=(*level.rows, replace(level.rows[0], normal=(0.0, 0.0))))
    scale = plane_scale(camera(), Quantity(1.0, 0.005))
    found, plain = in_millimetres(lost, scale), in_millimetres(level, scale)
    assert found.width_mm is not None
    assert plain.width_mm is not None
    assert all(math.isfinite(term) for term in found.width_mm.mean.terms.values())
    assert found.width_mm.mean.value == pytest.approx(plain.width_mm.mean.value, rel=0.05)

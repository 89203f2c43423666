from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.measurement import centre_lines
from edgecrack.measurement.centre_lines import CentreLine, follow, thin

Mask = NDArray[np.uint8]


def lines_of(picture: list[str], spur_px: float = 0.0) -> list[CentreLine]:
    rows, columns = np.nonzero(np.array([list(row) for row in picture]) == "#")
    return follow(rows, columns, spur_px)


def ends(line: CentreLine) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for x, y in (line.xy[0], line.xy[-1])}


def test_a_line_and_a_point() -> None:
    (line,) = lines_of([".....", ".###.", ".....", "....#"])
    assert line.xy.tolist() == [[1.5, 1.5], [2.5, 1.5], [3.5, 1.5]]
    assert line.length_px == 2
    assert follow(np.zeros(0, int), np.zeros(0, int)) == []


def test_where_lines_meet_each_ends() -> None:
    lines = lines_of([
        "#.....#",
        ".#...#.",
        "..#.#..",
        "...#...",
        "...#...",
        "...#...",
    ])  # fmt: skip
    assert len(lines) == 3
    assert all((3.5, 3.5) in ends(line) for line in lines)
    assert {end for line in lines for end in ends(line)} == {
        (0.5, 0.5), (6.5, 0.5), (3.5, 3.5), (3.5, 5.5),
    }  # fmt: skip


def test_the_way_round_a_corner_is_one_way() -> None:
    (line,) = lines_of(["##", ".#"])
    assert len(line.pixels) == 3


def test_a_ring_closes() -> None:
    mask = np.zeros((101, 101), np.uint8)
    cv2.circle(mask, (50, 50), 40, 255, 1)
    rows, columns = np.nonzero(thin(mask))
    (line,) = follow(rows, columns)
    assert line.pixels[0] == line.pixels[-1]
    assert np.ptp(np.hypot(*(line.xy - 50.5).T)) < 1.5
    assert line.length_px == pytest.approx(2 * np.pi * 40, rel=0.02)
    np.testing.assert_allclose(line.xy[0], line.xy[-1])


@pytest.mark.parametrize("angle_deg", range(0, 180, 9))
def test_lengths_do_not_depend_on_the_direction(angle_deg: int) -> None:
    """Counted from pixel to pixel they would be up to 8 % too long."""
    mask = np.zeros((400, 400), np.uint8)
    step = 180 * np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    ends_px = [(200 - step).round().astype(int).tolist(), (200 + step).round().astype(int).tolist()]
    cv2.line(mask, ends_px[0], ends_px[1], 255, 1)
    rows, columns = np.nonzero(thin(mask))
    (line,) = follow(rows, columns)
    true_px = float(np.hypot(*np.subtract(*ends_px)))
    assert line.length_px == pytest.approx(true_px, rel=0.03)


def test_spurs_go_and_what_they_cut_is_one_again() -> None:
    picture = [
        "..........",
        "....#.....",
        "....#.....",
        "##########",
        "..........",
        "###.......",
    ]
    assert len(lines_of(picture)) == 4
    long, alone = lines_of(picture, spur_px=5)
    assert ends(long) == {(0.5, 3.5), (9.5, 3.5)}
    assert alone.length_px == 2  # short, and no branch of anything


def test_fewer_points_stay_near() -> None:
    mask = np.zeros((300, 300), np.uint8)
    steps = np.random.default_rng(3).normal(0, 20, (12, 2)).cumsum(axis=0) + 150
    cv2.polylines(mask, [steps.astype(np.int32)], False, 255, 1)
    rows, columns = np.nonzero(thin(mask))
    for line in follow(rows, columns):
        simple = line.simplified(0.5)
        assert len(simple) <= len(line.xy)
        if line.pixels[0] != line.pixels[-1]:
            np.testing.assert_allclose(simple[[0, -1]], line.xy[[0, -1]])
        for point in line.xy:
            assert distance_px(point, simple) <= 0.55


def distance_px(point: NDArray[np.float64], line: NDArray[np.float64]) -> float:
    begins, steps = line[:-1], np.diff(line, axis=0)
    lengths = np.maximum((steps**2).sum(axis=1), 1e-12)
    along = np.clip(((point - begins) * steps).sum(axis=1) / lengths, 0, 1)
    return float(np.hypot(*(begins + along[:, None] * steps - point).T).min())


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10_000), st.floats(0.02, 0.6))
def test_every_step_is_walked_once(seed: int, density: float) -> None:
    """Whatever pixels are given: all but lone ones lie on lines, and no step lies on two."""
    generator = np.random.default_rng(seed)
    rows, columns = np.nonzero(generator.random((12, 15)) < density)
    order = generator.permutation(len(rows))
    lines = follow(rows[order], columns[order])
    seen: list[frozenset[int]] = []
    for line in lines:
        path = order[line.pixels]
        steps = np.abs(np.diff(rows[path])), np.abs(np.diff(columns[path]))
        assert np.maximum(*steps).max() == 1
        assert np.minimum(*steps).min() >= 0
        seen += [
            frozenset(pair) for pair in zip(path[:-1].tolist(), path[1:].tolist(), strict=True)
        ]
    assert len(seen) == len(set(seen))
    occupied = set(zip(rows.tolist(), columns.tolist(), strict=True))
    on_lines = {index for pair in seen for index in pair}
    for index, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        around = {(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x}
        assert (index in on_lines) == bool(around & occupied)
    again = follow(rows, columns)
    assert sorted(line.length_px for line in again) == pytest.approx(
        sorted(line.length_px for line in lines), abs=1e-9
    )


@pytest.mark.parametrize("sides", [3, 4, 5, 8, 40])
def test_a_ring_keeps_all_its_sides(sides: int) -> None:
    """Its first point is its last, and no side may be taken for closed."""
    mask = np.zeros((500, 500), np.uint8)
    angles = 2 * np.pi * np.arange(sides) / sides
    corners = np.stack([250 + 200 * np.cos(angles), 250 + 200 * np.sin(angles)], axis=1)
    cv2.polylines(mask, [corners.astype(np.int32)], True, 255, 3)
    rows, columns = np.nonzero(thin(mask))
    (line,) = follow(rows, columns, spur_px=8)
    simple = line.simplified()
    length_px = float(np.hypot(*np.diff(simple, axis=0).T).sum())
    assert length_px == pytest.approx(line.length_px, rel=0.02)
    np.testing.assert_allclose(simple[0], simple[-1])


def test_a_ring_with_a_tail_stays_at_its_junction() -> None:
    mask = np.zeros((300, 500), np.uint8)
    cv2.circle(mask, (150, 150), 100, 255, 1)
    cv2.line(mask, (250, 150), (450, 150), 255, 1)
    rows, columns = np.nonzero(thin(mask))
    lines = follow(rows, columns, spur_px=8)
    assert len(lines) == 2
    meeting = {tuple(line.xy[end].tolist()) for line in lines for end in (0, -1)}
    assert len(meeting) == 2  # the junction, thrice, and the tail's end


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10_000), st.floats(0.05, 0.7))
def test_simplified_lines_have_two_points(seed: int, density: float) -> None:
    rows, columns = np.nonzero(np.random.default_rng(seed).random((12, 15)) < density)
    for line in follow(rows, columns):
        simple = line.simplified()
        assert len(simple) >= 2
        assert np.isfinite(simple).all()
        if line.length_px >= 1:
            assert np.ptp(simple, axis=0).max() > 0


def test_lines_of_a_mask_are_in_the_mask_s_own_pixels() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[30:33, 20:70] = 255
    mask[5:8, 40:52] = 255
    longest, shorter = centre_lines.lines_of(mask)
    assert longest[:, 1].tolist() == [31.5, 31.5]
    assert sorted(longest[:, 0].tolist()) == [21.5, 68.5]
    assert shorter[:, 1].tolist() == [6.5, 6.5]
    assert centre_lines.lines_of(np.zeros_like(mask)) == ()


@pytest.mark.parametrize("hw", [(48, 64), (120, 160), (480, 640)])
def test_noise_has_no_centre_lines(hw: tuple[int, int]) -> None:
    noise = (np.random.default_rng(0).random(hw) > 0.5).astype(np.uint8) * 255
    assert len(centre_lines.lines_of(noise)) == 0

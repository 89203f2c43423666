"""Outlines drawn by hand: pixels from polygons and back, and the sixty of the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks import outline_agreement
from edgecrack.errors import DataError
from edgecrack.yardstick.outlines import (
    Polygon,
    intersection_over_union,
    rasterise,
    read_outlines,
)
from tools import outline_tiles
from tools.outline_tiles import draw, enlarge, polygons_of, stroke

HW = (40, 50)
GRAY = np.full(HW, 120, np.uint8)


def square(left: float, top: float, right: float, bottom: float) -> Polygon:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def block(left: int, top: int, right: int, bottom: int) -> NDArray[np.bool_]:
    mask = np.zeros(HW, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_a_polygon_along_pixel_borders_is_these_pixels() -> None:
    assert np.array_equal(rasterise([square(5, 7, 20, 9)], HW), block(5, 7, 20, 9))
    assert np.array_equal(rasterise([square(0, 0, 50, 40)], HW), np.ones(HW, bool))
    assert not rasterise([], HW).any()


@pytest.mark.parametrize(
    ("left", "first"), [(4.0, 4), (4.4, 4), (4.7, 5), (5.0, 5), (5.3, 5), (5.75, 6)]
)
def test_a_pixel_belongs_when_half_of_it_is_inside(left: float, first: int) -> None:
    found = rasterise([square(left, 3, 20, 9)], HW)
    assert np.array_equal(found, block(first, 3, 20, 9))
    mirrored = rasterise([square(50 - 20, 3, 50 - left, 9)], HW)
    assert np.array_equal(mirrored[:, ::-1], found)
    turned = rasterise([[[y, x] for x, y in square(left, 3, 20, 9)]], HW[::-1])
    assert np.array_equal(turned.T, found)


def test_even_odd() -> None:
    outer, hole, island = square(2, 2, 38, 38), square(8, 8, 32, 32), square(14, 14, 20, 20)
    expected = (block(2, 2, 38, 38) & ~block(8, 8, 32, 32)) | block(14, 14, 20, 20)
    for polygons in ([outer, hole, island], [island, outer, hole]):
        assert np.array_equal(rasterise(polygons, HW), expected)


def inside(polygons: list[Polygon], x: float, y: float) -> bool:
    """A ray to the right crosses the borders an odd number of times."""
    crossings = 0
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                crossings += 1
    return crossings % 2 == 1


@settings(max_examples=10)
@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 12), st.floats(0, 10)), min_size=3, max_size=7),
        min_size=1,
        max_size=3,
    )
)
def test_pixels_are_those_of_a_ray_from_each_sub_pixel(
    corners: list[list[tuple[float, float]]],
) -> None:
    polygons: list[Polygon] = [[list(corner) for corner in polygon] for polygon in corners]
    found = rasterise(polygons, (10, 12))
    fine = 12
    for row in range(10):
        for column in range(12):
            count = sum(
                inside(polygons, column + (i + 0.5) / fine, row + (j + 0.5) / fine)
                for i in range(fine)
                for j in range(fine)
            )
            share = count / fine**2
            # Sub-pixels on the border count as inside, where several polygons meet more than one.
            if share >= 0.6:
                assert found[row, column], (row, column, share)
            if share == 0 and not near_border(polygons, column, row):
                assert not found[row, column], (row, column)


def near_border(polygons: list[Polygon], column: int, row: int) -> bool:
    """Whether a border passes the pixel or comes within a pixel of it."""
    middle = np.array([column + 0.5, row + 0.5])
    for polygon in polygons:
        ends = np.asarray(polygon, float)
        for start, end in zip(ends, np.roll(ends, -1, axis=0), strict=True):
            along = end - start
            length = float(along @ along)
            at = (
                0.0 if length == 0 else min(1.0, max(0.0, float((middle - start) @ along) / length))
            )
            if np.hypot(*(start + at * along - middle)) < 1.6:
                return True
    return False


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_a_mask_outlined_and_drawn_is_the_mask(seed: int) -> None:
    for mask in (blots(seed), np.random.default_rng(seed).random(HW) < 0.3):
        assert np.array_equal(rasterise(polygons_of(mask), HW), mask)


def blots(seed: int) -> NDArray[np.bool_]:
    """A few strokes from hairlines on, and a disc or a hole, bool [40, 50]."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros(HW, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        ends = rng.integers(0, 40, (2, 2)).tolist()
        cv2.line(canvas, ends[0], ends[1], 1, int(rng.integers(1, 12)))
    cv2.circle(canvas, rng.integers(10, 30, 2).tolist(), 6, int(rng.integers(2)), -1)
    return np.asarray(canvas > 0)


def test_holes_come_back() -> None:
    mask = block(5, 5, 30, 30) & ~block(10, 10, 20, 20)
    polygons = polygons_of(mask)
    assert len(polygons) == 2
    assert np.array_equal(rasterise(polygons, HW), mask)


@pytest.mark.parametrize("width", [1.0, 2.0, 3.0, 6.0])
def test_a_stroke_is_as_wide_as_it_says(width: float) -> None:
    mask = stroke([[10, 20, width], [40, 20, width]], HW)
    across = mask[:, 15:35].sum(axis=0)
    assert set(across.tolist()) <= {width, width + 1}
    assert not mask[:, : 9 - int(width / 2)].any()


def test_a_stroke_drawn_outlined_and_rasterised() -> None:
    mask = draw(GRAY, [{"stroke": [[3, 3, 4], [30, 20, 7], [45, 36, 3]]}])
    assert mask.any()
    again = rasterise(polygons_of(mask), HW)
    assert np.array_equal(again, mask)


def test_shapes_are_applied_in_their_order() -> None:
    shapes: list[dict[str, Any]] = [
        {"polygon": square(5, 5, 30, 30)},
        {"erase": square(10, 0, 20, 40)},
        {"polygon": square(12, 12, 14, 14)},
    ]
    expected = (block(5, 5, 30, 30) & ~block(10, 0, 20, 40)) | block(12, 12, 14, 14)
    assert np.array_equal(draw(GRAY, shapes), expected)


def test_the_wand_takes_what_is_dark_inside_and_no_specks() -> None:
    photo = GRAY.copy()
    photo[10:14, 5:45] = 40
    photo[20, 20] = 40
    photo[30:34, 5:45] = 40
    shape = {"wand": 80, "inside": square(0, 0, 25, 25), "smooth": 0, "least": 3}
    assert np.array_equal(draw(photo, [shape]), block(5, 10, 25, 14))


def test_a_shape_that_is_none() -> None:
    with pytest.raises(DataError, match="give polygon, stroke, wand or erase"):
        draw(GRAY, [{"circle": [3, 3, 2]}])


def test_what_is_shown_has_a_margin_with_numbers_and_the_outline() -> None:
    photo = np.dstack([GRAY] * 3)
    plain, looked = enlarge(photo, None, None), enlarge(photo, (5, 5, 25, 25), block(9, 9, 15, 15))
    assert plain.shape == (34 + 800, 34 + 1000, 3)
    assert (looked == (0, 60, 255)).all(axis=2).any()


def test_agreement() -> None:
    one, other = block(0, 0, 10, 10), block(5, 0, 15, 10)
    assert intersection_over_union(one, other) == pytest.approx(50 / 150)
    assert intersection_over_union(one, ~one) == 0
    assert intersection_over_union(block(0, 0, 0, 0), block(0, 0, 0, 0)) == 1


def test_the_sixty_tiles_that_were_outlined() -> None:
    outlines = read_outlines()
    tiles = [outline.tile for outline in outlines]
    assert len(set(tiles)) == len(tiles) == 60
    assert tiles == sorted(tiles)
    for outline in outlines:
        assert outline.size_hw == (227, 227)
        assert outline.first
        assert outline.second
        for polygon in (*outline.first, *outline.second):
            corners = np.asarray(polygon, float)
            assert corners.ndim == 2
            assert corners.shape[1] == 2
            assert len(corners) >= 3
            assert (corners >= 0).all()
            assert (corners <= (227, 227)).all()


def test_two_drawings_of_a_tile_agree_and_are_two() -> None:
    for outline in read_outlines():
        first, second = (
            rasterise(polygons, outline.size_hw) for polygons in (outline.first, outline.second)
        )
        assert first.any(), outline.tile
        assert second.any(), outline.tile
        assert intersection_over_union(first, second) > 0.5, outline.tile
        assert not np.array_equal(first, second), outline.tile


def test_the_benchmark_gives_a_row_for_each_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    some = read_outlines()[::12]
    monkeypatch.setattr(outline_agreement, "read_outlines", lambda: some)
    rows = outline_agreement.compare()
    assert [row["tile"] for row in rows] == [outline.tile for outline in some]
    for row in rows:
        assert row["strict_f1"] == pytest.approx(2 * row["iou"] / (1 + row["iou"]), abs=1e-3)
        assert row["tolerant_f1"] >= row["strict_f1"]


def test_the_tool_shows_draws_and_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, drawing, outline = (tmp_path / name for name in ("a.png", "drawing.json", "a.json"))
    cv2.imwrite(str(photo), GRAY)
    drawing.write_text(json.dumps([{"polygon": square(5, 7, 20, 19)}]))
    for words in (
        ["show", photo, tmp_path / "shown.png"],
        ["draw", photo, drawing, outline],
        ["look", photo, outline, tmp_path / "looked.png", "--box", "0", "0", "30", "30"],
    ):
        monkeypatch.setattr("sys.argv", ["outline_tiles.py", *map(str, words)])
        outline_tiles.main()
    document = json.loads(outline.read_text())
    assert document["size_hw"] == list(HW)
    assert np.array_equal(rasterise(document["polygons"], HW), block(5, 7, 20, 19))
    for name in ("shown.png", "looked.png"):
        assert cv2.imread(str(tmp_path / name)) is not None

"""Masks of what is not to be inspected: their files, and how they fit frames."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask, Ignoring, inside, read_ignore_mask
from edgecrack.runtime.telemetry.events import EventLog
from tests.runtime.fakes import frame

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def write_image(path: Path, pixels: NDArray[Any]) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


def half(hw: tuple[int, int] = (48, 64)) -> Image:
    """White in the lower half."""
    image = np.zeros(hw, np.uint8)
    image[hw[0] // 2 :] = 255
    return image


def write_json(path: Path, **changes: Any) -> Path:
    document = {
        "schema_version": 1,
        "width": 64,
        "height": 48,
        "polygons": [[[0, 24], [64, 24], [64, 48], [0, 48]]],
    } | changes
    kept = {name: value for name, value in document.items() if value is not ...}
    path.write_text(json.dumps(kept))
    return path


def pixels_at(mask: IgnoreMask, hw: tuple[int, int]) -> Mask:
    found = mask.at(hw)
    return np.zeros(hw, np.bool_) if found is None else found.mask


# ---- images


def test_bright_pixels_are_ignored(tmp_path: Path) -> None:
    image = np.zeros((48, 64), np.uint8)
    image[:, :20], image[:, 20:40], image[:, 40:] = 127, 128, 20
    mask = read_ignore_mask(write_image(tmp_path / "arm.png", image))
    np.testing.assert_array_equal(pixels_at(mask, (48, 64)), image == 128)
    assert mask.frame_hw == (48, 64)
    assert not mask.is_empty


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "jpg"])
def test_any_kind_of_image_will_do(tmp_path: Path, suffix: str) -> None:
    path = write_image(tmp_path / f"mask.{suffix}", np.dstack([half()] * 3))
    np.testing.assert_array_equal(pixels_at(read_ignore_mask(path), (48, 64)), half() > 0)


def test_a_mask_of_16_bits_or_one_bit_is_as_one_of_8(tmp_path: Path) -> None:
    deep = write_image(tmp_path / "deep.png", half().astype(np.uint16) * 257)
    flat = tmp_path / "bits.png"
    assert cv2.imwrite(str(flat), half(), [cv2.IMWRITE_PNG_BILEVEL, 1])
    for path in (deep, flat):
        np.testing.assert_array_equal(pixels_at(read_ignore_mask(path), (48, 64)), half() > 0)


def test_what_nobody_painted_on_a_transparent_layer_is_not_ignored(tmp_path: Path) -> None:
    image = np.full((48, 64, 4), 255, np.uint8)
    image[:30, :, 3] = 0
    mask = read_ignore_mask(write_image(tmp_path / "layer.png", image))
    assert not pixels_at(mask, (48, 64))[:30].any()
    assert pixels_at(mask, (48, 64))[30:].all()


def test_a_photo_is_no_mask(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).normal(120, 40, (48, 64, 3)).clip(0, 255).astype(np.uint8)
    with pytest.raises(ConfigError, match=r"wall\.png is a photo: \d+% of its pixels"):
        read_ignore_mask(write_image(tmp_path / "wall.png", photo))


def test_soft_edges_and_jpeg_do_not_make_a_photo(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(half((480, 640)), (0, 0), 4)
    assert cv2.imwrite(str(tmp_path / "soft.jpg"), soft, [cv2.IMWRITE_JPEG_QUALITY, 40])
    found = pixels_at(read_ignore_mask(tmp_path / "soft.jpg"), (480, 640))
    assert np.count_nonzero(found != (half((480, 640)) > 0)) < 0.01 * found.size


# ---- polygons


def test_polygons_cover_the_pixels_whose_centres_lie_in_them(tmp_path: Path) -> None:
    mask = read_ignore_mask(write_json(tmp_path / "arm.json"))
    np.testing.assert_array_equal(pixels_at(mask, (48, 64)), half() > 0)
    several = [[[0, 0], [10, 0], [10, 5], [0, 5]], [[60, 40], [64, 40], [64, 48], [60, 48]]]
    found = pixels_at(
        read_ignore_mask(write_json(tmp_path / "two.json", polygons=several)), (48, 64)
    )
    expected = np.zeros((48, 64), np.bool_)
    expected[:5, :10] = expected[40:, 60:] = True
    np.testing.assert_array_equal(found, expected)


def test_polygons_of_a_file_written_on_windows(tmp_path: Path) -> None:
    text = write_json(tmp_path / "arm.json").read_text()
    (tmp_path / "bom.JSON").write_text("\ufeff" + text.replace(", ", ",\r\n"), encoding="utf-8")
    assert not read_ignore_mask(tmp_path / "bom.JSON").is_empty


def lies_inside(x: float, y: float, polygon: Sequence[tuple[float, float]]) -> bool:
    """The crossings of a ray to the left, in plain Python."""
    crossings = 0
    for (ax, ay), (bx, by) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (ay <= y) != (by <= y):
            crossings += ax + (y - ay) / (by - ay) * (bx - ax) <= x
    return crossings % 2 == 1


COORDINATES = st.one_of(
    st.integers(0, 24).map(float), st.floats(0, 24, allow_nan=False, allow_subnormal=False)
)


@given(points=st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=8))
@settings(max_examples=150)
def test_inside_is_what_a_ray_says(points: list[tuple[float, float]]) -> None:
    found = inside(np.array(points), (20, 17))
    expected = [[lies_inside(x + 0.5, y + 0.5, points) for x in range(17)] for y in range(20)]
    np.testing.assert_array_equal(found, expected)


@given(
    points=st.lists(st.tuples(st.integers(0, 16), st.integers(0, 12)), min_size=3, max_size=6),
    times=st.integers(1, 5),
)
def test_polygons_grow_with_the_frame(points: list[tuple[int, int]], times: int) -> None:
    """At any size they are what the polygons of that size would be."""
    polygon = tuple((float(x), float(y)) for x, y in points)
    larger = tuple((times * x, times * y) for x, y in polygon)
    hw = (12 * times, 16 * times)
    try:
        mask = IgnoreMask("arm.json", (12, 16), [polygon])
    except ConfigError:  # the whole frame
        return
    np.testing.assert_array_equal(mask.drawn_at(hw), inside(np.array(larger), hw))


# ---- sizes


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.5, 2.0, 3.75])
def test_a_mask_is_fitted_to_frames_of_its_shape(factor: float) -> None:
    drawn = np.zeros((240, 320), np.bool_)
    drawn[160:, :120] = True
    polygon = ((0.0, 160.0), (120.0, 160.0), (120.0, 240.0), (0.0, 240.0))
    hw = (round(240 * factor), round(320 * factor))
    expected = np.zeros(hw, np.bool_)
    expected[round(160 * factor) :, : round(120 * factor)] = True
    for mask in (IgnoreMask("m", (240, 320), drawn), IgnoreMask("m", (240, 320), [polygon])):
        found = mask.at(hw)
        assert found is not None
        np.testing.assert_array_equal(found.mask, expected)
        assert mask.at(hw) is found  # made once


@given(
    hw=st.tuples(st.integers(40, 400), st.integers(40, 400)),
    other=st.tuples(st.integers(40, 400), st.integers(40, 400)),
)
@settings(max_examples=200)
def test_shapes_are_the_same_up_to_a_hundredth(hw: tuple[int, int], other: tuple[int, int]) -> None:
    drawn = np.zeros(hw, np.bool_)
    drawn[: hw[0] // 2] = True
    mask = IgnoreMask("arm.png", hw, drawn)
    ratio = (other[1] / other[0]) / (hw[1] / hw[0])
    if abs(abs(ratio - 1) - 0.01) < 1e-9:
        return
    assert mask.fits(other) == (abs(ratio - 1) <= 0.01)
    assert mask.fits(hw)
    if mask.fits(other):
        found = mask.at(other)
        assert found is not None
        assert found.mask.shape == other
        assert abs(found.ratio - drawn.mean()) < 1 / min(*hw, *other) + 0.01
    else:
        with pytest.raises(ConfigError, match="the shapes differ"):
            mask.at(other)


def test_another_shape_is_told_with_both_sizes() -> None:
    mask = IgnoreMask("arm.png", (720, 1280), np.eye(720, 1280, dtype=np.bool_))
    with pytest.raises(ConfigError) as told:
        mask.at((480, 640))
    assert str(told.value) == (
        "the ignore mask arm.png is for frames of 1280x720 px and cannot be fitted to frames of "
        "640x480 px, for the shapes differ; draw one for that shape."
    )
    with pytest.raises(ConfigError, match="to frame wall of 64x48 px"):
        mask.of(frame(name="wall"))
    with pytest.raises(ConfigError, match="720x1280 px"):  # turned
        mask.at((1280, 720))


# ---- what cannot be meant


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema_version": 2}, "schema_version is 2; give 1, or upgrade"),
        ({"schema_version": "1"}, 'schema_version is "1"'),
        ({"schema_version": True}, "schema_version is true"),
        ({"schema_version": ...}, "'schema_version' is missing; give {"),
        ({"polygons": ...}, "'polygons' is missing"),
        ({"width": 0}, "width is 0; give a whole number of pixels"),
        ({"height": 4.5}, "height is 4.5"),
        ({"width": 10**6, "height": 10**6}, "the frame is 1000000x1000000 px"),
        ({"holes": [[[1, 2]]]}, 'the field "holes" is unknown; leave it out'),
        ({"polygons": {}}, r"polygons is {}"),
        ({"polygons": [7]}, "polygon 1 is 7"),
        ({"polygons": [[[0, 0], [4, 4]]]}, "polygon 1 has 2 points; give at least 3"),
        ({"polygons": [[[0, 0], [4, 4], [4, 0]], []]}, "polygon 2 has 0 points"),
        ({"polygons": [[[0, 0], [4, 4], [4]]]}, r"polygon 1 has the point \[4\]; give \[x, y\]"),
        ({"polygons": [[[0, 0], [4, 4], 5]]}, "polygon 1 has the point 5"),
        ({"polygons": [[[0, 0], [4, "4"], [4, 0]]]}, "polygon 1 has the point"),
        ({"polygons": [[[0, 0], [4, True], [4, 0]]]}, "polygon 1 has the point"),
        (
            {"polygons": [[[0, 0], [65, 0], [4, 4]]]},
            r"the point \[65, 0\] outside of the frame; give x from 0 to 64 and y from 0 to 48",
        ),
        ({"polygons": [[[0, 0], [4, -0.1], [4, 4]]]}, "outside of the frame"),
        ({"polygons": [[[0, 0], [4, float("nan")], [4, 4]]]}, "it contains NaN"),
        ({"polygons": [[[0, 0], [10**400, 1], [4, 4]]]}, "too large"),
        (
            {"polygons": [[[0, 0], [64, 0], [64, 48], [0, 48]]]},
            "ignores frames of 64x48 px wholly, so nothing is left to inspect; leave dark",
        ),
    ],
)
def test_polygons_that_cannot_be_meant(tmp_path: Path, changes: Any, problem: str) -> None:
    path = write_json(tmp_path / "arm.json", **changes)
    with pytest.raises(ConfigError, match=problem) as told:
        read_ignore_mask(path)
    assert "arm.json" in str(told.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", r"is not JSON: Expecting value \(line 1, column 1\); give {"),
        (b'{"polygons": [', "is not JSON: "),
        (b"\xff\xfe{}", "is not valid UTF-8"),
        (b"[" * 100_000, "nests more than"),
        (b'{"frame_hw": [1e400, 2]}', "1e400 is too large"),
        (b"[]", "there is no object at the top"),
        (b"null", "there is no object at the top"),
    ],
)
def test_what_is_no_json(tmp_path: Path, text: bytes, problem: str) -> None:
    (tmp_path / "arm.json").write_bytes(text)
    with pytest.raises(ConfigError, match=problem):
        read_ignore_mask(tmp_path / "arm.json")


def test_files_that_are_no_masks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.png does not exist; check the path"):
        read_ignore_mask(tmp_path / "none.png")
    with pytest.raises(ConfigError, match="is not a file"):
        read_ignore_mask(tmp_path)
    (tmp_path / "notes.png").write_text("nothing of the kind")
    with pytest.raises(ConfigError, match=r"notes\.png .*; give an image, white where"):
        read_ignore_mask(tmp_path / "notes.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"empty\.png is empty"):
        read_ignore_mask(tmp_path / "empty.png")
    with pytest.raises(ConfigError, match="nothing is left to inspect"):
        read_ignore_mask(write_image(tmp_path / "white.png", np.full((9, 9), 255, np.uint8)))


@pytest.mark.parametrize("polygons", [[], [[[3, 3], [9, 3], [5, 3]]], [[[1, 1], [1, 1], [1, 1]]]])
def test_an_empty_mask_ignores_nothing_and_says_so(tmp_path: Path, polygons: Any) -> None:
    black = write_image(tmp_path / "black.png", np.zeros((48, 64), np.uint8))
    for path in (black, write_json(tmp_path / "none.json", polygons=polygons)):
        mask, events = read_ignore_mask(path), EventLog()
        assert mask.is_empty
        assert mask.at((48, 64)) is None
        assert Ignoring(mask, events.emit).of(frame()) is None
        (event,) = events.recent()
        assert (event.kind, event.level) == ("ignore.empty", "warning")
        assert f"{path} ignores nothing" in event.message


# ---- a stream whose frames change


def shot(index: int, hw: tuple[int, int], live: bool) -> Frame:
    return dataclasses.replace(frame(index, np.zeros((*hw, 3), np.uint8)), live=live)


LOWER = IgnoreMask("arm.png", (48, 64), half() > 0)


@pytest.mark.parametrize("live", [False, True])
def test_the_mask_is_fitted_anew_when_frames_change_their_size(live: bool) -> None:
    events = EventLog()
    ignoring = Ignoring(LOWER, events.emit)
    for index, hw in enumerate([(48, 64), (480, 640), (24, 32)]):
        found = ignoring.of(shot(index, hw, live))
        assert found is not None
        np.testing.assert_array_equal(found.mask, half(hw) > 0)
    assert not events.recent()


def test_a_file_whose_frames_do_not_fit_is_an_error() -> None:
    events = EventLog()
    ignoring = Ignoring(LOWER, events.emit)
    assert ignoring.of(shot(0, (48, 64), live=False)) is not None
    with pytest.raises(ConfigError, match="frame 000001 of 64x64 px"):
        ignoring.of(shot(1, (64, 64), live=False))


def test_a_camera_that_never_fits_is_an_error() -> None:
    with pytest.raises(ConfigError, match="is for frames of 64x48 px"):
        Ignoring(LOWER, EventLog().emit).of(shot(0, (64, 64), live=True))


def test_of_a_camera_that_changes_its_shape_nothing_is_ignored_and_one_event_says_so() -> None:
    events = EventLog()
    ignoring = Ignoring(LOWER, events.emit)
    sizes = [(48, 64), (64, 64), (64, 64), (32, 64), (48, 64), (24, 32), (64, 64)]
    found = [ignoring.of(shot(index, hw, live=True)) for index, hw in enumerate(sizes)]
    assert [one is not None for one in found] == [True, False, False, False, True, True, False]
    told = [(event.kind, event.level) for event in events.recent()]
    assert told == [
        ("ignore.misfit", "warning"), ("ignore.fits", "info"), ("ignore.misfit", "warning")
    ]  # fmt: skip
    assert "frame 000001 of 64x64 px" in events.recent()[0].message
    assert events.recent()[0].message.endswith("until it fits again, nothing is ignored")


def test_without_a_mask_nothing_is_ignored() -> None:
    assert Ignoring(None, EventLog().emit).of(frame()) is None

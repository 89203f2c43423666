"""What is told of a measured frame, in pixels and millimetres, against the schema."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.runtime.measuring.frame_scale import NO_RANGE, FrameScale
from edgecrack.runtime.measuring.measuring_thread import NewestWidths
from edgecrack.runtime.measuring.stream_scale import StreamScale
from edgecrack.runtime.measuring.width_record import (
    brief_record,
    length_text,
    width_record,
    width_text,
)
from edgecrack.scale.quantity import Quantity
from tests.measurement.test_fitness import scene
from tests.runtime.fakes import frame
from tests.runtime.measuring.cameras import FOCAL_PX, camera, ranged, wall

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is of the dev extra")


def checked(record: dict[str, Any]) -> dict[str, Any]:
    """As a reader has it; every field is one that the schema tells of."""
    file = resources.files("edgecrack") / "schemas" / "width.schema.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    plain: dict[str, Any] = json.loads(json.dumps(record, allow_nan=False))
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(plain)] == []
    assert plain.keys() <= schema["properties"].keys()
    crack = schema["properties"]["cracks"]["items"]["properties"]
    assert all(each.keys() == crack.keys() for each in plain["cracks"])
    if plain["scale"] is not None:
        assert plain["scale"].keys() == schema["properties"]["scale"]["properties"].keys()
    return plain


def test_without_a_scale_all_is_in_pixels() -> None:
    found = checked(width_record(wall()))
    (crack,) = found["cracks"]
    assert found["scale"] is None
    assert (crack["length_mm"], crack["width_mm"], crack["budget"]) == (None, None, None)
    assert crack["width"]["mean"]["value_px"] == pytest.approx(4, abs=0.7)
    assert width_text(crack).endswith("]")
    assert " px [" in width_text(crack)
    assert length_text(crack).endswith(" px")


def test_with_a_figure_the_same_in_millimetres() -> None:
    found = checked(width_record(wall(), FrameScale(StreamScale(Quantity(0.1, 0.002)))))
    assert found["scale"] == {
        "source": "given", "mm_per_px": 0.1, "spread_95_mm_per_px": 0.004, "distance_m": None,
        "reason": "",
    }  # fmt: skip
    (crack,) = found["cracks"]
    assert crack["length_mm"]["value_mm"] == pytest.approx(0.1 * crack["length_px"], abs=1e-3)
    assert crack["length_mm"]["low_mm"] < crack["length_mm"]["value_mm"]
    for name, figure in crack["width_mm"].items():
        assert figure["value_mm"] == pytest.approx(0.1 * crack["width"][name]["value_px"], abs=1e-3)
        assert figure["low_mm"] < figure["value_mm"] < figure["high_mm"]
    mean = crack["width_mm"]["mean"]
    assert mean["low_mm"] <= 0.4 <= mean["high_mm"]
    assert set(crack["budget"]) == {
        "noise", "depth", "blur", "model", "mm per pixel", "unknown lens"
    }  # fmt: skip
    combined = sum(term**2 for term in crack["budget"].values()) ** 0.5
    assert mean["high_mm"] - mean["value_mm"] == pytest.approx(1.96 * combined, abs=2e-3)
    assert width_text(crack) == (
        f"{mean['value_mm']:.2f} mm [{mean['low_mm']:.2f}, {mean['high_mm']:.2f}]"
    )
    assert length_text(crack) == f"{crack['length_mm']['value_mm']:.0f} mm"


def test_by_a_camera_and_a_range_the_distance_stands_in_it() -> None:
    scale = FrameScale(StreamScale(camera=camera()), camera())
    found = checked(width_record(wall(position=ranged(0.05, 0.001)), scale))
    assert found["scale"]["source"] == "camera and range"
    assert found["scale"]["distance_m"] == 0.05
    assert found["scale"]["mm_per_px"] == pytest.approx(50 / FOCAL_PX, rel=0.003)
    (crack,) = found["cracks"]
    assert {"distance", "tilt", "focal length"} <= set(crack["budget"])
    assert crack["width_mm"]["mean"]["low_mm"] <= 0.4 <= crack["width_mm"]["mean"]["high_mm"]


def test_a_scale_whose_uncertainty_nobody_stated_has_no_spread() -> None:
    found = checked(width_record(wall(), FrameScale(StreamScale(Quantity(0.1)))))
    assert found["scale"]["spread_95_mm_per_px"] is None
    (crack,) = found["cracks"]
    assert (crack["length_mm"]["low_mm"], crack["length_mm"]["high_mm"]) == (None, None)


def test_where_the_scale_is_refused_pixels_remain_with_the_reason() -> None:
    found = checked(width_record(wall(), FrameScale(StreamScale(camera=camera()), camera())))
    assert found["scale"] == {
        "source": "camera and range", "mm_per_px": None, "spread_95_mm_per_px": None,
        "distance_m": None, "reason": NO_RANGE,
    }  # fmt: skip
    (crack,) = found["cracks"]
    assert crack["width_mm"] is None
    assert crack["width"]["mean"] is not None
    assert brief_record(found)["no_scale"] == NO_RANGE


@pytest.mark.parametrize(("mm_per_px", "too_far"), [(0.29, False), (0.31, True)])
def test_a_pixel_larger_than_a_crack_of_three_tenths_is_too_far(
    mm_per_px: float, too_far: bool
) -> None:
    found = width_record(wall(), FrameScale(StreamScale(Quantity(mm_per_px))))
    assert brief_record(found)["too_far"] is too_far
    assert brief_record(width_record(wall()))["too_far"] is False  # nobody knows


def test_too_fast_is_said_where_the_blur_is_by_motion_alone() -> None:
    shown = scene(0.8, 0.5)
    along = np.zeros((15, 15), np.float32)
    along[7] = 1 / 15
    pictures = (shown, False), (cv2.filter2D(shown, -1, along), True), (scene(3.5), False)
    for picture, too_fast in pictures:
        image = np.asarray(cv2.cvtColor(np.asarray(picture), cv2.COLOR_GRAY2BGR), np.uint8)
        result = wall()
        nothing = np.zeros(image.shape[:2], np.uint8)
        found = width_record(
            replace(result, frame=replace(result.frame, image=image), probability=nothing)
        )
        assert brief_record(found)["too_fast"] is too_fast, found["fitness"]


def test_lengths_of_metres_are_in_metres() -> None:
    assert length_text({"length_mm": {"value_mm": 1234.0}}) == "1.23 m"


def test_the_newest_record_is_kept_for_the_page() -> None:
    newest = NewestWidths()
    assert newest.brief() is None
    for index in range(2):
        result = wall(index)
        newest.take(result, width_record(result))
    brief = newest.brief()
    assert brief is not None
    assert (brief["frame"], brief["count"], brief["age_ms"]) == (1, 1, None)
    live = wall(2, live=True)
    newest.take(live, width_record(live))
    last = newest.brief()
    assert last is not None
    assert last["age_ms"] >= 0


def test_a_check_sheet_in_view_is_read_and_its_cracks_are_left_out() -> None:
    pytest.importorskip("matplotlib", reason="the sheet is drawn by the measure extra")
    from edgecrack.site_check.printing import render_sheet, view_of_sheet

    gray = render_sheet(view_of_sheet(0.4), np.random.default_rng(1))
    image = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)
    # A network that takes all ink for crack.
    dark = np.where(gray < 90, 255, 0).astype(np.uint8)
    seen = replace(wall(), frame=frame(image=image), probability=dark)
    found = checked(width_record(seen, FrameScale(StreamScale(Quantity(0.4, 0.002)))))
    assert found["site_check"]["passed"], found["site_check"]["sentences"]
    assert found["cracks"] == []
    wrong = checked(width_record(seen, FrameScale(StreamScale(Quantity(0.44, 0.002)))))
    assert not wrong["site_check"]["passed"]
    assert checked(width_record(seen))["site_check"] is None

"""Plans of runs: figures worked out by hand, how they depend on each other, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rough_cracks import Imaging, winding_crack
from edgecrack import planning
from edgecrack.errors import ConfigError
from edgecrack.measurement.cracks import measure_image
from edgecrack.measurement.fitness import MOST_BLUR_PX
from edgecrack.planning import Plan, PlanConfig, figure, plan

SQUARE: dict[str, Any] = {"width_px": 2000, "height_px": 1000, "focal_px": 2000, "distance_m": 1}
MOVING = SQUARE | {"speed_m_s": 0.5, "exposure_ms": 1, "frames_per_second": 4}


def seen(**changes: Any) -> Plan:
    return plan(PlanConfig(**(SQUARE | changes)))


def moving(**changes: Any) -> Plan:
    return plan(PlanConfig(**(MOVING | changes)))


class TestByHand:
    def test_a_camera_on_a_tripod(self) -> None:
        found = seen()
        assert found.mm_per_pixel == 0.5
        assert found.footprint_m == (1.0, 0.5)
        assert (found.motion_blur_px, found.overlap, found.gb_per_hour) == (0, None, None)
        assert (found.fastest_sharp_m_s, found.fastest_overlapping_m_s) == (None, None)
        assert (found.lowest_frames_per_second, found.m2_per_hour) == (0, 0)
        assert (found.found_mm, found.half_measured_mm, found.measured_mm) == (0.5, 0.5, 1.0)
        assert found.place_uncertainty_mm == pytest.approx(0.75)
        assert found.mean_uncertainty_mm == pytest.approx(0.25)

    def test_a_camera_that_moves(self) -> None:
        found = moving()
        # 0.5 m/s for 1 ms is 0.5 mm, which is a pixel.
        assert found.motion_blur_px == 1
        assert found.blur_px == pytest.approx(math.sqrt(1.35**2 + 1 / 12))
        # 0.125 m from frame to frame, of 0.5 m that each shows.
        assert found.overlap == pytest.approx(0.75)
        # 0.15 m may be new in each frame.
        assert found.lowest_frames_per_second == pytest.approx(0.5 / 0.15)
        assert found.fastest_overlapping_m_s == pytest.approx(0.6)
        assert found.fastest_sharp_m_s == pytest.approx(0.5)
        assert found.m2_per_hour == pytest.approx(0.5 * 1.0 * 3600)
        # 2 million pixels, 0.35 byte each, 14,400 times.
        assert found.gb_per_hour == pytest.approx(10.08)
        assert found.measured_mm == pytest.approx(math.sqrt(1.35**2 + 1 / 12) / 1.35)

    def test_a_camera_that_moves_along_its_width(self) -> None:
        found = moving(along="width")
        assert found.overlap == pytest.approx(0.875)
        assert found.m2_per_hour == pytest.approx(0.5 * 0.5 * 3600)

    def test_between_frames_that_do_not_touch_nothing_is_seen(self) -> None:
        found = moving(speed_m_s=4.0, exposure_ms=0.1)
        assert found.overlap == pytest.approx(-1.0)
        assert found.m2_per_hour == pytest.approx(4 * 0.5 * 1.0 * 3600)

    def test_a_frame_s_size_in_bytes_may_be_given(self) -> None:
        assert moving(bytes_per_frame=1e6).gb_per_hour == pytest.approx(14.4)

    @pytest.mark.parametrize(
        "camera",
        [
            {"focal_px": 1000},
            {"fov_deg": 90},
            {"focal_mm": 18, "sensor_mm": 36},
        ],
        ids=["pixels", "field of view", "sensor"],
    )
    def test_one_camera_in_three_ways(self, camera: dict[str, Any]) -> None:
        config = PlanConfig(width_px=2000, height_px=1500, distance_m=2, **camera)
        assert config.focal_length_px == pytest.approx(1000)
        assert plan(config).footprint_m == pytest.approx((4, 3))

    @pytest.mark.parametrize(
        ("mm_per_pixel", "width_mm"),
        [(0.1, 0.2), (0.105, 0.21), (0.15, 0.3), (0.2, 0.4)],
    )
    def test_from_which_width_on_a_mean_is_sure(self, mm_per_pixel: float, width_mm: float) -> None:
        assert seen(distance_m=2 * mm_per_pixel).certain_mm == pytest.approx(width_mm)

    def test_a_mean_is_never_sure_where_a_pixel_is_too_large(self) -> None:
        assert seen(distance_m=0.402).certain_mm is None
        assert seen().certain_within_m == pytest.approx(2 * 0.1 / 0.5)

    def test_how_near_a_wanted_width_is_measured(self) -> None:
        assert seen().wanted_within_m is None
        # 2 px of 0.15 mm, and 1 m has 0.5 mm a pixel.
        assert seen(wanted_width_mm=0.3).wanted_within_m == pytest.approx(0.3)
        assert moving(wanted_width_mm=0.1).wanted_within_m is None


class TestWarnings:
    def test_none_where_all_is_well(self) -> None:
        assert seen(distance_m=0.3).warnings == ()
        assert seen(distance_m=0.3, frames_per_second=10, exposure_ms=5).warnings == ()

    @pytest.mark.parametrize(
        ("changes", "problem", "remedy"),
        [
            (
                {"exposure_ms": 2},
                "motion blurs by 2.00 px and thin cracks across the motion fade",
                "expose for at most 1.00 ms, or go at most 0.250 m/s",
            ),
            (
                {"exposure_ms": 8},
                "motion blurs by 8.00 px and no width is measured",
                "expose for at most 1.00 ms, or go at most 0.0625 m/s",
            ),
            (
                {"exposure_ms": 50},
                "motion blurs by 50.0 px and the pictures are unfit",
                "expose for at most 1.00 ms, or go at most 0.0100 m/s",
            ),
            (
                {"frames_per_second": 2},
                "frames overlap by 50 %, less than 70 %",
                "take at least 3.33 frames/s, or go at most 0.300 m/s",
            ),
            (
                {"frames_per_second": 0.5},
                "frames leave 100 % of their length unseen between them",
                "take at least 3.33 frames/s, or go at most 0.0750 m/s",
            ),
            (
                {"wanted_overlap": 0.8},
                "frames overlap by 75 %, less than 80 %",
                "take at least 5.00 frames/s, or go at most 0.400 m/s",
            ),
            (
                {"speed_m_s": 0},
                "cracks of 0.3 mm are too thin to be found",
                "go to 0.300 m or nearer, or take a longer lens or more pixels",
            ),
            (
                {"speed_m_s": 0, "distance_m": 0.5},
                "cracks of 0.3 mm are found, but not measured in nearly all places",
                "go to 0.300 m or nearer, or take a longer lens or more pixels",
            ),
            (
                {"wanted_width_mm": 0.2, "exposure_ms": 2},
                "cracks of 0.2 mm are too thin to be found, from no distance at this speed and "
                "exposure time",
                "expose for at most 0.200 ms and go to 0.195 m or nearer",
            ),
            (
                {"focal_px": 500},
                "a view of 127 degrees is usually a fisheye's, whose scale is not the same "
                "everywhere",
                "plan with the field of view of its undistorted pictures",
            ),
        ],
    )
    def test_each_says_what_is_wrong_and_what_to_do(
        self, changes: dict[str, Any], problem: str, remedy: str
    ) -> None:
        assert f"{problem}; {remedy}" in moving(**changes).warnings

    def test_what_is_at_its_limit_is_not_warned_of(self) -> None:
        warnings = " ".join(moving(frames_per_second=0.5 / 0.15).warnings)
        assert "motion" not in warnings
        assert "overlap" not in warnings
        assert "overlap" not in " ".join(moving(speed_m_s=0).warnings)

    @given(st.floats(0.01, 100), st.floats(0.001, 10), st.floats(0.01, 50), st.floats(0.01, 10))
    def test_who_does_what_they_say_is_not_warned_of_it_again(
        self, distance_m: float, speed_m_s: float, exposure_ms: float, width_mm: float
    ) -> None:
        common = MOVING | {"frames_per_second": None, "wanted_width_mm": width_mm}
        common |= {"speed_m_s": speed_m_s}
        # 1 px of motion at the scale that would do, seen from as far as it then may be.
        exposure_ms = min(exposure_ms, width_mm / 2 / speed_m_s)
        config = PlanConfig(**(common | {"distance_m": distance_m, "exposure_ms": exposure_ms}))
        within_m = plan(config).wanted_within_m
        assert within_m is not None
        there = plan(PlanConfig(**(common | {"distance_m": within_m, "exposure_ms": exposure_ms})))
        assert there.measured_mm == pytest.approx(width_mm)
        assert not [text for text in there.warnings if text.startswith("cracks")]


class TestHowFiguresDependOnEachOther:
    @given(st.floats(0.01, 1000), st.floats(1, 1e5), st.integers(16, 20000))
    def test_twice_the_distance_is_twice_the_scale(
        self, distance_m: float, focal_px: float, width_px: int
    ) -> None:
        near = seen(distance_m=distance_m, focal_px=focal_px, width_px=width_px)
        far = seen(distance_m=2 * distance_m, focal_px=focal_px, width_px=width_px)
        assert far.mm_per_pixel == pytest.approx(2 * near.mm_per_pixel)
        assert far.footprint_m == pytest.approx([2 * side for side in near.footprint_m])
        assert far.measured_mm == pytest.approx(2 * (near.measured_mm or math.nan))

    @given(st.floats(0.01, 100), st.floats(0.01, 10), st.floats(0.1, 100))
    def test_the_fastest_speed_blurs_by_one_pixel(
        self, distance_m: float, speed_m_s: float, exposure_ms: float
    ) -> None:
        changes = {"distance_m": distance_m, "exposure_ms": exposure_ms, "frames_per_second": None}
        fastest = moving(speed_m_s=speed_m_s, **changes).fastest_sharp_m_s
        assert fastest is not None
        assert moving(speed_m_s=fastest, **changes).motion_blur_px == pytest.approx(1)

    @given(st.floats(0.01, 10), st.floats(0, 0.99), st.sampled_from(["height", "width"]))
    def test_at_the_lowest_frame_rate_the_overlap_is_the_wanted_one(
        self, speed_m_s: float, wanted: float, along: str
    ) -> None:
        changes = {"speed_m_s": speed_m_s, "exposure_ms": 0.001, "along": along}
        changes |= {"wanted_overlap": wanted}
        rate = moving(**changes).lowest_frames_per_second
        there = moving(**changes, frames_per_second=rate)
        assert there.overlap == pytest.approx(wanted, abs=1e-9)
        assert there.fastest_overlapping_m_s == pytest.approx(speed_m_s)
        assert not [text for text in there.warnings if text.startswith("frames")]

    @given(st.floats(0, 0.5), st.floats(1, 2))
    def test_motion_makes_nothing_better(self, speed_m_s: float, faster: float) -> None:
        changes = {"frames_per_second": None, "exposure_ms": 6}
        slow = moving(speed_m_s=speed_m_s, **changes)
        fast = moving(speed_m_s=speed_m_s * faster, **changes)
        for name in ("found_mm", "half_measured_mm", "measured_mm", "mean_uncertainty_mm"):
            less, more = getattr(slow, name), getattr(fast, name)
            assert more is None or less <= more


INF, NAN = math.inf, math.nan


class TestRefuses:
    @pytest.mark.parametrize("value", [0, -1, INF, -INF, NAN])
    @pytest.mark.parametrize(
        "name",
        [
            "width_px",
            "height_px",
            "distance_m",
            "focal_px",
            "exposure_ms",
            "frames_per_second",
            "wanted_width_mm",
            "bytes_per_frame",
        ],
    )
    def test_what_must_be_above_zero(self, name: str, value: float) -> None:
        with pytest.raises(ConfigError, match=rf"^`{name}` is {value}; give .+\.$"):
            seen(**{name: value})

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"speed_m_s": -1}, "`speed_m_s` is -1; give metres per second; 0 on a tripod."),
            ({"speed_m_s": NAN}, "`speed_m_s` is nan; give metres per second; 0 on a tripod."),
            (
                {"wanted_overlap": 1},
                "`wanted_overlap` is 1; give a share of 0 or more and below 1, such as 0.7.",
            ),
            (
                {"wanted_overlap": 70},
                "`wanted_overlap` is 70; give a share of 0 or more and below 1, such as 0.7.",
            ),
            ({"along": "depth"}, "`along` is 'depth'; give height or width."),
            ({"speed_m_s": 2}, "`speed_m_s` is 2 without an exposure time; give `exposure_ms`."),
            (
                {"exposure_ms": 50, "frames_per_second": 30},
                "50 ms of exposure are longer than the 33.3 ms from frame to frame; "
                "lower `exposure_ms` or `frames_per_second`.",
            ),
            (
                {"focal_px": None},
                "no camera is given; give `focal_px`, or `fov_deg`, or `focal_mm` with "
                "`sensor_mm`.",
            ),
            (
                {"fov_deg": 60},
                "`focal_px` 2000 and `fov_deg` 60 are more than one camera; give `focal_px`, or "
                "`fov_deg`, or `focal_mm` with `sensor_mm`.",
            ),
            (
                {"focal_mm": 16},
                "`focal_px` 2000 and `focal_mm` 16 are more than one camera; give `focal_px`, or "
                "`fov_deg`, or `focal_mm` with `sensor_mm`.",
            ),
            (
                {"focal_px": None, "focal_mm": 16},
                "`focal_mm` 16 alone does not describe a camera; give `sensor_mm` as well.",
            ),
            (
                {"focal_px": None, "sensor_mm": 13.2},
                "`sensor_mm` 13.2 alone does not describe a camera; give `focal_mm` as well.",
            ),
            (
                {"focal_px": None, "fov_deg": 180},
                "`fov_deg` is 180; give degrees above 0, at most 179.",
            ),
        ],
    )
    def test_a_bad_value_is_a_sentence(self, changes: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ConfigError) as error:
            seen(**changes)
        assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.00123456, "0.00123"), (0.902, "0.902"), (12.34, "12.3"), (999.4, "999"),
        (1863.2, "1,863"), (-2.5, "-2.50"), (math.inf, "inf"),
    ],
)  # fmt: skip
def test_a_figure_has_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert figure(value) == text


def test_the_limit_of_blur_is_that_of_measuring() -> None:
    assert planning.MOST_BLUR_PX == MOST_BLUR_PX


@pytest.mark.parametrize(("width_px", "uncertainty_px"), [(2.0, 0.5), (4.0, 0.5), (8.0, 0.5)])
def test_the_uncertainty_of_a_mean_is_what_measuring_states(
    width_px: float, uncertainty_px: float
) -> None:
    """Rendered on an even surface with noise alone; the constants were measured on concrete."""
    rng = np.random.default_rng(3)
    surface = np.asarray(rng.normal(128, 20, (256, 256)).clip(0, 255), np.uint8)
    halves = []
    for blur_px in (0.8, 1.1, 1.35, 1.6, 1.9):
        scene = winding_crack(rng, width_px, Imaging(blur_px, 8.0, 0.15), surface, 224)
        mean = measure_image(scene.image, scene.inside > 0.3)[0].mean
        assert mean is not None
        halves.append((mean.high_px - mean.low_px) / 2)
    assert np.median(halves) == pytest.approx(uncertainty_px, rel=0.4)

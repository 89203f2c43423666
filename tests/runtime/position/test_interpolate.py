"""Positions between samples: against slow references, and under clocks that misbehave."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.errors import ConfigError
from edgecrack.runtime.frame import Position, describe_position
from edgecrack.runtime.position.interpolate import (
    EARTH_RADIUS_M,
    PositionTrack,
    between_on_earth,
    earth_distance_m,
    slerp,
    unit,
)
from tests.waiting import PATIENCE_S

S = 10**9
MS = 10**6
T0 = 1_700_000_000 * S
UNIT = st.floats(-1, 1)
SHARE = st.floats(0, 1)
XYZ = st.tuples(*[st.floats(-1e4, 1e4)] * 3)


def at(track: PositionTrack, time_ns: int) -> Position:
    found = track.locate(time_ns)
    assert found is not None
    return found


# --- geometry ---


def turned(quaternion: Sequence[float]) -> np.ndarray:
    """Rotation matrix of a unit quaternion x, y, z, w."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@given(st.lists(UNIT, min_size=4, max_size=4), st.lists(UNIT, min_size=4, max_size=4), SHARE)
def test_slerp_is_scipy_s(first: list[float], second: list[float], share: float) -> None:
    transform = pytest.importorskip("scipy.spatial.transform", reason="scipy is not installed")
    if min(np.linalg.norm(first), np.linalg.norm(second)) < 0.01:
        return
    a, b = unit(*first), unit(*second)
    if abs(np.dot(a, b)) < 1e-6:  # half a turn apart: both ways round are as short
        return
    rotations = transform.Rotation.from_quat([a, b])
    expected = transform.Slerp([0, 1], rotations)(share).as_matrix()
    assert np.allclose(turned(slerp(a, b, share)), expected, atol=1e-5)


@given(st.lists(UNIT, min_size=4, max_size=4), SHARE)
def test_slerp_of_a_quaternion_and_its_negative_does_not_turn(
    values: list[float], share: float
) -> None:
    if np.linalg.norm(values) < 0.01:
        return
    a = unit(*values)
    x, y, z, w = a
    assert np.allclose(turned(slerp(a, (-x, -y, -z, -w), share)), turned(a), atol=1e-9)


@given(st.floats(-math.pi, math.pi), st.floats(0.001, 3.0), SHARE)
def test_slerp_turns_at_an_even_rate(start: float, turn: float, share: float) -> None:
    def about_z(angle: float) -> tuple[float, float, float, float]:
        return (0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2))

    found = slerp(about_z(start), about_z(start + turn), share)
    assert np.allclose(turned(found), turned(about_z(start + share * turn)), atol=1e-6)


PLACE = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


def vector(place: tuple[float, ...]) -> np.ndarray:
    latitude, longitude = np.radians(place[:2])
    return np.array(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ]
    )


@given(PLACE, PLACE)
def test_distance_on_earth_is_the_angle_between_vectors(
    first: tuple[float, float], second: tuple[float, float]
) -> None:
    a, b = vector(first), vector(second)
    angle = math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))
    assert earth_distance_m(first, second) == pytest.approx(angle * EARTH_RADIUS_M, abs=0.3)


@given(st.floats(-60, 60), st.floats(-180, 180), st.floats(-5e-4, 5e-4), st.floats(-5e-4, 5e-4),
       SHARE)  # fmt: skip
def test_near_places_are_mixed_linearly_also_across_the_date_line(
    latitude: float, longitude: float, north: float, east: float, share: float
) -> None:
    end = (longitude + east + 180) % 360 - 180
    found = between_on_earth((latitude, longitude), (latitude + north, end), share)
    assert found[0] == pytest.approx(latitude + share * north, abs=1e-8)
    assert (found[1] - longitude - share * east + 180) % 360 - 180 == pytest.approx(0, abs=1e-8)
    assert -180 <= found[1] <= 180


@given(PLACE, PLACE, SHARE)
def test_what_lies_between_lies_on_the_shortest_way(
    first: tuple[float, float], second: tuple[float, float], share: float
) -> None:
    found = between_on_earth(first, second, share)
    parts = earth_distance_m(first, found) + earth_distance_m(found, second)
    assert parts == pytest.approx(earth_distance_m(first, second), abs=0.5)


def test_over_the_pole_the_way_goes_over_the_pole() -> None:
    found = between_on_earth((89.9999, 0.0), (89.9999, 180.0), 0.5)
    assert found[0] == pytest.approx(90.0, abs=1e-9)
    quarter = between_on_earth((89.9999, 10.0), (89.9999, -170.0), 0.25)
    assert list(quarter) == [pytest.approx(89.99995, abs=1e-9), pytest.approx(10.0, abs=1e-6)]


# --- between samples ---


@given(XYZ, XYZ, st.integers(1, 999))
def test_between_two_poses_the_robot_is_on_the_line(
    first: tuple[float, float, float], second: tuple[float, float, float], since_ms: int
) -> None:
    track = PositionTrack()
    track.add(T0, xyz_m=first)
    track.add(T0 + S, xyz_m=second)
    found = at(track, T0 + since_ms * MS)
    expected = [a + (b - a) * since_ms / 1000 for a, b in zip(first, second, strict=True)]
    assert found.xyz_m == pytest.approx(expected, abs=1e-6)
    assert found.gap_ms == min(since_ms, 1000 - since_ms)
    assert (found.quaternion_xyzw, found.latitude_deg, found.altitude_m) == (None, None, None)


def test_at_a_sample_it_is_that_sample() -> None:
    track = PositionTrack()
    turn = unit(0.1, -0.2, 0.3, 0.9)
    for index in range(20):
        track.add(
            T0 + index * 100 * MS,
            xyz_m=(index / 3, index / 7, -index / 9),
            quaternion_xyzw=turn,
            fix=(52.1 + index * 1e-6, 13.3, 34.5),
        )
    found = at(track, T0 + 700 * MS)
    assert found.gap_ms == 0
    assert found.xyz_m == (7 / 3, 1.0, -7 / 9)
    assert found.quaternion_xyzw == pytest.approx(turn, abs=1e-12)
    assert (found.latitude_deg, found.longitude_deg) == (52.1 + 7e-6, 13.3)
    assert found.altitude_m == 34.5
    assert found.time_ns == T0 + 700 * MS


@pytest.mark.parametrize(
    ("at_ms", "x", "gap_ms"),
    [
        (-501, None, None),  # before the first sample: held, for as long as the limit says
        (-500, 0.0, 500),
        (0, 0.0, 0),
        (250, 2.5, 250),  # a second between two: the nearer is never more than the limit away
        (500, 5.0, 500),
        (1000, 10.0, 0),
        (1500, 10.0, 500),  # three seconds between two: the nearer counts, or none
        (1501, None, None),
        (3499, None, None),
        (3500, 50.0, 500),
        (4000, 50.0, 0),
        (4400, 50.0, 400),  # after the last
        (4501, None, None),
    ],
)
def test_nothing_is_invented_beyond_the_limit(
    at_ms: int, x: float | None, gap_ms: float | None
) -> None:
    track = PositionTrack(max_gap_ms=500)
    for time_ms, place in ((0, 0.0), (1000, 10.0), (4000, 50.0)):
        track.add(T0 + time_ms * MS, xyz_m=(place, 0.0, 0.0))
    found = track.locate(T0 + at_ms * MS)
    if x is None:
        assert found is None
        return
    assert found is not None
    assert found.xyz_m == pytest.approx((x, 0.0, 0.0))
    assert found.gap_ms == gap_ms


def test_odometry_and_gnss_have_limits_of_their_own() -> None:
    track = PositionTrack()
    track.add(T0, xyz_m=(1.0, 2.0, 3.0), fix=(50.0, 10.0, None))
    both = at(track, T0 + 400 * MS)
    assert (both.xyz_m, both.latitude_deg, both.gap_ms) == ((1.0, 2.0, 3.0), 50.0, 400)
    late = at(track, T0 + 1200 * MS)
    assert (late.xyz_m, late.latitude_deg, late.gap_ms) == (None, 50.0, 1200)
    assert late.distance_m is None  # of a robot with odometry, not a guess by GNSS
    assert track.locate(T0 + 1600 * MS) is None


def test_gnss_once_a_second_is_interpolated_though_its_clock_jitters() -> None:
    track = PositionTrack()
    for index in range(5):
        track.add(T0 + index * S + (index % 2) * 30 * MS, fix=(50.0, 10.0 + index * 1e-4, 7.0))
    for time_ns in range(T0, T0 + 4 * S, 50 * MS):
        expected = 10.0 + (time_ns - T0) / S * 1e-4
        assert at(track, time_ns).longitude_deg == pytest.approx(expected, abs=5e-6)


def test_orientation_or_altitude_of_one_sample_serves_between_two() -> None:
    track = PositionTrack()
    track.add(T0, xyz_m=(0.0, 0.0, 0.0), quaternion_xyzw=(0, 0, 0, 2), fix=(1.0, 2.0, None))
    track.add(T0 + 100 * MS, xyz_m=(1.0, 0.0, 0.0), fix=(1.0, 2.0, 9.0))
    found = at(track, T0 + 50 * MS)
    assert found.quaternion_xyzw == (0.0, 0.0, 0.0, 1.0)
    assert found.altitude_m == 9.0


def test_an_empty_track_knows_nothing() -> None:
    assert PositionTrack().locate(T0) is None
    assert len(PositionTrack()) == 0


@pytest.mark.parametrize("time_ns", [0, -1, -(2**70), 2**63, 2**80])
def test_any_time_may_be_asked_for(time_ns: int) -> None:
    track = PositionTrack()
    track.add(T0, xyz_m=(0.0, 0.0, 0.0))
    assert track.locate(time_ns) is None


# --- path ---


def slow_path(places: Sequence[tuple[float, ...]], dead_band_m: float) -> list[float]:
    """Length up to each place, past those nearer than the dead band to the last that counted."""
    anchor, length, lengths = places[0], 0.0, []
    for place in places:
        step = math.dist(anchor, place)
        if step >= dead_band_m:
            length += step
            anchor = place
        lengths.append(length)
    return lengths


STEPS = st.lists(st.tuples(*[st.floats(-0.4, 0.4)] * 3), min_size=2, max_size=25)


@given(STEPS, st.randoms(use_true_random=False))
def test_the_path_is_the_same_in_whatever_order_samples_come(
    steps: list[tuple[float, float, float]], random: object
) -> None:
    places = [tuple(float(v) for v in place) for place in np.cumsum(np.array(steps), axis=0)]
    order = list(range(len(places)))
    random.shuffle(order)  # type: ignore[attr-defined]
    track = PositionTrack()
    for index in order:  # 25 samples at 20 Hz: late by less than two seconds
        x, y, z = places[index]
        assert track.add(T0 + index * 50 * MS, xyz_m=(x, y, z))
    for index, length in enumerate(slow_path(places, 0.01)):
        assert at(track, T0 + index * 50 * MS).distance_m == pytest.approx(length, abs=1e-9)


def test_distance_is_interpolated_between_samples() -> None:
    track = PositionTrack()
    track.add(T0, xyz_m=(0.0, 0.0, 0.0))
    track.add(T0 + 100 * MS, xyz_m=(3.0, 4.0, 0.0))
    assert at(track, T0 + 40 * MS).distance_m == pytest.approx(2.0)


def test_a_robot_at_rest_does_not_drive() -> None:
    generator = np.random.default_rng(1)
    track = PositionTrack()
    for index in range(2_000):
        x, y, z = generator.uniform(-0.002, 0.002, 3)
        east, north = generator.uniform(-6e-6, 6e-6, 2)  # about 0.7 m
        track.add(T0 + index * 5 * MS, xyz_m=(x, y, z), fix=(50 + north, 10 + east, None))
    assert at(track, T0 + 9 * S).distance_m == 0
    gnss = PositionTrack()
    for index in range(100):
        east, north = generator.uniform(-6e-6, 6e-6, 2)
        gnss.add(T0 + index * S, fix=(50 + north, 10 + east, None))
    assert at(gnss, T0 + 99 * S).distance_m == 0


def test_without_odometry_the_distance_is_that_of_the_gnss() -> None:
    track = PositionTrack()
    for index in range(101):
        track.add(T0 + index * S, fix=(50.0, 10.0 + index * 1e-4, None))  # 7.15 m a second
    expected = earth_distance_m((50.0, 10.0), (50.0, 10.01))
    assert at(track, T0 + 100 * S).distance_m == pytest.approx(expected, rel=1e-6)
    track.add(T0 + 100 * S, xyz_m=(0.0, 0.0, 0.0))
    assert at(track, T0 + 100 * S).distance_m == 0  # from now on by odometry


def test_a_moved_origin_is_not_driven() -> None:
    track = PositionTrack()
    for index in range(10):
        track.add(T0 + index * 50 * MS, xyz_m=(0.1 * index, 0.0, 0.0))
    for index in range(10, 20):
        track.add(T0 + index * 50 * MS, xyz_m=(500 + 0.1 * index, 0.0, 0.0))
    assert at(track, T0 + 19 * 50 * MS).distance_m == pytest.approx(1.8)


# --- clocks ---


def test_of_two_samples_at_one_time_the_later_counts() -> None:
    track = PositionTrack()
    for index in range(5):
        track.add(T0 + index * 100 * MS, xyz_m=(float(index), 0.0, 0.0))
    track.add(T0 + 200 * MS, xyz_m=(2.0, 1.0, 0.0))
    track.add(T0 + 400 * MS, xyz_m=(4.0, 1.0, 0.0))
    assert len(track) == 5
    assert at(track, T0 + 200 * MS).xyz_m == (2.0, 1.0, 0.0)
    expected = 1 + 2 * math.sqrt(2) + math.sqrt(2)
    assert at(track, T0 + 400 * MS).distance_m == pytest.approx(expected)


def test_a_straggler_is_refused_and_changes_nothing() -> None:
    track = PositionTrack()
    for index in range(50):
        track.add(T0 + index * 100 * MS, xyz_m=(float(index), 0.0, 0.0))
    assert not track.add(T0, xyz_m=(9e3, 0.0, 0.0))
    assert at(track, T0).xyz_m == (0.0, 0.0, 0.0)
    assert track.add(T0 + 50 * 100 * MS, xyz_m=(50.0, 0.0, 0.0))


def test_a_clock_set_back_is_followed_and_the_path_goes_on() -> None:
    track = PositionTrack()
    for index in range(100):
        track.add(T0 + index * 100 * MS, xyz_m=(0.1 * index, 0.0, 0.0))
    back_ns = T0 - 3600 * S
    taken = [
        track.add(back_ns + index * 100 * MS, xyz_m=(0.1 * (100 + index), 0.0, 0.0))
        for index in range(30)
    ]
    assert taken == [False] * 4 + [True] * 26
    found = at(track, back_ns + 29 * 100 * MS)
    assert found.xyz_m == pytest.approx((12.9, 0.0, 0.0))
    assert found.distance_m == pytest.approx(12.9)
    assert track.locate(T0 + 5 * S) is None  # what the wrong clock said is forgotten


def test_one_sample_from_the_far_future_is_got_over() -> None:
    track = PositionTrack()
    track.add(T0, xyz_m=(0.0, 0.0, 0.0))
    track.add(T0 + 10**6 * S, xyz_m=(0.1, 0.0, 0.0))
    for index in range(1, 40):
        track.add(T0 + index * 100 * MS, xyz_m=(0.1 * index, 0.0, 0.0))
    found = at(track, T0 + 39 * 100 * MS)
    assert found.xyz_m == pytest.approx((3.9, 0.0, 0.0))
    assert found.distance_m == pytest.approx(3.9, abs=0.5)


def test_a_flood_in_wrong_order_costs_no_more_than_one_in_order() -> None:
    """Each sample before all the others: without a bound, each would have all of them done anew."""
    track = PositionTrack()
    done = [0]
    step_m = track._poses._step_m

    def counted(first: tuple[float, ...], second: tuple[float, ...]) -> float:
        done[0] += 1
        return step_m(first, second)

    track._poses._step_m = counted
    taken = [track.add(T0 - index * 1000, xyz_m=(0.0, 0.0, 0.0)) for index in range(4_000)]
    assert sum(taken) == 1_001
    assert done[0] <= 1_001 * 1_000
    assert track.add(T0 + 1, xyz_m=(1.0, 0.0, 0.0))


def test_memory_is_bounded_and_the_path_does_not_forget() -> None:
    track = PositionTrack(capacity=100)
    for index in range(5_000):
        track.add(T0 + index * 10 * MS, xyz_m=(0.02 * index, 0.0, 0.0), fix=(50, 10, None))
    assert len(track) == 200
    assert at(track, T0 + 4_999 * 10 * MS).distance_m == pytest.approx(0.02 * 4_999)
    assert at(track, T0 + 4_900 * 10 * MS).distance_m == pytest.approx(0.02 * 4_900)
    assert track.locate(T0 + 1_000 * 10 * MS) is None


@pytest.mark.parametrize("field", range(7))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e12])
def test_numbers_that_nobody_means_are_refused(field: int, value: float) -> None:
    row = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    row[field] = value
    x, y, z, qx, qy, qz, qw = row
    track = PositionTrack()
    with pytest.raises(ValueError, match=str(value).replace("+", r"\+")):
        track.add(T0, xyz_m=(x, y, z), quaternion_xyzw=(qx, qy, qz, qw), fix=(1.0, 1.0, 1.0))
    assert len(track) == 0


@pytest.mark.parametrize(
    "fix",
    [(90.1, 0.0, 0.0), (-91.0, 0.0, 0.0), (0.0, 180.5, 0.0), (math.nan, 0.0, 0.0),
     (0.0, 0.0, math.nan), (0.0, 0.0, 2e5)],
)  # fmt: skip
def test_places_off_the_earth_are_refused_and_the_pose_with_them(
    fix: tuple[float, float, float],
) -> None:
    track = PositionTrack()
    with pytest.raises(ValueError, match="is"):
        track.add(T0, xyz_m=(0.0, 0.0, 0.0), fix=fix)
    assert len(track) == 0


def test_a_zero_quaternion_is_refused() -> None:
    with pytest.raises(ValueError, match="quaternion is zero"):
        PositionTrack().add(T0, xyz_m=(0.0, 0.0, 0.0), quaternion_xyzw=(0, 0, 0, 0))


@pytest.mark.parametrize("settings", [{"max_gap_ms": 0}, {"max_gnss_gap_ms": 1e6}, {"capacity": 1}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        PositionTrack(**settings)  # type: ignore[arg-type]


def test_many_threads_may_add_and_locate() -> None:
    track = PositionTrack(capacity=300)
    errors: list[BaseException] = []

    def add() -> None:
        for index in range(3_000):
            track.add(T0 + index * MS, xyz_m=(float(index), 0.0, 0.0))

    def locate() -> None:
        try:
            for index in range(1_500):
                found = track.locate(T0 + index * 2 * MS)
                if found is not None and found.xyz_m is not None and found.gap_ms == 0:
                    assert found.xyz_m[0] == index * 2
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=add), *(threading.Thread(target=locate) for _ in range(3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not errors
    assert len(track) == 300


# --- words ---


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (None, ""),
        (Position(T0), ""),
        (Position(T0, latitude_deg=52.5200081, longitude_deg=-0.0000001), "52.520008, 0.000000"),
        (
            Position(T0, latitude_deg=-33.9, longitude_deg=151.2, distance_m=7.0),
            "-33.900000, 151.200000",
        ),
        (Position(T0, xyz_m=(1.0, 2.0, 3.0), distance_m=12.34), "distance 12.3 m"),
        (Position(T0, xyz_m=(1.04, -0.01, 3.0)), "x 1.0 y 0.0 z 3.0 m"),
    ],
)
def test_a_position_in_a_few_words(position: Position | None, text: str) -> None:
    assert describe_position(position) == text

"""The robot's position at a moment, between the samples of odometry, GNSS and range around it.

Thread-safe: one thread adds samples, others locate frames.
"""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError
from edgecrack.runtime.frame import Position
from edgecrack.runtime.position.series import REORDER_NS, PositionSample, Row, Series

MAX_GAP_MS = 500.0
MAX_GNSS_GAP_MS = 1_500.0
CAPACITY = 120_000  # ten minutes at 200 Hz
ODOMETRY_DEAD_BAND_M = 0.01
GNSS_DEAD_BAND_M = 2.0
LARGEST_M = 1e7
ALTITUDES_M = (-12_000.0, 100_000.0)
SHORTEST_RANGE_M, LONGEST_RANGE_M = 0.001, 10_000.0
EARTH_RADIUS_M = 6_371_008.8  # mean radius; the ellipsoid differs by 0.5 % at most
_TIMES_NS = (0, 2**63 - 1)
_PARALLEL = 0.9995
_OPPOSITE = 1e-9

Quaternion = tuple[float, float, float, float]


class StrangeTimeError(ValueError):
    """A sample's time is one that no frame can have.

    Attributes:
        ahead_s: seconds after the present or, below 0, before it.
    """

    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s
        super().__init__(f"a time {abs(ahead_s):.0f} s {'after' if ahead_s > 0 else 'before'} now")


class _Around(NamedTuple):
    """The samples to mix: `share` of the second, and the time to the nearer one."""

    first: PositionSample
    second: PositionSample
    share: float
    gap_ns: int

    def mix(self, column: int) -> float:
        return _mix(self.first.values[column], self.second.values[column], self.share)

    @property
    def distance_m(self) -> float:
        return _mix(self.first.distance_m, self.second.distance_m, self.share)


class PositionTrack(Closeable):
    """Samples of the robot's position.

    A moment has a position if its nearest sample is at most the largest gap away: interpolated
    between two samples that are at most twice that apart; otherwise, and before the first and after
    the last, the nearest sample as it is. Nothing is extrapolated.

    The distance driven is that of the odometry, without steps of less than 1 cm; without any
    odometry it is roughly that of the GNSS, without steps of less than 2 m.

    Args:
        max_gap_ms: largest gap to a sample of odometry or range.
        max_gnss_gap_ms: largest gap to a fix; receivers give one to ten a second.
        capacity: samples kept of each kind; the oldest go.

    Raises:
        ConfigError: a gap or the capacity is out of range.
    """

    def __init__(
        self,
        max_gap_ms: float = MAX_GAP_MS,
        max_gnss_gap_ms: float = MAX_GNSS_GAP_MS,
        capacity: int = CAPACITY,
    ) -> None:
        for name, value in (("position", max_gap_ms), ("GNSS", max_gnss_gap_ms)):
            if not 0 < value <= 60_000:
                raise ConfigError(
                    f"the largest gap of the {name} is {value} ms", "give more than 0, up to 60000"
                )
        if capacity < 2:
            raise ConfigError(f"the track holds {capacity} samples", "give 2 or more")
        self._lock = threading.Lock()
        self._max_gap_ns, self._max_gnss_gap_ns = int(max_gap_ms * 1e6), int(max_gnss_gap_ms * 1e6)
        self._poses = Series(7, capacity, math.dist, ODOMETRY_DEAD_BAND_M)
        self._fixes = Series(3, capacity, earth_distance_m, GNSS_DEAD_BAND_M)
        self._ranges = Series(3, capacity, math.dist, ODOMETRY_DEAD_BAND_M)

    def add(
        self,
        time_ns: int,
        *,
        xyz_m: tuple[float, float, float] | None = None,
        quaternion_xyzw: Quaternion | None = None,
        fix: tuple[float, float, float | None] | None = None,
        range_m: float | None = None,
        range_deviation_m: float | None = None,
        now_ns: int | None = None,
        oldest_ns: int | None = None,
    ) -> bool:
        """Take a sample: all of it, or nothing.

        Args:
            time_ns: wall clock.
            xyz_m: position in the odometry's frame, each up to 10,000 km.
            quaternion_xyzw: orientation in that frame, of any length but 0; goes with `xyz_m`.
            fix: latitude (-90 to 90) and longitude (-180 to 180) in degrees, and altitude above
                the ellipsoid in metres, if known.
            range_m: from the camera to the surface, 1 mm to 10 km.
            range_deviation_m: standard uncertainty of the range, if known; goes with `range_m`.
            now_ns: the present on the clock of the frames, where they are live: a sample more than
                two seconds later is refused, before it makes all others look late.
            oldest_ns: with `now_ns`, how much older than that a sample may be. The clock of the
                samples is then that of the frames, and late ones in a row do not mean that it was
                set back.

        Returns:
            False where it came more than two seconds after newer ones and was left out.

        Raises:
            StrangeTimeError: the time is too far from `now_ns`.
            ValueError: a number is not finite or out of range; the message says which.
        """
        _check("the time in ns", time_ns, *_TIMES_NS)
        latest_ns = None if now_ns is None else now_ns + REORDER_NS
        if now_ns is not None:
            _check_time(time_ns, now_ns, oldest_ns)
        rows = (
            (self._poses, None if xyz_m is None else _pose_row(xyz_m, quaternion_xyzw)),
            (self._fixes, None if fix is None else _fix_row(fix)),
            (self._ranges, None if range_m is None else _range_row(range_m, range_deviation_m)),
        )
        with self._lock:
            taken = [
                series.add(time_ns, row, latest_ns, follows_late_samples=oldest_ns is None)
                for series, row in rows
                if row is not None
            ]
        return all(taken)

    def close(self) -> None:
        """Nothing is open; a source of positions can be closed."""

    def __len__(self) -> int:
        with self._lock:
            return len(self._poses) + len(self._fixes) + len(self._ranges)

    def locate(self, time_ns: int) -> Position | None:
        """The robot's position; None if no sample is near enough. Never waits for samples.

        Args:
            time_ns: wall clock.
        """
        with self._lock:
            pose = _around(self._poses, time_ns, self._max_gap_ns)
            fix = _around(self._fixes, time_ns, self._max_gnss_gap_ns)
            reach = _around(self._ranges, time_ns, self._max_gap_ns)
            has_odometry = len(self._poses) > 0
        found = [around for around in (pose, fix, reach) if around is not None]
        if not found:
            return None
        driven = pose if has_odometry else fix
        latitude, longitude, altitude = (None, None, None) if fix is None else _mixed_fix(fix)
        return Position(
            time_ns=time_ns,
            gap_ms=max(around.gap_ns for around in found) / 1e6,
            xyz_m=None if pose is None else (pose.mix(0), pose.mix(1), pose.mix(2)),
            quaternion_xyzw=None if pose is None else _turn(pose),
            latitude_deg=latitude,
            longitude_deg=longitude,
            altitude_m=altitude,
            distance_m=None if driven is None else driven.distance_m,
            range_m=None if reach is None else reach.mix(0),
            # Not smaller between two samples: a sensor's error is much the same in both.
            range_deviation_m=None if reach is None else _known(reach.mix(1)),
        )


def _around(series: Series, time_ns: int, max_gap_ns: int) -> _Around | None:
    before, after = series.around(time_ns)
    if before is not None and after is not None:
        span_ns = after.time_ns - before.time_ns
        since_ns = time_ns - before.time_ns
        if span_ns <= 2 * max_gap_ns:
            share = since_ns / span_ns if span_ns else 0.0
            return _Around(before, after, share, min(since_ns, span_ns - since_ns))
    near = [sample for sample in (before, after) if sample is not None]
    if not near:
        return None
    nearest = min(near, key=lambda sample: abs(sample.time_ns - time_ns))
    gap_ns = abs(nearest.time_ns - time_ns)
    return _Around(nearest, nearest, 0.0, gap_ns) if gap_ns <= max_gap_ns else None


def _mix(first: float, second: float, share: float) -> float:
    return first if first == second else (1 - share) * first + share * second


def _turn(pose: _Around) -> Quaternion | None:
    """The orientation; that of the sample that has one, where only one has."""
    (x1, y1, z1, w1), (x2, y2, z2, w2) = pose.first.values[3:], pose.second.values[3:]
    if math.isnan(w1) or math.isnan(w2):
        known = [q for q in ((x1, y1, z1, w1), (x2, y2, z2, w2)) if not math.isnan(q[3])]
        return known[0] if known else None
    return slerp((x1, y1, z1, w1), (x2, y2, z2, w2), pose.share)


def _mixed_fix(fix: _Around) -> tuple[float, float, float | None]:
    """Latitude, longitude and, if one of the samples has it, altitude."""
    (lat1, lon1, alt1), (lat2, lon2, alt2) = fix.first.values, fix.second.values
    if math.isnan(alt1) or math.isnan(alt2):
        altitude = _known(alt2 if math.isnan(alt1) else alt1)
    else:
        altitude = fix.mix(2)
    return *between_on_earth((lat1, lon1), (lat2, lon2), fix.share), altitude


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _pose_row(xyz_m: tuple[float, float, float], quaternion_xyzw: Quaternion | None) -> Row:
    for name, value in zip("xyz", xyz_m, strict=True):
        _check(name, value, -LARGEST_M, LARGEST_M)
    if quaternion_xyzw is None:
        return (*xyz_m, math.nan, math.nan, math.nan, math.nan)
    for name, value in zip(("qx", "qy", "qz", "qw"), quaternion_xyzw, strict=True):
        _check(name, value, -1e3, 1e3)
    return (*xyz_m, *unit(*quaternion_xyzw))


def _fix_row(fix: tuple[float, float, float | None]) -> Row:
    latitude, longitude, altitude = fix
    _check("latitude", latitude, -90, 90)
    _check("longitude", longitude, -180, 180)
    if altitude is None:
        return latitude, longitude, math.nan
    _check("altitude", altitude, *ALTITUDES_M)
    return latitude, longitude, altitude


def _range_row(range_m: float, deviation_m: float | None) -> Row:
    _check("range", range_m, SHORTEST_RANGE_M, LONGEST_RANGE_M)
    if deviation_m is None:
        return range_m, math.nan, 0.0
    _check("the range's uncertainty", deviation_m, 0.0, range_m)
    return range_m, deviation_m, 0.0


def _check_time(time_ns: int, now_ns: int, oldest_ns: int | None) -> None:
    too_old = oldest_ns is not None and time_ns < now_ns - oldest_ns
    if time_ns > now_ns + REORDER_NS or too_old:
        raise StrangeTimeError((time_ns - now_ns) / 1e9)


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    # Not a number fails both comparisons.
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}")


def earth_distance_m(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Great-circle distance between two places, by the haversine formula.

    Args:
        first: latitude and longitude in degrees; further numbers are ignored.
        second: as `first`.
    """
    latitude_1, latitude_2 = math.radians(first[0]), math.radians(second[0])
    longitude = math.radians(second[1] - first[1])
    haversine = (
        math.sin((latitude_2 - latitude_1) / 2) ** 2
        + math.cos(latitude_1) * math.cos(latitude_2) * math.sin(longitude / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(haversine)))


def between_on_earth(
    first: tuple[float, float], second: tuple[float, float], share: float
) -> tuple[float, float]:
    """Latitude and longitude in degrees on the shortest way from one place to another.

    Computed with unit vectors, so the date line and the poles need no special case. Over the few
    metres between two fixes this is linear in both angles.

    Args:
        first: latitude and longitude in degrees.
        second: as `first`. Of places opposite each other on the earth, the nearer is returned.
        share: 0 returns `first`, 1 returns `second`.
    """
    if share <= 0 or first == second:
        return first
    if share >= 1:
        return second
    start, end = _to_vector(first), _to_vector(second)
    x, y, z = (a + share * (b - a) for a, b in zip(start, end, strict=True))
    if x * x + y * y + z * z < _OPPOSITE:
        return first if share < 0.5 else second
    latitude = math.degrees(math.atan2(z, math.hypot(x, y)))
    return latitude, math.degrees(math.atan2(y, x))


def slerp(first: Quaternion, second: Quaternion, share: float) -> Quaternion:
    """Spherical linear interpolation between two orientations, the shorter way round.

    Args:
        first: x, y, z, w of length 1.
        second: as `first`.
        share: 0 returns `first`, 1 returns `second`, up to the sign.
    """
    cosine = sum(a * b for a, b in zip(first, second, strict=True))
    sign = -1.0 if cosine < 0 else 1.0  # q and -q are one orientation
    cosine = abs(cosine)
    if cosine > _PARALLEL:  # the sine below would be too small; here the chord equals the arc
        weights = (1 - share, share)
    else:
        angle = math.acos(cosine)
        weights = (
            math.sin((1 - share) * angle) / math.sin(angle),
            math.sin(share * angle) / math.sin(angle),
        )
    mixed = [weights[0] * a + sign * weights[1] * b for a, b in zip(first, second, strict=True)]
    return unit(mixed[0], mixed[1], mixed[2], mixed[3])


def unit(x: float, y: float, z: float, w: float) -> Quaternion:
    """A quaternion scaled to length 1.

    Raises:
        ValueError: it has no direction.
    """
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not length > 1e-6:
        raise ValueError("the quaternion is zero")
    return x / length, y / length, z / length, w / length


def _to_vector(place: tuple[float, float]) -> tuple[float, float, float]:
    latitude, longitude = math.radians(place[0]), math.radians(place[1])
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )

"""Between two places and two orientations: distances on the earth, and what lies in between.

Pure functions of a few numbers. Knows no times and no samples.
"""

from __future__ import annotations

import math

EARTH_RADIUS_M = 6_371_008.8  # mean radius; the ellipsoid differs by 0.5 % at most

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

_PARALLEL = 0.9995
_OPPOSITE = 1e-9


def earth_distance_m(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Great-circle distance of two places, by the haversine formula.

    Args:
        first: latitude and longitude in degrees; more numbers are left out.
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

    Goes through unit vectors, so the date line and the poles are places like any other. On the
    few metres between two fixes this is linear in both angles.

    Args:
        first: latitude and longitude in degrees.
        second: as `first`. Opposite each other on the earth, the nearer of both is returned.
        share: 0 gives `first`, 1 gives `second`.
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
    """The orientation between two, turning at an even rate the shorter way round.

    Args:
        first: x, y, z, w of length 1.
        second: as `first`.
        share: 0 gives `first`, 1 gives `second`, up to the sign.
    """
    cosine = sum(a * b for a, b in zip(first, second, strict=True))
    sign = -1.0 if cosine < 0 else 1.0  # q and -q are one orientation
    cosine = abs(cosine)
    if cosine > _PARALLEL:  # the sine below would be lost; here the chord is the arc
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
    """A quaternion brought to length 1.

    Raises:
        ValueError: it has no direction.
    """
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not length > 1e-6:
        raise ValueError("the quaternion is zero")
    return x / length, y / length, z / length, w / length


def _to_vector(place: tuple[float, float]) -> Vector:
    latitude, longitude = math.radians(place[0]), math.radians(place[1])
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )

"""Places sheets in space, by the robot's positions or by surveyed markers.

The robot's position is that of its base. The camera's mount and the robot's orientation convert it
to the camera's position; a range converts that to the point on the wall in the frame's centre.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.outside_text import is_number, read_yaml
from edgecrack.run_survey.camera_mount import Mount, rotation_of
from edgecrack.run_survey.kept_lines import KeptFrames
from edgecrack.runtime.frame import Position
from edgecrack.scale.markers import MARKER_FAMILIES, find_markers
from edgecrack.survey.plane_geometry import moved
from edgecrack.survey.sheet_place import SheetPlace, fit_place
from edgecrack.survey.sheets import Sheet, Sheets

_EARTH_RADIUS_M, _EARTH_FLATTENING = 6_378_137.0, 1 / 298.257223563
_MOST_MARKERS, _MOST_M = 10_000, 1e7


@dataclass(frozen=True)
class KnownMarkers:
    """Markers with known positions.

    Attributes:
        family: as for `find_markers`.
        places_m: centre of each marker in metres, by marker number.
    """

    family: str
    places_m: Mapping[int, tuple[float, float, float]]


def read_markers(path: Path) -> KnownMarkers:
    """Read a file of known markers.

        family: apriltag
        markers:
          7: [1.20, 0.00, 2.45]
          9: [4.80, 0.00, 2.40]

    Raises:
        ConfigError: the file cannot be read or is invalid.
    """
    example = "see docs/survey.md for an example"
    try:
        document = read_yaml(path)
    except OSError as error:
        raise ConfigError(
            f"cannot read the markers {path}: {error.strerror}", "check the path"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}", example) from error
    if not isinstance(document, dict) or not isinstance(document.get("markers"), dict):
        raise ConfigError(f"{path} lists no markers", example)
    family = document.get("family", "aruco")
    if family not in MARKER_FAMILIES:
        raise ConfigError(
            f"{path} has the marker family {family!r}", f"use one of {', '.join(MARKER_FAMILIES)}"
        )
    places = {}
    if len(document["markers"]) > _MOST_MARKERS:
        raise ConfigError(f"{path} has more than {_MOST_MARKERS} markers", "leave some out")
    for number, place in document["markers"].items():
        is_place = (
            is_number(number)
            and isinstance(number, int)
            and number >= 0
            and isinstance(place, list)
            and len(place) == 3
            and all(is_number(each) and abs(each) < _MOST_M for each in place)
        )
        if not is_place:
            raise ConfigError(
                f"{path} has marker {number!r} at {place!r}", "give its x, y and z in metres"
            )
        x, y, z = map(float, place)
        places[number] = (x, y, z)
    return KnownMarkers(family, places)


@dataclass(frozen=True, eq=False)
class PlacedSheet:
    """A sheet in space.

    Attributes:
        by: "markers", "odometry" or "gnss".
        place: of the sheet, in metres, in the frame of the markers or of the odometry, or east,
            north and up of `origin_deg`.
        of_camera: whether this is the camera's path instead of the wall, because the distance to
            the wall is unknown.
        origin_deg: latitude, longitude and altitude of the origin; None unless by GNSS.
        markers: numbers of the known markers in view.
    """

    by: str
    place: SheetPlace
    of_camera: bool
    origin_deg: tuple[float, float, float] | None = None
    markers: tuple[int, ...] = field(default=())

    def of(self, point: NDArray[np.float64]) -> dict[str, Any]:
        """Map a point of the sheet, float [2], into space, as JSON values."""
        x, y, z = self.place.of(point[None])[0].tolist()
        found: dict[str, Any] = {
            "by": self.by,
            "xyz_m": [round(each, 4) for each in (x, y, z)],
            "spread_m": round(self.place.spread_m, 4),
            "of_camera": self.of_camera,
            "along_only": self.place.along_only,
        }
        if self.origin_deg is not None:
            latitude, longitude, altitude = from_local((x, y, z), self.origin_deg)
            found |= {
                "latitude_deg": round(latitude, 8),
                "longitude_deg": round(longitude, 8),
                "altitude_m": round(altitude, 3),
            }
        return found


def place_sheet(
    kept: KeptFrames,
    sheets: Sheets,
    sheet: Sheet,
    gray_of: Callable[[int], NDArray[np.uint8] | None],
    mount: Mount | None = None,
    markers: KnownMarkers | None = None,
) -> PlacedSheet | None:
    """Place a sheet by three or more known markers in view, else by the robot's positions.

    Args:
        kept: the run.
        sheets: of the run.
        sheet: one of them.
        gray_of: returns a key frame's picture by frame number; None if it is lost.
        mount: the camera's pose on the robot; None puts it at the robot's base.
        markers: known markers.
    """
    if markers is not None:
        points, places, numbers = _seen_markers(sheets, sheet, gray_of, markers)
        place = fit_place(points, places)
        if place is not None:
            return PlacedSheet("markers", place, of_camera=False, markers=numbers)
    known = [
        (frame, position)
        for frame in sheet.frames
        if frame in kept.sightings and (position := kept.sightings[frame].position) is not None
    ]
    for by, to_xyz, origin in _ways_to_tell(known):
        chosen = [(frame, one, xyz) for frame, one in known if (xyz := to_xyz(one)) is not None]
        middles = np.array([_middle(sheets, frame) for frame, _, _ in chosen]).reshape(-1, 2)
        at_wall = bool(chosen) and all(
            one.range_m is not None and one.quaternion_xyzw is not None for _, one, _ in chosen
        )
        places = np.array(
            [_looked_at(one, xyz, mount, at_wall=at_wall) for _, one, xyz in chosen]
        ).reshape(-1, 3)
        place = fit_place(middles, places)
        if place is not None:
            return PlacedSheet(by, place, not at_wall, origin)
    return None


def _middle(sheets: Sheets, frame: int) -> NDArray[np.float64]:
    placement = sheets.placements[frame]
    height, width = placement.hw
    return np.asarray(moved(np.array([[width / 2, height / 2]]), placement.homography)[0])


def _ways_to_tell(
    known: list[tuple[int, Position]],
) -> list[tuple[str, Callable[[Position], Any], tuple[float, float, float] | None]]:
    """Odometry first, as it is more precise; then GNSS, in metres from its first position."""
    ways: list[tuple[str, Callable[[Position], Any], tuple[float, float, float] | None]] = [
        ("odometry", lambda one: one.xyz_m, None)
    ]
    for _, one in known:
        if one.latitude_deg is not None and one.longitude_deg is not None:
            origin = one.latitude_deg, one.longitude_deg, one.altitude_m or 0.0
            ways.append(("gnss", partial(_to_local, origin=origin), origin))
            break
    return ways


def _looked_at(
    position: Position, xyz: tuple[float, float, float], mount: Mount | None, *, at_wall: bool
) -> NDArray[np.float64]:
    """Position of the camera, or of the point on the wall in the centre of its view."""
    place = np.array(xyz, np.float64)
    if position.quaternion_xyzw is None:
        return place
    turn = rotation_of(position.quaternion_xyzw)
    camera = np.eye(3) if mount is None else mount.rotation
    if mount is not None:
        place = place + turn @ np.array(mount.xyz_m)
    if at_wall and position.range_m is not None:
        place = place + turn @ camera @ np.array([position.range_m, 0.0, 0.0])
    return np.asarray(place, np.float64)


def _seen_markers(
    sheets: Sheets,
    sheet: Sheet,
    gray_of: Callable[[int], NDArray[np.uint8] | None],
    known: KnownMarkers,
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, ...]]:
    """Centres of known markers on the sheet and in space, and their numbers."""
    points, places, numbers = [], [], set()
    for frame in sheet.key_frames:
        gray = gray_of(frame)
        if gray is None:
            continue
        for marker in find_markers(gray, known.family):
            if marker.number in known.places_m:
                # Seen at an angle, a square's diagonals still cross in its centre.
                middle = _crossing(np.asarray(marker.corners))
                points.append(moved(middle[None], sheets.placements[frame].homography)[0])
                places.append(known.places_m[marker.number])
                numbers.add(marker.number)
    return (
        np.array(points).reshape(-1, 2),
        np.array(places, np.float64).reshape(-1, 3),
        tuple(sorted(numbers)),
    )


def _crossing(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = corners[2] - corners[0], corners[3] - corners[1]
    matrix = np.stack([first, -second], axis=1)
    along = np.linalg.solve(matrix, corners[1] - corners[0])[0]
    return np.asarray(corners[0] + along * first, np.float64)


def _radii_m(latitude_deg: float) -> tuple[float, float]:
    """The ellipsoid's radii of curvature, along the meridian and across it."""
    squared = _EARTH_FLATTENING * (2 - _EARTH_FLATTENING)
    slant = 1 - squared * math.sin(math.radians(latitude_deg)) ** 2
    return _EARTH_RADIUS_M * (1 - squared) / slant**1.5, _EARTH_RADIUS_M / math.sqrt(slant)


def _to_local(
    position: Position, origin: tuple[float, float, float]
) -> tuple[float, float, float] | None:
    """Metres east, north and up of a nearby origin."""
    if position.latitude_deg is None or position.longitude_deg is None:
        return None
    along, across = _radii_m(origin[0])
    east = math.radians(position.longitude_deg - origin[1]) * across
    return (
        east * math.cos(math.radians(origin[0])),
        math.radians(position.latitude_deg - origin[0]) * along,
        (position.altitude_m or 0.0) - origin[2],
    )


def from_local(
    xyz: tuple[float, float, float], origin: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Latitude, longitude and altitude of a point in metres east, north and up of an origin."""
    along, across = _radii_m(origin[0])
    east, north, up = xyz
    return (
        origin[0] + math.degrees(north / along),
        origin[1] + math.degrees(east / (across * math.cos(math.radians(origin[0])))),
        origin[2] + up,
    )

"""Scale from square markers of known size: ArUco and AprilTag, detected by OpenCV."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement.bars import GAMMA
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.quantity import Quantity, parse_length_mm
from edgecrack.scale.scale import (
    JoinedScale,
    LocalScale,
    ModelledScale,
    Points,
    Scale,
    UnknownLens,
    WallMap,
)

_FAMILIES = {
    "aruco": ("4X4_1000", "5X5_1000", "6X6_1000", "7X7_1000", "ARUCO_ORIGINAL"),
    "aruco-4x4": ("4X4_1000",),
    "aruco-5x5": ("5X5_1000",),
    "aruco-6x6": ("6X6_1000",),
    "aruco-7x7": ("7X7_1000",),
    "apriltag": ("APRILTAG_36h11", "APRILTAG_25h9", "APRILTAG_16h5"),
    "apriltag-36h11": ("APRILTAG_36h11",),
    "apriltag-25h9": ("APRILTAG_25h9",),
    "apriltag-16h5": ("APRILTAG_16h5",),
}
MARKER_FAMILIES = tuple(_FAMILIES)
_EXAMPLE = (
    "give the kind and the side of the black square, such as aruco:50mm or apriltag:50+-0.2mm"
)
# Standard uncertainty of a corner in pixels, and the largest shift from OpenCV's corner.
_CORNER_PX = 0.15
_MOST_MOVED_PX = 3.0
# The markers on the check sheet (edgecrack target), whose size is fixed.
SHEET_FAMILY, SHEET_NUMBERS, SHEET_SIDE_MM = "4X4", range(44, 50), 30.0
_LEAST_SIDE_PX = 20.0
# Shortest over longest side as the camera sees it: a square seen at 65 degrees.
_LEAST_SQUARENESS = 0.42
_DISAGREE = 4.0  # standard uncertainties, and
_LEAST_DISAGREEMENT = 0.03
# Error of printers and rulers, used when the user states no uncertainty for the side.
_SIDE_SHARE = 0.005
_SIZE = "marker size"
# Lens distortion also makes a small marker look tilted: twice the effect on a uniform scale.
_LENS_SHARE = 0.24


@dataclass(frozen=True)
class MarkerKind:
    """The marker kind and size.

    Attributes:
        family: a key of `_FAMILIES`.
        side_mm: side of the black square.
    """

    family: str
    side_mm: Quantity


@dataclass(frozen=True, eq=False)
class Marker:
    """A marker in an image.

    Attributes:
        dictionary: OpenCV dictionary.
        number: marker number.
        corners: float64 [4, 2], clockwise from its upper left; the centre of the first image pixel
            is (0.5, 0.5).
    """

    dictionary: str
    number: int
    corners: Points

    @property
    def side_px(self) -> float:
        """Mean side length."""
        return float(np.hypot(*(self.corners - np.roll(self.corners, 1, axis=0)).T).mean())


def parse_marker(text: str) -> MarkerKind:
    """Parse the value of `--marker`.

        >>> parse_marker("aruco:50mm")
        MarkerKind(family='aruco', side_mm=Quantity(value=50.0, deviation=0.25))

    Raises:
        ConfigError: the value is not a marker kind and size.
    """
    family, colon, size = text.partition(":")
    family = family.strip().lower()
    if family not in _FAMILIES or not colon:
        raise ConfigError(f"the marker is {text!r}", f"{_EXAMPLE}; kinds: {', '.join(_FAMILIES)}")
    side = parse_length_mm(size, "the marker's side", most=10_000)
    if side.deviation is None:
        side = Quantity(side.value, _SIDE_SHARE * side.value)
    return MarkerKind(family, side)


def find_markers(image: NDArray[np.uint8], family: str) -> list[Marker]:
    """Find all markers of a family in an image.

    Args:
        image: uint8 [H, W] or [H, W, 3] in BGR order.
        family: a key of `_FAMILIES`; of several dictionaries, the one with most markers is used.

    Raises:
        ConfigError: this OpenCV cannot find markers.
    """
    if not hasattr(cv2, "aruco") or not hasattr(cv2.aruco, "ArucoDetector"):
        raise ConfigError(
            f"OpenCV {cv2.__version__} on this machine cannot find markers",
            "install opencv-python-headless 4.7 or later, or give the scale in another way",
        )
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    best: list[Marker] = []
    for name in _FAMILIES[family]:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{name}"))
        settings = cv2.aruco.DetectorParameters()
        settings.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        corners, numbers, _ = cv2.aruco.ArucoDetector(dictionary, settings).detectMarkers(gray)
        if numbers is None or len(numbers) <= len(best):
            continue
        best = [
            Marker(name, int(number), np.asarray(corner, np.float64).reshape(4, 2) + 0.5)
            for corner, number in zip(corners, np.ravel(numbers), strict=True)
        ]
    light = np.asarray((np.asarray(gray, np.float64) / 255) ** GAMMA, np.float32)
    exact = [(marker, _refined(light, marker.corners)) for marker in best]
    clear = [replace(marker, corners=found) for marker, found in exact if found is not None]
    return sorted(clear, key=lambda marker: -marker.side_px)


def _refined(light: NDArray[np.float32], corners: Points) -> Points | None:
    """Refine corners as intersections of the four sides, each fitted at half the light level.

    Blurred corners are round, and in grey values, which are not linear light, the black square
    looks up to two pixels too small.

    Args:
        light: float32 [H, W], linear.
        corners: float64 [4, 2], within a pixel or two.

    Returns:
        None if a side is unclear: it is not a marker, or has a different border.
    """
    lines = []
    for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = second - first
        length = float(np.hypot(*along))
        outward = np.array([along[1], -along[0]]) / max(length, 1e-9)
        # Stay away from the corners, and within the white and the black border.
        places = first + np.linspace(0.15, 0.85, max(8, int(length / 2)))[:, None] * along
        reach = min(max(length / 9, 2.0), 8.0)
        steps = np.arange(-reach, reach + 0.25, 0.25)
        at = places[:, None] + steps[None, :, None] * outward - 0.5
        profiles = cv2.remap(
            light, at[..., 0].astype(np.float32), at[..., 1].astype(np.float32),
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        crossings = _half_light(np.asarray(profiles, np.float64), steps)
        known = np.isfinite(crossings)
        if np.count_nonzero(known) < max(4, len(places) // 2):
            return None
        edge = places[known] + crossings[known, None] * outward
        lines.append(cv2.fitLine(edge.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01).ravel())
    refined = np.array([_meet(lines[side - 1], lines[side]) for side in range(4)])
    moved = np.hypot(*(refined - corners).T)
    return (
        refined if np.isfinite(refined).all() and float(moved.max()) < _MOST_MOVED_PX else corners
    )


def _half_light(profiles: Points, steps: Points) -> Points:
    """Where each profile [N, n] crosses midway between its dark and bright end; NaN if unclear."""
    quarter = max(1, profiles.shape[1] // 4)
    dark, bright = (
        np.median(part, axis=1) for part in (profiles[:, :quarter], profiles[:, -quarter:])
    )
    above = profiles > ((dark + bright) / 2)[:, None]
    rising = ~above[:, :-1] & above[:, 1:]
    single = (rising.sum(axis=1) == 1) & (bright > 1.5 * dark + 0.01)
    at = rising.argmax(axis=1)
    rows = np.arange(len(profiles))
    low, high = profiles[rows, at], profiles[rows, at + 1]
    share = ((dark + bright) / 2 - low) / np.maximum(high - low, 1e-9)
    return np.where(single, steps[at] + share * (steps[1] - steps[0]), np.nan)


def _meet(first: Any, second: Any) -> Points:
    """Intersection of two lines, each a direction and a point."""
    matrix = np.stack([first[:2], -second[:2]], axis=1).astype(np.float64)
    if abs(np.linalg.det(matrix)) < 1e-6:
        return np.full(2, np.nan)
    share = np.linalg.solve(matrix, (second[2:] - first[2:]).astype(np.float64))[0]
    return np.asarray(first[2:] + share * first[:2], np.float64)


def marker_scale(
    image: NDArray[np.uint8], kind: MarkerKind, camera: CameraFile | None = None
) -> Scale:
    """The scale of the plane that the markers are on.

    Args:
        image: uint8 [H, W] or [H, W, 3] in BGR order.
        kind: the marker to find.
        camera: removes lens distortion, at the size of the image; if None, the scale is less
            certain far from the marker.

    Raises:
        ConfigError: no marker is found, it is too small or seen too obliquely, or two contradict
            each other.
    """
    found = [
        marker
        for marker in find_markers(image, kind.family)
        if not (_is_of_sheet(marker) and abs(kind.side_mm.value - SHEET_SIDE_MM) > 1)
    ]
    if not found:
        raise ConfigError(
            f"no {kind.family} marker was found",
            "put one flat on the wall, in focus, 20 px or more wide, with its white border",
        )
    problems = [_problem(marker, camera) for marker in found]
    usable = [marker for marker, problem in zip(found, problems, strict=True) if not problem]
    if not usable:
        raise ConfigError(problems[0], "move closer, or point the camera more squarely at the wall")
    scales = [_scale_of(marker, kind.side_mm, camera, image.shape[:2]) for marker in usable]
    _check_agreement(usable, scales)
    return (
        scales[0] if len(scales) == 1 else JoinedScale(scales, frozenset({_SIZE, "unknown lens"}))
    )


def _is_of_sheet(marker: Marker) -> bool:
    return marker.dictionary.startswith(SHEET_FAMILY) and marker.number in SHEET_NUMBERS


def is_by_sheet(scale: Scale) -> bool:
    """Whether a scale comes from the markers on the check sheet."""
    parts = scale.parts if isinstance(scale, JoinedScale) else [scale]
    facts = [part.facts for part in parts if isinstance(part, _MarkerScale)]
    return any(
        str(each.get("dictionary")).startswith(SHEET_FAMILY) and each.get("number") in SHEET_NUMBERS
        for each in facts
    )


def _problem(marker: Marker, camera: CameraFile | None) -> str:
    if marker.side_px < _LEAST_SIDE_PX:
        return f"marker {marker.number} is only {marker.side_px:.0f} px wide"
    squareness = _squareness(_flat(marker.corners, camera))
    if squareness < _LEAST_SQUARENESS:
        angle = math.degrees(math.acos(squareness))
        return f"marker {marker.number} is seen too obliquely, at {angle:.0f} degrees"
    return ""


def _squareness(corners: Points) -> float:
    """Ratio of the shorter to the longer dimension of the square."""
    first, second = (
        corners[1] - corners[0] + corners[2] - corners[3],
        (corners[3] - corners[0] + corners[2] - corners[1]),
    )
    singular = np.linalg.svd(np.stack([first, second]), compute_uv=False)
    return float(singular[1] / max(singular[0], 1e-12))


def _flat(points: Points, camera: CameraFile | None) -> Points:
    """Undistorted rays; pixels without a camera."""
    return points if camera is None else camera.rays(points)


def _scale_of(
    marker: Marker, side_mm: Quantity, camera: CameraFile | None, hw: tuple[int, ...]
) -> ModelledScale:
    """Scale from the four corners of one marker."""
    names = [f"corner {index // 2} {'xy'[index % 2]}" for index in range(8)]
    quantities = {_SIZE: side_mm} | {name: Quantity(0.0, _CORNER_PX) for name in names}

    def wall(values: Mapping[str, float]) -> list[WallMap]:
        moved = marker.corners + np.array([values[name] for name in names]).reshape(4, 2)
        half = values[_SIZE] / 2
        square = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
        seen = _flat(moved, camera)
        # Centred and of size 1, or the system is badly conditioned.
        middle, size = seen.mean(axis=0), float(np.ptp(seen)) or 1.0
        normal = ((seen - middle) / size).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(normal, square.astype(np.float32))

        def to_wall(points: Points) -> Points:
            flat = (_flat(points, camera) - middle) / size
            lifted = np.concatenate([flat, np.ones((len(flat), 1))], axis=1) @ matrix.T
            return np.asarray(lifted[:, :2] / lifted[:, 2:], np.float64)

        return [to_wall]

    facts: dict[str, Any] = {
        "dictionary": marker.dictionary,
        "number": marker.number,
        "corners": marker.corners.round(2).tolist(),
        "undistorted": camera is not None,
    }
    x, y = marker.corners.mean(axis=0).tolist()
    lens = None if camera is not None else UnknownLens((hw[0], hw[1]), (x, y), _LENS_SHARE)
    return _MarkerScale("marker", quantities, wall, facts=facts, lens=lens)


@dataclass(frozen=True)
class _MarkerScale(ModelledScale):
    """Combines the eight corner coordinates into one uncertainty term."""

    def local(
        self, points_px: ArrayLike, directions: ArrayLike, *, across: bool = False
    ) -> LocalScale:
        """See `Scale`."""
        found = super().local(points_px, directions, across=across)
        corners = [term for name, term in found.terms.items() if name.startswith("corner")]
        terms = {name: term for name, term in found.terms.items() if name not in self._corners}
        terms["marker corners"] = np.sqrt(np.square(corners).sum(axis=0))
        return LocalScale(found.mm_per_px, terms, found.is_stated)

    @property
    def _corners(self) -> set[str]:
        return {name for name in self.quantities if name.startswith("corner")}

    def to_dict(self) -> dict[str, Any]:
        """See `Scale`."""
        found = super().to_dict()
        found["quantities"] = {_SIZE: found["quantities"][_SIZE]}
        return found


def _check_agreement(markers: list[Marker], scales: list[ModelledScale]) -> None:
    """Refuse markers whose scale contradicts that of the largest marker.

    Scales are compared at the smaller marker, where the uncertainty of the other includes
    extrapolation.
    """
    for marker, scale in zip(markers[1:], scales[1:], strict=True):
        at = [marker.corners.mean(axis=0)] * 2
        along = [[1.0, 0.0], [0.0, 1.0]]
        here, other = scale.local(at, along), scales[0].local(at, along)
        apart = np.abs(np.log(here.mm_per_px / other.mm_per_px))
        own = [
            np.sqrt(np.square([t for n, t in one.terms.items() if n != _SIZE]).sum(axis=0))
            for one in (here, other)
        ]
        allowed = np.maximum(_DISAGREE * np.hypot(*own), _LEAST_DISAGREEMENT)
        if (apart > allowed).any():
            worst = float(np.exp(apart.max()) - 1)
            raise ConfigError(
                f"markers {markers[0].number} and {marker.number} contradict each other by "
                f"{worst:.0%}",
                "put all markers flat on the same wall, all of the given size, or cover all but "
                "one",
            )

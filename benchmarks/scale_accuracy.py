"""Whether true millimetres lie within the stated intervals, by every way of giving the scale.

    python benchmarks/scale_accuracy.py --data DIR [--views 40]

Rough cracks of known width on photos of concrete, seen by a camera with a lens that distorts, at
tilts of 0 to 40 degrees. The program is given a measurement of the truth, not the truth itself:
distance, tilt, focal length and marker size are drawn with the uncertainty that is stated. Prints
a table of docs/measurement.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from benchmarks.rough_cracks import GAMMA, JPEG_QUALITY, Image, textures  # noqa: E402
from edgecrack.errors import ConfigError  # noqa: E402
from edgecrack.measurement.cracks import measure_image  # noqa: E402
from edgecrack.scale.applied import in_millimetres  # noqa: E402
from edgecrack.scale.camera_file import CameraFile  # noqa: E402
from edgecrack.scale.choice import ScaleConfig  # noqa: E402
from edgecrack.scale.markers import MarkerKind  # noqa: E402
from edgecrack.scale.plane import USUAL_TILT  # noqa: E402
from edgecrack.scale.quantity import Quantity  # noqa: E402

Plane = NDArray[np.float64]
WIDTH, HEIGHT = 960, 720
FINER = 3
# Of the wall's drawing.
MM_PER_CELL = 0.08
WALL_MM = (380.0, 380.0)
MARKER_MM = 40.0
CAMERA = CameraFile(
    np.array([[1000.0, 0, 490], [0, 1000.0, 350], [0, 0, 1]]),
    np.array([-0.18, 0.05, 0.0005, -0.0005, 0.0]),
    (WIDTH, HEIGHT),
    focal_deviation=0.002,
)
TILTS_DEG = (0.0, 10.0, 20.0, 30.0, 40.0)


@dataclass(frozen=True)
class View:
    """What the camera sees, and the truth.

    Attributes:
        image: uint8 [H, W].
        inside: float [H, W], share of each pixel that is crack.
        width_mm: mean of the crack in view.
        length_mm: of its middle in view.
        distance_m, tilt_deg, towards_deg: where the camera was.
    """

    image: Image
    inside: Plane
    width_mm: float
    length_mm: float
    distance_m: float
    tilt_deg: float
    towards_deg: float


def wall(rng: np.random.Generator, width_mm: float, texture: Image) -> tuple[Plane, Plane, Plane]:
    """Light of the wall and of the crack's inside [cells], and the crack's middle in mm [N, 2]."""
    cells = tuple(round(side / MM_PER_CELL) for side in WALL_MM)
    along = np.linspace(0, WALL_MM[0], 1200, dtype=np.float64)
    wander = cv2.GaussianBlur(rng.normal(0, 1, (1, 1200)), (0, 0), 60)[0]
    path = (
        WALL_MM[1] / 2
        + wander / wander.std() * 10
        + rng.uniform(-0.25, 0.25) * (along - WALL_MM[0] / 2)
    )
    points = np.stack([along, path], axis=1)
    canvas = np.full(cells, 255, np.uint8)
    scaled = np.round(points / MM_PER_CELL * 16).astype(np.int32)
    cv2.polylines(canvas, [scaled], False, 0, 1, cv2.LINE_8, 4)
    away_mm = cv2.distanceTransform(canvas, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * MM_PER_CELL
    coarse = tuple(side // 4 for side in cells)
    rough = cv2.GaussianBlur(rng.normal(0, 1, coarse).astype(np.float32), (0, 0), 3)
    rough = cv2.resize(rough / rough.std(), cells[::-1], interpolation=cv2.INTER_LINEAR)
    edge_mm = width_mm / 2 + rough * min(0.1 * width_mm, 0.08) - away_mm
    inside = np.clip(edge_mm / MM_PER_CELL + 0.5, 0, 1)
    plain = texture.astype(np.float32)
    texture_only = (plain - cv2.GaussianBlur(plain, (0, 0), 12)) / 255
    uneven = cv2.resize(texture_only, cells[::-1], interpolation=cv2.INTER_LINEAR)
    return 1 + uneven.astype(np.float64) * 0.5, inside.astype(np.float32), points


def _rays() -> Plane:
    """Of the middles of all parts of pixels, float64 [FINER H, FINER W, 2]."""
    # A lens is smooth: one ray per pixel determines those of its parts.
    at = [np.arange(-2.0, side + 3.0) for side in (WIDTH, HEIGHT)]
    points = np.stack(np.meshgrid(*at), axis=-1)
    coarse = CAMERA.rays(points.reshape(-1, 2)).reshape(points.shape).astype(np.float32)
    across, down = (((np.arange(side * FINER) + 0.5) / FINER + 2) for side in (WIDTH, HEIGHT))
    x, y = np.meshgrid(across, down)
    maps = x.astype(np.float32), y.astype(np.float32)
    return np.asarray(cv2.remap(coarse, maps[0], maps[1], cv2.INTER_CUBIC), np.float64)


def axes_of(tilt_deg: float, towards_deg: float) -> tuple[Plane, Plane, Plane]:
    """Normal of the wall and two axes on it."""
    tilt, towards = math.radians(tilt_deg), math.radians(towards_deg)
    lean = math.sin(tilt)
    normal = np.array([-lean * math.cos(towards), -lean * math.sin(towards), math.cos(tilt)])
    first = np.cross([0.0, 1.0, 0.0], normal)
    first /= np.linalg.norm(first)
    return normal, first, np.cross(normal, first)


def render(
    rng: np.random.Generator, rays: Plane, tilt_deg: float, texture: Image, with_marker: bool
) -> View:
    distance_m = float(rng.uniform(0.18, 0.3))
    towards_deg = float(rng.choice([0.0, 90.0, 180.0, 270.0]))
    width_mm = float(rng.uniform(1.5, 6)) * distance_m
    light, inside, points = wall(rng, width_mm, texture)
    if with_marker:
        _paste_marker(light, inside)
    normal, first, second = axes_of(tilt_deg, towards_deg)
    direction = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=2)
    hit = direction * (distance_m * 1000 * normal[2] / (direction @ normal))[..., None]
    hit[..., 2] -= distance_m * 1000
    u, v = (hit @ axis for axis in (first, second))
    middle = np.array(WALL_MM) / 2
    maps = [
        ((part + half) / MM_PER_CELL - 0.5).astype(np.float32)
        for part, half in zip((u, v), middle, strict=True)
    ]
    reflectance = float(rng.uniform(0.05, 0.25))
    # Areas of the wall that a part of a pixel covers are averaged first.
    cell = max(1, round(distance_m * 1000 / 1000 / FINER / MM_PER_CELL))
    seen = cv2.blur((light * (1 - (1 - reflectance) * inside)).astype(np.float32), (cell, cell))
    shares = cv2.blur(inside, (cell, cell))
    # Beyond the wall there is no crack.
    lit, share = (
        cv2.remap(
            each, maps[0], maps[1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=beyond,
        )
        for each, beyond in ((seen, 1.0), (shares, 0.0))
    )  # fmt: skip
    blur_px = float(rng.uniform(0.7, 1.6))
    lit = _reduced(cv2.GaussianBlur(lit, (0, 0), blur_px * FINER))
    level = float(rng.uniform(110, 180))
    coded = level * np.clip(lit, 0, None) ** (1 / GAMMA)
    coded += rng.normal(0, level * (1 - reflectance ** (1 / GAMMA)) / 20, coded.shape)
    stored = cv2.imencode(
        ".jpg", np.clip(np.round(coded), 0, 255).astype(np.uint8),
        [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
    )[1]  # fmt: skip
    image = np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE), np.uint8)
    in_view = _in_view(points - middle, distance_m, normal, first, second)
    steps = np.hypot(*np.diff(points, axis=0).T)
    length_mm = float(steps[in_view[1:] & in_view[:-1]].sum())
    # The mean width in view: of the drawing, along the part of the path that is seen.
    columns = np.round(points[in_view, 0] / MM_PER_CELL).astype(int)
    first_column, last_column = int(columns.min()), int(columns.max())
    area = float(inside[:, first_column:last_column].sum()) * MM_PER_CELL**2
    return View(
        image, _reduced(share), area / max(length_mm, 1.0), length_mm,
        distance_m, tilt_deg, towards_deg,
    )  # fmt: skip


def _paste_marker(light: Plane, inside: Plane) -> None:
    """A marker on white paper below the middle of the wall."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    side = round(MARKER_MM / MM_PER_CELL)
    marker = cv2.aruco.generateImageMarker(dictionary, 7, side)
    white = np.full((round(side * 1.3),) * 2, 1.3, np.float32)
    margin = (len(white) - side) // 2
    white[margin : margin + side, margin : margin + side] = np.where(marker > 0, 1.3, 0.12)
    row = light.shape[0] // 2 + round(28 / MM_PER_CELL)
    column = light.shape[1] // 2 - len(white) // 2
    place = np.s_[row : row + len(white), column : column + len(white)]
    light[place] = white
    inside[place] = 0


def _reduced(plane: NDArray[Any]) -> Plane:
    return np.asarray(plane.reshape(HEIGHT, FINER, WIDTH, FINER).mean(axis=(1, 3)), np.float64)


def _in_view(
    points: Plane, distance_m: float, normal: Plane, first: Plane, second: Plane
) -> NDArray[np.bool_]:
    """Which points of the wall the image shows."""
    places = points[:, :1] * first + points[:, 1:] * second
    places[:, 2] += distance_m * 1000
    seen, _ = cv2.projectPoints(
        places.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), CAMERA.matrix, CAMERA.distortion
    )
    x, y = (seen.reshape(-1, 2) + 0.5).T
    return np.asarray((x > 0) & (x < WIDTH) & (y > 0) & (y < HEIGHT))


def given(rng: np.random.Generator, value: float, deviation: float) -> Quantity:
    """A measurement of a value."""
    return Quantity(float(value + rng.normal(0, deviation)), deviation)


def camera_as_known(rng: np.random.Generator) -> CameraFile:
    """The camera with the error of its calibration."""
    matrix = CAMERA.matrix.copy()
    matrix[:2, :2] *= 1 + rng.normal(0, CAMERA.focal_deviation or 0)
    return CameraFile(
        matrix, CAMERA.distortion, CAMERA.image_size, focal_deviation=CAMERA.focal_deviation
    )


Way = Callable[[np.random.Generator, View], ScaleConfig]


def ways() -> dict[str, tuple[Way, tuple[float, ...], bool]]:
    """How the scale is given, the tilts at which that is meant to hold, and whether by a marker."""

    def figure(rng: np.random.Generator, view: View) -> ScaleConfig:
        scale = view.distance_m * 1000 / CAMERA.matrix[0, 0]
        return ScaleConfig(given(rng, scale, 0.02 * scale))

    def distance(rng: np.random.Generator, view: View) -> ScaleConfig:
        at = given(rng, view.distance_m, 0.01 * view.distance_m)
        return ScaleConfig(camera=camera_as_known(rng), distance_m=at, tilt_deg=USUAL_TILT)

    def tilt(rng: np.random.Generator, view: View) -> ScaleConfig:
        at = given(rng, view.distance_m, 0.01 * view.distance_m)
        return ScaleConfig(
            camera=camera_as_known(rng), distance_m=at, tilt_deg=given(rng, view.tilt_deg, 1.0),
            towards_deg=view.towards_deg,
        )  # fmt: skip

    def tilt_alone(rng: np.random.Generator, view: View) -> ScaleConfig:
        at = given(rng, view.distance_m, 0.01 * view.distance_m)
        return ScaleConfig(
            camera=camera_as_known(rng), distance_m=at, tilt_deg=given(rng, view.tilt_deg, 1.0)
        )

    def marker(rng: np.random.Generator, view: View) -> ScaleConfig:
        side = given(rng, MARKER_MM, 0.005 * MARKER_MM)
        return ScaleConfig(camera=camera_as_known(rng), marker=MarkerKind("aruco-4x4", side))

    def marker_alone(rng: np.random.Generator, view: View) -> ScaleConfig:
        side = given(rng, MARKER_MM, 0.005 * MARKER_MM)
        return ScaleConfig(marker=MarkerKind("aruco-4x4", side))

    return {
        "a figure": (figure, (0.0,), False),
        "camera, distance": (distance, (0.0,), False),
        "camera, distance, tilt and its direction": (tilt, TILTS_DEG, False),
        "camera, distance, tilt": (tilt_alone, (10.0, 20.0, 30.0), False),
        "marker and camera": (marker, TILTS_DEG, True),
        "marker alone": (marker_alone, TILTS_DEG, True),
    }


def measured(rng: np.random.Generator, view: View, way: Way) -> dict[str, float] | None:
    """Of the crack in a view: relative errors, lengths of intervals, and whether these hold."""
    try:
        scale = way(rng, view).of_image(view.image)
    except ConfigError:  # the marker is out of view, or too oblique
        return None
    cracks = measure_image(view.image, view.inside > 0.3)
    if scale is None or not cracks:
        return None
    found = in_millimetres(cracks[0], scale)
    if found.width_mm is None:
        return None
    mean, length = found.width_mm.mean, found.length_mm
    return {
        "width_error": mean.value / view.width_mm - 1,
        "width_interval": (mean.high - mean.low) / view.width_mm,
        "width_holds": float(mean.low <= view.width_mm <= mean.high),
        "length_error": length.value / view.length_mm - 1,
        "length_interval": (length.high - length.low) / view.length_mm,
        "length_holds": float(length.low <= view.length_mm <= length.high),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--views", type=int, default=40, help="of each tilt")
    parser.add_argument("--seed", type=int, default=2031)
    options = parser.parse_args()
    surfaces = textures(options.data)
    rays = _rays()
    found: dict[str, list[dict[str, float] | None]] = {name: [] for name in ways()}
    for with_marker in (False, True):
        for tilt_deg in TILTS_DEG:
            rng = np.random.default_rng((options.seed, int(tilt_deg), with_marker))
            # Some ways are tried at a tilt of 0 alone.
            for _ in range(options.views * (1 if tilt_deg else 3)):
                texture = surfaces[int(rng.integers(len(surfaces)))]
                view = render(rng, rays, tilt_deg, texture, with_marker)
                for name, (way, tilts, by_marker) in ways().items():
                    if by_marker == with_marker and tilt_deg in tilts:
                        found[name].append(measured(rng, view, way))
    table = []
    for name, rows in found.items():
        known = [row for row in rows if row is not None]
        each = {key: np.array([row[key] for row in known]) for key in known[0]}
        table.append(
            {
                "way": name,
                "views": len(rows),
                "measured": len(known),
                **{
                    f"{what}_{figure}_percent": round(100 * float(value), 1)
                    for what in ("width", "length")
                    for figure, value in (
                        ("bias", each[f"{what}_error"].mean()),
                        ("error", np.abs(each[f"{what}_error"]).mean()),
                        ("interval", np.median(each[f"{what}_interval"])),
                        ("holds", each[f"{what}_holds"].mean()),
                    )
                },
            }
        )
        print(table[-1], flush=True)
    write_result(
        "scale_accuracy", {"seed": options.seed, "ways": table}, "numpy", "opencv-python-headless"
    )


if __name__ == "__main__":
    main()

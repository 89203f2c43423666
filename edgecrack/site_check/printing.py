"""The check sheet as a PDF at true size, and as a rendered image of known cracks."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.extras import require
from edgecrack.files import write_atomic
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.plane import plane_scale
from edgecrack.scale.quantity import Quantity
from edgecrack.scale.scale import ModelledScale
from edgecrack.site_check.sheet import (
    PAGE_MM,
    CheckSheet,
    Points,
    SheetText,
    check_sheet,
    rectangle,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_DPI = 300
_DPI = (50, 1200)
_PURPOSE = "the check sheet"
_MM_PER_INCH = 25.4
# Letter curves become line segments; at this size they do not show.
_LETTER_SIZE = 200.0
# Closed rings filled together, float64 [N, 2] each; a ring with the opposite winding is a hole.
Shape = Sequence[Points]


def write_sheet(path: Path | str, dpi: int = DEFAULT_DPI) -> None:
    """Write the check sheet.

    Args:
        path: `*.pdf` (vector graphics, for printing) or `*.png`; an existing file is replaced.
        dpi: pixels per inch of a PNG, 50 to 1200.

    Raises:
        ConfigError: the file has another suffix, or `dpi` is out of range.
        MissingDependencyError: matplotlib is not installed.
        OutputError: it cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".pdf", ".png"):
        raise ConfigError(f"the check sheet cannot be written to {path}", "give *.pdf or *.png")
    if not _DPI[0] <= dpi <= _DPI[1]:
        raise ConfigError(f"dpi is {dpi}", f"give {_DPI[0]} to {_DPI[1]}")
    backend: Any = require(
        f"matplotlib.backends.backend_{'pdf' if kind == '.pdf' else 'agg'}",
        extra="measure",
        purpose=_PURPOSE,
    )
    figure = draw(page_shapes(check_sheet()), PAGE_MM, 1 / _MM_PER_INCH)
    facts: dict[str, str | None] = {"Title": "edgecrack check sheet"}
    if kind == ".pdf":
        facts["CreationDate"] = None  # makes the file reproducible
        canvas = backend.FigureCanvasPdf(figure)
    else:
        canvas = backend.FigureCanvasAgg(figure)
    written = io.BytesIO()
    canvas.print_figure(written, format=kind[1:], dpi=dpi, metadata=facts)
    data = written.getvalue()
    write_atomic(path, _without_scaling(data) if kind == ".pdf" else data)


def _without_scaling(pdf: bytes) -> bytes:
    """The same PDF with a request to viewers not to scale it to the paper.

    An incremental update at its end replaces the catalogue (ISO 32000-1, 7.5.6 and table 150).
    """
    catalogue = re.search(rb"(\d+) 0 obj\s*<<([^<>]*/Type /Catalog[^<>]*)>>\s*endobj", pdf)
    trailer = re.search(rb"trailer\s*<<([^<>]*)>>\s*startxref\s*(\d+)\s*%%EOF\s*$", pdf)
    if catalogue is None or trailer is None:
        return pdf
    number, fields = catalogue.groups()
    start = len(pdf) + 1
    update = b"\n%b 0 obj\n<<%b/ViewerPreferences << /PrintScaling /None >> >>\nendobj\n" % (
        number,
        fields,
    )
    return (
        pdf
        + update
        + b"xref\n0 1\n0000000000 65535 f \n%b 1\n%010d 00000 n \n" % (number, start)
        + b"trailer\n<<%b/Prev %b >>\n" % trailer.groups()
        + b"startxref\n%d\n%%%%EOF\n" % (len(pdf) + len(update))
    )


def page_shapes(sheet: CheckSheet) -> list[Shape]:
    """All black shapes on the sheet, in millimetres.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    return [
        *([crack.outline] for crack in sheet.cracks),
        *(marker.rings for marker in sheet.markers),
        *([line] for line in sheet.lines),
        *(_letters(text) for text in sheet.texts),
    ]


def draw(shapes: Sequence[Shape], size: tuple[float, float], inches: float) -> Figure:
    """A figure of black shapes on white, without margins.

    Args:
        shapes: in any unit, y down.
        size: width and height of the figure in that unit.
        inches: one unit in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figures: Any = require("matplotlib.figure", extra="measure", purpose=_PURPOSE)
    patches: Any = require("matplotlib.patches", extra="measure", purpose=_PURPOSE)
    paths: Any = require("matplotlib.path", extra="measure", purpose=_PURPOSE)
    figure: Figure = figures.Figure(figsize=(size[0] * inches, size[1] * inches), facecolor="white")
    axes: Any = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, size[0])
    axes.set_ylim(size[1], 0.0)
    for shape in shapes:
        rings = [paths.Path(np.concatenate([ring, ring[:1]]), closed=True) for ring in shape]
        path = paths.Path.make_compound_path(*rings)
        axes.add_patch(
            patches.PathPatch(path, facecolor="black", edgecolor="none", linewidth=0, snap=False)
        )
    return figure


def _letters(text: SheetText) -> Shape:
    """The outlines of a line of text."""
    fonts: Any = require("matplotlib.font_manager", extra="measure", purpose=_PURPOSE)
    textpath: Any = require("matplotlib.textpath", extra="measure", purpose=_PURPOSE)
    font = fonts.FontProperties(family="DejaVu Sans", weight="bold" if text.bold else "normal")
    outline = textpath.TextPath((0, 0), text.text, size=_LETTER_SIZE, prop=font)
    factor = text.size_mm / _LETTER_SIZE
    left = text.x_mm
    if text.align == "middle":
        box = outline.get_extents()
        left -= factor * (box.x0 + box.x1) / 2
    return [
        np.asarray(ring[:-1], np.float64) * [factor, -factor] + [left, text.y_mm]
        for ring in outline.to_polygons()
        if len(ring) > 3
    ]


_FINER = 2
_DOTS_PER_INCH = 100  # of the in-memory figure; its inches have no meaning
_AROUND_MM = 8.0  # visible wall around the sheet
_MM_PER_M = 1000.0


@dataclass(frozen=True)
class Imaging:
    """Simulated lighting and camera.

    Attributes:
        blur_px: sigma of the point spread function.
        noise: standard deviation in grey values.
        paper: grey value of the paper.
        ink: light reflected by black, as a share of the paper's.
        wall: light reflected by the wall around the sheet, as a share of the paper's.
        gamma: gamma of the image.
        jpeg_quality: 1 to 100; None skips JPEG compression.
    """

    blur_px: float = 1.0
    noise: float = 2.0
    paper: float = 205.0
    ink: float = 0.06
    wall: float = 0.4
    gamma: float = 2.2
    jpeg_quality: int | None = 92


@dataclass(frozen=True, eq=False)
class View:
    """The camera pose relative to the sheet.

    Attributes:
        camera: without distortion, at the size of the image.
        distance_m: along the optical axis.
        tilt_deg: between the optical axis and the sheet's perpendicular.
        towards_deg: direction in the image in which the sheet recedes, as in `plane.plane_scale`.
        to_image: float64 [3, 3], from millimetres on the sheet to pixels; the centre of the first
            pixel is (0.5, 0.5).
    """

    camera: CameraFile
    distance_m: float
    tilt_deg: float
    towards_deg: float
    to_image: NDArray[np.float64]

    def scale(
        self, distance_share: float = 0.005, tilt_deviation_deg: float = 0.5
    ) -> ModelledScale:
        """The true scale, with an uncertainty.

        Args:
            distance_share: relative standard uncertainty of the distance.
            tilt_deviation_deg: standard uncertainty of the tilt.
        """
        return plane_scale(
            self.camera,
            Quantity(self.distance_m, distance_share * self.distance_m),
            Quantity(self.tilt_deg, tilt_deviation_deg),
            self.towards_deg,
        )


def view_of_sheet(
    mm_per_px: float, tilt_deg: float = 0.0, towards_deg: float = 0.0, turned_deg: float = 0.0
) -> View:
    """A view that shows the whole sheet.

    Args:
        mm_per_px: in the middle of the view.
        tilt_deg: between the optical axis and the sheet's perpendicular.
        towards_deg: direction in the image in which the sheet recedes.
        turned_deg: rotation of the sheet in the image.
    """
    turned = math.radians(turned_deg)
    turn = np.array([[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]])
    sides_mm = np.abs(turn) @ np.array(PAGE_MM) + 2 * _AROUND_MM
    width, height = (math.ceil(side / mm_per_px) for side in sides_mm)
    focal_px = 1.3 * max(width, height)
    centre = (width / 2, height / 2)
    matrix = np.array([[focal_px, 0, centre[0] - 0.5], [0, focal_px, centre[1] - 0.5], [0, 0, 1]])
    camera = CameraFile(matrix, np.zeros(0), (width, height), "rendered", 0.001)
    distance_mm = mm_per_px * focal_px
    tilt, towards = math.radians(tilt_deg), math.radians(towards_deg)
    lean = math.sin(tilt)
    normal = np.array([-lean * math.cos(towards), -lean * math.sin(towards), math.cos(tilt)])
    first = np.cross([0.0, 1.0, 0.0], normal)
    first /= np.linalg.norm(first)
    axes = np.stack([first, np.cross(normal, first)], axis=1) @ turn
    middle = np.array([0, 0, distance_mm]) - axes @ np.array(PAGE_MM) / 2
    in_px = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1]])
    to_image = in_px @ np.column_stack([axes, middle])
    return View(camera, distance_mm / _MM_PER_M, tilt_deg, towards_deg, to_image)


def render_sheet(
    view: View,
    rng: np.random.Generator,
    imaging: Imaging = Imaging(),
    *,
    print_factor: float = 1.0,
) -> NDArray[np.uint8]:
    """Render the camera image of the sheet.

    Args:
        view: the camera pose.
        rng: for the noise.
        imaging: lighting and camera.
        print_factor: print size relative to the nominal size, about the centre of the page.

    Returns:
        uint8 [H, W].

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    width, height = view.camera.image_size
    half = np.array(PAGE_MM) / 2

    def seen(shapes: Sequence[Shape]) -> NDArray[np.float32]:
        placed = [
            [mapped(view.to_image, half + print_factor * (ring - half)) for ring in shape]
            for shape in shapes
        ]
        return _coverage(placed, width, height)

    page = seen([[rectangle(0, 0, *PAGE_MM)]])
    light = imaging.wall + (1 - imaging.wall) * page
    light *= 1 - (1 - imaging.ink) * seen(page_shapes(check_sheet()))
    blurred = cv2.GaussianBlur(light, (0, 0), imaging.blur_px * _FINER)
    pixels = blurred.reshape(height, _FINER, width, _FINER).mean(axis=(1, 3), dtype=np.float64)
    coded = imaging.paper * pixels ** (1 / imaging.gamma)
    noisy = coded + rng.normal(0, imaging.noise, coded.shape)
    image: NDArray[np.uint8] = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
    if imaging.jpeg_quality is None:
        return image
    stored = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, imaging.jpeg_quality])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE), np.uint8)


def mapped(matrix: NDArray[np.float64], points: Points) -> Points:
    """Transform points by a homography.

    Args:
        matrix: float64 [3, 3].
        points: float64 [N, 2].
    """
    lifted = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(lifted[:, :2] / lifted[:, 2:], np.float64)


def _coverage(shapes: Sequence[Shape], width: int, height: int) -> NDArray[np.float32]:
    """Share of each subpixel covered by the shapes, float32 [2 H, 2 W]."""
    agg = require(
        "matplotlib.backends.backend_agg", extra="measure", purpose="drawing the check sheet"
    )
    dots = (_FINER * width, _FINER * height)
    figure = draw([[ring * _FINER for ring in shape] for shape in shapes], dots, 1 / _DOTS_PER_INCH)
    figure.set_dpi(_DOTS_PER_INCH)
    canvas = agg.FigureCanvasAgg(figure)
    canvas.draw()
    gray = np.asarray(canvas.buffer_rgba())[..., 0]
    return np.asarray(1 - gray[: dots[1], : dots[0]] / np.float32(255), np.float32)

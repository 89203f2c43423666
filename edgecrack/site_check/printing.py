"""Writing the check sheet as a PDF in exact millimetres, or as a PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.extras import require
from edgecrack.files import write_atomic
from edgecrack.site_check.sheet import PAGE_MM, CheckSheet, Points, SheetText, check_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_DPI = 300
_DPI = (50, 1200)
_PURPOSE = "the check sheet"
_MM_PER_INCH = 25.4
# Curves of letters become straight pieces; so large that none of them shows.
_LETTER_SIZE = 200.0

# Closed rings that are filled together, float64 [N, 2] each; a ring that turns the other way is a
# hole.
Shape = Sequence[Points]


def write_sheet(path: Path | str, dpi: int = DEFAULT_DPI) -> None:
    """Write the check sheet.

    Args:
        path: `*.pdf`, drawn by lines and to be printed, or `*.png`; a file that exists is replaced.
        dpi: pixels to the inch of a PNG, 50 to 1200.

    Raises:
        ConfigError: the file is of another kind, or `dpi` is out of range.
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
        facts["CreationDate"] = None  # so that the file is the same at all times
        canvas = backend.FigureCanvasPdf(figure)
    else:
        canvas = backend.FigureCanvasAgg(figure)
    written = io.BytesIO()
    canvas.print_figure(written, format=kind[1:], dpi=dpi, metadata=facts)
    data = written.getvalue()
    write_atomic(path, _without_scaling(data) if kind == ".pdf" else data)


def _without_scaling(pdf: bytes) -> bytes:
    """The same PDF, which asks viewers not to fit it to the printer's paper.

    By an update at its end that replaces the catalogue (ISO 32000-1, 7.5.6 and table 150).
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
    """All that is black on the sheet, in millimetres.

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
    """A figure of black shapes on white, from edge to edge.

    Args:
        shapes: in any unit, y down.
        size: width and height of the figure in that unit.
        inches: one unit of it in inches.

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

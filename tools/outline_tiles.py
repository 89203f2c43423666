"""Outline the cracks of a photo by hand: show it enlarged, draw, check the drawing.

    python tools/outline_tiles.py show TILE.jpg shown.png [--box X0 Y0 X1 Y1]
    python tools/outline_tiles.py draw TILE.jpg drawing.json outline.json
    python tools/outline_tiles.py look TILE.jpg outline.json looked.png [--box X0 Y0 X1 Y1]

`show` draws a grid with the photo's pixels numbered. A drawing is a list of shapes, applied in
their order; x to the right, y down, the first pixel's centre 0.5, 0.5:

    {"polygon": [[x, y], ...]}          an outline
    {"stroke": [[x, y, width], ...]}    a centre line with the full width at each point
    {"wand": 95, "inside": [[x, y], ...], "smooth": 0.7, "least": 12}
                                        what is darker than a gray level inside a polygon, after a
                                        Gaussian of `smooth` px; parts below `least` px left out
    {"erase": [[x, y], ...]}            removes what is inside

No network and no crack filter helps: the truth must not lean towards what is scored by it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.errors import DataError  # noqa: E402
from edgecrack.files import write_atomic, write_png  # noqa: E402
from edgecrack.yardstick.outlines import Polygon, rasterise  # noqa: E402

Mask = NDArray[np.bool_]
_SHOWN_PX = 1000
_MARGIN_PX = 34
_FINE = 8
_SIMPLIFIED_PX = 0.4  # with more, hairlines that run askew vanish


def draw(gray: NDArray[np.uint8], shapes: Sequence[dict[str, Any]]) -> Mask:
    """The mask of a drawing, bool [H, W], over a photo, uint8 [H, W].

    Raises:
        DataError: a shape is none.
    """
    size_hw = (gray.shape[0], gray.shape[1])
    mask = np.zeros(size_hw, bool)
    for shape in shapes:
        if "polygon" in shape:
            mask |= rasterise([shape["polygon"]], size_hw)
        elif "stroke" in shape:
            mask |= stroke(shape["stroke"], size_hw)
        elif "wand" in shape:
            mask |= wand(gray, shape)
        elif "erase" in shape:
            mask &= ~rasterise([shape["erase"]], size_hw)
        else:
            raise DataError(f"a shape is {shape}", "give polygon, stroke, wand or erase")
    return mask


def stroke(points: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> Mask:
    """Pixels of which at least half lies within a line of changing width, bool [H, W]."""
    fine = np.zeros((size_hw[0] * _FINE, size_hw[1] * _FINE), np.uint8)
    rows = np.asarray(points, float)
    for start, end in pairwise(rows):
        steps = max(2, int(2 * np.hypot(*(end - start)[:2])))
        for share in np.linspace(0, 1, steps):
            x, y, width = (start + share * (end - start)) * _FINE
            centre = (round(16 * x - 8), round(16 * y - 8))
            cv2.circle(fine, centre, max(1, round(8 * width)), 255, -1, cv2.LINE_8, 4)
    share_map = cv2.resize(fine, size_hw[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(share_map >= 128)


def wand(gray: NDArray[np.uint8], shape: dict[str, Any]) -> Mask:
    """What is darker than a level inside a polygon, without specks; bool [H, W]."""
    smooth = float(shape.get("smooth", 0.7))
    seen = cv2.GaussianBlur(gray, (0, 0), smooth) if smooth > 0 else gray
    inside = rasterise([shape["inside"]], (gray.shape[0], gray.shape[1]))
    dark = ((seen < shape["wand"]) & inside).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= shape.get("least", 12)
    kept[0] = False
    return np.asarray(kept[labels])


def polygons_of(mask: Mask) -> list[Polygon]:
    """Outlines and holes of a mask; `rasterise` gives the mask back."""
    enlarged = np.asarray(np.kron(mask.astype(np.uint8), np.ones((4, 4), np.uint8)), np.uint8)
    borders, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = [cv2.approxPolyDP(border, 4 * _SIMPLIFIED_PX, True)[:, 0] for border in borders]
    return [((corners + 0.5) / 4).round(2).tolist() for corners in simple if len(corners) >= 3]


def enlarge(
    photo: NDArray[np.uint8], box: Sequence[int] | None, mask: Mask | None
) -> NDArray[np.uint8]:
    """Part of a photo with its pixels numbered: a grid over it, or a mask's outline and ticks."""
    left, top, right, bottom = box or (0, 0, photo.shape[1], photo.shape[0])
    scale = max(1, _SHOWN_PX // max(right - left, bottom - top))
    part = cv2.resize(
        photo[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
    )
    if mask is not None:
        block = np.ones((scale, scale), np.uint8)
        cut = np.asarray(np.kron(mask[top:bottom, left:right].astype(np.uint8), block), np.uint8)
        borders, _ = cv2.findContours(cut, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(part, borders, -1, (0, 60, 255), 2)
    page = np.full((part.shape[0] + _MARGIN_PX, part.shape[1] + _MARGIN_PX, 3), 255, np.uint8)
    page[_MARGIN_PX:, _MARGIN_PX:] = part
    reach = 8 if mask is not None else max(page.shape)
    step = 25 if right - left > 120 else 10
    for x in range(-(-left // step) * step, right, step):
        at = _MARGIN_PX + (x - left) * scale
        cv2.line(page, (at, _MARGIN_PX - 6), (at, _MARGIN_PX + reach), (200, 160, 0), 1)
        cv2.putText(page, str(x), (at - 12, 20), 0, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    for y in range(-(-top // step) * step, bottom, step):
        at = _MARGIN_PX + (y - top) * scale
        cv2.line(page, (_MARGIN_PX - 6, at), (_MARGIN_PX + reach, at), (200, 160, 0), 1)
        cv2.putText(page, str(y), (0, at + 5), 0, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return page


def main() -> None:
    """Show, draw or look."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, files in (
        ("show", ("photo", "out")),
        ("draw", ("photo", "drawing", "out")),
        ("look", ("photo", "drawing", "out")),
    ):
        command = commands.add_parser(name)
        for file in files:
            command.add_argument(file, type=Path)
        if name != "draw":
            command.add_argument("--box", type=int, nargs=4, metavar=("X0", "Y0", "X1", "Y1"))
    given = parser.parse_args()
    photo = cv2.imread(str(given.photo))
    if photo is None:
        sys.exit(f"cannot read {given.photo}")
    pixels = np.asarray(photo, np.uint8)
    size_hw = (pixels.shape[0], pixels.shape[1])
    if given.command == "show":
        write_png(given.out, enlarge(pixels, given.box, None))
        return
    document = json.loads(given.drawing.read_text(encoding="utf-8"))
    if given.command == "look":
        write_png(given.out, enlarge(pixels, given.box, rasterise(document["polygons"], size_hw)))
        return
    mask = draw(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8), document)
    polygons = polygons_of(mask)
    write_atomic(given.out, json.dumps({"size_hw": size_hw, "polygons": polygons}) + "\n")
    print(f"{len(polygons)} polygons, {np.count_nonzero(mask)} pixels")


if __name__ == "__main__":
    main()

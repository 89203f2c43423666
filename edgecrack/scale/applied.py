"""Convert crack measurements from pixels to millimetres.

The scale is evaluated at the crack, along it for its length and across it for its width. A scale
error is the same along the whole crack, so it adds up and does not average out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.budget import WITHIN_95, Figure, WidthFigures, width_figures
from edgecrack.measurement.cracks import Crack
from edgecrack.scale.scale import LocalScale, Points, Scale

# Standard uncertainties of a smoothed line: its length as a share, and its ends in pixels
# (docs/measurement.md).
_LINE_SHARE, _ENDS_PX = 0.007, 1.5
# Length of line per scale lookup; the scale hardly changes over it.
_PIECE_PX = 10.0


@dataclass(frozen=True)
class CrackInMm:
    """Crack length and width in millimetres.

    Attributes:
        length_mm: of all its lines; the interval does not cover parts that the mask missed.
        width_mm: over the measurable rows; None if there are none. The terms of `mean` are its
            uncertainty budget.
        is_stated: whether all uncertainties of the scale are known; if not, the intervals cover
            only the known ones.
    """

    length_mm: Figure
    width_mm: WidthFigures | None
    is_stated: bool


def in_millimetres(crack: Crack, scale: Scale) -> CrackInMm:
    """Convert the length and widths of a crack to millimetres.

        >>> import cv2
        >>> from edgecrack.measurement.cracks import measure_image
        >>> from edgecrack.scale import Quantity, uniform_scale
        >>> mask = np.zeros((40, 120), bool)
        >>> mask[18:22, 10:110] = True
        >>> wall = np.where(mask, 40.0, np.random.default_rng(1).normal(180, 2, mask.shape))
        >>> crack, = measure_image(cv2.GaussianBlur(wall, (0, 0), 0.7).astype(np.uint8), mask)
        >>> found = in_millimetres(crack, uniform_scale(Quantity(0.1, 0.001)))
        >>> round(found.length_mm.value / crack.length_px, 3), found.is_stated
        (0.1, True)
        >>> found.width_mm.mean.low < found.width_mm.mean.value < found.width_mm.mean.high
        True

    Args:
        crack: from `measure_image`.
        scale: of the same image.
    """
    return all_in_millimetres([crack], scale)[0]


def all_in_millimetres(cracks: Sequence[Crack], scale: Scale) -> list[CrackInMm]:
    """`in_millimetres` for all cracks of an image, several times as fast as one by one.

    Args:
        cracks: from `measure_image`.
        scale: of the same image.
    """
    if not cracks:
        return []
    pieces = [_pieces_of(crack) for crack in cracks]
    along = scale.local(
        np.concatenate([each.middles for each in pieces]),
        np.concatenate([each.tangents for each in pieces]),
    )
    rows = [_rows_of(crack) for crack in cracks]
    across = scale.local(
        np.concatenate([xy for xy, _ in rows]),
        np.concatenate([normals for _, normals in rows]),
        across=True,
    )
    found, piece, row = [], 0, 0
    for crack, own in zip(cracks, pieces, strict=True):
        next_piece, next_row = piece + len(own.middles), row + len(crack.rows)
        found.append(
            _in_mm(
                crack,
                own.lengths_px,
                _part(along, slice(piece, next_piece)),
                _part(across, slice(row, next_row)),
            )
        )
        piece, row = next_piece, next_row
    return found


def row_scale(crack: Crack, scale: Scale) -> LocalScale:
    """The scale across a crack at each of its rows.

    Args:
        crack: from `measure_image`.
        scale: of the same image.
    """
    places, normals = _rows_of(crack)
    return scale.local(places, normals, across=True)


def middle_scale(scale: Scale, width_px: int, height_px: int) -> LocalScale:
    """The scale in the middle of an image, along x and along y.

    Args:
        scale: of the image.
        width_px: image width.
        height_px: image height.

    Returns:
        Two values, one for each direction.
    """
    middle = [width_px / 2, height_px / 2]
    return scale.local([middle, middle], [[1.0, 0.0], [0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Short pieces of a crack's lines.

    Attributes:
        middles: float64 [N, 2].
        tangents: float64 [N, 2].
        lengths_px: float64 [N].
    """

    middles: Points
    tangents: Points
    lengths_px: NDArray[np.float64]


def _pieces_of(crack: Crack) -> _Pieces:
    pieces = [_pieces(line.xy) for line in crack.lines]
    return _Pieces(*(np.concatenate([piece[part] for piece in pieces]) for part in range(3)))


def _rows_of(crack: Crack) -> tuple[Points, Points]:
    """Positions and normals of the rows, float64 [rows, 2] each."""
    rows = np.array([row.xy for row in crack.rows], np.float64).reshape(-1, 2)
    normals = np.array([row.normal for row in crack.rows], np.float64).reshape(-1, 2)
    return rows, _unit(normals)


def _part(local: LocalScale, chosen: slice) -> LocalScale:
    terms = {name: term[chosen] for name, term in local.terms.items()}
    return LocalScale(local.mm_per_px[chosen], terms, local.is_stated)


def _in_mm(
    crack: Crack, lengths_px: NDArray[np.float64], along: LocalScale, across: LocalScale
) -> CrackInMm:
    lengths = lengths_px * along.mm_per_px
    total = float(lengths.sum())
    terms = {name: float((lengths * term).sum()) for name, term in along.terms.items()}
    terms["line"] = math.hypot(_LINE_SHARE * total, _ENDS_PX * float(along.mm_per_px.mean()))
    length = _figure(total, terms)
    widths = [row.width for row in crack.rows]
    return CrackInMm(length, width_figures(widths, across.mm_per_px, across.terms), along.is_stated)


def _pieces(xy: Points) -> tuple[Points, Points, NDArray[np.float64]]:
    """Middles [N, 2], directions [N, 2] and lengths in pixels [N] of the pieces of a line."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    count = max(1, math.ceil(float(along[-1]) / _PIECE_PX))
    at = np.linspace(0.0, float(along[-1]), count + 1)
    ends = np.stack([np.interp(at, along, xy[:, axis]) for axis in (0, 1)], axis=1)
    chords = np.diff(ends, axis=0)
    return (ends[:-1] + ends[1:]) / 2, _unit(chords), np.diff(at)


def _unit(vectors: Points) -> Points:
    """Unit vectors; where a line turns back on itself, an arbitrary one."""
    lengths = np.hypot(*vectors.T)[:, None]
    return np.where(lengths > 1e-6, vectors / np.maximum(lengths, 1e-6), [1.0, 0.0])


def _figure(value: float, terms: Mapping[str, float]) -> Figure:
    spread = WITHIN_95 * math.sqrt(sum(term**2 for term in terms.values()))
    return Figure(value, max(0.0, value - spread), value + spread, terms)

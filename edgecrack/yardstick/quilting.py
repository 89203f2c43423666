"""A small picture of a texture grown to a larger one, without copies that a model could mark.

Mirroring at the border makes symmetric figures that are taken for cracks. Here overlapping
patches of the picture are joined along the path on which they differ least (image quilting:
Efros and Freeman, SIGGRAPH 2001), with the light taken out before and put back afterwards.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgecrack.synthetic.noise import ByteArray, FloatArray

_PATCH_SHARE = 0.7
_OVERLAP_SHARE = 0.25
_CANDIDATES = 16
_FEATHER_PX = 0.7


def quilt(
    picture: ByteArray, size_px: int, rng: np.random.Generator, keep_rows: bool = False
) -> ByteArray:
    """Grow a picture of a texture.

    Args:
        picture: uint8 [h, w, 3], BGR.
        size_px: width and height of the result; larger than both of the picture's sides.
        rng: source of randomness; the same state gives the same bytes.
        keep_rows: take what is high in the result from high in the picture, as for a ground
            seen aslant, whose texture is finer far away.

    Returns:
        uint8 [size_px, size_px, 3], BGR.
    """
    values = picture.astype(np.float32) + np.float32(1.0)
    light = cv2.GaussianBlur(values, (0, 0), 0.2 * min(picture.shape[:2]))
    detail = np.asarray(values / light, dtype=np.float32)
    grown = _grown(detail, size_px, rng, keep_rows)
    grown *= cv2.resize(light, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(np.rint(grown - 1.0), 0, 255), dtype=np.uint8)


def _grown(
    detail: FloatArray, size_px: int, rng: np.random.Generator, keep_rows: bool
) -> FloatArray:
    """Lay patches from the upper left to the lower right, each cut to fit what lies there."""
    patch = int(_PATCH_SHARE * min(detail.shape[:2]))
    overlap = int(_OVERLAP_SHARE * patch)
    starts = [*range(0, size_px - patch, patch - overlap), size_px - patch]
    result = np.zeros((size_px, size_px, 3), dtype=np.float32)
    filled = np.zeros((size_px, size_px), dtype=bool)
    for y in starts:
        share = y / max(size_px - patch, 1) if keep_rows else None
        for x in starts:
            place = slice(y, y + patch), slice(x, x + patch)
            there, known = result[place], filled[place]
            piece = _best_piece(detail, there, known, patch, share, rng)
            new = _cut(piece, there, known)[..., None]
            result[place] = there + (piece - there) * new
            filled[place] = True
    return result


def _best_piece(
    detail: FloatArray,
    there: FloatArray,
    known: npt.NDArray[np.bool_],
    patch: int,
    share: float | None,
    rng: np.random.Generator,
) -> FloatArray:
    """Of some pieces at random places, the one most like what is known already."""
    room = np.array([side - patch + 1 for side in detail.shape[:2]])
    left, above = (_known_depth(known, axis) for axis in (1, 0))
    best, least = detail[:patch, :patch], np.inf
    for y, x in rng.integers(0, room, (_CANDIDATES, 2)).tolist():
        if share is not None:
            y = min(int(share * (room[0] - 1)) + y // 8, int(room[0]) - 1)
        piece = detail[y : y + patch, x : x + patch]
        difference = cv2.norm(piece[:above], there[:above]) ** 2 if above else 0.0
        if left:
            difference += cv2.norm(piece[above:, :left], there[above:, :left]) ** 2
        if difference < least:
            best, least = piece, difference
    return best


def _cut(piece: FloatArray, there: FloatArray, known: npt.NDArray[np.bool_]) -> FloatArray:
    """How much of a new piece shows at each pixel, 0 to 1; all where nothing is known."""
    if not known.any():
        return np.ones(known.shape, dtype=np.float32)
    difference = np.square(piece - there).sum(axis=2)
    difference = cv2.GaussianBlur(difference, (0, 0), 1.0)
    shown = np.ones(known.shape, dtype=np.float32)
    left, above = (_known_depth(known, axis) for axis in (1, 0))
    if left:
        shown[:, :left] *= _beyond_path(difference[:, :left])
    if above:
        shown[:above] *= _beyond_path(difference[:above].T).T
    soft = cv2.GaussianBlur(shown, (0, 0), _FEATHER_PX)
    return np.where(known, soft, np.float32(1.0)).astype(np.float32)


def _known_depth(known: npt.NDArray[np.bool_], axis: int) -> int:
    """How many columns (axis 1) or rows (axis 0) from the edge on are known throughout."""
    whole = known.all(axis=1 - axis)
    return 0 if whole.all() else int(np.argmin(whole))


def _beyond_path(difference: FloatArray) -> FloatArray:
    """1 right of the path from top to bottom along which the difference is least, else 0."""
    total = difference.astype(np.float64)
    for row in range(1, len(total)):
        padded = np.pad(total[row - 1], 1, constant_values=np.inf)
        total[row] += np.minimum(np.minimum(padded[:-2], padded[1:-1]), padded[2:])
    at = int(np.argmin(total[-1]))
    beyond = np.zeros(difference.shape, dtype=np.float32)
    for row in range(len(total) - 1, -1, -1):
        first = max(0, at - 1)
        at = first + int(np.argmin(total[row, first : at + 2]))
        beyond[row, at:] = 1.0
    return beyond

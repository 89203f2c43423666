"""Clean pictures of real surfaces, on which cracks are rendered; enlarged by quilting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from edgecrack.data.reading import read_image
from edgecrack.errors import ConfigError, DataError
from edgecrack.outside_text import read_json
from edgecrack.synthetic import WallConfig, generate_wall
from edgecrack.synthetic.canvas import ByteArray, FloatArray

_PATCH_SHARE = 0.7
_OVERLAP_SHARE = 0.25
_CANDIDATES = 16
_FEATHER_PX = 0.7


def quilt(
    picture: ByteArray, size_px: int, rng: np.random.Generator, keep_rows: bool = False
) -> ByteArray:
    """Enlarge a picture of a texture by quilting.

    Args:
        picture: uint8 [h, w, 3], BGR.
        size_px: width and height of the result; larger than both of the picture's sides.
        rng: source of randomness; the same state gives the same bytes.
        keep_rows: keep the vertical position of patches, as for ground in perspective, whose
            texture is finer far away.

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
    """Lay patches from the upper left to the lower right, each cut to fit its neighbours."""
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
    """The best match for the known pixels among some random pieces."""
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
    """Opacity of a new piece at each pixel, 0 to 1; 1 where nothing is known."""
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
    """Number of completely known columns (axis 1) or rows (axis 0) from the edge."""
    whole = known.all(axis=1 - axis)
    return 0 if whole.all() else int(np.argmin(whole))


def _beyond_path(difference: FloatArray) -> FloatArray:
    """1 right of the path from top to bottom with the least difference, else 0."""
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


SurfaceName = Literal["concrete", "drone", "vehicle", "asphalt", "masonry"]
SURFACE_NAMES: tuple[SurfaceName, ...] = get_args(SurfaceName)
_CROPS = Path(__file__).with_name("clean_crops.json")
_SMALLEST_PX, _LARGEST_PX = 64, 1024


@dataclass(frozen=True)
class Crop:
    """A clean part of a photo.

    Attributes:
        file: path of the photo within the data folder, with slashes.
        box: x and y of its upper left corner, width and height, pixels.
    """

    file: str
    box: tuple[int, int, int, int]

    @property
    def photo(self) -> str:
        """The photo's id: its path without the suffix."""
        return self.file.rpartition(".")[0]


@dataclass(frozen=True)
class CleanSurface:
    """A clean picture to render on.

    Attributes:
        name: unique within one call.
        photo: id of its photo; pictures of one photo are not independent.
        sources: the files that it was made from, relative to the data folder; none if generated.
        image: uint8 [size, size, 3], BGR.
    """

    name: str
    photo: str
    sources: tuple[str, ...]
    image: ByteArray


@cache
def clean_crops() -> dict[str, tuple[Crop, ...]]:
    """The crops that were checked by eye, by surface name."""
    listed = read_json(_CROPS)
    return {
        surface: tuple(Crop(entry["file"], tuple(entry["box"])) for entry in entries)
        for surface, entries in listed.items()
    }


def held_out_files() -> frozenset[str]:
    """Paths in the data folder, with slashes, of all photos that must not be trained on."""
    return frozenset(crop.file for crops in clean_crops().values() for crop in crops)


def clean_surfaces(
    data: Path, surface: SurfaceName, size_px: int, count: int, rng: np.random.Generator
) -> list[CleanSurface]:
    """Clean pictures of one surface.

    Photos take turns: none is used twice before each was used once. A picture is a random part of
    its crop, mirrored at random; if it is larger than the crop, it is quilted from parts of it.

    Args:
        data: the data folder; not read for masonry, which is generated.
        surface: name of the surface.
        size_px: width and height, 64 to 1024.
        count: number of pictures.
        rng: source of randomness; the same state gives the same bytes.

    Raises:
        ConfigError: the surface is unknown, or the size or the count out of range.
        DataError: a photo is missing, damaged or smaller than its crop.
    """
    if surface not in SURFACE_NAMES:
        raise ConfigError(f"surface is {surface!r}", f"give one of {', '.join(SURFACE_NAMES)}")
    if not _SMALLEST_PX <= size_px <= _LARGEST_PX:
        raise ConfigError(f"size_px is {size_px}", f"give {_SMALLEST_PX} to {_LARGEST_PX}")
    if count < 0:
        raise ConfigError(f"count is {count}", "give 0 or a positive number")
    if surface == "masonry":
        return [_brickwork(size_px, number, rng) for number in range(count)]
    crops = clean_crops()[surface]
    turns = [crops[index] for _ in range(-(-count // len(crops))) for index in _order(crops, rng)]
    return [
        _picture(data, surface, crop, size_px, number, rng)
        for number, crop in enumerate(turns[:count])
    ]


def _order(crops: tuple[Crop, ...], rng: np.random.Generator) -> list[int]:
    """Every crop once, in random order."""
    order: list[int] = rng.permutation(len(crops)).tolist()
    return order


def _brickwork(size_px: int, number: int, rng: np.random.Generator) -> CleanSurface:
    """A generated bare brick wall."""
    seed = int(rng.integers(0, 2**31))
    wall = generate_wall(WallConfig(seed, (size_px, size_px), "brick", 0, 0))
    return CleanSurface(f"masonry-{number:04d}", f"generated/brick-{seed}", (), wall.image)


def _picture(
    data: Path, surface: str, crop: Crop, size_px: int, number: int, rng: np.random.Generator
) -> CleanSurface:
    """A part of a crop, or a quilt of its parts, of the requested size."""
    x, y, width, height = crop.box
    photo = read_image(data / crop.file)
    part = photo[y : y + height, x : x + width]
    if part.shape[:2] != (height, width):
        raise DataError(
            f"{data / crop.file} is {photo.shape[1]}x{photo.shape[0]} pixels, "
            f"too small for the crop {crop.box}",
            "restore the original file",
        )
    part = part[:, ::-1] if rng.random() < 0.5 else part
    if surface != "vehicle" and rng.random() < 0.5:  # A road is nearer at the bottom.
        part = part[::-1]
    if size_px > min(height, width):
        image = quilt(part, size_px, rng, keep_rows=surface == "vehicle")
    else:
        top, left = rng.integers(0, [height - size_px + 1, width - size_px + 1]).tolist()
        image = np.ascontiguousarray(part[top : top + size_px, left : left + size_px])
    name = f"{surface}-{number:04d}-{Path(crop.file).stem}"
    return CleanSurface(name, crop.photo, (crop.file,), image)

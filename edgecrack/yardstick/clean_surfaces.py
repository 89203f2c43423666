"""Clean pictures of real surfaces from the data folder: what cracks are rendered on.

Every crop of `clean_crops.json` was looked at, enlarged and with its contrast raised: none
shows a crack, a line that might be one, or writing. Nothing of these files may be trained on;
`held_out_files` names them. Masonry is generated, for want of real photos of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from edgecrack.data.reading import read_image
from edgecrack.errors import ConfigError, DataError
from edgecrack.outside_text import read_json
from edgecrack.synthetic import WallConfig, generate_wall
from edgecrack.synthetic.noise import ByteArray
from edgecrack.yardstick.quilting import quilt

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
        name: its own within one call.
        photo: which photo it comes from; pictures of one photo are not independent.
        sources: the files that it was made of, relative to the data folder; none if generated.
        image: uint8 [size, size, 3], BGR.
    """

    name: str
    photo: str
    sources: tuple[str, ...]
    image: ByteArray


@cache
def clean_crops() -> dict[str, tuple[Crop, ...]]:
    """The crops that were looked at, by the surface's name."""
    listed = read_json(_CROPS)
    return {
        surface: tuple(Crop(entry["file"], tuple(entry["box"])) for entry in entries)
        for surface, entries in listed.items()
    }


def held_out_files() -> frozenset[str]:
    """Paths within the data folder, with slashes, of all photos that must not be trained on."""
    return frozenset(crop.file for crops in clean_crops().values() for crop in crops)


def clean_surfaces(
    data: Path, surface: SurfaceName, size_px: int, count: int, rng: np.random.Generator
) -> list[CleanSurface]:
    """Clean pictures of one surface.

    Photos take turns: none comes a second time before each came once. A picture is a part of
    its crop at a random place, mirrored at random; where it is larger than the crop, it is
    quilted from parts of it.

    Args:
        data: the data folder; not read for masonry, which is generated.
        surface: which surface.
        size_px: width and height, 64 to 1024.
        count: how many pictures.
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
    """Every crop once, at random."""
    order: list[int] = rng.permutation(len(crops)).tolist()
    return order


def _brickwork(size_px: int, number: int, rng: np.random.Generator) -> CleanSurface:
    """A generated wall of bricks without anything on it."""
    seed = int(rng.integers(0, 2**31))
    wall = generate_wall(WallConfig(seed, (size_px, size_px), "brick", 0, 0))
    return CleanSurface(f"masonry-{number:04d}", f"generated/brick-{seed}", (), wall.image)


def _picture(
    data: Path, surface: str, crop: Crop, size_px: int, number: int, rng: np.random.Generator
) -> CleanSurface:
    """A part of a crop, or what is quilted from its parts, as large as was asked."""
    x, y, width, height = crop.box
    photo = read_image(data / crop.file)
    part = photo[y : y + height, x : x + width]
    if part.shape[:2] != (height, width):
        raise DataError(
            f"{data / crop.file} is {photo.shape[1]}x{photo.shape[0]} pixels, "
            f"too small for the crop {crop.box}",
            "get the data folder's own copy of it",
        )
    part = part[:, ::-1] if rng.random() < 0.5 else part
    if surface != "vehicle" and rng.random() < 0.5:  # A vehicle's road has a near end, below.
        part = part[::-1]
    if size_px > min(height, width):
        image = quilt(part, size_px, rng, keep_rows=surface == "vehicle")
    else:
        top, left = rng.integers(0, [height - size_px + 1, width - size_px + 1]).tolist()
        image = np.ascontiguousarray(part[top : top + size_px, left : left + size_px])
    name = f"{surface}-{number:04d}-{Path(crop.file).stem}"
    return CleanSurface(name, crop.photo, (crop.file,), image)

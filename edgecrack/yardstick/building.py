"""Builds a yardstick's folder from the user's photos: rendered, generated, outlined and labelled.

    build_yardstick(YardstickConfig(Path("data"), Path("runs/yardstick")))

The same data, seed and counts produce the same bytes.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack import __version__
from edgecrack.data.datasets import open_dataset, read_image
from edgecrack.errors import ConfigError, DataError
from edgecrack.files import make_folder, write_png
from edgecrack.synthetic import Surface, WallConfig, generate_wall
from edgecrack.yardstick.clean_surfaces import CleanSurface, clean_crops, clean_surfaces
from edgecrack.yardstick.manifest import (
    CRACK,
    MANIFEST,
    Item,
    Origin,
    TrueCrack,
    Yardstick,
    open_yardstick,
    write_manifest,
)
from edgecrack.yardstick.negatives import NEGATIVE_KINDS, render_negative
from edgecrack.yardstick.outlines import rasterise, read_outlines
from edgecrack.yardstick.rendering import CrackConfig, RenderedCrack, render_crack
from edgecrack.yardstick.strata import SURFACE_KINDS, WIDTH_EDGES_PX, SurfaceKind

CONTRASTS = {"faint": (0.12, 0.2), "clear": (0.25, 0.45), "strong": (0.5, 0.85)}
"""Contrasts of rendered cracks before the blur, which makes narrow ones fainter."""
_WIDEST_FAINT_PX = 12  # a wide crack is as dark as its depth
_SMALL_PX, _LARGE_PX = 320, 448
_WIDEST_ON_SMALL_PX = 20
_WALL_SEED = 2**41  # beyond the seeds of the walls that networks train and validate on
_WALL_SURFACES: dict[Surface, SurfaceKind] = {
    "concrete": "concrete",
    "asphalt": "asphalt",
    "brick": "masonry",
}
_POINT_STEP = 3  # every third point of a centre line is kept
_TILES = Path("concrete_tiles/positive")
_DRONE = Path("uav315")
_DRONE_SPLIT = "val"
_UNFINISHED = ".edgecrack-yardstick"  # identifies the folder of a killed build


@dataclass(frozen=True)
class YardstickConfig:
    """The contents of a yardstick.

    Attributes:
        data: folder with `concrete_tiles/`, `uav315/` and `road_frames/`, or some of them.
        out: the folder to write; new, or an earlier yardstick, which is replaced.
        per_cell: rendered cracks of each surface, width class and contrast, 1 to 50.
        blur_px: standard deviation of the blur of rendered objects, 0 to 5 px.
        walls: generated walls with cracks, 0 to 10,000.
        seed: determines all random draws.
    """

    data: Path
    out: Path
    per_cell: int = 2
    blur_px: float = 0.8
    walls: int = 45
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, lowest, highest in (
            ("number of pictures per cell", self.per_cell, 1, 50),
            ("blur", self.blur_px, 0, 5),
            ("number of walls", self.walls, 0, 10_000),
            ("seed", self.seed, 0, 2**32 - 1),
        ):
            if not lowest <= value <= highest:
                raise ConfigError(f"the {name} is {value}", f"give {lowest} to {highest}")


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture before it is written."""

    item: Item
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None


def build_yardstick(
    config: YardstickConfig,
    on_picture: Callable[[int], None] = lambda count: None,
    on_message: Callable[[str], None] = lambda message: None,
) -> Yardstick:
    """Write pictures, masks and, last, the manifest.

    Args:
        config: what to build.
        on_picture: called with the number of pictures written.
        on_message: called with a text about each part omitted for lack of data.

    Raises:
        ConfigError: the folder is neither new nor a yardstick.
        DataError: the data folder does not exist, or a file in it cannot be read.
        OutputError: the folder cannot be written.
    """
    if not config.data.is_dir():
        raise DataError(
            f"the data folder {config.data} does not exist",
            "give the folder with concrete_tiles/, uav315/ and road_frames/",
        )
    _clear(config.out)
    items = []
    for picture in _pictures(config, on_message):
        items.append(_write(config.out, picture))
        on_picture(len(items))
    about = {
        "name": "edgecrack yardstick",
        "made_with": f"edgecrack {__version__}",
        "seed": config.seed,
        "per_cell": config.per_cell,
        "walls": config.walls,
    }
    write_manifest(config.out, items, config.blur_px, about)
    (config.out / _UNFINISHED).unlink()
    return open_yardstick(config.out)


def _clear(folder: Path) -> None:
    """Clear the folder for a yardstick; removes nothing but an earlier one."""
    parts = [folder / name for name in ("images", "masks")]
    if (folder / MANIFEST).exists() or (folder / _UNFINISHED).exists():
        (folder / _UNFINISHED).touch()
        (folder / MANIFEST).unlink(missing_ok=True)
        for part in parts:
            shutil.rmtree(part, ignore_errors=True)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} exists and is not a yardstick", "give a new folder, or an empty one"
        )
    for part in parts:
        make_folder(part)
    (folder / _UNFINISHED).touch()


def _write(folder: Path, picture: _Picture) -> Item:
    """Write a picture and its mask, and return its entry."""
    item = picture.item
    file = f"{item.name}.png"
    write_png(folder / "images" / file, picture.image, durable=False)
    mask_path = None
    if picture.mask is not None:
        mask_path = folder / "masks" / file
        write_png(mask_path, picture.mask, durable=False)
    return Item(
        item.name,
        folder / "images" / file,
        mask_path,
        item.kind,
        item.origin,
        item.surface,
        item.photo,
        item.cracks,
        item.sources_sha256,
    )


def _pictures(config: YardstickConfig, on_message: Callable[[str], None]) -> Iterator[_Picture]:
    yield from _outlined(config, on_message)
    yield from _labelled(config, on_message)
    for surface in SURFACE_KINDS:
        missing = _missing(config.data, surface)
        if missing:
            on_message(f"{missing} does not exist: nothing is rendered on {surface}")
            continue
        yield from _rendered(config, surface)
        yield from _negatives(config, surface)
    yield from _walls(config)


def _outlined(config: YardstickConfig, on_message: Callable[[str], None]) -> Iterator[_Picture]:
    folder = config.data / _TILES
    if not folder.is_dir():
        on_message(f"{folder} does not exist: no outlined photos of concrete")
        return
    for outline in read_outlines():
        path = folder / f"{outline.tile}.jpg"
        image = read_image(path)
        if image.shape[:2] != outline.size_hw:
            raise DataError(
                f"{path} is {image.shape[1]}x{image.shape[0]} px and its outline was drawn on "
                f"{outline.size_hw[1]}x{outline.size_hw[0]}",
                "restore the file from the dataset",
            )
        mask = np.where(rasterise(outline.first, outline.size_hw), 255, 0).astype(np.uint8)
        name = f"outlined-concrete-{outline.tile}"
        yield _picture(name, image, mask, "outlined", "concrete", f"tile {outline.tile}", [path])


def _labelled(config: YardstickConfig, on_message: Callable[[str], None]) -> Iterator[_Picture]:
    folder = config.data / _DRONE
    if not folder.is_dir():
        on_message(f"{folder} does not exist: no labelled photos from a drone")
        return
    for sample in open_dataset(folder).samples(_DRONE_SPLIT):
        image, mask = sample.load()
        name = f"labelled-drone-{sample.name}"
        photo = f"drone {sample.name}"
        yield _picture(name, image, mask, "labelled", "drone", photo, [sample.image_path])


def _missing(data: Path, surface: SurfaceKind) -> Path | None:
    """The first photo of a surface that is not in the data folder, or None."""
    files = (data / crop.file for crop in clean_crops().get(surface, ()))
    return next((path for path in files if not path.is_file()), None)


@dataclass(frozen=True)
class _Wanted:
    """One crack to render: its name, width range and contrast range."""

    name: str
    widths_px: tuple[int, int]
    contrasts: tuple[float, float]

    @property
    def size_px(self) -> int:
        """Side of the picture, several times the crack width."""
        return _SMALL_PX if self.widths_px[1] <= _WIDEST_ON_SMALL_PX else _LARGE_PX


def _wanted(config: YardstickConfig, surface: SurfaceKind) -> list[_Wanted]:
    """Cracks of every width class and contrast."""
    return [
        _Wanted(f"rendered-{surface}-{low}-{high}px-{contrast}-{number}", (low, high), limits)
        for low, high in pairwise(WIDTH_EDGES_PX)
        for contrast, limits in CONTRASTS.items()
        if contrast != "faint" or high <= _WIDEST_FAINT_PX
        for number in range(config.per_cell)
    ]


def _rendered(config: YardstickConfig, surface: SurfaceKind) -> Iterator[_Picture]:
    """Cracks on clean photos, which take turns."""
    for size_px in (_SMALL_PX, _LARGE_PX):
        wanted = [item for item in _wanted(config, surface) if item.size_px == size_px]
        rng = _generator(config, f"{surface} {size_px}")
        photos = clean_surfaces(config.data, surface, size_px, len(wanted), rng)
        for item, clean in zip(wanted, photos, strict=True):
            yield _with_crack(config, surface, item, clean)


def _with_crack(
    config: YardstickConfig, surface: SurfaceKind, wanted: _Wanted, clean: CleanSurface
) -> _Picture:
    rng = _generator(config, wanted.name)
    low, high = np.log(wanted.widths_px)
    crack = CrackConfig(
        width_px=float(np.exp(rng.uniform(low, high))),
        contrast=float(rng.uniform(*wanted.contrasts)),
        blur_px=config.blur_px,
    )
    made = render_crack(clean.image, crack, rng)
    return _picture(
        wanted.name,
        made.image,
        made.mask,
        "rendered",
        surface,
        clean.photo,
        _files(config, clean),
        cracks=(_true_crack(made),),
    )


def _files(config: YardstickConfig, clean: CleanSurface) -> list[Path]:
    return [config.data / name for name in clean.sources]


def _true_crack(made: RenderedCrack) -> TrueCrack:
    return TrueCrack(made.centre_line[::_POINT_STEP], made.width_px[::_POINT_STEP])


def _negatives(config: YardstickConfig, surface: SurfaceKind) -> Iterator[_Picture]:
    """Non-crack objects of every kind; `clean` pictures are the unchanged photos."""
    kinds = [kind for kind in NEGATIVE_KINDS for _ in range(2 * config.per_cell)]
    photos = clean_surfaces(
        config.data, surface, _SMALL_PX, len(kinds), _generator(config, f"{surface} negatives")
    )
    for number, (kind, clean) in enumerate(zip(kinds, photos, strict=True)):
        name = f"{kind.replace(' ', '-')}-{surface}-{number % (2 * config.per_cell)}"
        image = render_negative(clean.image, kind, _generator(config, name), config.blur_px)
        origin: Origin = "photo" if kind == "clean" and clean.sources else "rendered"
        yield _picture(
            name,
            image,
            None,
            origin,
            surface,
            clean.photo,
            _files(config, clean),
            kind=kind,
        )


def _walls(config: YardstickConfig) -> Iterator[_Picture]:
    """Generated walls with cracks and other objects."""
    surfaces = list(_WALL_SURFACES.items())
    for number in range(config.walls):
        kind, surface = surfaces[number % len(surfaces)]
        seed = _WALL_SEED + 100_000 * config.seed + number
        wall = generate_wall(
            WallConfig(seed, (_SMALL_PX, _SMALL_PX), kind, crack_count=1 + number % 3)
        )
        if wall.mask.any():  # an object may have covered the only crack
            name = f"wall-{surface}-{number}"
            yield _picture(name, wall.image, wall.mask, "generated", surface, name, [])


def _picture(
    name: str,
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None,
    origin: Origin,
    surface: SurfaceKind,
    photo: str,
    sources: Sequence[Path],
    *,
    kind: str = CRACK,
    cracks: tuple[TrueCrack, ...] = (),
) -> _Picture:
    hashes = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in sources)
    item = Item(name, Path(), None, kind, origin, surface, photo, cracks, hashes)
    return _Picture(item, image, mask)


def _generator(config: YardstickConfig, name: str) -> np.random.Generator:
    """A generator for one picture, so that adding others does not change it."""
    return np.random.default_rng([config.seed, zlib.crc32(name.encode())])

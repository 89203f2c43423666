"""`yardstick.json`: the pictures of a yardstick, their origin and their ground truth.

    yardstick = open_yardstick(Path("runs/yardstick"))
    for item in yardstick.items:
        image, truth = item.image(), item.mask()

`building.py` writes one from real photos; your own folder only needs a name, an image and a mask
per picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from edgecrack.data.reading import read_labelled_image, read_mask_image
from edgecrack.errors import DataError
from edgecrack.extras import origin
from edgecrack.files import write_atomic
from edgecrack.outside_text import read_json
from edgecrack.yardstick.strata import SURFACE_KINDS

MANIFEST = "yardstick.json"
MANIFEST_VERSION = 1
CRACK = "crack"
Origin = Literal["generated", "rendered", "outlined", "labelled", "photo"]
"""A generated wall; a crack or other object rendered on a photo; cracks of a photo outlined by hand
for this purpose, or labelled by its publisher; an unchanged photo without cracks."""
ORIGINS: tuple[Origin, ...] = get_args(Origin)
REAL_ORIGINS: frozenset[str] = frozenset({"outlined", "labelled", "photo"})

_REMEDY = "build the yardstick again with `edgecrack yardstick build`, or fix the entry"


@dataclass(frozen=True, eq=False)
class TrueCrack:
    """One crack whose centre line and width are known exactly.

    Attributes:
        points: float32 [N, 2], x and y of its centre line in pixels, evenly spaced and at most a
            few pixels apart, since each represents the same length; a pixel's centre has integer
            coordinates, as in `rendering`.
        widths_px: float32 [N], its width there.
    """

    points: NDArray[np.float32]
    widths_px: NDArray[np.float32]

    @property
    def width_px(self) -> float:
        """Its median width."""
        return float(np.median(self.widths_px))


@dataclass(frozen=True, eq=False)
class Item:
    """One picture of a yardstick.

    Attributes:
        name: unique in the yardstick.
        image_path: the picture.
        mask_path: its truth, white = crack; None without a crack.
        kind: "crack", or for a crack-free picture what it shows: "clean", "joint", "shadow" ...
        origin: see `Origin`.
        surface: one of `SURFACE_KINDS`, or any other word.
        photo: id shared by pictures of one photo; statistics over photos count it once. "" is
            replaced by the name.
        cracks: the cracks whose widths are known exactly; () for outlines and labels.
        sources_sha256: hashes of the files that the picture was made from.
        read_mask: reads the truth.
    """

    name: str
    image_path: Path
    mask_path: Path | None
    kind: str = CRACK
    origin: Origin = "labelled"
    surface: str = "concrete"
    photo: str = ""
    cracks: tuple[TrueCrack, ...] = ()
    sources_sha256: tuple[str, ...] = ()
    read_mask: Callable[[Path], NDArray[np.uint8]] = field(default=read_mask_image, repr=False)

    def __post_init__(self) -> None:
        if not self.photo:
            object.__setattr__(self, "photo", self.name)

    @property
    def is_real(self) -> bool:
        """Whether the picture shows real cracks or a real crack-free surface."""
        return self.origin in REAL_ORIGINS

    def image(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] in BGR order.

        Raises:
            DataError: the file cannot be read.
        """
        return read_labelled_image(self.image_path)

    def mask(self) -> NDArray[np.uint8]:
        """The truth, uint8 [H, W], 255 on cracks, else 0.

        Raises:
            DataError: the file cannot be read.
        """
        if self.mask_path is None:
            return np.zeros(self.image().shape[:2], np.uint8)
        return self.read_mask(self.mask_path)


@dataclass(frozen=True, eq=False)
class Yardstick:
    """An open, checked yardstick.

    Attributes:
        folder: its folder.
        items: its pictures.
        blur_px: standard deviation of the blur that rendered cracks have, or None.
        about: other entries of its manifest, e.g. how it was made.
    """

    folder: Path
    items: tuple[Item, ...]
    blur_px: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cracked(self) -> tuple[Item, ...]:
        """The pictures with a crack."""
        return tuple(item for item in self.items if item.kind == CRACK)

    @property
    def crack_free(self) -> tuple[Item, ...]:
        """The pictures without a crack."""
        return tuple(item for item in self.items if item.kind != CRACK)


def is_yardstick(folder: Path) -> bool:
    """Whether a folder contains a yardstick."""
    return (Path(folder) / MANIFEST).is_file()


def open_yardstick(folder: Path) -> Yardstick:
    """Open a yardstick and check that its files exist.

    Raises:
        DataError: the folder or its manifest is missing or damaged, is of a later version, an
            entry is wrong, or a file is missing.
    """
    path = Path(folder) / MANIFEST
    document = _read(path)
    version = document.get("schema_version")
    if version != MANIFEST_VERSION or version is True:
        remedy = origin().update() if _is_later(version) else _REMEDY
        raise DataError(
            f"{path} has schema version {version!r}, this program reads {MANIFEST_VERSION}", remedy
        )
    entries = document.get("items")
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} lists no pictures", _REMEDY)
    items = tuple(_item(path, number, entry) for number, entry in enumerate(entries))
    _check_names(path, items)
    about = {key: value for key, value in document.items() if key not in ("items", "blur_px")}
    return Yardstick(Path(folder), items, _blur(path, document.get("blur_px")), about)


def hashes_of(folder: Path) -> frozenset[str]:
    """SHA-256 of a yardstick's pictures and of the files they were made from, hexadecimal.

    Raises:
        DataError: the yardstick cannot be opened.
    """
    items = open_yardstick(folder).items
    own = {hashlib.sha256(item.image_path.read_bytes()).hexdigest() for item in items}
    return frozenset(own.union(*(item.sources_sha256 for item in items)))


def check_masks(yardstick: Yardstick) -> None:
    """Refuse masks that do not fit their pictures, or that mark nothing or everything.

    Scores on them would be meaningless, and a long run must not fail on one at its end.

    Raises:
        DataError: a mask is wrong, or a file cannot be read.
    """
    for item in yardstick.cracked:
        mask, shown_hw = item.mask(), item.image().shape[:2]
        if mask.shape != shown_hw:
            raise DataError(
                f"the mask {item.mask_path} has {mask.shape[1]}x{mask.shape[0]} px, the picture of "
                f"{item.name!r} {shown_hw[1]}x{shown_hw[0]}",
                "give a mask of the picture's size",
            )
        share = float(np.count_nonzero(mask)) / mask.size
        if share in (0.0, 1.0):
            marks = "no pixel" if share == 0 else "every pixel"
            raise DataError(
                f"the mask {item.mask_path} marks {marks} as crack",
                f"draw it again, or remove {item.name!r} from {MANIFEST}; if its picture shows "
                'no crack, omit the mask and give the kind, e.g. "clean"',
            )


def write_manifest(
    folder: Path, items: Iterable[Item], blur_px: float | None, about: Mapping[str, Any]
) -> Path:
    """Write `yardstick.json` beside the pictures that it names.

    Returns:
        The file written.

    Raises:
        OutputError: it cannot be written.
    """
    entries = [_entry(folder, item) for item in items]
    head = {"schema_version": MANIFEST_VERSION, **about, "blur_px": blur_px}
    lines = ",\n  ".join(json.dumps(entry) for entry in entries)
    text = json.dumps(head, indent=1)[:-2] + f',\n "items": [\n  {lines}\n ]\n}}\n'
    write_atomic(folder / MANIFEST, text)
    return folder / MANIFEST


def _read(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except FileNotFoundError as error:
        raise DataError(
            f"there is no {path}", "build a yardstick with `edgecrack yardstick build`"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", _REMEDY) from error
    return document


def _is_later(version: object) -> bool:
    return isinstance(version, int) and version > MANIFEST_VERSION


def _item(path: Path, number: int, entry: object) -> Item:
    if not isinstance(entry, dict):
        raise DataError(f"{path}: entry {number + 1} is not an object", _REMEDY)
    name = entry.get("name")
    if not _is_word(name):
        raise DataError(f"{path}: entry {number + 1} has the name {name!r}", _REMEDY)
    kind, origin = entry.get("kind", CRACK), entry.get("origin", "labelled")
    if not _is_word(kind) or origin not in ORIGINS:
        raise DataError(
            f"{path}: {name!r} has the kind {kind!r} and the origin {origin!r}",
            f'give a kind such as "{CRACK}" or "clean", and an origin of {", ".join(ORIGINS)}',
        )
    mask = entry.get("mask")
    if (mask is None) == (kind == CRACK):
        problem = "no mask" if mask is None else f"the kind {kind!r} and a mask"
        raise DataError(
            f"{path}: {name!r} has {problem}",
            f'a picture of the kind "{CRACK}" has a mask, any other has none',
        )
    return Item(
        name,
        _file(path, name, entry.get("image")),
        None if mask is None else _file(path, name, mask),
        kind,
        origin,
        _word(path, name, "surface", entry.get("surface", SURFACE_KINDS[0])),
        _word(path, name, "photo", entry.get("photo", name)),
        _cracks(path, name, kind, entry.get("cracks", [])),
        _hashes(path, name, entry.get("sources_sha256", [])),
    )


def _is_word(value: object) -> TypeGuard[str]:
    """Whether a value can be shown in a table: printable, without line breaks."""
    return isinstance(value, str) and value != "" and value.isprintable()


def _word(path: Path, name: str, key: str, value: object) -> str:
    if not _is_word(value):
        raise DataError(f"{path}: {name!r} has the {key} {value!r}", f"give the {key} as a word")
    return value


def _hashes(path: Path, name: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DataError(f"{path}: {name!r} has the sources_sha256 {values!r}", _REMEDY)
    return tuple(values)


def _blur(path: Path, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1000:
        return float(value)
    raise DataError(f"{path} has the blur_px {value!r}", "give a number from 0, or null")


def _file(path: Path, name: str, relative: object) -> Path:
    """An existing file in the yardstick's folder."""
    if not isinstance(relative, str) or not relative:
        raise DataError(f"{path}: {name!r} names the file {relative!r}", _REMEDY)
    parts = PurePosixPath(relative)
    found = path.parent / parts
    if parts.is_absolute() or ".." in parts.parts:
        raise DataError(
            f"{path}: {name!r} names {relative}, which is elsewhere",
            "give paths below the yardstick's folder",
        )
    if not _is_there(found):
        raise DataError(f"{path}: the file {relative} of {name!r} is missing", _REMEDY)
    return found


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. an invalid file name
        return False


def _cracks(path: Path, name: str, kind: str, entries: object) -> tuple[TrueCrack, ...]:
    """Cracks as [[x, y, width], ...] each."""
    if entries and kind != CRACK:
        raise DataError(f"{path}: {name!r} has the kind {kind!r} and cracks", _REMEDY)
    try:
        if not isinstance(entries, list):
            raise ValueError("not a list")
        with np.errstate(over="ignore"):  # infinite then, and refused
            rows = [np.asarray(entry, dtype=np.float32) for entry in entries]
        fits = all(
            row.ndim == 2
            and row.shape[1] == 3
            and len(row) > 0
            and bool(np.isfinite(row).all() and (row[:, 2] > 0).all())
            for row in rows
        )
        if not fits:
            raise ValueError("not points of x, y and width")
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: the cracks of {name!r} are damaged ({error})", _REMEDY) from error
    return tuple(TrueCrack(row[:, :2], row[:, 2]) for row in rows)


def _check_names(path: Path, items: Sequence[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.name in seen:
            raise DataError(f"{path} names {item.name!r} twice", "give each picture its own name")
        seen.add(item.name)


def _entry(folder: Path, item: Item) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": item.name,
        "image": item.image_path.relative_to(folder).as_posix(),
        "mask": item.mask_path and item.mask_path.relative_to(folder).as_posix(),
        "kind": item.kind,
        "origin": item.origin,
        "surface": item.surface,
        "photo": item.photo,
        "sources_sha256": list(item.sources_sha256),
    }
    if item.cracks:
        entry["cracks"] = [
            np.column_stack([crack.points, crack.widths_px]).astype(float).round(2).tolist()
            for crack in item.cracks
        ]
    return entry

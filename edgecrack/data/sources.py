"""What `data` names: a dataset, a folder of images without crack, or generated walls.

Only texts become `DataSource`s here; of the disk no more is asked than whether a folder exists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgecrack.data.layouts import LAYOUT_NAMES
from edgecrack.errors import ConfigError

SYNTHETIC = "synthetic"
CLEAN = "clean"
Kind = Literal["labelled", "clean", "synthetic"]
_CLEAN = f"{CLEAN}:"
DEFAULT_WALLS = 600
_NAME = re.compile(r"[\w.-]+")
_WALLS = re.compile(rf"{SYNTHETIC}(?::(?P<count>[^@]*))?")
_GRAMMAR = "[NAME=]DIR[@WEIGHT], [NAME=]clean:DIR[@WEIGHT] or synthetic[:COUNT][@WEIGHT]"


@dataclass(frozen=True)
class DataSource:
    """One source of training images.

    Attributes:
        name: stands for the source in messages and reports.
        kind: "labelled" images with masks, "clean" images that hold no crack, or "synthetic".
        folder: where the images lie; None for synthetic.
        layout: the layout that the folder must be of; None takes what is there.
        count: number of training walls, 10 to 100,000; 0 unless synthetic.
        weight: share of the patches relative to the other sources' weights, above 0; None for
            the number of training images.
    """

    name: str
    kind: Kind
    folder: Path | None = None
    layout: str | None = None
    count: int = 0
    weight: float | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a data source has no name", "give one: `data` NAME=DIR")
        if (self.folder is None) != (self.kind == "synthetic"):
            raise ConfigError(
                f"data source {self.name!r} is {self.kind} with folder {self.folder}",
                "give a folder to all sources but synthetic ones",
            )
        if self.kind == "synthetic" and not 10 <= self.count <= 100_000:
            raise ConfigError(
                f"data source {self.name!r} asks for {self.count} walls",
                "give synthetic:COUNT, 10 to 100000",
            )
        if self.weight is not None and not (self.weight > 0 and math.isfinite(self.weight)):
            raise ConfigError(
                f"the weight of data source {self.name!r} is {self.weight}",
                "give a number above 0 behind the @",
            )

    @property
    def label(self) -> str:
        """The source as a report may show it: no folder but its name."""
        weight = "" if self.weight is None else f"@{self.weight:g}"
        if self.kind == "clean":
            return f"{CLEAN}:{self.name}{weight}"
        if self.kind == "synthetic":
            return f"{SYNTHETIC}:{self.count}{weight}"
        return f"{self.name}{weight}"


def parse_source(text: str) -> DataSource:
    """Read one data source.

    It is `[NAME=]DIR[@WEIGHT]`, `[NAME=]clean:DIR[@WEIGHT]` or `synthetic[:COUNT][@WEIGHT]`.

    The name is the folder's where none is given. A given name that is a layout's demands that
    layout. The longest reading whose folder exists wins, so that a folder may have "=" and "@"
    in its path. The word "synthetic" is never a folder; "./synthetic" is.

    Raises:
        ConfigError: the text is none of these, or a count or a weight is out of range.
    """
    readings = list(_readings(text))
    for name, body, weight in readings:
        if _is_there(name, body):
            return _make_source(text, name, body, weight)
    # None is there: the shortest says what was meant.
    return _make_source(text, *readings[-1])


def parse_sources(texts: Sequence[str]) -> tuple[DataSource, ...]:
    """Read all sources of a run and check that they go together.

    Raises:
        ConfigError: as `parse_source`, or two sources share a name, or only some have a weight,
            or there is none with cracks.
    """
    sources = tuple(parse_source(text) for text in texts)
    seen: dict[str, str] = {}
    for source, text in zip(sources, texts, strict=True):
        if source.name in seen:
            raise ConfigError(
                f"{seen[source.name]!r} and {text!r} are both named {source.name!r}",
                "ask for all walls at once"
                if source.kind == "synthetic"
                else "name them apart: `data` NAME=DIR",
            )
        seen[source.name] = text
    weightless = [text for source, text in zip(sources, texts, strict=True) if not source.weight]
    if weightless and len(weightless) < len(texts):
        raise ConfigError(
            f"{weightless[0]!r} has no weight, but other data sources have",
            "give every `data` a weight (@NUMBER), or none",
        )
    if sources and all(source.kind == "clean" for source in sources):
        raise ConfigError(
            "all training images are without crack", "add a labelled dataset or synthetic:600"
        )
    return sources


def _readings(text: str) -> Iterator[tuple[str, str, str | None]]:
    """Name ("" for none), body and weight (None for none) of each way to read a text."""
    head, equals, rest = text.partition("=")
    named = bool(equals) and _NAME.fullmatch(head) is not None
    bodies = [("", text), *([(head, rest)] if named else [])]
    for name, body in bodies:
        yield name, body, None
    for name, body in bodies:
        place, at, weight = body.rpartition("@")
        if at and "/" not in weight:
            yield name, place, weight


def _is_there(name: str, body: str) -> bool:
    if not name and _WALLS.fullmatch(body):
        return True
    return any(place and _is_folder(place) for place in (body, body.removeprefix(_CLEAN)))


def _is_folder(text: str) -> bool:
    try:
        return _folder(text).is_dir()
    except OSError:  # too long for a name, or in a folder that is not ours to see
        return False


def _make_source(text: str, name: str, body: str, weight_text: str | None) -> DataSource:
    if name in (SYNTHETIC, CLEAN):
        raise ConfigError(
            f"{text!r} gives the reserved name {name!r}",
            "give clean:DIR for images without crack, synthetic:COUNT for walls, or another name",
        )
    weight = None if weight_text is None else _number(text, weight_text)
    walls = None if name else _WALLS.fullmatch(body)
    if walls:
        count = _wall_count(text, walls["count"])
        return DataSource(SYNTHETIC, "synthetic", count=count, weight=weight)
    clean = body.startswith(_CLEAN) and not _is_folder(body)
    place = body.removeprefix(_CLEAN) if clean else body
    if not place:
        raise ConfigError(f"data source {text!r} names no folder", f"give {_GRAMMAR}")
    folder = _folder(place)
    layout = name if name in LAYOUT_NAMES and not clean else None
    kind: Kind = "clean" if clean else "labelled"
    return DataSource(name or folder.resolve().name, kind, folder, layout, weight=weight)


def _folder(text: str) -> Path:
    # The shell leaves "NAME=~/DIR" as it is.
    return Path(text).expanduser() if text.startswith("~/") else Path(text)


def _number(text: str, weight: str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise ConfigError(
            f"the weight of data source {text!r} is {weight!r}",
            "give a number above 0 behind the @",
        ) from None


def _wall_count(text: str, count: str | None) -> int:
    if count is None:
        return DEFAULT_WALLS
    if not count.isdecimal() or len(count) > 9:
        raise ConfigError(
            f"{text!r} asks for {count!r} walls", "give synthetic:COUNT, 10 to 100000"
        )
    return int(count)

"""The lines of results.jsonl, one per image, and the table of results.csv.

`edgecrack/schemas/result.schema.json` explains each field.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecrack.errors import OutputError
from edgecrack.images.photo_facts import PhotoFacts
from edgecrack.measurement.regions import Region
from edgecrack.outside_text import parse_json
from edgecrack.runtime.frame import FrameResult

# Incremented when a field is removed, renamed or redefined.
RESULT_SCHEMA_VERSION = 1
_TABLE = (
    "source", "name", "width", "height", "taken_at", "latitude_deg", "longitude_deg",
    "crack_pixels", "crack_ratio", "regions", "inspected_ratio", "ignored_ratio", "seconds",
    "problem",
)  # fmt: skip
# Fields that earlier releases did not write.
_LATER = frozenset({"map"})

LineKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in one image.

    Attributes:
        hw: height and width of the image in pixels.
        crack_pixels: number of crack pixels.
        regions: connected groups of crack pixels, largest first.
        threshold: minimum crack probability of a crack pixel.
        inspected_ratio: share of the pixels inspected, 0 to 1.
        ignored_ratio: share of the pixels ignored by the user, 0 to 1.
        photo: how the photo was taken; None if its file does not say.
        map: location of an orthomosaic and length of its cracks; None for a photo.
    """

    hw: tuple[int, int]
    crack_pixels: int
    regions: tuple[Region, ...]
    threshold: float
    inspected_ratio: float
    ignored_ratio: float = 0.0
    photo: PhotoFacts | None = None
    map: Mapping[str, Any] | None = None

    @classmethod
    def of_frame(cls, result: FrameResult) -> Findings:
        """What was found in a photo."""
        return cls(
            result.frame.hw, result.crack_pixels, result.regions, result.threshold,
            result.inspected_ratio, result.ignored_ratio, result.frame.photo,
        )  # fmt: skip

    @property
    def crack_ratio(self) -> float:
        """Share of the pixels that are crack, 0 to 1."""
        return self.crack_pixels / (self.hw[0] * self.hw[1])


def result_line(
    source: str,
    name: str | None,
    found: Findings | None = None,
    stamp: Sequence[int] | None = None,
    *,
    files: Mapping[str, str] | None = None,
    seconds: float | None = None,
    problem: str | None = None,
    remedy: str | None = None,
) -> dict[str, Any]:
    """A line of results.jsonl.

    Args:
        source: the image's path or address, without credentials.
        name: name of its results; None for a picture that was not tried.
        found: None if it was not read.
        stamp: size and modification time of its file.
        files: files written, by kind.
        seconds: processing time.
        problem: why it was not read.
        remedy: how to fix that.
    """
    photo = None if found is None else found.photo
    facts = None if photo is None else photo.to_dict()
    boxes = None if found is None else [[*one.xyxy, one.area_px] for one in found.regions]
    return {
        "schema_version": RESULT_SCHEMA_VERSION,
        "source": source,
        "name": name,
        "stamp": None if stamp is None else list(stamp),
        "width": None if found is None else found.hw[1],
        "height": None if found is None else found.hw[0],
        "taken_at": None if facts is None else facts.pop("taken_at", None),
        "photo": facts,
        "map": None if found is None or found.map is None else dict(found.map),
        "crack_pixels": None if found is None else found.crack_pixels,
        "crack_ratio": None if found is None else round(found.crack_ratio, 6),
        "regions": None if found is None else len(found.regions),
        "boxes": boxes,
        "threshold": None if found is None else round(found.threshold, 4),
        "inspected_ratio": None if found is None else round(found.inspected_ratio, 4),
        "ignored_ratio": None if found is None else round(found.ignored_ratio, 4),
        "files": dict(files or {}),
        "seconds": seconds,
        "problem": problem,
        "remedy": remedy,
    }


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The complete lines of a results.jsonl; none if the file does not exist.

    Raises:
        OutputError: the file cannot be read.
    """
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read: {error.strerror}", "give another `out`"
        ) from error
    for line in content.splitlines():
        try:
            record = parse_json(line)
        except ValueError:  # incomplete after a kill
            continue
        if isinstance(record, dict) and _is_whole(record):
            yield record


def key_of(line: Mapping[str, Any]) -> LineKey:
    """The key of a line: the name of its results, or the path of a picture that was not tried.

    Addresses are no keys, since two may differ only in the credentials that are left out.
    """
    name = line["name"]
    return ("source", line["source"]) if name is None else ("name", name)


def table_of(lines: Iterator[dict[str, Any]]) -> str:
    """The text of results.csv; if an image has several lines, the last one counts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_TABLE)
    for line in {key_of(line): line for line in lines}.values():
        known = {**(line["photo"] or {}), **line}
        writer.writerow(["" if known.get(name) is None else known[name] for name in _TABLE])
    return text.getvalue()


def _is_whole(record: Mapping[str, Any]) -> bool:
    return (
        set(result_line("", "")) - _LATER <= set(record)
        and isinstance(record["source"], str)
        and isinstance(record["name"], str | None)
        and isinstance(record["files"], dict)
        and isinstance(record["photo"], dict | None)
    )

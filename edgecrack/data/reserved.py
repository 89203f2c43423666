"""Photos that no network may be trained on, because the yardstick is made of them.

    refuse_reserved("tiles", paths)

The list holds hashes of files: those that the yardstick uses, crops of the same photos, and their
copies, mirrored or turned, which published sets contain (`tools/reserve_photos.py`). A picture
that was saved anew has another hash and is not known. Knows files; must not know datasets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from functools import cache
from importlib import resources
from pathlib import Path

from edgecrack.errors import DataError
from edgecrack.outside_text import parse_json

HASH_DIGITS = 16  # 64 of SHA-256's 256 bits: chance makes no two of a million files alike


def content_hash(path: Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:HASH_DIGITS]
    except OSError as error:
        raise DataError(
            f"cannot read image {path}: {error.strerror}", "check the path and its permissions"
        ) from error


@cache
def reserved_hashes() -> frozenset[str]:
    """The hashes of all reserved files, as `content_hash` gives them."""
    text = (resources.files("edgecrack.data") / "reserved.json").read_text(encoding="utf-8")
    return frozenset(name for names in parse_json(text)["files"].values() for name in names)


def reserved_among(paths: Iterable[Path], more: Collection[str] = ()) -> list[Path]:
    """Those of some files that are reserved, in their order.

    Args:
        paths: image files.
        more: further hashes that are reserved, of any length from 16 digits on.

    Raises:
        DataError: a file cannot be read.
    """
    known = reserved_hashes() | {name[:HASH_DIGITS] for name in more}
    return [path for path in paths if content_hash(path) in known]


def refuse_reserved(source: str, paths: Iterable[Path], more: Collection[str] = ()) -> None:
    """Refuse to train on reserved photos.

    Args:
        source: what the data source is called.
        paths: the images that it would train on.
        more: as for `reserved_among`.

    Raises:
        DataError: one of them is reserved, or cannot be read.
    """
    listed = list(paths)
    found = reserved_among(listed, more)
    if found:
        raise DataError(
            f"{len(found)} of {len(listed)} images of {source!r} belong to the yardstick, "
            f"{found[0]} first, and a score on what was trained on says nothing",
            "leave them out of train in splits.json, or out of the folder; "
            f"`edgecrack yardstick reserved {found[0].parent}` lists them",
        )

"""Which images a run may train on: `splits.json`, drawn splits, and reserved yardstick photos.

refuse_reserved("tiles", paths)
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

from edgecrack.errors import ConfigError, DataError
from edgecrack.outside_text import parse_json, read_json

DEFAULT_SPLIT_SET = "paper"
SPLIT_SEED = 2020  # for every drawn split; changing it makes reported scores incomparable
Splits = dict[str, list[str]]
_APART = ("train", "val", "test")  # no image may be in two of these


def ranked(names: Iterable[str], seed: int) -> list[str]:
    """Names in a random order that depends on each name and the seed alone.

    The relative order of two names does not depend on the others.
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def held_out(names: Iterable[str], seed: int, share: float) -> set[str]:
    """A share of the names; at least one if there are two or more and the share is above 0."""
    order = ranked(names, seed)
    count = max(1, round(len(order) * share)) if len(order) > 1 and share > 0 else 0
    return set(order[:count])


def draw_split(groups: Iterable[Iterable[str]], train: int, total: int) -> Splits:
    """Train and test in the ratio of `train` to `total`, in each group of names.

    A pure function of the names and `SPLIT_SEED`.

    Returns:
        "train" and "test", sorted; nothing if one of them would be empty.
    """
    chosen: Splits = {"train": [], "test": []}
    for group in groups:
        order = ranked(group, SPLIT_SEED)
        count = round(len(order) * train / total)
        chosen["train"] += order[:count]
        chosen["test"] += order[count:]
    if not all(chosen.values()):
        return {}
    return {split: sorted(names) for split, names in chosen.items()}


def read_splits(path: Path, split_set: str | None) -> Splits:
    """Read a `splits.json` with one set of splits, or choose one of several named sets.

    Args:
        path: an existing file.
        split_set: name of the set; None chooses "paper" if there are several.

    Raises:
        DataError: the file cannot be read or is not a split file, or a name occurs twice.
        ConfigError: it has no such set.
    """
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", "fix or remove the file") from error
    splits = _choose(path, document, split_set)
    for split, names in splits.items():
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(
                f"{path} lists {twice[0]!r} {names.count(twice[0])} times in {split!r}",
                "list it once",
            )
    for first, second in combinations([split for split in _APART if split in splits], 2):
        both = sorted(set(splits[first]) & set(splits[second]))
        if both:
            raise DataError(
                f"{path} lists {both[0]!r} in both {first!r} and {second!r}"
                + (f" (and {len(both) - 1} more)" if len(both) > 1 else ""),
                "list it in one of them: scores on training images mean nothing",
            )
    return splits


def _choose(path: Path, document: Any, split_set: str | None) -> Splits:
    if isinstance(document, dict) and any(isinstance(value, dict) for value in document.values()):
        chosen = split_set or DEFAULT_SPLIT_SET
        if chosen not in document:
            raise ConfigError(
                f"{path} has no split set {chosen!r}", f"choose one of: {', '.join(document)}"
            )
        document = document[chosen]
    elif split_set is not None:
        raise ConfigError(
            f"{path} has no split set {split_set!r}, only one plain list of splits",
            "omit the split set",
        )
    if not isinstance(document, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in document.values()
    ):
        raise DataError(
            f"{path} is not a split file", 'give {"train": [names], "val": [...], "test": [...]}'
        )
    return document


def check_listed(path: Path, splits: Mapping[str, Iterable[str]], known: Mapping[str, Any]) -> None:
    """Check that every name of the splits is a labelled image.

    Raises:
        DataError: one is not.
    """
    for split, names in splits.items():
        missing = [name for name in names if name not in known]
        if missing:
            raise DataError(
                f"{path} lists {missing[0]!r} in {split!r}, but there is no such labelled image",
                "fix the list or add the files",
            )


HASH_DIGITS = 16  # 64 of SHA-256's 256 bits: a collision among a million files is unlikely


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
    """The hashes of all reserved files, as returned by `content_hash`."""
    text = (resources.files("edgecrack.data") / "reserved.json").read_text(encoding="utf-8")
    return frozenset(name for names in parse_json(text)["files"].values() for name in names)


def reserved_among(paths: Iterable[Path], more: Collection[str] = ()) -> list[Path]:
    """The reserved files among some files, in their order.

    Args:
        paths: image files.
        more: further reserved hashes, each of 16 digits or more.

    Raises:
        DataError: a file cannot be read.
    """
    known = reserved_hashes() | {name[:HASH_DIGITS] for name in more}
    return [path for path in paths if content_hash(path) in known]


def refuse_reserved(source: str, paths: Iterable[Path], more: Collection[str] = ()) -> None:
    """Refuse to train on reserved photos.

    Args:
        source: name of the data source.
        paths: the images to train on.
        more: as for `reserved_among`.

    Raises:
        DataError: one of them is reserved, or cannot be read.
    """
    listed = list(paths)
    found = reserved_among(listed, more)
    if found:
        raise DataError(
            f"{len(found)} of {len(listed)} images of {source!r} belong to the yardstick, "
            f"{found[0]} first, and a score on training images means nothing",
            "remove them from train in splits.json, or from the folder; "
            f"`edgecrack yardstick reserved {found[0].parent}` lists them",
        )

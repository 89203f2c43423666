"""Which images a command line means: files, folders and all below them, patterns, lists, addresses.

Knows names, not pictures: nothing is opened but folders and lists.
"""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from edgecrack.errors import ConfigError, SourceError
from edgecrack.images import IMAGE_SUFFIXES, OTHER_SUFFIXES
from edgecrack.runtime.output_folder import LEDGER_NAME
from edgecrack.runtime.redact import redact
from edgecrack.runtime.sources.folder import Unreadable, natural_key, why_not

_LIST = "@"
_ADDRESSES = ("http://", "https://")
_PATTERN = frozenset("*?[")
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One image to look at.

    Attributes:
        path: of the file; None for an address.
        address: `http://...`; None for a file.
        name: of its results, relative, without a suffix: unique among the inputs, also where case
            is ignored; of an image in a folder it begins with the folders between.
    """

    path: Path | None
    address: str | None
    name: str

    @property
    def source(self) -> str:
        """Where it comes from, without credentials."""
        return redact(self.address) if self.address is not None else str(self.path)


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path | None
    address: str | None
    stem: PurePosixPath
    suffix: str


def find_images(words: Sequence[str], out: Path) -> tuple[list[ImageInput], list[Unreadable]]:
    """All images that the words of a command line mean, each once, and pictures that are not read.

    Args:
        words: image files; folders, with all folders below them, in natural order; patterns such
            as `photos/**/*.jpg`; `@list.txt`, a file with one of these on each line; `http://`
            and `https://` addresses.
        out: where results go: what an earlier run wrote is no input.

    Raises:
        SourceError: a word means nothing that exists, or nothing at all is left.
        ConfigError: a word is a file of a kind that is no image.
    """
    found: list[_Found] = []
    refused: list[Unreadable] = []
    for word in _words(words):
        found += _of_word(word, out, refused)
    unique = {_identity(one): one for one in reversed(found)}
    ordered = [one for one in found if unique.get(_identity(one)) is one]
    if not ordered:
        also = f"; {len(refused)} other pictures are not read" if refused else ""
        raise SourceError(
            f"there are no images in {', '.join(words)}{also}",
            f"give images ({', '.join(IMAGE_SUFFIXES)}) or folders of them",
        )
    names = _names(ordered)
    inputs = [
        ImageInput(one.path, one.address, name) for one, name in zip(ordered, names, strict=True)
    ]
    return inputs, refused


def _words(words: Sequence[str]) -> Iterator[str]:
    """The words, lists replaced by what stands in them."""
    for word in words:
        if not word.startswith(_LIST) or Path(word).exists():
            yield word
            continue
        path = Path(word[len(_LIST) :])
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise SourceError(
                f"the list {path} cannot be read: {why}",
                "give a text file with a path on each line",
            ) from error
        yield from (line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _of_word(word: str, out: Path, refused: list[Unreadable]) -> Iterable[_Found]:
    if word.lower().startswith(_ADDRESSES):
        place = PurePosixPath(unquote(urlsplit(word).path))
        return [
            _Found(None, word, PurePosixPath(_fit(place.stem or "image")), place.suffix.lower())
        ]
    if "://" in word:
        raise ConfigError(
            f"{redact(word)} is no address of an image",
            "give http:// or https://, or for a camera or video use: edgecrack stream",
        )
    path = Path(word)
    if path.is_dir():
        return _below(path, out, refused)
    if path.exists() or not _PATTERN & set(word):
        return [_of_file(path)]
    matches = sorted(glob.glob(word, recursive=True), key=natural_key)  # noqa: PTH207 - of any root
    if not matches:
        raise SourceError(f"nothing fits the pattern {word}", "check the pattern")
    found: list[_Found] = []
    for match in map(Path, matches):
        is_picture = match.suffix.lower() in IMAGE_SUFFIXES
        if match.is_file() and is_picture and match not in _written_in(match.parent):
            found.append(_of_file(match))
    return found


def _of_file(path: Path) -> _Found:
    if not path.exists():
        raise SourceError(f"{path} does not exist", "check the path")
    suffix = path.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise ConfigError(
            f"{path} is of a kind that is not read ({suffix})", "convert it to JPEG, PNG or TIFF"
        )
    if suffix not in IMAGE_SUFFIXES:
        raise ConfigError(
            f"{path} is not a still image ({', '.join(IMAGE_SUFFIXES)})",
            f"for a video use: edgecrack stream --source {path}",
        )
    if problem := why_not(path, suffix, None):
        raise SourceError(f"{path} {problem[0]}", problem[1])
    return _Found(path, None, PurePosixPath(path.stem), suffix)


def _below(folder: Path, out: Path, refused: list[Unreadable]) -> Iterator[_Found]:
    """The images in a folder and all folders below it; hidden ones and results are left out."""
    home = folder.resolve()

    def fail(error: OSError) -> None:
        raise SourceError(
            f"cannot read the folder {error.filename}: {error.strerror}", "change its permissions"
        ) from error

    results = out.resolve() if out.exists() else None
    for place, folders, files in os.walk(folder, onerror=fail):
        here = Path(place)
        if results is not None and here != folder and here.resolve() == results:
            folders.clear()
            continue
        folders[:] = sorted((name for name in folders if name[0] != "."), key=natural_key)
        written = _written_in(here)
        for name in sorted((name for name in files if name[0] != "."), key=natural_key):
            path, suffix = here / name, Path(name).suffix.lower()
            if suffix not in (*IMAGE_SUFFIXES, *OTHER_SUFFIXES) or path in written:
                continue
            if problem := why_not(path, suffix, home):
                refused.append(Unreadable(path, *problem))
                continue
            relative = path.relative_to(folder)
            yield _Found(path, None, PurePosixPath(relative.with_suffix("").as_posix()), suffix)


def _written_in(folder: Path) -> frozenset[Path]:
    """The files that an earlier run of ours wrote into a folder or one below it."""
    found: set[Path] = set()
    for place in (folder, *list(folder.parents)[:3]):
        try:
            lines = (place / LEDGER_NAME).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            try:
                found.add(place / str(json.loads(line)))
            except ValueError:  # torn by a kill
                continue
    return frozenset(found)


def _identity(found: _Found) -> str:
    return found.address or str(found.path and found.path.resolve())


def _fit(stem: str) -> str:
    """A stem without what is no part of a file's name."""
    return "".join("_" if one in "/\\\0" else one for one in stem)[:_LONGEST_NAME] or "image"


def _names(found: Sequence[_Found]) -> list[str]:
    """Names of results: the stems; where two are equal, with the suffix, then with a number."""
    stems = Counter(str(one.stem).lower() for one in found)
    taken: set[str] = set()
    names = []
    for one in found:
        stem = str(one.stem)
        is_shared = stems[stem.lower()] > 1
        base = f"{stem}_{one.suffix[1:]}" if is_shared and one.suffix else stem
        name, serial = base, 2
        while name.lower() in taken or (name != stem and name.lower() in stems):
            name, serial = f"{base}_{serial}", serial + 1
        taken.add(name.lower())
        names.append(name)
    return names

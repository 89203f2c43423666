"""The input images of a command: files, folders, patterns, lists and web addresses.

Only folders, lists and addresses are opened.
"""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from edgecrack.errors import ConfigError, SourceError
from edgecrack.files import natural_key
from edgecrack.images.decoding import IMAGE_SUFFIXES, OTHER_SUFFIXES, UnreadableImageError
from edgecrack.outside_text import parse_json
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME
from edgecrack.runtime.sources.base import Unreadable
from edgecrack.runtime.sources.folder import why_not
from edgecrack.runtime.sources.http_connection import READ_ERRORS, connect
from edgecrack.terminal.redaction import redact

_LARGEST_DOWNLOAD_BYTES = 512 * 2**20


def downloaded(address: str, timeout_ms: int) -> bytes:
    """Download an address.

    Raises:
        UnreadableImageError: the download fails or is too large.
    """
    try:
        connection = connect(address, timeout_ms)
    except SourceError as error:
        why = error.problem.rpartition(": ")[2]
        raise UnreadableImageError(f"cannot be downloaded: {why}", error.remedy) from error
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            connection.deadline_s = time.monotonic() + timeout_ms / 1000
            part = connection.read()
            if not part:
                return b"".join(parts)
            size += len(part)
            if size > _LARGEST_DOWNLOAD_BYTES:
                raise UnreadableImageError(
                    f"is larger than {_LARGEST_DOWNLOAD_BYTES >> 20} MiB", "download it first"
                )
            parts.append(part)
    except READ_ERRORS as error:
        raise UnreadableImageError("was downloaded only in part", "try again") from error
    finally:
        connection.close()


# Kinds of `NAME.KIND.png`.
RESULT_KINDS = ("prob", "mask", "overlay")
_LIST = "@"
_ADDRESSES = ("http://", "https://")
_PATTERN = frozenset("*?[")
_SHOWN_CHARACTERS = 80
# Most file systems allow 255 bytes; the rest is for suffixes, also those of temporary files.
_LONGEST_NAME_BYTES = 180
_RESULT_ENDINGS = tuple(f".{kind}.png" for kind in RESULT_KINDS)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One input image.

    Attributes:
        path: image file; None for an address.
        address: `http://...`; None for a file.
        name: relative path of its results without suffix; unique among the inputs, even if case is
            ignored. For an image in a folder it includes the subfolders.
    """

    path: Path | None
    address: str | None
    name: str

    @property
    def source(self) -> str:
        """Its path or address, without credentials."""
        return redact(self.address) if self.address is not None else str(self.path)

    @property
    def is_known_by_source(self) -> bool:
        """Whether `source` is unique because it omits no credentials."""
        return self.address is None or self.source == self.address


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path | None
    address: str | None
    stem: PurePosixPath
    suffix: str


def find_images(words: Sequence[str], out: Path) -> tuple[list[ImageInput], list[Unreadable]]:
    """Find the images named on a command line, each once, and the pictures that cannot be read.

    Args:
        words: image files; folders, with all folders below them, in natural order; patterns such
            as `photos/**/*.jpg`; `@list.txt`, a file with one of these per line; `http://`
            and `https://` addresses.
        out: folder of the results; results of an earlier run are not input.

    Raises:
        SourceError: a word matches nothing, or no image is left.
        ConfigError: a word names a file that is not an image.
    """
    found: list[_Found] = []
    refused: list[Unreadable] = []
    written = _Written()
    for word in _words(words):
        try:
            found += _of_word(word, out, refused, written)
        except (OSError, ValueError) as error:  # too long, a zero byte, a broken address
            why = getattr(error, "strerror", None) or str(error)
            raise SourceError(
                f"{redact(word)[:_SHOWN_CHARACTERS]!r} cannot be searched for: {why}",
                "check the path or address",
            ) from error
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


def with_earlier_names(
    inputs: Sequence[ImageInput], earlier: Sequence[tuple[str, str]]
) -> list[ImageInput]:
    """Rename inputs so that none overwrites the results of another image of an earlier run.

    Args:
        inputs: from `find_images`.
        earlier: source and name of each image of the earlier run; an image of that run keeps its
            name.
    """
    names: dict[str, list[str]] = {}
    for source, name in earlier:
        names.setdefault(source, []).append(name)
    kept = [known.pop(0) if (known := names.get(one.source)) else None for one in inputs]
    taken = {name.lower() for _, name in earlier}
    renamed = []
    for one, before in zip(inputs, kept, strict=True):
        name, serial = before or one.name, 2
        while before is None and name.lower() in taken:
            name, serial = f"{one.name}_{serial}", serial + 1
        taken.add(name.lower())
        renamed.append(replace(one, name=name))
    return renamed


def _words(words: Sequence[str]) -> Iterator[str]:
    """The words, with lists replaced by their entries."""
    for word in words:
        if not word.startswith(_LIST) or os.path.exists(word):  # noqa: PTH110 - of any length
            yield word
            continue
        path = Path(word[len(_LIST) :])
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise SourceError(
                f"the list {path} cannot be read: {why}",
                "give a text file with one path per line",
            ) from error
        stripped = (line.strip() for line in lines)
        yield from (line for line in stripped if line and not line.startswith("#"))


def _of_word(
    word: str, out: Path, refused: list[Unreadable], written: _Written
) -> Iterable[_Found]:
    if word.lower().startswith(_ADDRESSES):
        place = PurePosixPath(unquote(urlsplit(word).path))
        return [
            _Found(None, word, PurePosixPath(_fit(place.stem or "image")), place.suffix.lower())
        ]
    if "://" in word:
        raise ConfigError(
            f"{redact(word)} is not an image address",
            "give http:// or https://, or for a camera or video use: edgecrack stream",
        )
    path = Path(word)
    if path.is_dir():
        return _below(path, out, refused, written)
    if path.exists() or not _PATTERN & set(word):
        return [_of_file(path, written)]
    matches = sorted(glob.glob(word, recursive=True), key=natural_key)  # noqa: PTH207 - of any root
    if not matches:
        raise SourceError(f"nothing matches the pattern {word}", "check the pattern")
    found: list[_Found] = []
    for match in map(Path, matches):
        is_picture = match.suffix.lower() in IMAGE_SUFFIXES
        if match.is_file() and is_picture and match not in written:
            found.append(_of_file(match, written))
    return found


def _of_file(path: Path, written: _Written) -> _Found:
    shown = redact(str(path))  # may be a mistyped address
    if not path.exists():
        raise SourceError(f"{shown} does not exist", "check the path")
    suffix = path.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise ConfigError(
            f"{shown} is of an unsupported kind ({suffix})", "convert it to JPEG, PNG or TIFF"
        )
    if suffix not in IMAGE_SUFFIXES:
        raise ConfigError(
            f"{shown} is not a still image ({', '.join(IMAGE_SUFFIXES)})",
            f"for a video use: edgecrack stream --source {shown}",
        )
    if problem := why_not(path, suffix, None):
        raise SourceError(f"{shown} {problem[0]}", problem[1])
    if path in written:
        raise ConfigError(f"{shown} is the result of an earlier run", "give the photo it came from")
    return _Found(path, None, PurePosixPath(path.stem), suffix)


def _below(
    folder: Path, out: Path, refused: list[Unreadable], written: _Written
) -> Iterator[_Found]:
    """The images in a folder and its subfolders, without hidden files and results."""
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
        ours = written.below(here.resolve())
        for name in sorted((name for name in files if name[0] != "."), key=natural_key):
            path, suffix = here / name, Path(name).suffix.lower()
            if suffix not in (*IMAGE_SUFFIXES, *OTHER_SUFFIXES) or name in ours:
                continue
            if problem := why_not(path, suffix, home):
                refused.append(Unreadable(path, *problem))
                continue
            relative = path.relative_to(folder)
            yield _Found(path, None, PurePosixPath(relative.with_suffix("").as_posix()), suffix)


class _Written:
    """The files written by earlier runs, from the ledgers in their folders."""

    def __init__(self) -> None:
        self._ledgers: dict[Path, frozenset[Path]] = {}

    def __contains__(self, path: Path) -> bool:
        place = path.parent.resolve()
        return path.name in self.below(place)

    def below(self, place: Path) -> frozenset[str]:
        """Their names in a folder, given as an absolute path without links."""
        listed = (self._ledger(folder) for folder in (place, *place.parents))
        return frozenset(path.name for ledger in listed for path in ledger if path.parent == place)

    def _ledger(self, folder: Path) -> frozenset[Path]:
        if folder not in self._ledgers:
            self._ledgers[folder] = frozenset(_written_by(folder))
        return self._ledgers[folder]


def _written_by(folder: Path) -> Iterator[Path]:
    try:
        lines = (folder / LEDGER_NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        try:
            yield folder / str(parse_json(line))
        except ValueError:  # torn by a kill
            continue


def _identity(found: _Found) -> str:
    return found.address or str(found.path and found.path.resolve())


def _fit(stem: str) -> str:
    """A stem with only characters that file names allow."""
    return "".join("_" if one in "/\\\0" else one for one in stem) or "image"


def _short(stem: PurePosixPath) -> str:
    """A name short enough for a file system, whose folders do not look like results."""
    *folders, last = stem.parts
    plain = [f"{one[:-4]}_png" if one.lower().endswith(_RESULT_ENDINGS) else one for one in folders]
    return "/".join(_cut(one) for one in (*plain, last))


def _cut(part: str) -> str:
    data = part.encode("utf-8", "surrogateescape")
    if len(data) <= _LONGEST_NAME_BYTES:
        return part
    digest = hashlib.sha256(data).hexdigest()[:12]
    return f"{data[: _LONGEST_NAME_BYTES - 13].decode('utf-8', 'ignore')}-{digest}"


def _names(found: Sequence[_Found]) -> list[str]:
    """Names of results: the stems; if two are equal, with the suffix, then with a number."""
    short = [_short(one.stem) for one in found]
    stems = Counter(stem.lower() for stem in short)
    taken: set[str] = set()
    names = []
    for one, stem in zip(found, short, strict=True):
        is_shared = stems[stem.lower()] > 1
        base = f"{stem}_{one.suffix[1:]}" if is_shared and one.suffix else stem
        name, serial = base, 2
        while name.lower() in taken or (name != stem and name.lower() in stems):
            name, serial = f"{base}_{serial}", serial + 1
        taken.add(name.lower())
        names.append(name)
    return names

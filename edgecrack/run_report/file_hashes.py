"""A report's files with their hashes, and the check for changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgecrack.errors import SourceError
from edgecrack.files import write_atomic
from edgecrack.outside_text import read_json

MANIFEST_NAME = "manifest.json"
_VERSION = 1
_PIECE = 1 << 20


@dataclass(frozen=True)
class Checked:
    """The result of checking a folder.

    Attributes:
        files: unchanged ones.
        changed: with other content.
        missing: not found or not readable.
    """

    files: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all files are unchanged."""
        return not self.changed and not self.missing


def write_manifest(folder: Path, files: Iterable[Path]) -> None:
    """Hash files and list them in `manifest.json`, which is written last.

    Args:
        folder: of the list; all files lie in it.
        files: in any order.

    Raises:
        OutputError: it cannot be written.
    """
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    hashes = {name: _sha256(folder / name) for name in names}
    document = {"schema_version": _VERSION, "sha256": hashes}
    write_atomic(folder / MANIFEST_NAME, json.dumps(document, indent=1) + "\n")


def verify(folder: Path) -> Checked:
    """Compare a folder's files with its list.

    Raises:
        SourceError: there is no list, or it is not valid.
    """
    path = folder / MANIFEST_NAME
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise SourceError(
            f"{folder} has no {MANIFEST_NAME}", "give the folder of a report or of measured photos"
        ) from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except ValueError as error:
        raise SourceError(f"{path} is damaged", "take it from a copy") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version not in (None, _VERSION):
        raise SourceError(
            f"{path} has schema version {version!r} instead of {_VERSION}",
            "check it with the version of edgecrack that wrote it",
        )
    listed = document.get("sha256") if isinstance(document, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise SourceError(f"{path} lists no files", "take it from a copy")
    files: list[str] = []
    changed: list[str] = []
    missing: list[str] = []
    for name, expected in sorted(listed.items()):
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            problem = f"{path} lists {name!r}, which is outside its folder"
            raise SourceError(problem, "do not trust this list")
        try:
            found = _sha256(folder / name)
        except (OSError, ValueError):  # a name may hold what no file's name can
            missing.append(name)
            continue
        (files if found == expected else changed).append(name)
    return Checked(tuple(files), tuple(changed), tuple(missing))


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(path)  # opening a pipe would wait for a writer
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()

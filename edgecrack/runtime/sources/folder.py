"""Still images as a source: a folder in natural order, or one file.

Reads one image at a time; an image that cannot be read whole is an error that names it,
never a frame that is half gray.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import SourceError
from edgecrack.images import IMAGE_SUFFIXES, UnreadableImageError, decode_image
from edgecrack.runtime.closing import ClosesItself
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.quiet import quiet_opencv
from edgecrack.runtime.sources.jpeg import END, read_head


class ImagesSource(ClosesItself):
    """Image files, one frame each.

    Args:
        paths: the files, in the order of delivery.
        name: the source's name in results.
    """

    live = False
    frame_rate_hz: float | None = None

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        quiet_opencv()
        self.name = name
        self.frame_count: int | None = len(paths)
        self._frames = list(zip(paths, unique_names(paths), strict=True))
        self._next = 0
        self.corrupt_frames = 0

    @classmethod
    def of_folder(cls, folder: Path) -> ImagesSource:
        """All images directly inside `folder`; hidden files and other types are left out.

        Raises:
            SourceError: there are none.
        """
        return cls(images_in(folder), str(folder))

    @classmethod
    def of_image(cls, path: Path) -> ImagesSource:
        """One image file."""
        return cls([path], str(path))

    def read(self) -> Frame | None:
        """The next image, or None after the last.

        Raises:
            SourceError: the next image is damaged or has vanished; reading again goes on
                with the one after it.
        """
        if self._next >= len(self._frames):
            return None
        path, name = self._frames[self._next]
        index = self._next
        self._next += 1
        data = _bytes_of(path)
        read_time_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
        return Frame(
            image=_decode(data, path),
            index=index,
            capture_time_ns=None,
            source=self.name,
            name=name,
            monotonic_ns=monotonic_ns,
            read_time_ns=read_time_ns,
            jpeg=data if _is_plain_jpeg(data) else None,
        )

    def close(self) -> None:
        """Deliver nothing more; no file is held open between reads."""
        self._next = len(self._frames)


def images_in(folder: Path) -> list[Path]:
    """The images directly inside a folder, in natural order; hidden files are left out.

    Raises:
        SourceError: there are none, or the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if _is_image(path)]
    except OSError as error:
        raise SourceError(
            f"cannot read the folder {folder}: {error.strerror}", "change its permissions"
        ) from error
    paths = sorted(found, key=lambda path: natural_key(path.name))
    if not paths:
        raise SourceError(
            f"the folder {folder} holds no images",
            f"put images ({', '.join(IMAGE_SUFFIXES)}) directly into it",
        )
    return paths


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `frame2` before `frame10`; letters compare without case."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    numbered = tuple(
        (0, int(part), part) if part.isdigit() else (1, 0, part.lower()) for part in parts
    )
    return (*numbered, (2, 0, name))


def unique_names(paths: Sequence[Path]) -> list[str]:
    """The files' stems; where two are equal (`a.jpg`, `a.png`), with the suffix: `a_jpg`."""
    stems = Counter(path.stem.lower() for path in paths)
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        is_shared = stems[path.stem.lower()] > 1
        base = f"{path.stem}_{path.suffix[1:]}" if is_shared else path.stem
        name, serial = base, 2
        # Without case, since a result may be written to a file system that ignores it.
        while name.lower() in taken or (name != path.stem and name.lower() in stems):
            name, serial = f"{base}_{serial}", serial + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"cannot read the image {path}: {error.strerror}", "check the file and its permissions"
        ) from error


def _decode(data: bytes, path: Path) -> NDArray[np.uint8]:
    try:
        return decode_image(data)
    except UnreadableImageError as error:
        raise SourceError(
            f"the image {path} {error}",
            error.remedy or "replace the file or take it out of the folder",
        ) from error


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether any reader sees in the file the picture that was decoded here, and no more."""
    head = read_head(data)
    return head is not None and head.is_plain and data.endswith(END)


def _is_image(path: Path) -> bool:
    is_hidden = path.name.startswith(".")
    return not is_hidden and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()

"""The tags of a TIFF's pictures. Knows files' heads; decodes no pixels."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import IO, Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_DIRECTORIES = 64
_BIG = (b"II+\0", b"MM\0+")
# Python's filter of warnings is one for all threads.
_filter = threading.Lock()


def read_tags(file: IO[bytes]) -> Mapping[int, Any]:
    """The tags of the first picture by their numbers, values as Pillow gives them.

    Args:
        file: open, at any place; seekable.

    Returns:
        None of them where they cannot be read.
    """
    return next(directories(file), {})


def directories(file: IO[bytes], most: int = _MOST_DIRECTORIES) -> Iterator[Mapping[int, Any]]:
    """The tags of each picture: the first, its mask, smaller versions, further pages.

    Args:
        file: open, at any place; seekable.
        most: how many are read, since damaged ones may lead to each other.
    """
    file.seek(0)
    head = file.read(8)
    if head[:4] in _BIG:
        head += file.read(8)
    place = -1
    for _ in range(most):
        with _filter, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                directory = ImageFileDirectory_v2(_known_head(head), prefix=head[:2])
                file.seek(directory.next if place < 0 else place)
                directory.load(file)
                tags, place = dict(directory), directory.next
            except Exception:  # Pillow's readers raise what they happen to stumble on
                return
        yield tags
        if place <= 0:
            return


def _known_head(head: bytes) -> bytes:
    """The head by which Pillow knows the large kind: little-endian, whatever the file is."""
    return b"II+\0" + head[4:] if head[:4] in _BIG else head

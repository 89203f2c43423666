"""The tags of a TIFF's first picture. Knows files' heads; decodes no pixels."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from typing import IO, Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BIG = (b"II+\0", b"MM\0+")
# Python's filter of warnings is one for all threads.
_filter = threading.Lock()


def read_tags(file: IO[bytes]) -> Mapping[int, Any]:
    """The tags by their numbers, values as Pillow gives them; none where they cannot be read.

    Args:
        file: open, at any place; seekable.
    """
    with _filter, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            file.seek(0)
            head = file.read(8)
            if head[:4] in _BIG:
                head += file.read(8)
            directory = ImageFileDirectory_v2(head)
            file.seek(directory.next)
            directory.load(file)
            return dict(directory)
        except Exception:  # Pillow's readers raise what they happen to stumble on
            return {}

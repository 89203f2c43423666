"""Pictures that a run kept, read again; one that is lost or damaged is no error."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def read_picture(path: Path, how: int = cv2.IMREAD_COLOR) -> Image | None:
    """A picture, uint8 [H, W, 3] BGR or as OpenCV's flag says; None where it cannot be read."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        picture = cv2.imdecode(data, how) if data.size else None
    except (OSError, ValueError, cv2.error):
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def read_gray(path: Path | None, hw: tuple[int, int]) -> Image | None:
    """A picture of a size as gray, uint8 [H, W]; None where it is lost or of another size."""
    picture = None if path is None else read_picture(path, cv2.IMREAD_GRAYSCALE)
    return picture if picture is not None and picture.shape == hw else None


@lru_cache(maxsize=8)
def ignored_in(path: Path | None, hw: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Where frames of a size are ignored, bool [H, W]; None for nowhere, and of a lost file."""
    mask = read_gray(path, hw)
    return None if mask is None else mask > 127

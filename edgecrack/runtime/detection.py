"""What a program gets for one picture, and what it may give.

The same crack pixels as the command line writes: above the threshold, without specks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, SourceError
from edgecrack.images.decoding import UnreadableImageError, decode_image
from edgecrack.runtime.frame import Region
from edgecrack.runtime.redact import redact

_FORM = "give uint8 [H, W, 3] in BGR order, as cv2.imread reads it, or the path of an image file"


@dataclass(frozen=True, slots=True)
class Detection:
    """Cracks in one picture.

    Attributes:
        probability: uint8 [H, W], 255 = certain crack.
        mask: uint8 [H, W], 255 on crack and 0 elsewhere, specks removed.
        regions: connected groups of crack pixels, largest first.
    """

    probability: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.uint8] = field(repr=False)
    regions: tuple[Region, ...]

    @property
    def crack_pixels(self) -> int:
        """Number of crack pixels in `mask`."""
        return sum(region.area_px for region in self.regions)

    @property
    def crack_ratio(self) -> float:
        """Share of the picture's pixels that are crack, 0 to 1."""
        return self.crack_pixels / self.mask.size


def picture_of(image: Any) -> NDArray[np.uint8]:
    """What a program gave as a picture: uint8 [H, W, 3], BGR.

    Args:
        image: such an array, or the path of an image file.

    Raises:
        ConfigError: it is neither.
        SourceError: the file cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        return _read(Path(image))
    if image is None:
        raise ConfigError(
            "the image is None", "check the path: cv2.imread gives None where it reads nothing"
        )
    if not isinstance(image, np.ndarray):
        raise ConfigError(f"the image is a {type(image).__name__}, not an array", _FORM)
    if image.dtype != np.uint8:
        raise ConfigError(f"the image is of {image.dtype}, not uint8", _FORM)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ConfigError(f"the image has the shape {list(image.shape)}", _FORM)
    if 0 in image.shape:
        raise ConfigError(f"the image has the shape {list(image.shape)}, without a pixel", _FORM)
    return image


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return decode_image(path.read_bytes())
    except UnreadableImageError as error:
        raise SourceError(
            f"the image {redact(str(path))} {error}", error.remedy or "give another one"
        ) from error
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        why = getattr(error, "strerror", None) or str(error)
        raise SourceError(
            f"cannot read the image {redact(str(path))}: {why}", "check the path"
        ) from error

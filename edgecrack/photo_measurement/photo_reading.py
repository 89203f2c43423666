"""Photos as frames, from the words of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecrack.errors import ConfigError, SourceError
from edgecrack.images.decoding import UnreadableImageError
from edgecrack.prediction.download import downloaded
from edgecrack.prediction.inputs import find_images
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.folder import bytes_of, read_photo
from edgecrack.runtime.sources.options import SourceOptions

_SAME_FOCAL = 0.01
_NO_RESULTS = Path("calibration")  # a folder of results that is no input; none is written here


def read_photos(words: Sequence[str]) -> list[Frame]:
    """All photos that the words mean, in their order.

    Args:
        words: image files, folders, patterns, lists and addresses, as `predict` takes them.

    Raises:
        SourceError: a word means no photo, or one cannot be read.
        ConfigError: a word is no photo.
    """
    inputs, refused = find_images(list(words), _NO_RESULTS)
    if refused:
        raise SourceError(f"{refused[0].path} {refused[0].problem}", refused[0].remedy)
    options = SourceOptions()
    frames = []
    for number, one in enumerate(inputs):
        try:
            data = (
                bytes_of(one.path)
                if one.path is not None
                else downloaded(one.address or "", options.timeout_ms)
            )
            frames.append(
                read_photo(
                    data, index=number, name=one.name, source=one.source, options=options,
                    path=one.path,
                )
            )  # fmt: skip
        except UnreadableImageError as error:
            raise SourceError(
                f"{one.source} {error}", error.remedy or "leave it out, or replace the file"
            ) from error
    return frames


def one_focal_mm(frames: Sequence[Frame]) -> float | None:
    """The focal length at which photos were taken, by their EXIF data; None where none says.

    Raises:
        ConfigError: two say another.
    """
    said = [
        (frame.source, frame.photo.focal_mm)
        for frame in frames
        if frame.photo is not None and frame.photo.focal_mm is not None
    ]
    for source, focal_mm in said[1:]:
        if abs(focal_mm / said[0][1] - 1) > _SAME_FOCAL:
            raise ConfigError(
                f"{said[0][0]} was taken at a focal length of {said[0][1]:g} mm and {source} at "
                f"{focal_mm:g} mm",
                "give photos of one zoom",
            )
    return said[0][1] if said else None

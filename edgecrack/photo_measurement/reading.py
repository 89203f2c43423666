"""Photos as frames, from the words of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecrack.errors import SourceError
from edgecrack.images.decoding import UnreadableImageError
from edgecrack.prediction.download import downloaded
from edgecrack.prediction.inputs import find_images
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.folder import bytes_of, read_photo
from edgecrack.runtime.sources.options import SourceOptions

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

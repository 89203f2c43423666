"""Read photos with their metadata, and evaluate the check sheet in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, MissingDependencyError, SourceError
from edgecrack.images.decoding import RefusedImageError, UnreadableImageError
from edgecrack.images.kinds import opened
from edgecrack.orthomosaic.geotiff import Box
from edgecrack.orthomosaic.map_grid import MapGrid
from edgecrack.orthomosaic.raster import is_georeferenced, reading
from edgecrack.prediction.inputs import ImageInput, downloaded, find_images
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.folder import bytes_of, read_photo
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.scale.choice import ScaleConfig
from edgecrack.scale.quantity import Quantity, parse_quantity
from edgecrack.scale.scale import Scale
from edgecrack.site_check.sheet_reading import (
    SheetPlacement,
    checked_readings,
    print_size,
    read_placed,
)

NOT_CHECKED = "not checked on site"
PASSED, FAILED = "passed", "failed"


@dataclass(frozen=True)
class Readings:
    """The user's readings from the printed sheet.

    Attributes:
        gauge: crack gauge readings by printed width.
        bar_mm: length of the bar; None if not measured.
    """

    gauge: Mapping[float, Quantity] = field(default_factory=dict)
    bar_mm: Quantity | None = None


def parse_readings(gauge: Sequence[str], bar: str | None) -> Readings:
    """Parse the values of `--gauge` and `--bar`: `0.4=0.38+-0.01` and `100.2+-0.2mm`.

    Raises:
        ConfigError: a value is invalid.
    """
    found: dict[float, Quantity] = {}
    for text in gauge:
        stated, equals, read = text.partition("=")
        try:
            width_mm = float(stated)
        except ValueError:
            width_mm = float("nan")
        if not equals or not np.isfinite(width_mm):
            raise ConfigError(
                f"the gauge reading is {text!r}",
                "give the width printed on the sheet and your reading: 0.4=0.38+-0.01",
            )
        found[width_mm] = parse_quantity(read, "the gauge reading", ("", "mm"), most=20.0)
    length = None if bar is None else parse_quantity(bar, "the bar", ("", "mm"), most=1000.0)
    print_size(length)
    return Readings(checked_readings(found), length)


def check_photo(
    image: NDArray[np.uint8], sheet: SheetPlacement, scale: Scale | None, readings: Readings
) -> dict[str, Any] | None:
    """Evaluate the check sheet in a photo; None without a scale."""
    if scale is None:
        return None
    check = read_placed(image, sheet, scale, readings.gauge, bar_mm=readings.bar_mm)
    return {**check.to_dict(), "sentences": check.sentences()}


def site_record(photos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The site check record of a run: passed if there were checks and all passed."""
    checks = [
        {"photo": photo["name"], "passed": photo["site_check"]["passed"]}
        for photo in photos
        if photo["site_check"] is not None
    ]
    if not checks:
        return {"status": NOT_CHECKED, "photos": []}
    passed = all(check["passed"] for check in checks)
    return {"status": PASSED if passed else FAILED, "photos": checks}


_SAME_FOCAL = 0.01
_NO_RESULTS = Path("calibration")  # a results folder that is not an input; nothing is written there


@dataclass(frozen=True)
class PhotoFile:
    """A photo and its file.

    Attributes:
        frame: the photo.
        data: bytes of its file.
        grid: map coordinates of its pixels; None if unknown.
    """

    frame: Frame
    data: bytes
    grid: MapGrid | None

    def scale(self, config: ScaleConfig) -> Scale | None:
        """Its scale; None if none was requested and its metadata has none.

        Raises:
            ConfigError: the requested scale does not apply to it.
        """
        _check_coding(self.data)
        return config.of_image(self.frame.image, self.frame.photo, self.grid)


def read_photos(words: Sequence[str]) -> list[Frame]:
    """Read all photos that the arguments match, in order.

    Args:
        words: image files, folders, patterns, lists and addresses, as for `predict`.

    Raises:
        SourceError: an argument matches no photo, or one cannot be read.
        ConfigError: an argument is not a photo.
    """
    inputs, refused = find_images(list(words), _NO_RESULTS)
    if refused:
        raise SourceError(f"{refused[0].path} {refused[0].problem}", refused[0].remedy)
    options = SourceOptions()
    frames = []
    for number, one in enumerate(inputs):
        try:
            data = _bytes(one, options)
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
    """The common focal length of photos from their EXIF data; None if none states it.

    Raises:
        ConfigError: two photos differ.
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
                "give photos taken at one zoom setting",
            )
    return said[0][1] if said else None


def _bytes(one: ImageInput, options: SourceOptions) -> bytes:
    if one.path is not None:
        return bytes_of(one.path)
    return downloaded(one.address or "", options.timeout_ms)


def suffix_of(one: ImageInput) -> str:
    """File suffix for a copy of a photo."""
    written = one.path.suffix if one.path is not None else Path(one.address or "").suffix
    return written.lower() if written and len(written) < 6 else ".image"


def read_file(one: ImageInput, options: SourceOptions) -> PhotoFile:
    """Read a photo, or a map small enough to be treated as one.

    Args:
        one: the photo.
        options: image size limit, and whether a photo's location is kept.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    data = _bytes(one, options)
    mapped = data if one.path is None else one.path
    if is_georeferenced(mapped):
        frame, grid = _map(one, mapped, options)
        return PhotoFile(frame, data, grid)
    frame = read_photo(
        data, index=0, name=one.name.rpartition("/")[2], source=one.source,
        options=options, path=one.path,
    )  # fmt: skip
    return PhotoFile(frame, data, None)


def _check_coding(data: bytes) -> None:
    """Refuse millimetres for photos without the usual 8-bit tone coding.

    Raises:
        ConfigError: a pixel has more than 8 bits.
    """
    mode = ""
    with suppress(Exception), opened(data) as image:  # unreadable files are reported elsewhere
        mode = image.mode
    if mode.startswith(("I", "F")):
        raise ConfigError(
            "the photo has more than 8 bits a pixel, and their tone curve is not known",
            "export it with 8 bits as the camera shows it",
        )


def _map(one: ImageInput, picture: Path | bytes, options: SourceOptions) -> tuple[Frame, MapGrid]:
    """Read a georeferenced image that is small enough to be one photo."""
    try:
        with reading(picture) as orthomosaic:
            height, width = orthomosaic.hw
            if height * width > options.max_megapixels * 1e6:
                raise RefusedImageError(
                    f"is a map of {width}x{height} pixels, which is too large to be measured whole",
                    "cut out the part to be measured, or raise `max_megapixels`",
                )
            pixels = np.ma.getdata(orthomosaic.read(Box(0, 0, width, height)))
    except MissingDependencyError as error:
        raise RefusedImageError(f"is a map: {error.problem}", error.remedy) from error
    if pixels.dtype != np.uint8:
        raise RefusedImageError(
            "is a 16-bit map", "export it with 8 bits, with the camera's tone curve"
        )
    image = np.ascontiguousarray(pixels, np.uint8)
    if image.ndim == 2:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    frame = Frame(
        image=image, index=0, capture_time_ns=None, source=one.source,
        name=one.name.rpartition("/")[2], path=one.path,
    )  # fmt: skip
    return frame, orthomosaic.grid

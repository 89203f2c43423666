"""Measure the cracks of one or thousands of photos and write the results.

    out/cracks.json         all cracks and photos; edgecrack/schemas/cracks.schema.json
    out/cracks.csv          one row per crack
    out/NAME.jpg            the original photo, in any format
    out/NAME.measured.jpg   the photo with its cracks drawn and numbered
    out/NAME.crack-3.png    the width along crack 3
    out/manifest.json       SHA-256 of each of these; written last

All scales are determined before anything is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack import __version__
from edgecrack.errors import (
    ConfigError,
    EdgecrackError,
    OutputError,
    SourceError,
)
from edgecrack.files import write_atomic
from edgecrack.images.decoding import UnreadableImageError
from edgecrack.measurement.cracks import measure_image
from edgecrack.measurement.fitness import assess
from edgecrack.measurement.severity import SeverityTable
from edgecrack.measurement.smallest_width import smallest_measurable_px
from edgecrack.photo_measurement.crack_records import (
    CRACKS_SCHEMA_VERSION,
    MeasuredCrack,
    Units,
    crack_record,
    fitness_record,
    measured_crack,
    only,
    scale_record,
    smallest_record,
    table_of,
)
from edgecrack.photo_measurement.drawing import draw_measured, plot_widths
from edgecrack.photo_measurement.photo_reading import (
    Readings,
    check_photo,
    read_file,
    site_record,
    suffix_of,
)
from edgecrack.prediction.inputs import ImageInput, find_images
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.output_place import Existing, take_place
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.choice import ScaleConfig
from edgecrack.scale.scale import Scale
from edgecrack.site_check.sheet_reading import find_sheet
from edgecrack.terminal.native_logs import silence_native_logs

CRACKS_NAME, TABLE_NAME, MANIFEST_NAME = "cracks.json", "cracks.csv", "manifest.json"
_DRAWN, _PLOT = ".measured.jpg", ".crack-{}.png"
_PATTERNS = (CRACKS_NAME, TABLE_NAME, MANIFEST_NAME, f"**/*{_DRAWN}", "**/*.crack-*.png")
_DRAWN_QUALITY = 92
# Crack networks on a road would make hundreds.
_MOST_PLOTS = 30
_AROUND_PX = 9  # around a crack, where the surface does not count as clean


@dataclass(frozen=True)
class MeasureConfig:
    """How photos are measured, and what is written.

    Attributes:
        out: results folder; created if it does not exist.
        scale: how the scale is determined.
        readings: user readings from the check sheet, if one is in view.
        table: severity table; None omits the severity.
        units: units of the table, drawings and plots; `cracks.json` is always metric.
        decimal_comma: whether the table uses decimal commas.
        plots: whether to plot the width along each crack; needs matplotlib.
        ignore: areas that are not inspected; None inspects everything.
        options: image size limit, and whether a photo's location is kept.
        existing: handling of earlier results in `out`: "beside" or "overwrite".
    """

    out: Path
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    readings: Readings = field(default_factory=Readings)
    table: SeverityTable | None = None
    units: Units = "metric"
    decimal_comma: bool = False
    plots: bool = True
    ignore: IgnoreMask | None = None
    options: SourceOptions = field(default_factory=SourceOptions)
    existing: Existing = "beside"


@dataclass(frozen=True)
class MeasuredPhoto:
    """The measurements from a photo.

    Attributes:
        name: name of its results, relative to the folder.
        source: its path or address, without credentials.
        cracks: longest first.
        scale: None if there is none.
        verdict: what it is fit for.
        site: result of the check sheet in sentences; empty if none is in view.
        note: why there are no millimetres or widths, as a clause; empty if there are.
        number: photo number, from 1.
        of: number of photos.
    """

    name: str
    source: str
    cracks: tuple[MeasuredCrack, ...]
    scale: Scale | None
    verdict: str
    site: tuple[str, ...]
    note: str
    number: int
    of: int


@dataclass(frozen=True)
class MeasuredBatch:
    """The result of a run.

    Attributes:
        folder: where the results are.
        photos: the measured photos.
        problems: source and problem of each photo that could not be read, or for which the given
            scale does not apply.
        site: result of the site check: `PASSED`, `FAILED` or `NOT_CHECKED`.
        note: where the results are, if not in the requested folder; otherwise empty.
    """

    folder: Path
    photos: tuple[MeasuredPhoto, ...]
    problems: tuple[tuple[str, str], ...]
    site: str
    note: str


def measure_photos(
    detector: CrackDetector,
    words: Sequence[str | Path],
    config: MeasureConfig,
    on_photo: Callable[[MeasuredPhoto], None] = lambda photo: None,
) -> MeasuredBatch:
    """Detect and measure the cracks in photos, and write the results.

    Args:
        detector: an open model.
        words: image files, folders, patterns, lists and addresses, as for `predict`.
        config: how to measure, and what to write.
        on_photo: called for each photo once its files are written.

    Raises:
        SourceError: an argument matches no photo, or no photo could be read.
        ConfigError: an argument is not a photo, or the given scale applies to none of them.
        MissingDependencyError: plots are requested and matplotlib is not installed.
        OutputError: a result cannot be written.
    """
    silence_native_logs()
    inputs, refused = find_images([str(word) for word in words], config.out)
    problems = [(str(one.path), one.problem) for one in refused]
    scaled = _with_scale(inputs, config, problems)
    place = take_place(config.out, (*_PATTERNS, *_copies(scaled)), config.existing)
    run = _Run(detector, config, place.folder)
    photos = []
    try:
        place.folder.clear()
        for number, each in enumerate(scaled, 1):
            one = each.photo
            try:
                photo = run.one(each, number, len(scaled))
            except (UnreadableImageError, ConfigError) as error:  # of this photo alone
                problem = error.problem if isinstance(error, ConfigError) else str(error)
                problems.append((one.source, problem))
                continue
            except (MemoryError, cv2.error) as error:
                if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
                    raise
                problems.append((one.source, "does not fit into memory"))
                continue
            photos.append(photo)
            on_photo(photo)
        site = run.finish()
    finally:
        place.folder.unlock()
    return MeasuredBatch(place.folder.path, tuple(photos), tuple(problems), site, place.note)


@dataclass(frozen=True)
class _Scaled:
    """A readable photo and its scale.

    Attributes:
        photo: the photo.
        scale: None if there is none.
        problem: why a requested scale is missing; otherwise empty.
    """

    photo: ImageInput
    scale: Scale | None
    problem: str = ""


def _with_scale(
    inputs: Sequence[ImageInput], config: MeasureConfig, problems: list[tuple[str, str]]
) -> list[_Scaled]:
    """The readable photos with their scales, and the problems of photos and scales.

    Raises:
        EdgecrackError: the first problem, if every photo has one.
    """
    found: list[_Scaled] = []
    first: EdgecrackError | None = None
    for one in inputs:
        try:
            photo = read_file(one, config.options)
        except UnreadableImageError as error:
            problem = SourceError(f"{one.source} {error}", error.remedy or "replace the file")
            problems.append((one.source, str(error)))
            first = first or problem
            continue
        try:
            found.append(_Scaled(one, photo.scale(config.scale)))
        except ConfigError as error:
            problems.append((one.source, error.problem))
            first = first or ConfigError(f"{one.source}: {error.problem}", error.remedy)
            found.append(_Scaled(one, None, error.problem))
    if first is not None and all(each.problem for each in found):
        raise first
    return found


def _copies(scaled: Sequence[_Scaled]) -> list[str]:
    return [each.photo.name + suffix_of(each.photo) for each in scaled]


class _Run:
    """One run, for one call of `measure_photos`."""

    def __init__(
        self, detector: CrackDetector, config: MeasureConfig, folder: OutputFolder
    ) -> None:
        self._detector, self._config, self._folder = detector, config, folder
        self._cracks: list[dict[str, Any]] = []
        self._photos: list[dict[str, Any]] = []
        self._hashes: dict[str, str] = {}

    def one(self, scaled: _Scaled, number: int, of: int) -> MeasuredPhoto:
        """Measure a photo and write its own files."""
        one, scale = scaled.photo, scaled.scale
        photo = read_file(one, self._config.options)
        image = photo.frame.image
        sheet = find_sheet(image, self._camera(photo.frame.hw))
        site, covered = None, None
        if sheet is not None:
            site = check_photo(image, sheet, scale, self._config.readings)
            covered = sheet.mask(photo.frame.hw)
        probability = self._probability(photo.frame, covered)
        threshold = self._detector.threshold
        fitness = assess(image)
        cracks = tuple(
            measured_crack(
                len(self._cracks) + index,
                crack,
                scale,
                # Widths from a photo that is unfit to measure are not classified.
                self._config.table if fitness.verdict == "measure" else None,
            )
            for index, crack in enumerate(measure_image(image, probability, threshold=threshold), 1)
        )
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
        away = _away(probability, threshold)
        smallest = smallest_measurable_px(gray, away, blur_px=fitness.blur_px)
        names = {"photo": one.name + suffix_of(one), "drawing": one.name + _DRAWN}
        self._write(names["photo"], photo.data)
        drawn = draw_measured(image, cracks, scale, fitness, self._config.units)
        self._write(names["drawing"], _jpeg(drawn))
        plots = self._plots(one.name, cracks, scale)
        taken = None if photo.frame.photo is None else photo.frame.photo.to_dict()
        self._photos.append(
            {
                "name": one.name,
                "source": one.source,
                "width_px": image.shape[1],
                "height_px": image.shape[0],
                "files": {**names, "plots": plots},
                "scale": scale_record(scale, photo.frame.hw),
                "scale_problem": scaled.problem,
                "fitness": fitness_record(fitness),
                "smallest": smallest_record(smallest, scale, photo.frame.hw),
                "site_check": site,
                "taken": taken,
            }
        )
        self._cracks += [crack_record(crack, one.name) for crack in cracks]
        return MeasuredPhoto(
            one.name, one.source, cracks, scale, fitness.verdict,
            () if site is None else tuple(site["sentences"]),
            scaled.problem or fitness.reason, number, of,
        )  # fmt: skip

    def finish(self) -> str:
        """Write the files of the run as a whole; return the site check result."""
        site = site_record(self._photos)
        document = {
            "schema_version": CRACKS_SCHEMA_VERSION,
            "photos": self._photos,
            "cracks": self._cracks,
            "scale": only([photo["scale"] for photo in self._photos]),
            "fitness": only([photo["fitness"] for photo in self._photos]),
            "site_check": site,
            "severity_table": self._table(),
            "model": self._model(),
        }
        self._write(CRACKS_NAME, json.dumps(document, indent=1, allow_nan=False) + "\n")
        table = table_of(
            self._cracks,
            {photo["name"]: photo for photo in self._photos},
            self._config.units,
            str(site["status"]),
            decimal_comma=self._config.decimal_comma,
        )
        self._write(TABLE_NAME, "\ufeff" + table)
        manifest = {
            "schema_version": CRACKS_SCHEMA_VERSION,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "program": f"edgecrack {__version__}",
            "sha256": self._hashes,
        }
        self._write(MANIFEST_NAME, json.dumps(manifest, indent=1) + "\n")
        return str(site["status"])

    def _camera(self, hw: tuple[int, int]) -> CameraFile | None:
        camera = self._config.scale.camera
        if camera is None:
            return None
        try:
            return camera.of_size(hw[1], hw[0])
        except ConfigError:  # then the photo has no scale
            return None

    def _probability(self, frame: Frame, sheet: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
        ignore = self._config.ignore
        ignored = None if ignore is None else ignore.of(frame)
        found = self._detector.ignoring(ignored).probability_of(frame.image)
        return found if sheet is None else np.where(sheet, np.uint8(0), found)

    def _plots(
        self, name: str, cracks: Sequence[MeasuredCrack], scale: Scale | None
    ) -> dict[str, str]:
        if not self._config.plots:
            return {}
        plots = {}
        for found in [found for found in cracks if found.width is not None][:_MOST_PLOTS]:
            plots[str(found.number)] = name + _PLOT.format(found.number)
            picture = plot_widths(found, scale, self._config.units)
            self._write(plots[str(found.number)], picture)
        return plots

    def _table(self) -> dict[str, Any] | None:
        table = self._config.table
        if table is None:
            return None
        return {
            name: getattr(table, name)
            for name in ("id", "document", "edition", "clause", "purpose", "measure")
        }

    def _model(self) -> dict[str, Any]:
        return {
            "name": self._detector.model_name,
            "sha256": getattr(self._detector.runner.spec, "sha256", None),
            "threshold": round(self._detector.threshold, 6),
            "scales": list(self._detector.scales),
            "program": f"edgecrack {__version__}",
        }

    def _write(self, name: str, content: bytes | str) -> None:
        # File names may not be valid text in any encoding.
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        if name in self._hashes:
            raise ConfigError(
                f"two results would be called {name}", "rename the photo, or measure it separately"
            )
        path = self._folder.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {path.parent}: {error.strerror}", "give another `out`"
            ) from error
        write_atomic(self._folder.claim(name), data)
        self._hashes[name] = hashlib.sha256(data).hexdigest()


def _away(probability: NDArray[np.uint8], threshold: float) -> NDArray[np.bool_]:
    """Where the surface is clean."""
    marked = (probability >= max(1, round(255 * threshold / 2))).astype(np.uint8)
    near = cv2.dilate(marked, np.ones((2 * _AROUND_PX + 1,) * 2, np.uint8))
    return np.asarray(near == 0)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    with suppress(cv2.error):
        stored, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _DRAWN_QUALITY])
        if stored:
            return data.tobytes()
    raise OutputError(
        f"a drawing of {image.shape[1]}x{image.shape[0]} pixels does not fit into a JPEG",
        "give smaller photos",
    )

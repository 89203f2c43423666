"""Photos whose cracks are measured, one or thousands.

    out/cracks.json         all cracks and photos; edgecrack/schemas/cracks.schema.json
    out/cracks.csv          a row for each crack
    out/NAME.jpg            the photo as it was given, whatever its kind
    out/NAME.measured.jpg   the photo with its cracks drawn and numbered
    out/NAME.crack-3.png    the width along crack 3
    out/manifest.json       SHA-256 of each of these; written last

Whether each photo has a scale is known before anything is written. Knows files and results; must
not know the command line.
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
# A net of cracks on a road would make hundreds.
_MOST_PLOTS = 30
_AROUND_PX = 9  # of a crack, where the surface is not taken for clean


@dataclass(frozen=True)
class MeasureConfig:
    """How photos are measured, and what is written.

    Attributes:
        out: folder of the results; made if it does not exist.
        scale: how the scale is found.
        readings: of the check sheet, where one is in view.
        table: by which severity is told; None tells none.
        units: of the table, the drawings and the plots; `cracks.json` is always metric.
        decimal_comma: in the table.
        plots: whether the width along each crack is plotted; needs matplotlib.
        ignore: where nothing is to be inspected; None inspects everything.
        options: the largest picture, and whether a photo's place is kept.
        existing: what becomes of an earlier run's results in `out`: "beside" or "overwrite".
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
    """What was measured in a photo.

    Attributes:
        name: of its results, relative to the folder.
        source: its path or address, without credentials.
        cracks: the longest first.
        scale: None without.
        verdict: what it is fit for.
        site: what the check sheet in it says, as sentences; empty where none is in view.
        note: why there are no millimetres or widths, as a clause; empty where there are.
        number: of the photo, from 1.
        of: how many there are.
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
    """What a run did.

    Attributes:
        folder: where the results are.
        photos: that were measured.
        problems: source and what is wrong, of photos that could not be read or have no scale
            although one was given.
        site: whether the check on site passed: `site.PASSED`, `FAILED` or `NOT_CHECKED`.
        note: where the results went, if elsewhere than asked for; else empty.
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
    """Find and measure the cracks of photos, and write the results.

    Args:
        detector: an open model.
        words: image files, folders, patterns, lists and addresses, as `predict` takes them.
        config: how, and what to write.
        on_photo: told of each photo when its files are written.

    Raises:
        SourceError: a word means no photo, or not one of them could be read.
        ConfigError: a word is no photo, or the scale that was given fits none of them.
        MissingDependencyError: plots are asked for and matplotlib is not installed.
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
    """A photo that can be read, and its scale.

    Attributes:
        photo: which.
        scale: None without.
        problem: why there is none although one was asked for; empty else.
    """

    photo: ImageInput
    scale: Scale | None
    problem: str = ""


def _with_scale(
    inputs: Sequence[ImageInput], config: MeasureConfig, problems: list[tuple[str, str]]
) -> list[_Scaled]:
    """The photos that can be read; what is wrong with the others, or with scales, is noted, too.

    Raises:
        EdgecrackError: what is wrong with the first, where it is wrong with all.
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
    """One run over photos, made for one call of `measure_photos`."""

    def __init__(
        self, detector: CrackDetector, config: MeasureConfig, folder: OutputFolder
    ) -> None:
        self._detector, self._config, self._folder = detector, config, folder
        self._cracks: list[dict[str, Any]] = []
        self._photos: list[dict[str, Any]] = []
        self._hashes: dict[str, str] = {}

    def one(self, scaled: _Scaled, number: int, of: int) -> MeasuredPhoto:
        """Measure a photo and write what belongs to it alone."""
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
                # Widths of a photo that is not fit to measure are of no class.
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
        """Write what belongs to the run as a whole; whether the check on site passed."""
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
        except ConfigError:  # and so the photo has no scale
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
        # Names of files need not be text in any encoding.
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        if name in self._hashes:
            raise ConfigError(
                f"two results would be called {name}", "rename the photo, or measure it by itself"
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

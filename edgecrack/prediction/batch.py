"""Finds cracks in still images and writes pictures and one line of results per image.

    out/predict.json      the settings
    out/results.jsonl     a line per image, as soon as its files are written
    out/results.csv       the same as a table, at the end
    out/NAME.KIND.png     the pictures
    out/NAME.*.tif, NAME.cracks.gpkg    for an orthomosaic

An unreadable image also gets a line, and the run continues. A killed run can be resumed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import ConfigError, MissingDependencyError, OutputError, SourceError
from edgecrack.files import write_atomic, write_png
from edgecrack.images.decoding import RefusedImageError, UnreadableImageError
from edgecrack.measurement.regions import measure_cracks
from edgecrack.orthomosaic.passes import ENDINGS, inspect_orthomosaic
from edgecrack.orthomosaic.raster import is_georeferenced, reading
from edgecrack.outside_text import read_json
from edgecrack.prediction.inputs import (
    RESULT_KINDS,
    ImageInput,
    downloaded,
    find_images,
    with_earlier_names,
)
from edgecrack.prediction.results import (
    RESULT_SCHEMA_VERSION,
    Findings,
    LineKey,
    key_of,
    read_lines,
    result_line,
    table_of,
)
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.output_place import Existing, take_place
from edgecrack.runtime.outputs.overlay import draw_overlay
from edgecrack.runtime.outputs.sinks import JsonLines
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask
from edgecrack.runtime.sources.folder import bytes_of, read_photo
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.terminal.native_logs import silence_native_logs

KINDS = RESULT_KINDS
SETTINGS_NAME, LINES_NAME, TABLE_NAME = "predict.json", "results.jsonl", "results.csv"
_PATTERNS = (
    SETTINGS_NAME, LINES_NAME, TABLE_NAME, *(f"**/*.{kind}.png" for kind in KINDS),
    *(f"**/*{ending}" for ending in ENDINGS.values()),
)  # fmt: skip
_TOO_LARGE = ("does not fit into memory", "make it smaller, or lower `max_megapixels`")


@dataclass(frozen=True)
class PredictConfig:
    """What is written for each image, and where.

    Attributes:
        out: folder of the results; created if it does not exist.
        save: at least one of "prob", "mask" and "overlay".
        min_area_px: smaller groups of crack pixels are omitted from masks and overlays, but not
            from the probability.
        ignore: the area to ignore; None inspects everything.
        options: the largest image, and whether a photo's location is kept.
        existing: what to do with an earlier run's results in `out`: "beside" writes to `out-2`,
            "overwrite" removes them, "continue" resumes that run.
    """

    out: Path
    save: tuple[str, ...] = KINDS
    min_area_px: int = MIN_AREA_PX
    ignore: IgnoreMask | None = None
    options: SourceOptions = field(default_factory=SourceOptions)
    existing: Existing = "beside"

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.save if kind not in KINDS]
        if unknown or not self.save:
            raise ConfigError(
                f"output {unknown[0] if unknown else ''!r} is unknown",
                f"give some of: {', '.join(KINDS)}",
            )
        if self.min_area_px < 0:
            raise ConfigError(f"smallest area is {self.min_area_px} px", "give 0 or more")


@dataclass(frozen=True)
class Prediction:
    """What was found in one image, and the files written.

    Attributes:
        source: the image's path or address, without credentials.
        name: name of its results, relative to the folder.
        crack_pixels: number of crack pixels.
        crack_ratio: share of the pixels that are crack, 0 to 1.
        regions: number of connected groups of crack pixels.
        files: the files written.
        problem: why it could not be read; None if it was read.
        number: number of the image, from 1.
        of: number of images.
    """

    source: str
    name: str
    crack_pixels: int
    crack_ratio: float
    regions: int
    files: tuple[Path, ...]
    problem: str | None = None
    number: int = 1
    of: int = 1


@dataclass(frozen=True)
class WindowProgress:
    """Progress within a large image.

    Attributes:
        name: name of its results.
        number: number of the image, from 1.
        of: number of images.
        windows_done: number of windows processed.
        windows: number of windows.
    """

    name: str
    number: int
    of: int
    windows_done: int
    windows: int


@dataclass(frozen=True)
class Batch:
    """The outcome of a run over images.

    Attributes:
        folder: where the results are.
        predictions: those of this run, including unreadable images.
        done_earlier: number of images done by an earlier run.
        unreadable: source and reason of each unreadable image, also of earlier runs.
        note: where the results are, if not in the requested folder; else empty.
    """

    folder: Path
    predictions: tuple[Prediction, ...]
    done_earlier: int
    unreadable: tuple[tuple[str, str], ...]
    note: str = ""


def predict_images(
    detector: CrackDetector,
    words: Sequence[str | Path],
    config: PredictConfig,
    on_image: Callable[[Prediction], None] = lambda prediction: None,
    on_window: Callable[[WindowProgress], None] = lambda progress: None,
) -> Batch:
    """Find cracks in images and write the results.

    Args:
        detector: an open model.
        words: image files, folders, patterns, lists and addresses, as for `find_images`.
        config: what to write.
        on_image: called for each image when its files are written.
        on_window: called for each window of an orthomosaic.

    Raises:
        SourceError: a word matches no image, or none of the images could be read.
        ConfigError: a word is not an image, the ignore mask does not fit an image, or the run to
            resume had other settings.
        OutputError: a result cannot be written, or would overwrite an input.
    """
    silence_native_logs()
    inputs, refused = find_images([str(word) for word in words], config.out)
    place = take_place(config.out, _PATTERNS, config.existing)
    run = _Run(detector, config, place.folder, inputs, on_image, on_window)
    try:
        if place.goes_on:
            run.go_on()
        else:
            place.folder.clear()
            run.begin()
        for one in refused:
            run.refuse(str(one.path), one.problem, one.remedy)
        run.all_images()
    finally:
        run.close()
        place.folder.unlock()
    return run.batch(place.note)


class _Run:
    """One run over images, made for one call of `predict_images`."""

    def __init__(
        self,
        detector: CrackDetector,
        config: PredictConfig,
        folder: OutputFolder,
        inputs: Sequence[ImageInput],
        on_image: Callable[[Prediction], None],
        on_window: Callable[[WindowProgress], None],
    ) -> None:
        self._detector, self._config, self._folder = detector, config, folder
        self._inputs, self._on_image, self._on_window = list(inputs), on_image, on_window
        self._taken = {one.path.resolve() for one in inputs if one.path is not None}
        self._lines: JsonLines | None = None
        self._earlier: dict[LineKey, dict[str, Any]] = {}
        self._predictions: list[Prediction] = []
        # Source, reason and remedy, by the name of the results, or by the path if it was not tried.
        self._unreadable: dict[LineKey, tuple[str, str, str]] = {}
        self._done_earlier = 0

    def begin(self) -> None:
        """Start a folder of results."""
        path = self._folder.claim(SETTINGS_NAME)
        write_atomic(path, json.dumps(self._settings(), indent=2) + "\n")
        self._lines = JsonLines(self._folder.claim(LINES_NAME))

    def go_on(self) -> None:
        """Resume an earlier run if it had the same settings."""
        path = self._folder.path / SETTINGS_NAME
        if not path.is_file():
            self.begin()
            return
        try:
            before = read_json(path)
        except (OSError, ValueError) as error:
            raise OutputError(f"{path} cannot be read", "give another `out`") from error
        if not isinstance(before, dict):
            raise OutputError(f"{path} contains no settings", "give another `out`")
        for key, value in self._settings().items():
            if before.get(key) != value:
                raise ConfigError(
                    f"the run in {self._folder.path} had {key} {before.get(key)}, not {value}",
                    "give the same to resume it, or omit `resume`",
                )
        self._folder.remove_torn()
        lines = self._folder.path / LINES_NAME
        self._earlier = {key_of(line): line for line in read_lines(lines)}
        named = [line for line in self._earlier.values() if line["name"] is not None]
        self._inputs = with_earlier_names(
            self._inputs, [(line["source"], line["name"]) for line in named]
        )
        self._lines = JsonLines(self._folder.claim(LINES_NAME), keeps=True)

    def all_images(self) -> None:
        """Process all images that no earlier run has done."""
        for number, one in enumerate(self._inputs, 1):
            known = self._earlier.get(("name", one.name))
            if known is not None and self._is_done(one, known):
                self._done_earlier += 1
                continue
            prediction = self._one(one, number)
            self._predictions.append(prediction)
            self._on_image(prediction)
        self._write_table()
        is_any_read = any(one.problem is None for one in self._predictions)
        if self._unreadable and not is_any_read and not self._done_earlier:
            source, problem, remedy = next(iter(self._unreadable.values()))
            others = len(self._unreadable) - 1
            also = f"; nor can the {others} others be read" if others else ""
            raise SourceError(f"the image {source} {problem}{also}", remedy)

    def refuse(self, source: str, problem: str, remedy: str) -> None:
        """Record a picture that is not tried."""
        if ("source", source) not in self._earlier:
            self._append(result_line(source, None, problem=problem, remedy=remedy))
        self._unreadable["source", source] = (source, problem, remedy)

    def close(self) -> None:
        """Close the file of lines."""
        if self._lines is not None:
            self._lines.close()

    def batch(self, note: str) -> Batch:
        """The outcome so far."""
        return Batch(
            self._folder.path,
            tuple(self._predictions),
            self._done_earlier,
            tuple((source, problem) for source, problem, _ in self._unreadable.values()),
            note,
        )

    def _one(self, one: ImageInput, number: int) -> Prediction:
        began_s = time.monotonic()
        try:
            found, files = self._look_at(one, number)
        except UnreadableImageError as error:
            return self._passed_over(one, number, str(error), error.remedy or "replace the file")
        except (ConfigError, MissingDependencyError) as error:  # the others may work
            problem = f"cannot be inspected: {error.problem}"  # follows the image's name
            return self._passed_over(one, number, problem, error.remedy)
        except (MemoryError, cv2.error) as error:
            if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
                raise
            return self._passed_over(one, number, *_TOO_LARGE)
        seconds = round(time.monotonic() - began_s, 3)
        stamp = _stamp(one)
        self._append(result_line(one.source, one.name, found, stamp, files=files, seconds=seconds))
        paths = tuple(self._folder.path / name for name in files.values())
        return Prediction(
            one.source, one.name, found.crack_pixels, found.crack_ratio, len(found.regions),
            paths, None, number, len(self._inputs),
        )  # fmt: skip

    def _look_at(self, one: ImageInput, number: int) -> tuple[Findings, dict[str, str]]:
        """Find cracks in an image; return them and the files written, by kind.

        Raises:
            UnreadableImageError: it cannot be read.
            ConfigError: the ignore mask does not fit it.
            MissingDependencyError: a package needed to read it is not installed.
        """
        if one.path is not None:
            if is_georeferenced(one.path):
                return self._look_at_orthomosaic(one, one.path, number)
            data = bytes_of(one.path)
        else:
            data = downloaded(one.address or "", self._config.options.timeout_ms)
            if is_georeferenced(data):
                return self._look_at_orthomosaic(one, data, number)
        frame = read_photo(
            data,
            index=number - 1,
            name=one.name.rpartition("/")[2],
            source=one.source,
            options=self._config.options,
            path=one.path,
        )
        result = self._inspected(frame)
        return Findings.of_frame(result), self._write(one.name, result)

    def _look_at_orthomosaic(
        self, one: ImageInput, picture: Path | bytes, number: int
    ) -> tuple[Findings, dict[str, str]]:
        if self._config.ignore is not None:
            raise RefusedImageError(
                "is an orthomosaic, which cannot have an ignore mask",
                "make the area transparent in it, or give it alone",
            )
        if not self._config.options.keeps_location:
            raise RefusedImageError(
                "is an orthomosaic, whose results are map locations",
                "give it alone, without `no_location`",
            )
        kinds = (*self._config.save, "lines")
        files = {kind: one.name + ending for kind, ending in ENDINGS.items() if kind in kinds}
        for name in files.values():
            self._refuse_input(name)
        count = len(self._inputs)
        with reading(picture) as orthomosaic:
            found = inspect_orthomosaic(
                orthomosaic,
                self._detector,
                {kind: self._claim(name) for kind, name in files.items()},
                min_area_px=self._config.min_area_px,
                on_window=lambda done, windows: self._on_window(
                    WindowProgress(one.name, number, count, done, windows)
                ),
            )
            findings = Findings(
                orthomosaic.hw, found.crack_pixels, found.regions, self._detector.threshold,
                found.inspected_ratio, map=found.facts,
            )  # fmt: skip
        return findings, files

    def _passed_over(self, one: ImageInput, number: int, problem: str, remedy: str) -> Prediction:
        stamp = _stamp(one)
        line = result_line(one.source, one.name, stamp=stamp, problem=problem, remedy=remedy)
        if line != self._earlier.get(("name", one.name)):  # tried again, with the same result
            self._append(line)
        self._unreadable["name", one.name] = (one.source, problem, remedy)
        count = len(self._inputs)
        return Prediction(one.source, one.name, 0, 0.0, 0, (), problem, number, count)

    def _inspected(self, frame: Frame) -> FrameResult:
        started_ns = time.monotonic_ns()
        ignore = self._config.ignore
        ignored = None if ignore is None else ignore.of(frame)
        probability = self._detector.ignoring(ignored).probability_of(frame.image)
        elapsed_ms = (time.monotonic_ns() - started_ns) / 1e6
        threshold = self._detector.threshold
        found = measure_cracks(probability, threshold, self._config.min_area_px)
        return FrameResult(
            frame=frame,
            probability=probability,
            mask=found.mask,
            crack_pixels=found.crack_pixels,
            regions=found.regions,
            latency_ms=elapsed_ms,
            inference_ms=elapsed_ms,
            threshold=threshold,
            inspected_ratio=1.0 if ignored is None else 1.0 - ignored.ratio,
            ignored=ignored,
        )

    def _write(self, name: str, result: FrameResult) -> dict[str, str]:
        files = {}
        for kind in self._config.save:
            files[kind] = f"{name}.{kind}.png"
            self._refuse_input(files[kind])
            path = self._claim(files[kind])
            if kind == "prob":
                write_png(path, result.probability, durable=False)
            elif kind == "mask":
                write_png(path, result.mask, durable=False)
            else:
                write_png(path, draw_overlay(result), durable=False)
        return files

    def _refuse_input(self, name: str) -> None:
        path = self._folder.path / name
        if path.resolve() in self._taken:
            raise OutputError(f"{path} is an input image", "give another `out`")

    def _claim(self, name: str) -> Path:
        parent = (self._folder.path / name).parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {parent}: {error.strerror}", "give another `out`"
            ) from error
        return self._folder.claim(name)

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._lines is None:
            raise OutputError("the file of results is closed", "start a new run")
        self._lines.append(line)

    def _is_done(self, one: ImageInput, line: Mapping[str, Any]) -> bool:
        """Whether an earlier run did this very image and its results still exist."""
        if line["problem"] is not None or line["stamp"] != _stamp(one):
            return False
        if line["source"] != one.source or not one.is_known_by_source:
            return False
        files = line["files"]
        return set(self._config.save) <= set(files) and all(
            (self._folder.path / str(name)).is_file() for name in files.values()
        )

    def _settings(self) -> dict[str, Any]:
        detector, config = self._detector, self._config
        return {
            "schema_version": RESULT_SCHEMA_VERSION,
            "model": detector.model_name,
            "model_sha256": getattr(detector.runner.spec, "sha256", None),
            "threshold": round(detector.threshold, 6),
            "min_area_px": config.min_area_px,
            "scales": list(detector.scales),
            "save": list(config.save),
            "overlap_px": detector.overlap_px,
            "keeps_location": config.options.keeps_location,
            "ignore": None if config.ignore is None else config.ignore.name,
            "ignore_sha256": None if config.ignore is None else config.ignore.sha256,
        }

    def _write_table(self) -> None:
        """`results.csv` from the lines of all runs."""
        lines = read_lines(self._folder.path / LINES_NAME)
        write_atomic(self._folder.claim(TABLE_NAME), table_of(lines))


def _stamp(one: ImageInput) -> list[int] | None:
    """Size and modification time, which identify a file; None for an address."""
    if one.path is None:
        return None
    try:
        status = one.path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]

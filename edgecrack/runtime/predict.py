"""Still images, one or ten thousand: what is found in each, written beside a line that traces it.

    out/predict.json      the settings
    out/results.jsonl     a line per image, as soon as its files are written
    out/results.csv       the same as a table, at the end
    out/NAME.KIND.png     the pictures

An image that cannot be read ends nothing: it has a line, too. A run that was killed is gone on with
where it stopped. Knows files and results; must not know the command line.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.files import write_atomic, write_png
from edgecrack.images import UnreadableImageError
from edgecrack.runtime.defaults import MIN_AREA_PX
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.ignore import IgnoreMask
from edgecrack.runtime.inputs import (
    RESULT_KINDS,
    ImageInput,
    find_images,
    with_earlier_names,
)
from edgecrack.runtime.json_lines import JsonLines
from edgecrack.runtime.measure import measure_cracks
from edgecrack.runtime.output_folder import OutputFolder
from edgecrack.runtime.output_place import Existing, take_place
from edgecrack.runtime.overlay import draw_overlay
from edgecrack.runtime.quiet import quiet_opencv
from edgecrack.runtime.sources.folder import bytes_of, read_photo
from edgecrack.runtime.sources.options import SourceOptions

KINDS = RESULT_KINDS
SETTINGS_NAME, LINES_NAME, TABLE_NAME = "predict.json", "results.jsonl", "results.csv"
# Raised when a field of a line is taken away, renamed or given another meaning.
RESULT_SCHEMA_VERSION = 1
_PATTERNS = (SETTINGS_NAME, LINES_NAME, TABLE_NAME, *(f"**/*.{kind}.png" for kind in KINDS))
_TABLE = (
    "source", "name", "width", "height", "taken_at", "latitude_deg", "longitude_deg",
    "crack_pixels", "crack_ratio", "regions", "inspected_ratio", "ignored_ratio", "seconds",
    "problem",
)  # fmt: skip
_Key = tuple[str, str]
_TOO_LARGE = ("does not fit into memory", "make it smaller, or lower --max-megapixels")
_LARGEST_DOWNLOAD_BYTES = 512 * 2**20


@dataclass(frozen=True)
class PredictConfig:
    """What is written for each image, and where.

    Attributes:
        out: folder of the results; made if it does not exist.
        save: of "prob", "mask" and "overlay", at least one.
        min_area_px: groups of crack pixels smaller than this are specks and left out of masks
            and overlays, never out of the probability.
        ignore: where nothing is to be inspected; None inspects everything.
        options: the largest picture, and whether a photo's place is kept.
        existing: what becomes of an earlier run's results in `out`: "beside" goes to `out-2`,
            "overwrite" removes them, "continue" goes on with them.
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
    """What was found in one image and which files say so.

    Attributes:
        source: the image's path or address, without credentials.
        name: of its results, relative to the folder.
        crack_pixels: number of crack pixels.
        crack_ratio: share of the pixels that are crack, 0 to 1.
        regions: number of connected groups of crack pixels.
        files: written.
        problem: why it could not be read; None where it was.
        number: of the image, from 1.
        of: how many images there are.
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
class Batch:
    """What a run over images did.

    Attributes:
        folder: where the results are.
        predictions: of this run, those that could not be read included.
        done_earlier: images that an earlier run had done.
        unreadable: images that could not be read, of earlier runs, too: source and why.
        note: where the results went, if elsewhere than asked for; else empty.
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
) -> Batch:
    """Find cracks in images and write the results.

    Args:
        detector: an open model.
        words: image files, folders, patterns, lists and addresses, as `find_images` takes them.
        config: what to write.
        on_image: told of each image when its files are written.

    Raises:
        SourceError: a word means no image, or not one of the images could be read.
        ConfigError: a word is no image, the mask of what to ignore does not fit an image, or an
            earlier run is to be gone on with that had other settings.
        OutputError: a result cannot be written, or would overwrite an input.
    """
    quiet_opencv()
    inputs, refused = find_images([str(word) for word in words], config.out)
    place = take_place(config.out, _PATTERNS, config.existing)
    run = _Run(detector, config, place.folder, inputs, on_image)
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
    ) -> None:
        self._detector, self._config, self._folder = detector, config, folder
        self._inputs, self._on_image = list(inputs), on_image
        self._taken = {one.path.resolve() for one in inputs if one.path is not None}
        self._lines: JsonLines | None = None
        self._earlier: dict[_Key, dict[str, Any]] = {}
        self._predictions: list[Prediction] = []
        # By the name of the results, or of a picture that is not tried by its path: source and why.
        self._unreadable: dict[_Key, tuple[str, str]] = {}
        self._done_earlier = 0

    def begin(self) -> None:
        """Begin a folder of results."""
        path = self._folder.claim(SETTINGS_NAME)
        write_atomic(path, json.dumps(self._settings(), indent=2) + "\n")
        self._lines = JsonLines(self._folder.claim(LINES_NAME))

    def go_on(self) -> None:
        """Go on with an earlier run's folder, if that had the same settings."""
        path = self._folder.path / SETTINGS_NAME
        if not path.is_file():
            self.begin()
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{path} cannot be read", "give another --out") from error
        if not isinstance(before, dict):
            raise OutputError(f"{path} holds no settings", "give another --out")
        for key, value in self._settings().items():
            if before.get(key) != value:
                raise ConfigError(
                    f"the run in {self._folder.path} had {key} {before.get(key)}, not {value}",
                    "give the same to go on with it, or leave out --resume",
                )
        lines = self._folder.path / LINES_NAME
        self._earlier = {_key(line): line for line in read_lines(lines)}
        named = [line for line in self._earlier.values() if line["name"] is not None]
        self._inputs = with_earlier_names(
            self._inputs, [(line["source"], line["name"]) for line in named]
        )
        self._lines = JsonLines(self._folder.claim(LINES_NAME), keeps=True)

    def all_images(self) -> None:
        """Look at all images that no earlier run has done."""
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
            source, problem = next(iter(self._unreadable.values()))
            others = len(self._unreadable) - 1
            also = f"; nor can the {others} others be read" if others else ""
            raise SourceError(f"the image {source} {problem}{also}", "replace it, or give others")

    def refuse(self, source: str, problem: str, remedy: str) -> None:
        """Note a picture that is not tried."""
        if ("source", source) not in self._earlier:
            self._append(_line(source, None, problem=problem, remedy=remedy))
        self._unreadable["source", source] = (source, problem)

    def close(self) -> None:
        """Close the file of lines."""
        if self._lines is not None:
            self._lines.close()

    def batch(self, note: str) -> Batch:
        """What was done."""
        return Batch(
            self._folder.path,
            tuple(self._predictions),
            self._done_earlier,
            tuple(self._unreadable.values()),
            note,
        )

    def _one(self, one: ImageInput, number: int) -> Prediction:
        began_s = time.monotonic()
        try:
            frame = self._frame(one, number)
        except UnreadableImageError as error:
            return self._passed_over(one, number, str(error), error.remedy or "replace the file")
        except MemoryError:
            return self._passed_over(one, number, *_TOO_LARGE)
        try:
            result = self._inspected(frame)
        except ConfigError as error:  # the mask of what to ignore does not fit this one
            return self._passed_over(one, number, error.problem, error.remedy)
        except MemoryError:
            return self._passed_over(one, number, *_TOO_LARGE)
        files = self._write(one.name, result)
        seconds = round(time.monotonic() - began_s, 3)
        self._append(_line(one.source, one.name, result, _stamp(one), files=files, seconds=seconds))
        paths = tuple(self._folder.path / name for name in files.values())
        return Prediction(
            one.source, one.name, result.crack_pixels, result.crack_ratio, len(result.regions),
            paths, None, number, len(self._inputs),
        )  # fmt: skip

    def _passed_over(self, one: ImageInput, number: int, problem: str, remedy: str) -> Prediction:
        line = _line(one.source, one.name, stamp=_stamp(one), problem=problem, remedy=remedy)
        if line != self._earlier.get(("name", one.name)):  # tried again, to the same end
            self._append(line)
        self._unreadable["name", one.name] = (one.source, problem)
        count = len(self._inputs)
        return Prediction(one.source, one.name, 0, 0.0, 0, (), problem, number, count)

    def _frame(self, one: ImageInput, number: int) -> Frame:
        if one.path is not None:
            data = bytes_of(one.path)
        else:
            data = _downloaded(one.address or "", self._config.options.timeout_ms)
        name = one.name.rpartition("/")[2]
        return read_photo(
            data,
            index=number - 1,
            name=name,
            source=one.source,
            options=self._config.options,
            path=one.path,
        )

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
            path = self._folder.path / files[kind]
            if path.resolve() in self._taken:
                raise OutputError(f"{path} is an input image", "give another --out")
            path = self._claim(files[kind])
            if kind == "prob":
                write_png(path, result.probability, durable=False)
            elif kind == "mask":
                write_png(path, result.mask, durable=False)
            else:
                write_png(path, draw_overlay(result), durable=False)
        return files

    def _claim(self, name: str) -> Path:
        parent = (self._folder.path / name).parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {parent}: {error.strerror}", "give another --out"
            ) from error
        return self._folder.claim(name)

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._lines is None:
            raise OutputError("the file of results is closed", "start a new run")
        self._lines.append(line)

    def _is_done(self, one: ImageInput, line: Mapping[str, Any]) -> bool:
        """Whether an image is the one that an earlier run did, and its results are there."""
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
        """`results.csv` from the lines of all runs; the last of an image counts."""
        lines = {_key(line): line for line in read_lines(self._folder.path / LINES_NAME)}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_TABLE)
        for line in lines.values():
            known = {**(line["photo"] or {}), **line}
            writer.writerow(["" if known.get(name) is None else known[name] for name in _TABLE])
        write_atomic(self._folder.claim(TABLE_NAME), text.getvalue())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a `results.jsonl`; nothing where there is none."""
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read: {error.strerror}", "give another --out"
        ) from error
    for line in content.splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # torn by a kill
            continue
        if isinstance(record, dict) and _is_whole(record):
            yield record


def _is_whole(record: Mapping[str, Any]) -> bool:
    return (
        set(_line("", "")) <= set(record)
        and isinstance(record["source"], str)
        and isinstance(record["name"], str | None)
        and isinstance(record["files"], dict)
        and isinstance(record["photo"], dict | None)
    )


def _key(line: Mapping[str, Any]) -> _Key:
    """By what a line is known: the name of its results, or of a picture that is not tried its path.

    Two addresses may look the same when what is secret in them is left out.
    """
    name = line["name"]
    return ("source", line["source"]) if name is None else ("name", name)


def _line(
    source: str,
    name: str | None,
    result: FrameResult | None = None,
    stamp: Sequence[int] | None = None,
    *,
    files: Mapping[str, str] | None = None,
    seconds: float | None = None,
    problem: str | None = None,
    remedy: str | None = None,
) -> dict[str, Any]:
    photo = None if result is None else result.frame.photo
    facts = None if photo is None else photo.to_dict()
    return {
        "schema_version": RESULT_SCHEMA_VERSION,
        "source": source,
        "name": name,
        "stamp": None if stamp is None else list(stamp),
        "width": None if result is None else result.frame.hw[1],
        "height": None if result is None else result.frame.hw[0],
        "taken_at": None if facts is None else facts.pop("taken_at", None),
        "photo": facts,
        "crack_pixels": None if result is None else result.crack_pixels,
        "crack_ratio": None if result is None else round(result.crack_ratio, 6),
        "regions": None if result is None else len(result.regions),
        "boxes": None
        if result is None
        else [[*region.xyxy, region.area_px] for region in result.regions],
        "threshold": None if result is None else round(result.threshold, 4),
        "inspected_ratio": None if result is None else round(result.inspected_ratio, 4),
        "ignored_ratio": None if result is None else round(result.ignored_ratio, 4),
        "files": dict(files or {}),
        "seconds": seconds,
        "problem": problem,
        "remedy": remedy,
    }


def _stamp(one: ImageInput) -> list[int] | None:
    """Size and time of change, by which a file is known again; None for an address."""
    if one.path is None:
        return None
    try:
        status = one.path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _downloaded(address: str, timeout_ms: int) -> bytes:
    """What an address answers with.

    Raises:
        UnreadableImageError: nothing, or too much.
    """
    from edgecrack.runtime.sources.http_connection import READ_ERRORS
    from edgecrack.runtime.sources.http_stream import connect

    try:
        connection = connect(address, timeout_ms)
    except SourceError as error:
        why = error.problem.rpartition(": ")[2]
        raise UnreadableImageError(f"cannot be had: {why}", error.remedy) from error
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            connection.deadline_s = time.monotonic() + timeout_ms / 1000
            part = connection.read()
            if not part:
                return b"".join(parts)
            size += len(part)
            if size > _LARGEST_DOWNLOAD_BYTES:
                raise UnreadableImageError(
                    f"is larger than {_LARGEST_DOWNLOAD_BYTES >> 20} MiB", "download it first"
                )
            parts.append(part)
    except READ_ERRORS as error:
        raise UnreadableImageError("came in part only", "try again") from error
    finally:
        connection.close()

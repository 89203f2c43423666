"""Still images to crack maps, masks and overlays: what `edgecrack predict` does.

The names of results follow from the names of images: `NAME.prob.png`, `NAME.mask.png`,
`NAME.overlay.png`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.files import make_folder, write_png
from edgecrack.images import IMAGE_SUFFIXES
from edgecrack.runtime.defaults import MIN_AREA_PX
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.ignore import IgnoreMask
from edgecrack.runtime.measure import measure_cracks
from edgecrack.runtime.overlay import draw_overlay
from edgecrack.runtime.sources.folder import ImagesSource, images_in

KINDS = ("prob", "mask", "overlay")


@dataclass(frozen=True)
class PredictConfig:
    """What is written for each image, and where.

    Attributes:
        out: folder of the results; made if it does not exist.
        save: of "prob", "mask" and "overlay", at least one.
        min_area_px: groups of crack pixels smaller than this are specks and left out of masks
            and overlays, never out of the probability.
        ignore: where nothing is to be inspected; None inspects everything.
    """

    out: Path
    save: tuple[str, ...] = KINDS
    min_area_px: int = MIN_AREA_PX
    ignore: IgnoreMask | None = None

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
    """What was found in one image and which files say so."""

    name: str
    crack_pixels: int
    crack_ratio: float
    regions: int
    files: tuple[Path, ...]


def predict_images(
    detector: CrackDetector,
    paths: Sequence[Path],
    config: PredictConfig,
    on_image: Callable[[Prediction], None] = lambda prediction: None,
) -> list[Prediction]:
    """Find cracks in images and write the results.

    Args:
        detector: an open model.
        paths: image files and folders of images.
        config: what to write.
        on_image: told of each image when its files are written.

    Raises:
        SourceError: an image is missing or unreadable; results before it stay.
        ConfigError: a path is not a still image, or the mask of what to ignore does not fit an
            image; results before it stay.
        OutputError: a result cannot be written, or would overwrite an input.
    """
    files = list_images(paths)
    inputs = {file.resolve() for file in files}
    make_folder(config.out)
    predictions = []
    with ImagesSource(files, "images") as source:
        while (frame := source.read()) is not None:
            predictions.append(_predict(detector, frame, config, inputs))
            on_image(predictions[-1])
    return predictions


def list_images(paths: Sequence[Path]) -> list[Path]:
    """Image files, folders replaced by the images in them.

    Raises:
        SourceError: a path does not exist or a folder holds no images.
        ConfigError: a path is neither an image nor a folder.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path} does not exist", "check the path")
        if path.is_dir():
            files += images_in(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            files.append(path)
        else:
            raise ConfigError(
                f"{path} is not a still image ({', '.join(IMAGE_SUFFIXES)})",
                f"for a video use: edgecrack stream --source {path}",
            )
    return files


def _predict(
    detector: CrackDetector, frame: Frame, config: PredictConfig, inputs: set[Path]
) -> Prediction:
    started_ns = time.monotonic_ns()
    ignored = None if config.ignore is None else config.ignore.of(frame)
    probability = detector.ignoring(ignored).detect(frame.image)
    elapsed_ms = (time.monotonic_ns() - started_ns) / 1e6
    found = measure_cracks(probability, detector.threshold, config.min_area_px)
    result = FrameResult(
        frame=frame,
        probability=probability,
        mask=found.mask,
        crack_pixels=found.crack_pixels,
        regions=found.regions,
        latency_ms=elapsed_ms,
        inference_ms=elapsed_ms,
        inspected_ratio=1.0 if ignored is None else 1.0 - ignored.ratio,
        ignored=ignored,
    )
    files = []
    for kind in config.save:
        path = config.out / f"{frame.name}.{kind}.png"
        if path.resolve() in inputs:
            raise OutputError(f"{path} is an input image", "give another --out")
        if kind == "prob":
            write_png(path, probability)
        elif kind == "mask":
            write_png(path, found.mask)
        else:
            write_png(path, draw_overlay(result))
        files.append(path)
    return Prediction(
        frame.name, found.crack_pixels, result.crack_ratio, len(found.regions), tuple(files)
    )

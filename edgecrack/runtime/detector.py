"""Applies a model file to whole frames: prepare, tile at each scale, infer, blend, merge."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile, read_model_file
from edgecrack.closeable import Closeable
from edgecrack.constants import MIN_AREA_PX, OVERLAP_PX
from edgecrack.errors import ConfigError, SourceError
from edgecrack.images.decoding import UnreadableImageError, decode_image
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.regions import Region, measure_cracks
from edgecrack.preprocess import prepare, without_nodata
from edgecrack.runtime.backends.base import Runner
from edgecrack.runtime.backends.open import BUNDLED_MODEL, open_runner
from edgecrack.runtime.pipeline.inspection import Effort
from edgecrack.runtime.scales import ScaledPlan, ScalesConfig, parse_merge, plan_scales
from edgecrack.runtime.tiling import TilingConfig
from edgecrack.terminal.redaction import redact

Picture: TypeAlias = "NDArray[np.uint8] | str | os.PathLike[str]"
Pictures: TypeAlias = "list[NDArray[np.uint8]] | list[str] | list[Path] | list[Picture]"

_FORM = "give uint8 [H, W, 3] in BGR order, as cv2.imread reads it, or the path of an image file"


@dataclass(frozen=True, slots=True)
class Detection:
    """Cracks in one picture.

        >>> import numpy as np
        >>> from edgecrack import open_detector
        >>> wall = np.full((256, 256, 3), 150, np.uint8)
        >>> with open_detector(threads=1) as detector:
        ...     found = detector.detect(wall)
        >>> found.mask.shape, found.crack_pixels, found.regions
        ((256, 256), 0, ())

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


class CrackDetector(Closeable):
    """Finds cracks in frames of any size; made by `open_detector`.

        >>> from edgecrack import open_detector
        >>> with open_detector(threads=1) as detector:
        ...     detector.model_name, detector.scales
        ('edgecrack-bundled.onnx', (1.0, 0.5, 0.25))

    Args:
        runner: an open model; closed with the detector.
        model_name: its name in results.
        threshold: crack probability from which a pixel counts, above 0 and below 1; None takes
            the model's own.
        overlap_px: smallest overlap of neighbouring tiles; None takes 32, less on tiny tiles.
        scales: sizes of the frame at which the network runs; None takes the model's own.

    Raises:
        ConfigError: threshold, overlap or a scale is out of range.
    """

    def __init__(
        self,
        runner: Runner,
        model_name: str,
        *,
        threshold: float | None = None,
        overlap_px: int | None = None,
        scales: tuple[float, ...] | None = None,
    ) -> None:
        if threshold is not None:
            _check_threshold(threshold)
        tile_hw = runner.spec.tile_hw
        if overlap_px is None:
            overlap_px = min(OVERLAP_PX, min(tile_hw) // 4)
        self._runner = runner
        self._tiling = TilingConfig(tile_hw, overlap_px)
        spec = runner.spec
        self._scales = ScalesConfig(
            spec.scales if scales is None else scales, parse_merge(spec.merge)
        )
        self._threshold = runner.spec.threshold if threshold is None else threshold
        self._model_name = model_name
        self._ignored: IgnoredPixels | None = None

    @property
    def overlap_px(self) -> int:
        """Smallest overlap of neighbouring tiles."""
        return self._tiling.overlap_px

    @property
    def threshold(self) -> float:
        """Decision threshold, 0 to 1."""
        return self._threshold

    @property
    def model_name(self) -> str:
        """Name of the model in results."""
        return self._model_name

    @property
    def runner(self) -> Runner:
        """The model's runner."""
        return self._runner

    @property
    def scales(self) -> tuple[float, ...]:
        """Sizes of the frame at which the network runs, as factors."""
        return self._scales.scales

    def ignoring(self, ignored: IgnoredPixels | None) -> CrackDetector:
        """This detector for frames of one size, of which a part is ignored.

            with open_detector() as detector:
                mask = read_ignore_mask(Path("arm.png"))
                detector.ignoring(mask.at(image.shape[:2])).probability_of(image)    # 0 on the arm

        The ignored part does not affect the rest, and tiles entirely in it are not run. Both
        detectors use one model, which either closes.
        """
        other = copy.copy(self)
        other._ignored = ignored
        return other

    def plan(self, frame_hw: tuple[int, int]) -> ScaledPlan:
        """The tiles of frames of a size, at all scales."""
        return self._plan(frame_hw, self._tiling)[0]

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Network input uint8 [H, W] from a BGR frame uint8 [H, W, 3].

        Masked where the frame shows nothing or is ignored, as in `edgecrack.preprocess.prepare`.
        """
        if self._ignored is None:
            return prepare(image, self._runner.spec.preprocess)
        return prepare(image, self._runner.spec.preprocess, self._ignored)

    def infer(self, prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crack probability uint8 [H, W] of a result of `prepare`, 255 = certain crack.

        It is 0 where the frame shows nothing or is ignored.
        """
        return self._infer(prepared, self._tiling)

    def tiles_of(self, frame_hw: tuple[int, int], effort: Effort) -> float:
        """Mean number of tiles that an effort inspects in a frame of a size."""
        plan, only = self._plan(frame_hw, self._tiling_of(effort))
        counts = map(len, plan.levels if only is None else only)
        return sum(max(1.0, count / effort.share) for count in counts)

    def infer_some(
        self, prepared: NDArray[np.uint8], effort: Effort, turn: int
    ) -> tuple[NDArray[np.uint8], float]:
        """Like `infer`, with less effort.

        Args:
            prepared: uint8 [H, W], of `prepare`.
            effort: what to leave out.
            turn: number of the frame, so that successive frames inspect different tiles.

        Returns:
            Crack probability uint8 [H, W], 0 where nothing was inspected; and the share of
            pixels that was, at the largest scale, 0 to 1. What is ignored was not inspected.
        """
        tiling, ignored = self._tiling_of(effort), self._ignored
        if effort.share == 1:
            return self._infer(prepared, tiling), 1.0 if ignored is None else 1.0 - ignored.ratio
        frame_hw = (prepared.shape[0], prepared.shape[1])
        plan, only = self._plan(frame_hw, tiling)
        only = plan.share(effort.share, turn, only)
        outputs = self._runner.infer(plan.cut(np.asarray(prepared), only))
        wanted = None if ignored is None else ~ignored.mask
        probability, inspected_ratio = plan.stitch_some(outputs, only, wanted)
        return without_nodata(probability, prepared), inspected_ratio

    def _infer(self, prepared: NDArray[np.uint8], tiling: TilingConfig) -> NDArray[np.uint8]:
        frame_hw = (prepared.shape[0], prepared.shape[1])
        plan, only = self._plan(frame_hw, tiling)
        probability = plan.stitch(self._runner.infer(plan.cut(np.asarray(prepared), only)), only)
        return without_nodata(probability, prepared)

    def _plan(
        self, frame_hw: tuple[int, int], tiling: TilingConfig
    ) -> tuple[ScaledPlan, list[list[int]] | None]:
        """The tiles of a frame, and which of each scale to run; None for all."""
        if self._ignored is None:
            return plan_scales(frame_hw, self._scales, tiling), None
        self._ignored.check(frame_hw)
        return _plan_around(self._ignored, self._scales, tiling)

    def _tiling_of(self, effort: Effort) -> TilingConfig:
        if effort.overlap_px is None:
            return self._tiling
        return TilingConfig(self._tiling.tile_hw, effort.overlap_px)

    def probability_of(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crack probability uint8 [H, W] of a BGR frame uint8 [H, W, 3], 255 = certain crack."""
        return self.infer(self.prepare(image))

    @overload
    def detect(
        self, image: Picture, *, threshold: float | None = None, min_area_px: int = MIN_AREA_PX
    ) -> Detection: ...

    @overload
    def detect(
        self,
        image: Pictures,
        *,
        threshold: float | None = None,
        min_area_px: int = MIN_AREA_PX,
    ) -> list[Detection]: ...

    def detect(
        self,
        image: Picture | Pictures,
        *,
        threshold: float | None = None,
        min_area_px: int = MIN_AREA_PX,
    ) -> Detection | list[Detection]:
        """Find cracks in a picture, or in each of a list, as the command line does.

        Args:
            image: uint8 [H, W, 3] in BGR order, as OpenCV reads it; or the path of an image file;
                or a list of these.
            threshold: decision threshold, above 0 and below 1; None takes the detector's own.
            min_area_px: groups of crack pixels smaller than this are specks and left out.

        Raises:
            ConfigError: the image is not such an array, or a value is out of its range.
            SourceError: the file cannot be read.
        """
        level = self.threshold if threshold is None else threshold
        _check_threshold(level)
        if min_area_px < 0:
            raise ConfigError(f"smallest area is {min_area_px} px", "give 0 or more")
        if isinstance(image, list):
            return [self.detect(each, threshold=level, min_area_px=min_area_px) for each in image]
        probability = self.probability_of(picture_of(image))
        found = measure_cracks(probability, level, min_area_px)
        return Detection(probability, found.mask, found.regions)

    def close(self) -> None:
        """Close the model."""
        self._runner.close()


def picture_of(image: Any) -> NDArray[np.uint8]:
    """A picture as uint8 [H, W, 3], BGR.

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


def _check_threshold(threshold: object) -> None:
    is_number = isinstance(threshold, float | int | np.floating)
    if not is_number or not 0 < threshold < 1:  # type: ignore[operator]
        raise ConfigError(
            f"threshold is {threshold if is_number else repr(threshold)}",
            "give a number above 0 and below 1",
        )


@lru_cache(maxsize=16)
def _plan_around(
    ignored: IgnoredPixels, scales: ScalesConfig, tiling: TilingConfig
) -> tuple[ScaledPlan, list[list[int]]]:
    """Tiles for a partly ignored frame, and which of each scale to run."""
    visible = ~ignored.mask
    whole = plan_scales((visible.shape[0], visible.shape[1]), scales, tiling)
    plan = whole.for_part(visible, tiling)
    return plan, plan.tiles_with(visible)


def open_detector(
    model: Path | ModelFile | None = None,
    *,
    threshold: float | None = None,
    overlap_px: int | None = None,
    scales: tuple[float, ...] | None = None,
    threads: int | None = None,
    backend: str | None = None,
    on_told: Callable[[str], None] = lambda text: None,
) -> CrackDetector:
    """Open a model file for use on frames.

        >>> import numpy as np
        >>> from edgecrack import open_detector
        >>> with open_detector(threshold=0.5, threads=1) as detector:
        ...     pictures = [np.full((256, 300, 3), gray, np.uint8) for gray in (90, 150)]
        ...     [found.crack_pixels for found in detector.detect(pictures)]
        [0, 0]

    Args:
        model: `*.onnx` or `*.engine` with its sidecar, or a model file already read; None opens
            the bundled model.
        threshold: as in `CrackDetector`.
        overlap_px: as in `CrackDetector`.
        scales: as in `CrackDetector`.
        threads: CPU threads; None leaves the choice to the backend.
        backend: as in `open_runner`.
        on_told: called with a sentence on which backend was chosen and why.

    Raises:
        ModelFileError: the file cannot be used.
        ConfigError: an option is out of range.
        DeviceError: an engine finds no GPU, or the GPU fails.
        MissingDependencyError: an engine finds no TensorRT, or the backend is not installed.
    """
    model = read_model_file(BUNDLED_MODEL if model is None else model)
    runner = open_runner(model, threads=threads, backend=backend, on_told=on_told)
    try:
        name = model.path.name
        return CrackDetector(
            runner, name, threshold=threshold, overlap_px=overlap_px, scales=scales
        )
    except ConfigError:
        runner.close()
        raise

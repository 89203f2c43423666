"""Detect cracks in an orthomosaic window by window, and write maps and lines.

    NAME.prob.tif       crack probability, 255 = certain; masked where nothing was inspected
    NAME.mask.tif       255 where there is a crack
    NAME.cracks.gpkg    its centre lines, with lengths
    NAME.overlay.png    a reduced image of the whole

There are three passes over the windows: the network writes probabilities while groups of crack
pixels are joined across windows; specks are dropped; lines are drawn. Memory is bounded except for
the findings.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.files import replacing, write_png
from edgecrack.images.decoding import to_8_bits
from edgecrack.images.nodata import masked_pixels
from edgecrack.measurement.centre_lines import follow, thin
from edgecrack.measurement.regions import Region
from edgecrack.metrics.counting import uint8_level
from edgecrack.orthomosaic.geopackage import MapLine, write_lines
from edgecrack.orthomosaic.geotiff import (
    Box,
    GeoTiff,
    add_overviews,
    cores,
    not_whole,
    opened,
    written,
)
from edgecrack.orthomosaic.groups import Groups
from edgecrack.orthomosaic.raster import Orthomosaic
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.outputs.overlay import TINT

ENDINGS = {
    "prob": ".prob.tif", "mask": ".mask.tif", "lines": ".cracks.gpkg", "overlay": ".overlay.png",
}  # fmt: skip
LARGEST_CORE_PX = 4096
# Covers the network's view at half and quarter size, and thinning across a wide crack.
MARGIN_PX = 256
# Shorter branches are the ragged edge of a crack.
_SPUR_PX = 12.0
_LONGEST_PICTURE_PX = 3000
_PAPER = 255

Paths = Mapping[str, Path]


@dataclass(frozen=True)
class OrthomosaicFindings:
    """The findings in an orthomosaic.

    Attributes:
        crack_pixels: number of crack pixels.
        regions: connected groups of crack pixels, largest first.
        inspected_ratio: share of the pixels with data, 0 to 1.
        facts: its location, and number and lengths of the lines.
    """

    crack_pixels: int
    regions: tuple[Region, ...]
    inspected_ratio: float
    facts: dict[str, Any]


def inspect_orthomosaic(
    orthomosaic: Orthomosaic,
    detector: CrackDetector,
    paths: Paths,
    *,
    min_area_px: int,
    on_window: Callable[[int, int], None] = lambda done, count: None,
    largest_core_px: int = LARGEST_CORE_PX,
) -> OrthomosaicFindings:
    """Detect cracks in an orthomosaic and write the results.

    Args:
        orthomosaic: an open orthomosaic.
        detector: an open model.
        paths: files to write, in one folder, by keys of `ENDINGS`; at least one.
        min_area_px: groups of crack pixels smaller than this are specks.
        on_window: called with the number of windows done and their total.
        largest_core_px: longest side of a window without its margin, a multiple of 512.

    Raises:
        DamagedImageError: the orthomosaic is damaged somewhere; nothing is written then.
        OutputError: a file cannot be written.
    """
    folder, grid = next(iter(paths.values())).parent, orthomosaic.grid
    work = _Work(orthomosaic, detector, largest_core_px)
    with ExitStack() as stack:
        scratch = {kind: stack.enter_context(_scratch(folder)) for kind in ("prob", "mask")}
        with written(scratch["prob"], grid.hw, grid.crs, grid.transform) as probability:
            work.find(probability, on_window)
        with (
            opened(scratch["prob"]) as probability,
            written(scratch["mask"], grid.hw, grid.crs, grid.transform) as mask,
        ):
            work.drop_specks(probability, mask, min_area_px)
        with opened(scratch["prob"]) as probability, opened(scratch["mask"]) as mask:
            lines = work.lines(probability, mask)
        for kind in paths.keys() & scratch.keys():
            add_overviews(scratch[kind])
            with opened(scratch[kind]) as result:
                work.check(kind, result)
        if "lines" in paths:
            scratch["lines"] = stack.enter_context(_scratch(folder))
            write_lines(scratch["lines"], lines, grid.crs)
        if "overlay" in paths:
            scratch["overlay"] = stack.enter_context(_scratch(folder))
            write_png(scratch["overlay"], work.picture)
        _publish(scratch, paths)
    return work.findings(lines)


def _publish(scratch: Paths, paths: Paths) -> None:
    """Rename all files to their final names, or none."""
    published = []
    try:
        for kind, path in paths.items():
            with replacing(path) as partial:
                scratch[kind].replace(partial)
            published.append(path)
    except BaseException:
        for path in published:
            path.unlink(missing_ok=True)
        raise


class _Work:
    """Shared state of the three passes over one orthomosaic."""

    def __init__(
        self, orthomosaic: Orthomosaic, detector: CrackDetector, largest_core_px: int
    ) -> None:
        self._orthomosaic, self._detector = orthomosaic, detector
        self.hw, self._grid = orthomosaic.hw, orthomosaic.grid
        self._rows = cores(self.hw, largest_core_px)
        self._level = uint8_level(detector.threshold)
        self._groups = Groups(self.hw[1])
        self._inspected_pixels = self._sum = 0
        self._step = 1
        while max(self.hw) > self._step * _LONGEST_PICTURE_PX:
            self._step *= 2
        height, width = (-(-side // self._step) for side in self.hw)
        self.picture = np.full((height, width, 3), _PAPER, np.uint8)

    def find(self, probability: GeoTiff, on_window: Callable[[int, int], None]) -> None:
        """Run the network on all windows."""
        count = sum(map(len, self._rows))
        for done, box in enumerate(self._boxes(), 1):
            outer = box.grown(MARGIN_PX, self.hw)
            image = self._orthomosaic.read(outer)
            inside = box.within(outer)
            found, shown = self._look(image, inside)
            self._inspected_pixels += int(np.count_nonzero(shown))
            self._sum += int(found.sum(dtype=np.int64))
            probability.write(box, found, shown)
            self._groups.add(box, self._cracks(found))
            self._show(box, np.asarray(_bgr(image)[inside]), shown)
            on_window(done, count)

    def drop_specks(self, probability: GeoTiff, mask: GeoTiff, min_area_px: int) -> None:
        """Write the mask of the groups that are large enough."""
        self._groups.finish(min_area_px)
        for box in self._boxes():
            cracks = self._cracks(probability.read(box))
            mask.write(box, self._groups.kept(box, cracks), probability.shown(box))

    def lines(self, probability: GeoTiff, mask: GeoTiff) -> list[MapLine]:
        """Trace the centre lines, and draw the cracks on the overlay."""
        pixels: list[NDArray[np.integer[Any]]] = []
        for box in self._boxes():
            outer = box.grown(MARGIN_PX, self.hw)
            whole = mask.read(outer)
            inside = box.within(outer)
            if not whole[inside].any():
                continue
            self._draw(box, whole[inside])
            rows, columns = np.nonzero(thin(whole)[inside])
            values = probability.read(box)[rows, columns]
            pixels.append(np.stack([rows + box.top, columns + box.left, values]).astype(np.int32))
        if not pixels:
            return []
        rows, columns, values = np.concatenate(pixels, axis=1)
        lines = []
        for line in follow(rows, columns, _SPUR_PX):
            if line.length_px < 1:
                continue
            certainty = float(values[line.pixels].mean()) / 255
            length_m = self._grid.length_m(line.xy)
            points = self._grid.to_map(line.simplified())
            lines.append(MapLine(points, line.length_px, length_m, certainty))
        return lines

    def check(self, kind: str, result: GeoTiff) -> None:
        """Check that a GeoTIFF contains what was written to it.

        Raises:
            OutputError: it does not.
        """
        total = shown = 0
        for box in self._boxes():
            total += int(result.read(box).sum(dtype=np.int64))
            shown += int(np.count_nonzero(result.shown(box)))
        expected = self._sum if kind == "prob" else 255 * self._crack_pixels
        if (total, shown) != (expected, self._inspected_pixels):
            raise not_whole()

    def findings(self, lines: list[MapLine]) -> OrthomosaicFindings:
        """Summarise the findings."""
        known = [line.length_m for line in lines if line.length_m is not None]
        is_known = self._grid.length_m(np.array([[0.0, 0.0], [1.0, 0.0]])) is not None
        facts = {
            **self._grid.facts(),
            "lines": len(lines),
            "length_px": round(sum(line.length_px for line in lines), 1),
            "length_m": round(sum(known), 3) if is_known else None,
        }
        inspected_ratio = self._inspected_pixels / (self.hw[0] * self.hw[1])
        return OrthomosaicFindings(self._crack_pixels, self._groups.regions, inspected_ratio, facts)

    @property
    def _crack_pixels(self) -> int:
        return sum(region.area_px for region in self._groups.regions)

    def _boxes(self) -> Iterator[Box]:
        for row in self._rows:
            yield from row

    def _look(
        self, image: NDArray[Any], inside: tuple[slice, slice]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Crack probability of a window's core, and where it has data."""
        pixels = np.asarray(image)
        declared = masked_pixels(image)
        shown = np.ones(pixels[inside].shape[:2], np.bool_)
        if declared is not None:
            shown &= ~declared[inside]
        # A window of one colour is an undeclared hole in the mosaic.
        if not shown.any() or (pixels == pixels[0, 0]).all():
            return np.zeros(shown.shape, np.uint8), np.zeros_like(shown)
        prepared = self._detector.prepare(image)
        found = self._detector.infer(prepared)[inside]
        if (margins := masked_pixels(prepared)) is not None:
            shown &= ~margins[inside]
        return np.where(shown, found, np.uint8(0)), shown

    def _cracks(self, probability: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(probability >= self._level, np.uint8(255), np.uint8(0))

    def _small(self, box: Box) -> tuple[slice, slice]:
        """Where a window is in the overlay."""
        step = self._step
        return (
            slice(box.top // step, -(-box.bottom // step)),
            slice(box.left // step, -(-box.right // step)),
        )

    def _show(self, box: Box, image: NDArray[np.uint8], shown: NDArray[np.bool_]) -> None:
        image = np.where(shown[..., None], image, np.uint8(_PAPER))
        blocks = _blocks(image, self._step)
        self.picture[self._small(box)] = blocks.mean(axis=(1, 3)).astype(np.uint8)

    def _draw(self, box: Box, mask: NDArray[np.uint8]) -> None:
        # Cracks stay visible at any size: one crack pixel colours an overlay pixel.
        is_crack = _blocks(mask, self._step).max(axis=(1, 3)) != 0
        self.picture[self._small(box)][is_crack] = TINT


def _blocks(image: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """[H / step, step, W / step, step, ...] of an image [H, W, ...], its last pixels repeated."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
    shape = (padded.shape[0] // step, step, padded.shape[1] // step, step, *image.shape[2:])
    return np.asarray(padded, np.uint8).reshape(shape)


def _bgr(image: NDArray[Any]) -> NDArray[np.uint8]:
    pixels = np.asarray(to_8_bits(image) if image.dtype == np.uint16 else image, np.uint8)
    return pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A temporary path, named like a half-written file and removed afterwards."""
    path = folder / f".edgecrack-{secrets.token_hex(6)}.tif"
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()

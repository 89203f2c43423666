"""Frames and tiles for calibration: from a labelled dataset, a folder of images, or a video.

Some frames set the ranges and others are held out to judge the result; no image is in both. Tiles
are stratified by crack and brightness, since ranges from crack-free wall alone clip the response
to a crack, and tiles of one brightness clip the others. They are seeded and hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgecrack.calibration import defaults
from edgecrack.data.datasets import CrackDataset, Sample, open_dataset
from edgecrack.data.layouts import UnknownLayoutError
from edgecrack.errors import DataError, EdgecrackError
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.runtime.scales import ScalesConfig, plan_scales
from edgecrack.runtime.sources.folder import images_in
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.tiling import TilingConfig
from edgecrack.settings import settings
from edgecrack.terminal.wording import counted

_Item = TypeVar("_Item")
MAX_FRAMES = 400
_HELD_OUT_SHARE = 1 / 3
_MEMORY_BYTES = 512 << 20  # of a video's frames, which are kept: seeking is inexact in many files


@dataclass(frozen=True, eq=False)
class CalibrationFrame:
    """One frame.

    Attributes:
        name: file or frame number.
        load: returns the image, uint8 [H, W, 3] BGR, and its labels, uint8 [H, W] with 255 on
            crack, or None without labels.
    """

    name: str
    load: Callable[[], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]


@dataclass(frozen=True, eq=False)
class CalibrationFrames:
    """Frames in two parts.

    Attributes:
        name: the folder's or file's name.
        labelled: whether the frames have labels.
        calibration: frames that set the ranges.
        held_out: frames that judge the result.
        parts: how the frames were divided, in words.
    """

    name: str
    labelled: bool
    calibration: Sequence[CalibrationFrame]
    held_out: Sequence[CalibrationFrame]
    parts: str


def open_frames(data: Path, seed: int = 0) -> CalibrationFrames:
    """Open the data of a calibration.

    The train split of a labelled dataset sets the ranges and its val split is held out; the test
    split is not used. Without these splits, every third image, drawn by seed, is held out. Of a
    video, or of a folder of images without labels, it is the last third, since neighbouring frames
    are nearly the same image. At most 400 frames are used, drawn by seed or, of a video, at even
    steps.

    Args:
        data: a dataset's folder, a folder of images, or a video.
        seed: draws the frames.

    Raises:
        DataError: it does not exist, its kind is unknown, or it has fewer than three frames.
        SourceError: a video cannot be read.
    """
    data = Path(data)
    if data.is_file():
        return _of_video(data)
    if not data.is_dir():
        raise DataError(f"calibration data {data} does not exist", "check the path")
    try:
        dataset = open_dataset(data)
    except UnknownLayoutError as error:
        if not _has_images(data):
            raise DataError(
                f"{data} is not a dataset and contains no images",
                "give a folder of images, a labelled dataset (docs/datasets.md) or a video",
            ) from error
        return _of_images(data, seed)
    return _of_dataset(dataset, seed)


def _has_images(folder: Path) -> bool:
    try:
        return bool(images_in(folder))
    except EdgecrackError:
        return False


def _of_dataset(dataset: CrackDataset, seed: int) -> CalibrationFrames:
    splits = dataset.splits
    if splits.get("train") and splits.get("val"):
        parts = [dataset.samples("train"), dataset.samples("val")]
        words = "train split for the ranges, val split held out"
    else:
        tested = set(splits.get("test", ()))
        pool = dataset.samples("train" if splits.get("train") else None)
        pool = [item for item in pool if item.name not in tested]
        where = "train split" if splits.get("train") else "images"
        if tested and where == "images":
            where = "images outside the test split"
        parts = [list(part) for part in _divide(pool, seed, f"{dataset.name} ({where})")]
        words = f"every third of the {where} held out"
    chosen = [
        [CalibrationFrame(item.name, _labelled(item)) for item in _draw(part, seed)]
        for part in parts
    ]
    return CalibrationFrames(dataset.name, True, chosen[0], chosen[1], words)


def _labelled(
    sample: Sample,
) -> Callable[[], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    return sample.load


def _of_images(folder: Path, seed: int) -> CalibrationFrames:
    from edgecrack.data.reading import read_image

    def frame(path: Path) -> CalibrationFrame:
        return CalibrationFrame(path.name, lambda: (read_image(path), None))

    # A folder without labels is mostly a robot's recording, in which neighbours are nearly alike.
    first, second = _last_third([frame(path) for path in images_in(folder)], folder.name)
    return CalibrationFrames(
        folder.resolve().name,
        False,
        _draw(first, seed),
        _draw(second, seed),
        "last third of the images, by name, held out",
    )


def _of_video(path: Path) -> CalibrationFrames:
    frames: list[CalibrationFrame] = []
    with open_source(path) as source:
        index, step, most = 0, 1, MAX_FRAMES
        while (frame := source.read()) is not None:
            if index == 0:
                most = max(3, min(MAX_FRAMES, _MEMORY_BYTES // frame.image.nbytes))
                step = max(1, -(-(source.frame_count or 1) // most))
            if index % step == 0:
                if len(frames) == most:  # longer than its header says, or of unknown length
                    frames, step = frames[::2], 2 * step
                if index % step == 0:
                    frames.append(_held_in_memory(f"frame {index}", frame.image))
            index += 1
    if len(frames) < 3:
        raise DataError(
            f"{path} has too few frames ({len(frames)})",
            "give a longer video, or a folder of images",
        )
    first, second = _last_third(frames, path.name)
    return CalibrationFrames(path.name, False, first, second, "last third of the video held out")


def _last_third(items: Sequence[_Item], name: str) -> tuple[list[_Item], list[_Item]]:
    if len(items) < 3:
        raise _too_few(items, name)
    border = len(items) - max(1, round(len(items) * _HELD_OUT_SHARE))
    return list(items[:border]), list(items[border:])


def _too_few(items: Sequence[_Item], name: str) -> DataError:
    return DataError(
        f"{name} has too few images ({len(items)})",
        "give at least 3, 24 or more for INT8, better 100",
    )


def _held_in_memory(name: str, image: NDArray[np.uint8]) -> CalibrationFrame:
    return CalibrationFrame(name, lambda: (image, None))


def _divide(items: Sequence[_Item], seed: int, name: str) -> tuple[list[_Item], list[_Item]]:
    if len(items) < 3:
        raise _too_few(items, name)
    order = np.random.default_rng(seed).permutation(len(items))
    held_out = set(order[: max(1, round(len(items) * _HELD_OUT_SHARE))].tolist())
    return (
        [item for index, item in enumerate(items) if index not in held_out],
        [item for index, item in enumerate(items) if index in held_out],
    )


def _draw(items: Sequence[_Item], seed: int) -> list[_Item]:
    if len(items) <= MAX_FRAMES:
        return list(items)
    chosen = np.random.default_rng(seed + 1).choice(len(items), MAX_FRAMES, replace=False)
    return [items[index] for index in sorted(chosen.tolist())]


LEAST_TILES = 64
LEAST_HELD_OUT = 16
_BRIGHTNESS_STRATA = 4
_CANDIDATES_PER_TILE = 4
_MOST_PER_FRAME = 16
_COVERED = 77  # of 255: a reduced pixel is crack if 30 % of it are
_CRACK_PX = 20  # fewer are a speck at a tile's border

Detect = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
"""From tiles, uint8 [N, 1, H, W], to predicted crack, bool [N, H, W]."""


@settings()
class SamplerConfig:
    """How many tiles, and which.

    Attributes:
        tiles: tiles that set the ranges, 64 to 4096.
        held_out: tiles that judge the result, 16 to 4096.
        seed: draws them; the same data and seed give the same tiles.
    """

    tiles: Annotated[int, Field(ge=LEAST_TILES, le=4096)] = defaults.TILES
    held_out: Annotated[int, Field(ge=LEAST_HELD_OUT, le=4096)] = defaults.HELD_OUT_TILES
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, eq=False)
class TileSet:
    """Network input with its labels.

    Attributes:
        pixels: uint8 [N, 1, H, W], preprocessed.
        truth: bool [N, H, W], crack, from labels or from the FP32 model.
        frame: int64 [N], index of the frame that each tile was cut from.
        cracked: number of tiles with a crack.
        strata: number of tiles of each stratum, by name.
    """

    pixels: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    frame: NDArray[np.int64]
    strata: dict[str, int]

    @property
    def has_crack(self) -> NDArray[np.bool_]:
        """Which tiles have a crack, bool [N]."""
        return np.asarray(self.truth.sum((1, 2)) >= _CRACK_PX)

    @property
    def cracked(self) -> int:
        """Number of tiles with a crack."""
        return int(self.has_crack.sum())

    @property
    def sha256(self) -> str:
        """Hash of pixels and truth, hexadecimal."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels).tobytes())
        digest.update(np.packbits(self.truth).tobytes())
        return digest.hexdigest()

    @property
    def images(self) -> int:
        """Number of frames with at least one tile."""
        return len(np.unique(self.frame))

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, eq=False)
class _Candidate:
    pixels: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    frame: int

    @property
    def cracked(self) -> bool:
        return int(self.truth.sum()) >= _CRACK_PX

    @property
    def brightness(self) -> float:
        return float(self.pixels.mean())


def sample_tiles(
    frames: CalibrationFrames,
    config: SamplerConfig,
    preparation: PreprocessConfig,
    tile_hw: tuple[int, int],
    detect: Detect,
    advance: Callable[[int, int], None] = lambda done, total: None,
    scales: tuple[float, ...] = (1.0,),
) -> tuple[TileSet, TileSet]:
    """Draw the tiles that set the ranges and those held out.

    Half of each set has a crack where there are enough such tiles, and each half is spread evenly
    over four brightness classes. Where the model runs at several sizes of a frame, tiles of all
    sizes are drawn, as often as they occur.

    Args:
        frames: the frames to cut.
        config: number of tiles and seed.
        preparation: how the model's frames are prepared.
        tile_hw: height and width of a tile in pixels.
        detect: the FP32 model, which replaces missing labels.
        advance: called with the number of frames done and their total.
        scales: sizes of the frame at which the model runs.

    Returns:
        Calibration tiles and held-out tiles.

    Raises:
        DataError: there are too few tiles, or none has a crack.
    """
    sets: list[TileSet] = []
    total = len(frames.calibration) + len(frames.held_out)
    for name, part, wanted, least in (
        ("calibration", frames.calibration, config.tiles, LEAST_TILES),
        ("held-out", frames.held_out, config.held_out, LEAST_HELD_OUT),
    ):
        generator = np.random.default_rng([config.seed, len(sets)])
        before = len(frames.calibration) if sets else 0
        candidates = _candidates(
            part,
            wanted,
            preparation,
            tile_hw,
            detect,
            generator,
            lambda done, before=before: advance(before + done, total),  # type: ignore[misc]
            ScalesConfig(scales),
        )
        if len(candidates) < least:
            raise DataError(
                f"{frames.name} gives {counted(len(candidates), f'{name} tile')} of "
                f"{tile_hw[1]}x{tile_hw[0]} px and {least} is the least",
                "give more or larger images",
            )
        if not any(item.cracked for item in candidates):
            raise _without_crack(frames, name, len(candidates))
        sets.append(_stratified(candidates, wanted, generator))
    return sets[0], sets[1]


def _without_crack(frames: CalibrationFrames, part: str, tiles: int) -> DataError:
    remedy = "give images of cracks, too: ranges from crack-free wall clip the response to a crack"
    if frames.labelled:
        return DataError(f"none of the {tiles} {part} tiles of {frames.name} has a crack", remedy)
    return DataError(
        f"{frames.name} has no labels, and the FP32 model finds no crack in any of its {tiles} "
        f"{part} tiles",
        remedy,
    )


def _candidates(
    part: Sequence[CalibrationFrame],
    wanted: int,
    preparation: PreprocessConfig,
    tile_hw: tuple[int, int],
    detect: Detect,
    generator: np.random.Generator,
    advance: Callable[[int], None],
    scales: ScalesConfig,
) -> list[_Candidate]:
    """Some tiles of every frame, the same number of each where it has enough."""
    per_frame = -(-wanted * _CANDIDATES_PER_TILE // max(1, len(part)))
    # A few large frames give more each, so that there are enough tiles.
    per_frame = min(max(per_frame, 1), max(_MOST_PER_FRAME, -(-wanted // max(1, len(part)))))
    found = []
    for index, item in enumerate(part):
        image, mask = item.load()
        prepared = preprocess(image, preparation)
        plan = plan_scales((prepared.shape[0], prepared.shape[1]), scales, TilingConfig(tile_hw, 0))
        chosen = np.sort(generator.permutation(len(plan))[:per_frame])
        pixels = plan.cut(prepared)[chosen]
        truth = detect(pixels) if mask is None else plan.cut(_full(mask))[chosen, 0] >= _COVERED
        found += [_Candidate(one[0], own, index) for one, own in zip(pixels, truth, strict=True)]
        advance(index + 1)
    return found


def _full(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask with 255 wherever it is above 0."""
    return np.where(mask > 0, 255, 0).astype(np.uint8)


def _stratified(
    candidates: list[_Candidate], wanted: int, generator: np.random.Generator
) -> TileSet:
    """Draw from the strata in turn until there are enough tiles or none are left."""
    strata: dict[str, list[_Candidate]] = {}
    for cracked in (True, False):
        part = sorted(
            (item for item in candidates if item.cracked == cracked),
            key=lambda item: item.brightness,
        )
        classes = np.array_split(np.arange(len(part)), _BRIGHTNESS_STRATA)
        for number, indices in enumerate(classes):
            name = f"{'crack' if cracked else 'no crack'}, brightness class {number + 1}"
            strata[name] = [part[index] for index in generator.permutation(indices).tolist()]
    chosen: list[_Candidate] = []
    taken = dict.fromkeys(strata, 0)
    while len(chosen) < min(wanted, len(candidates)):
        for name, waiting in strata.items():
            if waiting and len(chosen) < wanted:
                chosen.append(waiting.pop())
                taken[name] += 1
    return TileSet(
        np.stack([item.pixels for item in chosen])[:, None],
        np.stack([item.truth for item in chosen]),
        np.array([item.frame for item in chosen], np.int64),
        taken,
    )

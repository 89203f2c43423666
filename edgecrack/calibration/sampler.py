"""Tiles for calibration: stratified by crack and brightness, seeded, hashed.

Ranges taken from bare wall alone clip what a crack does to a network, and tiles of one
brightness clip the others. Knows frames and tiles; must not know INT8 or accuracy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecrack.calibration import defaults
from edgecrack.calibration.frames import CalibrationFrame, CalibrationFrames
from edgecrack.errors import ConfigError, DataError
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.runtime.scales import ScalesConfig, plan_scales
from edgecrack.runtime.tiling import TilingConfig
from edgecrack.terminal.wording import counted

LEAST_TILES = 64
LEAST_HELD_OUT = 16
_BRIGHTNESS_STRATA = 4
_CANDIDATES_PER_TILE = 4
_MOST_PER_FRAME = 16
_COVERED = 77  # of 255: a reduced pixel is crack where three tenths of it are
_CRACK_PX = 20  # fewer are a speck at a tile's corner

Detect = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
"""From tiles, uint8 [N, 1, H, W], to what counts as crack, bool [N, H, W]."""


@dataclass(frozen=True)
class SamplerConfig:
    """How many tiles, and which.

    Attributes:
        tiles: tiles that set the ranges, 64 to 4096.
        held_out: tiles that judge the result, 16 to 4096.
        seed: draws them; the same data and seed give the same tiles.
    """

    tiles: int = defaults.TILES
    held_out: int = defaults.HELD_OUT_TILES
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("number of calibration tiles", self.tiles, LEAST_TILES),
            ("number of held-out tiles", self.held_out, LEAST_HELD_OUT),
        ):
            if not least <= value <= 4096:
                raise ConfigError(f"the {name} is {value}", f"give {least} to 4096")
        if self.seed < 0:
            raise ConfigError(f"the seed is {self.seed}", "give 0 or more")


@dataclass(frozen=True, eq=False)
class TileSet:
    """Tiles as the network takes them, with what counts as truth.

    Attributes:
        pixels: uint8 [N, 1, H, W], preprocessed.
        truth: bool [N, H, W], crack; by hand, or what the FP32 model finds.
        frame: int64 [N], the place of each tile's frame among the frames it was cut from.
        cracked: how many tiles hold a crack.
        strata: how many tiles each stratum gave, by name.
    """

    pixels: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    frame: NDArray[np.int64]
    strata: dict[str, int]

    @property
    def has_crack(self) -> NDArray[np.bool_]:
        """Which tiles hold a crack, bool [N]."""
        return np.asarray(self.truth.sum((1, 2)) >= _CRACK_PX)

    @property
    def cracked(self) -> int:
        """How many tiles hold a crack."""
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
        """How many frames gave at least one tile."""
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

    Half of each set holds a crack where there are enough such tiles, and each half is spread
    evenly over four classes of brightness. Where the model runs at several sizes of a frame, tiles
    of all of them are drawn, as often as they occur.

    Args:
        frames: where they are cut from.
        config: how many.
        preparation: how the model's frames are prepared.
        tile_hw: height and width of a tile in pixels.
        detect: the FP32 model, which stands in for a truth that nobody has drawn.
        advance: told how many frames were cut, of how many.
        scales: sizes of the frame at which the model runs.

    Returns:
        Calibration tiles and held-out tiles.

    Raises:
        DataError: too few tiles, or none with a crack.
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
    remedy = "give images of cracks, too: ranges from bare wall clip what a crack does"
    if frames.labelled:
        return DataError(f"none of the {tiles} {part} tiles of {frames.name} holds a crack", remedy)
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
    """Some tiles of every frame, the same number of each as far as it has them."""
    per_frame = -(-wanted * _CANDIDATES_PER_TILE // max(1, len(part)))
    # Few large frames may give more each, lest there be too few tiles in all.
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
    """A mask with 255 for crack, whatever it has above 0."""
    return np.where(mask > 0, 255, 0).astype(np.uint8)


def _stratified(
    candidates: list[_Candidate], wanted: int, generator: np.random.Generator
) -> TileSet:
    """Take turns between the strata until there are enough tiles or none are left."""
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

"""One network at several sizes of a frame, and its outputs merged into one crack map.

A network sees cracks of some widths; on a frame reduced to half it sees those that are twice as
wide, for a quarter of the work. A `ScaledPlan` cuts the tiles of all sizes, which go through the
network together, and merges the outputs. It depends only on the frame's size, so it is made once
and used for every frame.

    plan = plan_scales((480, 854), ScalesConfig(scales=(1.0, 0.5)), TilingConfig())
    probability = plan.stitch(runner.infer(plan.cut(prepared)))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import MAX_SCALE, MERGES, MIN_SCALE, MOST_SCALES, Merge
from edgecrack.errors import ConfigError
from edgecrack.runtime.tiling import TilePlan, TilingConfig, plan_tiles

LEAST_SIDE_PX = 8
# A size below one half is for large frames: on a small one it sees verges and slabs as cracks, and
# its one tile would be a large share of all.
_HALF = 0.5
_LEAST_LONGER_SIDE = 1.75  # of a tile's longer side
_MOST_SHRINKING = 0.125  # further than asked, where that saves tiles
_WIDE_PX = 5


@dataclass(frozen=True)
class ScalesConfig:
    """At which sizes a network runs, and how its maps are merged.

    Attributes:
        scales: factors of the frame's size, from 1/64 to 4, at most eight, each at most once.
            The largest always runs. The others do where they leave 8 px of each side and, below
            one half, 7/4 of a tile's longer side.
        merge: "max" takes each pixel's highest probability; "wide-max" the same, but sizes below
            the largest count only for cracks at least 5 px wide at their size, since a larger size
            shows thinner ones better.

    Raises:
        ConfigError: there is no scale, one is out of range or given twice, or the rule is unknown.
    """

    scales: tuple[float, ...] = (1.0,)
    merge: Merge = "max"

    def __post_init__(self) -> None:
        if not self.scales:
            raise ConfigError("there is no scale", "give at least one, such as 1 or 1,0.5")
        for scale in self.scales:
            if not MIN_SCALE <= scale <= MAX_SCALE:
                raise ConfigError(
                    f"a scale is {scale:g}", f"give factors from 1/64 to {MAX_SCALE:g}"
                )
        if len(self.scales) > MOST_SCALES:
            raise ConfigError(f"there are {len(self.scales)} scales", f"give at most {MOST_SCALES}")
        if len(set(self.scales)) < len(self.scales):
            raise ConfigError(
                f"the scales are {', '.join(f'{scale:g}' for scale in self.scales)}",
                "give each scale once",
            )
        parse_merge(self.merge)


def parse_merge(text: str) -> Merge:
    """The rule with a name.

    Raises:
        ConfigError: there is no such rule.
    """
    for rule in MERGES:
        if rule == text:
            return rule
    raise ConfigError(f"the rule to merge scales is {text!r}", f"give one of: {', '.join(MERGES)}")


def parse_scales(text: str) -> tuple[float, ...]:
    """Scales from a text such as "1,0.5,0.25".

    Raises:
        ConfigError: a part is not a number, or `ScalesConfig` refuses the scales.
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"the scales are {text!r}", "give factors with commas between them, such as 1,0.5"
        ) from None
    return ScalesConfig(scales).scales


@dataclass(frozen=True)
class ScaledPlan:
    """Tiles of one frame size at all sizes that the network sees.

    Attributes:
        frame_hw: the frame's height and width.
        levels: the tiles at each size, the largest first; at least one.
        merge: see `ScalesConfig`.
    """

    frame_hw: tuple[int, int]
    levels: tuple[TilePlan, ...]
    merge: Merge = "max"

    def __len__(self) -> int:
        """Number of tiles of all sizes together."""
        return sum(len(level) for level in self.levels)

    def share(
        self, share: int, turn: int, among: Sequence[Sequence[int]] | None = None
    ) -> list[list[int]]:
        """Every `share`-th tile of each size, a different set each turn; see `TilePlan.share`."""
        chosen = [None] * len(self.levels) if among is None else among
        return [
            level.share(share, turn, tiles)
            for level, tiles in zip(self.levels, chosen, strict=True)
        ]

    def tiles_with(self, wanted: NDArray[np.bool_]) -> list[list[int]]:
        """For each size the tiles on which the map depends where it is wanted.

        Args:
            wanted: bool [H, W] of the plan's size, True somewhere.

        Raises:
            ConfigError: it has another size.
        """
        return [
            level.tiles_with(self._wanted_at(level, wanted, index))
            for index, level in enumerate(self.levels)
        ]

    def for_part(self, wanted: NDArray[np.bool_], tiling: TilingConfig) -> ScaledPlan:
        """A plan with the same sizes, with as few tiles as possible over the wanted pixels.

        Elsewhere its map is undefined. `tiles_with` returns the tiles that are needed.

        Args:
            wanted: bool [H, W] of the plan's size, True somewhere.
            tiling: as this plan was made with.

        Raises:
            ConfigError: it has another size.
        """
        levels = []
        for index, level in enumerate(self.levels):
            needed = self._wanted_at(level, wanted, index)
            left, top, width, height = cv2.boundingRect(needed.view(np.uint8))
            part_xyxy = (left, top, left + width, top + height)
            closer = plan_tiles(level.frame_hw, tiling, part_xyxy)
            fewer = len(closer.tiles_with(needed)) < len(level.tiles_with(needed))
            levels.append(closer if fewer else level)
        return ScaledPlan(self.frame_hw, tuple(levels), self.merge)

    def _wanted_at(
        self, level: TilePlan, wanted: NDArray[np.bool_], index: int
    ) -> NDArray[np.bool_]:
        """The pixels of a size on which the wanted part of the merged map depends, bool [h, w]."""
        if wanted.shape != self.frame_hw:
            raise ConfigError(
                f"a frame has shape {wanted.shape}", f"this plan is for {self.frame_hw}"
            )
        if level.frame_hw == self.frame_hw:
            found, reach = wanted.astype(np.float32), 0
        else:
            # As floats, since one pixel of 4,096 still counts.
            method = cv2.INTER_AREA if level.frame_hw[0] < wanted.shape[0] else cv2.INTER_LINEAR
            resized = cv2.resize(
                wanted.astype(np.float32), level.frame_hw[::-1], interpolation=method
            )
            found, reach = np.asarray(resized, dtype=np.float32), 1
        if index > 0 and self.merge == "wide-max":
            reach += _WIDE_PX
        box = np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
        return np.asarray(cv2.dilate((found > 0).astype(np.uint8), box), dtype=np.bool_)

    def cut(
        self, prepared: NDArray[np.uint8], only: Sequence[Sequence[int]] | None = None
    ) -> NDArray[np.uint8]:
        """Cut a frame into the tiles of all sizes.

        Args:
            prepared: uint8 [H, W] of the plan's size, network input.
            only: for each size the indices of the tiles wanted; None for all.

        Returns:
            uint8 [N, 1, tile height, tile width], size by size.

        Raises:
            ConfigError: the frame has another size.
        """
        if prepared.shape != self.frame_hw:
            raise ConfigError(
                f"a frame has shape {prepared.shape}", f"this plan is for {self.frame_hw}"
            )
        pieces = [
            level.cut(resized(prepared, level.frame_hw), None if only is None else only[index])
            for index, level in enumerate(self.levels)
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def stitch(
        self, tiles: NDArray[np.uint8], only: Sequence[Sequence[int]] | None = None
    ) -> NDArray[np.uint8]:
        """Blend and merge the network's outputs into one map.

        Args:
            tiles: uint8 [N, 1, tile height, tile width] in the order of `cut`.
            only: for each size the indices of its tiles, as given to `cut` and returned by
                `tiles_with`; the map is valid where it was wanted there. None for all tiles.

        Returns:
            uint8 [H, W].

        Raises:
            ConfigError: the tiles' shape is not the plan's.
        """
        if only is not None:
            tiles = self._with_blanks(tiles, only)
        if len(tiles) != len(self):
            raise ConfigError(
                f"there are outputs of {len(tiles)} tiles", f"give those of {len(self)}"
            )
        maps, first = [], 0
        for level in self.levels:
            maps.append(level.stitch(tiles[first : first + len(level)]))
            first += len(level)
        return merged(maps, self.frame_hw, self.merge)

    def _with_blanks(
        self, tiles: NDArray[np.uint8], only: Sequence[Sequence[int]]
    ) -> NDArray[np.uint8]:
        """The outputs of all tiles, 0 for missing ones."""
        places, first = [], 0
        for level, chosen in zip(self.levels, only, strict=True):
            places += [first + index for index in chosen]
            first += len(level)
        if len(tiles) != len(places):
            raise ConfigError(
                f"there are outputs of {len(tiles)} tiles", f"give those of {len(places)}"
            )
        result = np.zeros((len(self), *tiles.shape[1:]), dtype=np.uint8)
        result[places] = tiles
        return result

    def stitch_some(
        self,
        tiles: NDArray[np.uint8],
        only: Sequence[Sequence[int]],
        wanted: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.uint8], float]:
        """Like `stitch` with the outputs of some tiles; elsewhere a size counts as 0.

        Args:
            tiles: uint8 [N, 1, tile height, tile width] in the order of `only`.
            only: for each size the indices of its tiles, as given to `cut`.
            wanted: bool [H, W], the pixels that may count as inspected; None for all.

        Returns:
            uint8 [H, W], and the share of its pixels that was inspected at the largest size.
        """
        maps, seen, first = [], [], 0
        for level, chosen in zip(self.levels, only, strict=True):
            found, covered = level.stitch_some(tiles[first : first + len(chosen)], chosen)
            maps.append(found)
            seen.append(covered)
            first += len(chosen)
        inspected = seen[0]
        if wanted is not None:
            inspected = _at_size(seen[0].view(np.uint8), self.frame_hw).view(np.bool_) & wanted
        return merged(maps, self.frame_hw, self.merge, seen), float(inspected.mean())


def resized(prepared: NDArray[np.uint8], hw: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame at another size, uint8 [H, W]; pixels of a smaller one are means over areas."""
    if prepared.shape == hw:
        return prepared
    method = cv2.INTER_AREA if hw[0] < prepared.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(prepared, hw[::-1], interpolation=method), dtype=np.uint8)


def merged(
    maps: Sequence[NDArray[np.uint8]],
    frame_hw: tuple[int, int],
    rule: Merge,
    seen: Sequence[NDArray[np.bool_]] | None = None,
) -> NDArray[np.uint8]:
    """One map of the frame's size from the maps of all sizes.

    Args:
        maps: uint8 [h, w] each, the largest first.
        frame_hw: the frame's height and width.
        rule: see `ScalesConfig`.
        seen: the inspected pixels of each map, bool [h, w] each; None for all.

    Returns:
        uint8 [H, W].
    """
    result = _at_size(maps[0], frame_hw)
    for index, smaller in enumerate(maps[1:], start=1):
        if rule == "wide-max":
            smaller = _wide(smaller, None if seen is None else seen[index])
        result = np.maximum(result, _at_size(smaller, frame_hw))
    return result


def _at_size(probability: NDArray[np.uint8], hw: tuple[int, int]) -> NDArray[np.uint8]:
    if probability.shape == hw:
        return probability
    method = cv2.INTER_AREA if hw[0] < probability.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(probability, hw[::-1], interpolation=method), dtype=np.uint8)


def _wide(probability: NDArray[np.uint8], seen: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """The map without cracks narrower than `_WIDE_PX`: a gray opening.

    Uninspected surroundings do not make a crack narrower.
    """
    if seen is not None:
        whole = _wide(np.where(seen, probability, 255).astype(np.uint8), None)
        return np.where(seen, whole, 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_WIDE_PX, _WIDE_PX))
    # A crack continues beyond the border, so the border does not make it narrower.
    padded = cv2.copyMakeBorder(probability, *(_WIDE_PX,) * 4, cv2.BORDER_REPLICATE)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc)
    return np.asarray(opened[_WIDE_PX:-_WIDE_PX, _WIDE_PX:-_WIDE_PX], dtype=np.uint8)


@lru_cache(maxsize=16)
def plan_scales(
    frame_hw: tuple[int, int], config: ScalesConfig, tiling: TilingConfig
) -> ScaledPlan:
    """The tiles of a frame size at all sizes, cached.

    A reduced frame may be reduced by up to an eighth more than asked where that saves tiles, and
    the largest size is never below 8 px a side, unless the frame itself is.

    Raises:
        ConfigError: the frame has no pixels.
    """
    wanted = sorted(config.scales, reverse=True)
    largest = max(wanted[0], min(1.0, LEAST_SIDE_PX / max(1, min(frame_hw))))
    levels = [_level(frame_hw, largest, tiling)]
    for scale in wanted[1:]:
        if _is_useful(frame_hw, scale, tiling):
            levels.append(_level(frame_hw, scale, tiling))
    return ScaledPlan(frame_hw, tuple(levels), config.merge)


def _is_useful(frame_hw: tuple[int, int], scale: float, tiling: TilingConfig) -> bool:
    """Whether a further size is worth running."""
    if scale * min(frame_hw) < LEAST_SIDE_PX:
        return False
    longer_px = scale * max(frame_hw)
    return scale >= _HALF or longer_px >= _LEAST_LONGER_SIDE * max(tiling.tile_hw)


def _level(frame_hw: tuple[int, int], scale: float, tiling: TilingConfig) -> TilePlan:
    """The tiles of a frame at one size."""
    asked = best = plan_tiles(_scaled(frame_hw, scale), tiling)
    if scale >= 1:
        return best
    for side in (0, 1):
        # The largest size below the requested one that saves a row or a column of tiles.
        count = len(asked.offsets_x if side else asked.offsets_y)
        tile = tiling.tile_hw[side]
        fitting = (count - 1) * (tile - tiling.overlap_px) + tiling.overlap_px
        factor = fitting / asked.frame_hw[side]
        if count > 1 and 1 - _MOST_SHRINKING <= factor < 1:
            shrunk = plan_tiles(_scaled(asked.frame_hw, factor), tiling)
            if len(shrunk) < len(best) and min(shrunk.frame_hw) >= LEAST_SIDE_PX:
                best = shrunk
    return best


def _scaled(hw: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale))

"""Fixed-size tiles over a frame of any size, and their outputs blended back into one map.

A network for 256 x 256 tiles sees a frame of any size through a `TilePlan`: tiles overlap, the
last row and column are shifted back so that no tile leaves the frame, and each tile's outer
ring, where the network sees less context, weighs less. Geometry and weights depend only on the
frame's size, so a plan is made once and used for every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError

# Below this a pixel is in the outermost ring of all tiles that cover it, or in none.
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class TilingConfig:
    """How frames are cut into tiles.

    Attributes:
        tile_hw: height and width of a tile in pixels, at least 8.
        overlap_px: smallest overlap of neighbouring tiles; below half a tile. Half of it is
            each tile's halo, where its output is faded out.
    """

    tile_hw: tuple[int, int] = (256, 256)
    overlap_px: int = 32

    def __post_init__(self) -> None:
        if min(self.tile_hw) < 8:
            raise ConfigError(f"tile is {self.tile_hw[1]}x{self.tile_hw[0]} px", "give at least 8")
        if not 0 <= self.overlap_px < min(self.tile_hw) / 2:
            raise ConfigError(
                f"tile overlap is {self.overlap_px} px",
                f"give 0 to {(min(self.tile_hw) - 1) // 2} px for tiles of this size",
            )


def axis_offsets(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Where tiles begin along one axis.

    As few tiles as the overlap allows, spread evenly, the first at 0 and the last ending at
    `length`, or one tile at 0 where the frame is smaller.
    """
    if length <= tile:
        return (0,)
    count = -(-(length - overlap) // (tile - overlap))
    return tuple(round(index * (length - tile) / (count - 1)) for index in range(count))


def _axis_weights(tile: int, offsets: tuple[int, ...], length: int) -> NDArray[np.float32]:
    """Weight of every pixel of every tile along one axis, summing to 1 at each frame pixel.

    Returns:
        float32 [len(offsets), tile].
    """
    raw = np.zeros((len(offsets), tile), dtype=np.float64)
    position = np.arange(tile)
    for index, offset in enumerate(offsets):
        weight = np.ones(tile)
        if index > 0:  # rise over the overlap with the tile before
            overlap = offsets[index - 1] + tile - offset
            weight = np.minimum(weight, _ramp(position, overlap))
        if index + 1 < len(offsets):  # fall over the overlap with the tile after
            overlap = offset + tile - offsets[index + 1]
            weight = np.minimum(weight, _ramp(tile - 1 - position, overlap))
        raw[index] = weight
    total = np.zeros(max(length, tile))
    for offset, weight in zip(offsets, raw, strict=True):
        total[offset : offset + tile] += weight
    for offset, weight in zip(offsets, raw, strict=True):
        weight /= total[offset : offset + tile]
    return raw.astype(np.float32)


def _ramp(position: NDArray[np.int_], overlap: int) -> NDArray[np.float64]:
    """0 over the outer quarter of the overlap, 1 from its far quarter on, linear between.

    In the outer quarter, at the tile's border, the network has the least context.
    """
    if overlap <= 0:
        return np.ones(position.shape)
    quarter = overlap / 4
    ramp = (position + 0.5 - quarter) / (overlap - 2 * quarter)
    return np.clip(ramp, 0.0, 1.0)


@dataclass(frozen=True)
class TilePlan:
    """Tiles of one frame size.

    Attributes:
        frame_hw: the frame's height and width.
        tile_hw: every tile's height and width, exactly.
        offsets_y: rows at which tiles begin.
        offsets_x: columns at which tiles begin.
        weights_y: float32 [rows, tile height], summing to 1 at each frame row.
        weights_x: float32 [columns, tile width], summing to 1 at each frame column.
    """

    frame_hw: tuple[int, int]
    tile_hw: tuple[int, int]
    offsets_y: tuple[int, ...]
    offsets_x: tuple[int, ...]
    weights_y: NDArray[np.float32]
    weights_x: NDArray[np.float32]

    @property
    def corners_yx(self) -> list[tuple[int, int]]:
        """Top-left corner of every tile, row by row."""
        return [(y, x) for y in self.offsets_y for x in self.offsets_x]

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.offsets_y) * len(self.offsets_x)

    def share(self, share: int, turn: int, among: Sequence[int] | None = None) -> list[int]:
        """Every `share`-th tile, a different set each turn; all of them in `share` turns.

        Args:
            share: 1 for all tiles, 2 for every second one like the squares of a chessboard.
            turn: 0-based number of the frame.
            among: indices of the tiles to choose from, at least one; None takes all.

        Returns:
            Indices of tiles, row by row, at least one.
        """
        columns = len(self.offsets_x)
        among = range(len(self)) if among is None else among
        chosen = [i for i in among if (i // columns + i % columns + turn) % share == 0]
        return chosen or [among[turn % len(among)]]

    def tiles_with(self, wanted: NDArray[np.bool_]) -> list[int]:
        """Indices of the tiles that contain any wanted pixel.

        Args:
            wanted: bool [H, W] of the plan's size.

        Raises:
            ConfigError: it has another size.
        """
        self._check(wanted.shape)
        height, width = self.tile_hw
        corners = enumerate(self.corners_yx)
        return [i for i, (y, x) in corners if wanted[y : y + height, x : x + width].any()]

    def cut(self, frame: NDArray[np.uint8], only: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Cut a frame into tiles.

        Args:
            frame: uint8 [H, W] of the plan's size.
            only: indices of the tiles wanted; None for all.

        Returns:
            uint8 [len(plan) or len(only), 1, tile height, tile width], row by row. A frame
            smaller than a tile is mirrored outwards at its bottom and right.

        Raises:
            ConfigError: the frame has another size.
        """
        self._check(frame.shape)
        height, width = self.tile_hw
        missing_y = max(0, height - frame.shape[0])
        missing_x = max(0, width - frame.shape[1])
        if missing_y or missing_x:
            frame = np.pad(frame, ((0, missing_y), (0, missing_x)), mode="symmetric")
        corners = self.corners_yx
        wanted = corners if only is None else [corners[index] for index in only]
        tiles = np.empty((len(wanted), 1, height, width), dtype=np.uint8)
        for index, (y, x) in enumerate(wanted):
            tiles[index, 0] = frame[y : y + height, x : x + width]
        return tiles

    def stitch(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Blend the tiles' outputs into one map; the inverse of `cut`.

        Args:
            tiles: uint8 [len(plan), 1, tile height, tile width] in the order of `cut`.

        Returns:
            uint8 [H, W].

        Raises:
            ConfigError: the tiles' shape is not the plan's.
        """
        height, width = self.tile_hw
        if tiles.shape != (len(self), 1, height, width):
            raise ConfigError(
                f"tiles have shape {tiles.shape}", f"give ({len(self)}, 1, {height}, {width})"
            )
        if len(self) == 1 and height >= self.frame_hw[0] and width >= self.frame_hw[1]:
            return np.ascontiguousarray(tiles[0, 0, : self.frame_hw[0], : self.frame_hw[1]])
        canvas_hw = (max(height, self.frame_hw[0]), max(width, self.frame_hw[1]))
        grid = tiles.reshape(len(self.offsets_y), len(self.offsets_x), height, width)
        result = np.zeros(canvas_hw, dtype=np.uint8)
        # Weights are a product of both axes: blend each row of tiles first, then the rows. Pixels
        # that the next row of tiles does not reach are finished, so only the others are float32.
        band = np.empty((height, canvas_hw[1]), dtype=np.float32)
        open_rows = np.zeros_like(band)
        ends = (*self.offsets_y[1:], self.offsets_y[-1] + height)
        for row, (y, end) in enumerate(zip(self.offsets_y, ends, strict=True)):
            band[:] = 0
            for column, x in enumerate(self.offsets_x):
                band[:, x : x + width] += grid[row, column] * self.weights_x[column]
            band *= self.weights_y[row][:, None]
            open_rows += band
            finished = end - y
            result[y:end] = cv2.convertScaleAbs(open_rows[:finished])
            open_rows[: height - finished] = open_rows[finished:].copy()
            open_rows[height - finished :] = 0
        return np.ascontiguousarray(result[: self.frame_hw[0], : self.frame_hw[1]])

    def stitch_some(
        self, tiles: NDArray[np.uint8], only: Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Blend the outputs of some tiles; elsewhere the map is 0.

        Args:
            tiles: uint8 [len(only), 1, tile height, tile width] in the order of `only`.
            only: indices of the tiles, as given to `cut`.

        Returns:
            uint8 [H, W], and which of its pixels some tile covers, bool [H, W].
        """
        height, width = self.tile_hw
        canvas_hw = (max(height, self.frame_hw[0]), max(width, self.frame_hw[1]))
        canvas = np.zeros(canvas_hw, dtype=np.float32)
        total = np.zeros(canvas_hw, dtype=np.float32)
        columns = len(self.offsets_x)
        for tile, index in zip(tiles, only, strict=True):
            row, column = divmod(index, columns)
            y, x = self.offsets_y[row], self.offsets_x[column]
            weight = self.weights_y[row][:, None] * self.weights_x[column]
            canvas[y : y + height, x : x + width] += tile[0] * weight
            total[y : y + height, x : x + width] += weight
        frame_height, frame_width = self.frame_hw
        canvas, total = canvas[:frame_height, :frame_width], total[:frame_height, :frame_width]
        covered = total > _LEAST_WEIGHT
        np.divide(canvas, total, out=canvas, where=covered)
        canvas[~covered] = 0
        return np.asarray(cv2.convertScaleAbs(canvas), dtype=np.uint8), covered

    def _check(self, shape: tuple[int, ...]) -> None:
        if shape != self.frame_hw:
            raise ConfigError(f"a frame has shape {shape}", f"this plan is for {self.frame_hw}")


@lru_cache(maxsize=16)
def plan_tiles(
    frame_hw: tuple[int, int],
    config: TilingConfig,
    part_xyxy: tuple[int, int, int, int] | None = None,
) -> TilePlan:
    """The tiles of a frame size, cached.

    Args:
        frame_hw: the frame's height and width.
        config: how it is cut.
        part_xyxy: the part of the frame to cover (left, top, right, bottom), right and bottom
            exclusive; elsewhere a stitched map is undefined. None covers the whole frame.

    Raises:
        ConfigError: the frame or the part has no pixels.
    """
    left, top, right, bottom = part_xyxy or (0, 0, frame_hw[1], frame_hw[0])
    if min(bottom - top, right - left) < 1:
        raise ConfigError(f"a frame is {right - left}x{bottom - top} px", "give at least one pixel")
    offsets = [
        tuple(
            min(first + offset, max(0, length - tile))
            for offset in axis_offsets(last - first, tile, config.overlap_px)
        )
        for first, last, length, tile in zip(
            (top, left), (bottom, right), frame_hw, config.tile_hw, strict=True
        )
    ]
    weights = [
        _axis_weights(tile, axis, length)
        for tile, axis, length in zip(config.tile_hw, offsets, frame_hw, strict=True)
    ]
    return TilePlan(frame_hw, config.tile_hw, offsets[0], offsets[1], weights[0], weights[1])

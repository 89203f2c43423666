"""Pixels computed per pixel of a frame at all the model's sizes together, and what packing saves.

Reduced frames seldom fill their tiles: what lies beyond the frame, and what neighbouring tiles
overlap by more than was asked, is computed for nothing. No network runs here; the plans are those
of the runtime (`plan_scales`). Beside each stands what could be saved by packing parts of several
sizes into one tile: found by shelves, with a gap as wide as the overlap, of the reduced frames that
fit into a tile whole; and at most, were every pixel of all sizes computed once.

    python benchmarks/tile_plans.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.constants import OVERLAP_PX  # noqa: E402
from edgecrack.runtime.scales import ScalesConfig, plan_scales  # noqa: E402
from edgecrack.runtime.tiling import TilingConfig  # noqa: E402

TILES = (192, 256, 384, 512)
FRAMES = {
    "480x848": (480, 848),
    "720p": (720, 1280),
    "1080p": (1080, 1920),
    "4K": (2160, 3840),
    "12 Mpx": (3000, 4000),
}
SCALES = (1.0, 0.5, 0.25)


def shelves(parts_hw: list[tuple[int, int]], tile_px: int, gap_px: int) -> int:
    """How many square tiles hold these parts when they are put on shelves, the highest first."""
    tiles = 0
    top = left = shelf_px = tile_px  # so that the first part opens a tile
    for height, width in sorted(parts_hw, reverse=True):
        if left + width > tile_px:
            top, left, shelf_px = top + shelf_px + gap_px, 0, height
        if top + height > tile_px:
            tiles, top, left, shelf_px = tiles + 1, 0, 0, height
        left += width + gap_px
    return tiles


def plan_row(frame_hw: tuple[int, int], tile_px: int, overlap_px: int) -> dict[str, Any]:
    tiling = TilingConfig((tile_px, tile_px), overlap_px)
    plan = plan_scales(frame_hw, ScalesConfig(SCALES), tiling)
    pixels, area = frame_hw[0] * frame_hw[1], tile_px**2
    whole = [level for level in plan.levels if len(level) == 1]
    packed = len(plan) - len(whole) + shelves([x.frame_hw for x in whole], tile_px, overlap_px)
    emitted = [level.frame_hw[0] * level.frame_hw[1] for level in plan.levels]
    return {
        "tile_px": tile_px,
        "overlap_px": overlap_px,
        "sizes_hw": [level.frame_hw for level in plan.levels],
        "tiles": [len(level) for level in plan.levels],
        "pixels_per_pixel": round(len(plan) * area / pixels, 3),
        "largest_alone": round(len(plan.levels[0]) * area / pixels, 3),
        "sizes_alone": round(sum(emitted) / pixels, 3),
        "tiles_when_packed": packed,
        "tiles_at_least": -(-sum(emitted) // area),
    }


def batches_of(frame_hw: tuple[int, int], batch: int) -> list[list[int]]:
    """Of each batch of a frame how many tiles are of which size, in the order of `cut`."""
    plan = plan_scales(frame_hw, ScalesConfig(SCALES), TilingConfig((256, 256), OVERLAP_PX))
    of = [index for index, level in enumerate(plan.levels) for _ in range(len(level))]
    pieces = [of[first : first + batch] for first in range(0, len(of), batch)]
    return [[piece.count(index) for index in range(len(plan.levels))] for piece in pieces]


def calls(frame_hw: tuple[int, int], batch: int) -> dict[str, int]:
    """Calls of an engine with a fixed batch: of all sizes together, and were each on its own."""
    pieces = batches_of(frame_hw, batch)
    alone = [sum(piece[size] for piece in pieces) for size in range(len(pieces[0]))]
    return {"together": len(pieces), "each_alone": sum(-(-count // batch) for count in alone)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="no file")
    given = parser.parse_args()
    rows = []
    for name, frame_hw in FRAMES.items():
        for tile_px in TILES:
            rows.append({"frame": name, **plan_row(frame_hw, tile_px, OVERLAP_PX)})
            print(rows[-1])
    mixed = batches_of(FRAMES["1080p"], 8)
    needed = {name: calls(frame_hw, 8) for name, frame_hw in FRAMES.items()}
    print(f"1080p in batches of 8, tiles of each size: {mixed}; calls: {needed}")
    if not given.quick:
        figures = {"scales": SCALES, "rows": rows, "batches_of_8_1080p": mixed}
        write_result("tile_plans", {**figures, "calls_of_8": needed})


if __name__ == "__main__":
    main()

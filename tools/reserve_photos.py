"""Writes `edgecrack/data/reserved.json`: hashes of the files that no network may be trained on.

    python tools/reserve_photos.py --data DIR    # DIR holds concrete_tiles/, uav315/, road_frames/

Reserved are the files used in the yardstick; tiles of concrete_tiles whose number is
within 40 of such a tile's, for these are crops of one photo; and copies of all of them, turned or
mirrored, of which concrete_tiles holds hundreds. Run it when the yardstick's photos change.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.data.splits import content_hash  # noqa: E402
from edgecrack.files import write_atomic  # noqa: E402
from edgecrack.yardstick.clean_surfaces import held_out_files  # noqa: E402
from edgecrack.yardstick.outlines import read_outlines  # noqa: E402

SAME_PHOTO_NUMBERS = 40
_THUMBNAIL_PX = 24
# Copies correlate by more than 0.99, other crops of one photo by less than 0.97.
COPY_CORRELATION = 0.985


def number_of(path: Path) -> int:
    """The running number of a tile: 10001_1.jpg is the ten-thousand-and-first."""
    return int(path.stem.partition("_")[0])


def near_numbers(tiles: Sequence[Path], chosen: set[str]) -> set[Path]:
    """The tiles that are crops of the same photos as those whose stems are chosen."""
    numbers = np.array([number_of(path) for path in tiles if path.stem in chosen])
    return {
        path
        for path in tiles
        if len(numbers) and np.abs(numbers - number_of(path)).min() <= SAME_PHOTO_NUMBERS
    }


def thumbnails(paths: Sequence[Path]) -> NDArray[np.float32]:
    """float32 [N, 24, 24], each of mean 0 and length 1."""
    small = [
        cv2.resize(
            np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.float32),
            (_THUMBNAIL_PX, _THUMBNAIL_PX),
            interpolation=cv2.INTER_AREA,
        )
        for path in paths
    ]
    stacked = np.stack(small)
    stacked -= stacked.mean((1, 2), keepdims=True)
    lengths = np.sqrt((stacked**2).sum((1, 2), keepdims=True))
    return np.asarray(stacked / np.maximum(lengths, 1e-6), np.float32)


def highest_correlations(tiles: Sequence[Path], originals: Sequence[Path]) -> NDArray[np.float32]:
    """Of each tile the correlation with the original most like it, itself left out.

    Originals are compared as they are, turned and mirrored.

    Returns:
        float32 [N], -1 to 1.
    """
    flat = thumbnails(tiles).reshape(len(tiles), -1)
    places = {path: number for number, path in enumerate(tiles)}
    own = [places.get(path, -1) for path in originals]
    small = thumbnails(originals)
    highest = np.full(len(tiles), -1, np.float32)
    for turns in range(4):
        for step in (1, -1):
            turned = np.rot90(small, turns, axes=(1, 2))[:, :, ::step]
            found = flat @ np.ascontiguousarray(turned).reshape(len(originals), -1).T
            for column, row in enumerate(own):
                if row >= 0:
                    found[row, column] = -1
            highest = np.maximum(highest, found.max(1))
    return highest


def copies(tiles: Sequence[Path], of: set[Path]) -> set[Path]:
    """The tiles that are copies of some others, as they are, turned or mirrored."""
    found = highest_correlations(tiles, sorted(of)) > COPY_CORRELATION
    return {path for path, is_copy in zip(tiles, found.tolist(), strict=True) if is_copy}


def twins(tiles: Sequence[Path]) -> set[Path]:
    """The tiles of which there is a copy among the others."""
    return copies(tiles, set(tiles))


def reserved_files(data: Path) -> dict[str, set[Path]]:
    """The reserved files by folder."""
    positive = sorted((data / "concrete_tiles" / "positive").iterdir())
    negative = sorted((data / "concrete_tiles" / "negative").iterdir())
    clean = {data / name for name in held_out_files()}
    outlined = near_numbers(positive, {outline.tile for outline in read_outlines()})
    beside = near_numbers(negative, {path.stem for path in clean if path in set(negative)})
    drone = {sample.image_path for sample in open_dataset(data / "uav315").samples("val")}
    others = clean - set(negative)
    return {
        "concrete_tiles/positive": outlined | copies(positive, outlined),
        "concrete_tiles/negative": beside | copies(negative, beside),
        "uav315": drone | {path for path in others if "uav315" in path.parts},
        "road_frames": {path for path in others if "road_frames" in path.parts},
    }


def main() -> None:
    """Write the list and say how long it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    data: Path = parser.parse_args().data
    files = reserved_files(data)
    hashes = {name: sorted({content_hash(path) for path in paths}) for name, paths in files.items()}
    text = json.dumps({"files": hashes}, indent=0) + "\n"
    write_atomic(ROOT / "edgecrack" / "data" / "reserved.json", text)
    for name, paths in files.items():
        print(f"{name}: {len(paths)} files")
    for part in ("positive", "negative"):
        tiles = sorted((data / "concrete_tiles" / part).iterdir())
        print(f"concrete_tiles/{part}: {len(twins(tiles))} of {len(tiles)} are copies of others")


if __name__ == "__main__":
    main()

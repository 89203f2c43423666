"""Writes `edgecrack/data/reserved.json`: hashes of the files that no network may be trained on.

    python tools/reserve_photos.py --data DIR    # DIR holds concrete_tiles/, uav315/, road_frames/

Reserved are the files that the yardstick is built of; tiles of concrete_tiles whose number is
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

from edgecrack.yardstick.surfaces import held_out_files  # noqa: E402

from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.data.reserved import content_hash  # noqa: E402
from edgecrack.files import write_atomic  # noqa: E402
from edgecrack.yardstick.outlines import read_outlines  # noqa: E402

SAME_PHOTO_NUMBERS = 40
_THUMBNAIL_PX = 24
# Copies correlate by 0.998 and more, other crops of one photo by at most 0.97.
_COPY_CORRELATION = 0.985
_CHUNK = 512


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


def copies(tiles: Sequence[Path], of: set[Path]) -> set[Path]:
    """The tiles that are copies of some, as they are, turned or mirrored."""
    everything = thumbnails(tiles)
    originals = everything[[path in of for path in tiles]]
    flat = everything.reshape(len(tiles), -1)
    found = np.zeros(len(tiles), bool)
    for turns in range(4):
        for mirrored in (False, True):
            turned = np.rot90(originals, turns, axes=(1, 2))
            turned = turned[:, :, ::-1] if mirrored else turned
            matrix = np.ascontiguousarray(turned).reshape(len(originals), -1).T
            for first in range(0, len(tiles), _CHUNK):
                part = flat[first : first + _CHUNK] @ matrix
                found[first : first + _CHUNK] |= part.max(1) > _COPY_CORRELATION
    return {path for path, is_copy in zip(tiles, found.tolist(), strict=True) if is_copy}


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
    files = reserved_files(parser.parse_args().data)
    hashes = {name: sorted({content_hash(path) for path in paths}) for name, paths in files.items()}
    text = json.dumps({"files": hashes}, indent=0) + "\n"
    write_atomic(ROOT / "edgecrack" / "data" / "reserved.json", text)
    for name, paths in files.items():
        print(f"{name}: {len(paths)} files")


if __name__ == "__main__":
    main()

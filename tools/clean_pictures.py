"""Crack-free training photos: clean tiles of concrete, and verges of roads.

    python tools/clean_pictures.py --data DIR --tiles clean --verges verges

Tiles are every third of concrete_tiles/negative. Verges are windows of road_frames along the far
edge of the road, where grass, guard rails and the dark line beneath them look like cracks and no
crack could be seen. Nothing of the yardstick is among them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.data.reading import read_image  # noqa: E402
from edgecrack.data.splits import content_hash, reserved_hashes  # noqa: E402
from edgecrack.files import make_folder, write_atomic, write_png  # noqa: E402

Bytes = NDArray[np.uint8]

SIDE_PX = 192
_STEP_PX = 64
_FAR_ROWS = 200  # windows begin above this row
_LEAST_GREEN = 0.25
_MOST_LANE = 0.3
_GREEN_HUE = (28, 85)  # of OpenCV's 180
_LEAST_SATURATION = 60


def is_free(path: Path) -> bool:
    """Whether no photo of the yardstick is this file."""
    return content_hash(path) not in reserved_hashes()


def verge_windows(image: Bytes, lane: NDArray[np.bool_]) -> Iterator[Bytes]:
    """Windows of a vehicle's frame that show the far edge of the road.

    Args:
        image: uint8 [H, W, 3], BGR.
        lane: bool [H, W], the vehicle's own lane.
    """
    smooth = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 2), cv2.COLOR_BGR2HSV)
    hue, saturation = smooth[..., 0], smooth[..., 1]
    green = (hue > _GREEN_HUE[0]) & (hue < _GREEN_HUE[1]) & (saturation > _LEAST_SATURATION)
    green &= ~lane
    height, width = lane.shape
    for top in range(0, min(_FAR_ROWS, height - SIDE_PX + 1), _STEP_PX):
        for left in range(0, width - SIDE_PX + 1, _STEP_PX):
            place = slice(top, top + SIDE_PX), slice(left, left + SIDE_PX)
            if green[place].mean() > _LEAST_GREEN and lane[place].mean() < _MOST_LANE:
                yield image[place]


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tiles", type=Path, help="folder for clean tiles")
    parser.add_argument("--verges", type=Path, help="folder for verges")
    given = parser.parse_args()
    if given.tiles:
        found = sorted((given.data / "concrete_tiles" / "negative").glob("*.jpg"))
        chosen = [path for path in found if is_free(path)][::3]
        make_folder(given.tiles)
        for path in chosen:
            write_atomic(given.tiles / path.name, path.read_bytes(), durable=False)
        print(f"{len(chosen)} tiles in {given.tiles}")
    if given.verges:
        make_folder(given.verges)
        folder, count = given.data / "road_frames", 0
        for path in sorted((folder / "images").iterdir()):
            if not is_free(path):
                continue
            lane = cv2.imread(str(folder / "lane" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
            if lane is None:
                continue
            for window in verge_windows(read_image(path), np.asarray(lane) > 0):
                write_png(given.verges / f"verge-{count:04d}.png", window, durable=False)
                count += 1
        print(f"{count} verges in {given.verges}")


if __name__ == "__main__":
    main()

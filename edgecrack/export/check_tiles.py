"""Real tiles for the check of an exported graph: cut from a user's images, spread over them.

Random tiles try values that no camera gives; real ones try what the network will see.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack.data.datasets import read_image
from edgecrack.prediction.inputs import find_images
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.runtime.tiling import TilingConfig, plan_tiles

MAX_TILES = 8


def tiles_of_images(
    path: Path, config: PreprocessConfig, tile_hw: tuple[int, int], count: int = MAX_TILES
) -> list[NDArray[np.uint8]]:
    """The middle tile of up to `count` images, taken at even steps.

    Args:
        path: an image or a folder of images.
        config: how the model's frames are prepared.
        tile_hw: height and width of a tile in pixels.
        count: most tiles wanted, at least 1.

    Returns:
        Preprocessed tiles, uint8 [H, W] each.

    Raises:
        SourceError: the path does not exist or holds no images.
        DataError: an image cannot be read.
    """
    found, _ = find_images([str(path)], out=path)
    files = [one.path for one in found if one.path is not None]
    tiles = []
    for file in files[:: -(-len(files) // count)]:
        frame = preprocess(read_image(file), config)
        plan = plan_tiles((frame.shape[0], frame.shape[1]), TilingConfig(tile_hw, 0))
        tiles.append(plan.cut(frame)[len(plan) // 2, 0])
    return tiles

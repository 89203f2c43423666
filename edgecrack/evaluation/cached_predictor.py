"""A predictor that does not compute the same image twice.

Scores are counted first and examples drawn later, from the same maps. A map over patches may
take minutes, and all maps of a set may not fit into memory, so they wait on disk as PNG.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.evaluation.scored_images import Predict
from edgecrack.files import write_png
from edgecrack.images.nodata import masked_pixels


class CachedPredictor:
    """Asks another predictor once per image and remembers its answer.

    Args:
        predict: the other predictor.
        folder: an existing folder of its own, for the maps; whoever made it removes it.
    """

    def __init__(self, predict: Predict, folder: Path) -> None:
        self._predict = predict
        self._folder = folder

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] BGR -> uint8 [H, W], 255 = certain crack."""
        content = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=20)
        hidden = masked_pixels(image)
        if hidden is not None:
            content.update(np.packbits(hidden).data)
        path = self._folder / f"{content.hexdigest()}-{image.shape[1]}x{image.shape[0]}.png"
        if path.exists():
            found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if found is not None and found.shape == image.shape[:2]:
                return np.asarray(found, np.uint8)
        probability = self._predict(image)
        if probability.dtype == np.uint8 and probability.shape == image.shape[:2]:
            write_png(path, probability, durable=False)  # anything else is refused by the caller
        return probability

"""A checkpoint made usable on camera frames, in torch: for evaluation before export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgecrack.preprocess import preprocess
from edgecrack.training.checkpoints import load_network
from edgecrack.training.module import predict_image


class CheckpointPredictor:
    """From a BGR frame to crack probability, the whole frame in one pass.

    Args:
        checkpoint: `*.safetensors` with its sidecar.

    Raises:
        ModelFileError: the checkpoint cannot be used.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._network, self.spec = load_network(checkpoint)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] BGR -> uint8 [H, W], 255 = certain crack."""
        prepared = torch.from_numpy(preprocess(image, self.spec.preprocess))[None, None]
        with torch.inference_mode():
            return np.asarray(predict_image(self._network, prepared).numpy(), dtype=np.uint8)

"""Checkpoints run on camera frames in torch, for evaluation before export.

A network can run on the whole image in one pass, on overlapping patches whose mean is taken as in
the paper's test, or on the runtime's tiles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecrack.artifacts import ModelFile, ModelSpec, read_model_file
from edgecrack.closeable import Closeable
from edgecrack.data.patches import PatchGrid, PatchStride, plan_patches
from edgecrack.errors import ConfigError
from edgecrack.preprocess import prepare, without_nodata
from edgecrack.runtime.backends.open import check_runnable
from edgecrack.runtime.tiling import TilingConfig
from edgecrack.training.checkpoints import load_network
from edgecrack.training.module import predict_image, to_network_input

Precision = Literal["32", "bf16", "16"]
_AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "16": torch.float16}
# Pixels per batch: on a CPU, larger batches exceed the cache and are slower; on a GPU, smaller ones
# leave it idle. The larger number takes about 2 GB at width 32.
_BATCH_PX = {"cpu": 1 << 17, "cuda": 1 << 21}


def choose_device(name: str) -> torch.device:
    """The device of a name: "auto" (CUDA if torch finds it), "cpu" or "cuda".

    Raises:
        ConfigError: the name is unknown, or there is no such device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"the device is {name!r}", "choose one of: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "the device is 'cuda', but torch finds none",
            "give `device` cpu, or install a torch built for this machine's driver",
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


class CheckpointNetwork:
    """A checkpoint's network on a device, in a precision.

    Args:
        checkpoint: `*.safetensors` with its sidecar.
        device: see `choose_device`.
        precision: "32", or "bf16" or "16" for mixed half precision.

    Raises:
        ModelFileError: the checkpoint cannot be used.
        ConfigError: device or precision is unknown or not available.
    """

    def __init__(
        self, checkpoint: Path | ModelFile, *, device: str = "auto", precision: str = "32"
    ) -> None:
        if precision not in get_args(Precision):
            raise ConfigError(
                f"the precision is {precision!r}",
                f"choose one of: {', '.join(get_args(Precision))}",
            )
        self.device = choose_device(device)
        self.precision = precision
        file = read_model_file(checkpoint)
        network, self.spec = load_network(file)
        check_runnable(file.path, self.spec)
        # channels-last is the faster layout for convolutions of few channels
        placed = network.to(self.device)
        self.network = placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Context without gradients, in the chosen precision."""
        kind = self.device.type
        dtype = _AUTOCAST.get(self.precision, torch.bfloat16)
        # By default a GPU rounds the operands of float32 convolutions to 10 bits; "32" means 32.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=self.precision != "32")
        half = torch.autocast(kind, dtype=dtype, enabled=self.precision != "32")
        with torch.inference_mode(), exact, half:
            yield

    def crack_probability(self, tiles: Tensor) -> Tensor:
        """uint8 [N, 1, H, W] on the device -> float32 [N, H, W], 0 to 1; inside `running`."""
        probability = torch.softmax(self.network(to_network_input(tiles)).float(), dim=1)
        return probability[:, 1]

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Network input uint8 [H, W] of a BGR frame, masked where the frame has no data."""
        return prepare(image, self.spec.preprocess)

    def upload(self, tiles: NDArray[np.uint8]) -> Tensor:
        """The same values on the network's device."""
        return torch.from_numpy(np.ascontiguousarray(tiles)).to(self.device)

    @property
    def batch_px(self) -> int:
        """Pixels per call."""
        return _BATCH_PX[self.device.type]


class CheckpointPredictor:
    """From a BGR frame to crack probability, the whole frame in one pass.

    Args:
        network: a network, or a checkpoint to run on the CPU.

    Raises:
        ModelFileError: the checkpoint cannot be used.
    """

    def __init__(self, network: CheckpointNetwork | Path) -> None:
        if isinstance(network, Path):
            network = CheckpointNetwork(network, device="cpu")
        self._network = network
        self.spec = self._network.spec

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] BGR -> uint8 [H, W], 255 = certain crack."""
        prepared = self._network.prepare(image)
        with self._network.running():
            uploaded = self._network.upload(prepared)[None, None]
            probability = predict_image(self._network.network, uploaded)
        return without_nodata(np.array(probability.cpu().numpy(), dtype=np.uint8), prepared)


class PatchPredictor:
    """From a BGR frame to the mean crack probability of all patches that cover a pixel.

    The paper's test. The frame is prepared once, as a whole. Sums are float64, so their order does
    not matter, and the mean is rounded once, at the end.

    Args:
        network: the network.
        config: size and stride of the patches.
    """

    def __init__(self, network: CheckpointNetwork, config: PatchStride) -> None:
        self._network = network
        self._config = config

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] BGR -> uint8 [H, W], 255 = certain crack."""
        prepared = self._network.prepare(image)
        grid = plan_patches((prepared.shape[0], prepared.shape[1]), self._config)
        with self._network.running():
            mean = self._mean(grid, self._network.upload(grid.pad(np.asarray(prepared))))
        height, width = grid.frame_hw
        levels = mean[:height, :width].mul(255.0).round().to(torch.uint8)
        return without_nodata(np.array(levels.cpu().numpy(), dtype=np.uint8), prepared)

    def _mean(self, grid: PatchGrid, padded: Tensor) -> Tensor:
        """float64 [H, W] of the padded size, 0 to 1."""
        side = grid.patch_px
        windows = padded.unfold(0, side, 1).unfold(1, side, 1)  # a view, without a copy
        inside = self._network.upload(grid.pixel_numbers())  # type: ignore[arg-type]
        sums = torch.zeros(padded.numel(), dtype=torch.float64, device=padded.device)
        for rows, columns in grid.batches(self._network.batch_px):
            row = torch.from_numpy(rows).to(padded.device)
            column = torch.from_numpy(columns).to(padded.device)
            probability = self._network.crack_probability(windows[row, column][:, None])
            places = (row * padded.shape[1] + column)[:, None] + inside
            sums.index_add_(0, places.flatten(), probability.double().flatten())
        coverage = torch.from_numpy(grid.coverage()).to(padded.device)
        return sums.view(padded.shape) / coverage


class CheckpointRunner(Closeable):
    """A checkpoint as a `Runner`, so that it uses the runtime's tiling code.

    Args:
        network: the network.
        tile_hw: height and width of a tile in pixels.
    """

    def __init__(
        self, network: CheckpointNetwork, tile_hw: tuple[int, int] = TilingConfig.tile_hw
    ) -> None:
        self._network = network
        self._spec = dataclasses.replace(network.spec, tile_hw=tile_hw)

    @property
    def spec(self) -> ModelSpec:
        """The checkpoint's description, with the tile size."""
        return self._spec

    @property
    def backend(self) -> str:
        """PyTorch."""
        return "pytorch"

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [N, 1, H, W] -> uint8 [N, 1, H, W], 255 = certain crack."""
        size = max(1, self._network.batch_px // (tiles.shape[2] * tiles.shape[3]))
        result = np.empty_like(tiles)
        with self._network.running():
            for first in range(0, len(tiles), size):
                batch = self._network.upload(tiles[first : first + size])
                levels = self._network.crack_probability(batch).mul(255.0).round()
                result[first : first + size, 0] = levels.to(torch.uint8).cpu().numpy()
        return result

    def close(self) -> None:
        """Nothing to release."""

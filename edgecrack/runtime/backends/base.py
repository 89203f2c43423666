"""The interface of backends that run a model file."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelSpec
from edgecrack.errors import ConfigError


class Runner(Protocol):
    """Runs tiles through a model.

    `infer` takes uint8 [N, 1, H, W] with H, W as the spec says and any N from 1, splits or pads
    N as the model needs, and returns uint8 [N, 1, H, W], 255 = certain crack. The result
    belongs to the caller. `close` frees everything, and may be called twice.
    """

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""

    @property
    def backend(self) -> str:
        """The backend's name for the user."""

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run tiles; see the class."""

    def close(self) -> None:
        """Free everything."""

    def __enter__(self) -> Runner:
        """Use as a context manager."""

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""


def check_tiles(tiles: NDArray[np.uint8], tile_hw: tuple[int, int]) -> None:
    """Check tiles before inference.

    Args:
        tiles: to be uint8 [N, 1, H, W], N from 1.
        tile_hw: H and W of the model.

    Raises:
        ConfigError: another dtype or shape, or no tiles.
    """
    expected = (1, *tile_hw)
    if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[1:] != expected or not len(tiles):
        raise ConfigError(
            f"tiles are {tiles.dtype} of shape {tiles.shape}",
            f"give uint8 [N, {', '.join(map(str, expected))}]",
        )

"""Frame regions to ignore: a robot arm, a burnt-in clock, the sky; computed once per frame size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.images.nodata import mirrored_places


@dataclass(frozen=True, eq=False)
class IgnoredPixels:
    """Pixels that are not inspected.

        ignored = IgnoredPixels(np.arange(480)[:, None].repeat(640, axis=1) >= 400)
        ignored.ratio    # 0.1667: the lowest 80 rows

    Attributes:
        mask: bool [H, W] of the frame's size, True where the frame is ignored.

    Raises:
        ConfigError: nothing is left to inspect.
    """

    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.mask.all():
            raise ConfigError(
                f"all pixels of a frame of shape {self.mask.shape} are ignored",
                "leave something to inspect",
            )

    @cached_property
    def ratio(self) -> float:
        """Share of the frame's pixels, 0 to 1."""
        return float(np.count_nonzero(self.mask) / self.mask.size)

    def filled(self, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A frame with its other pixels mirrored into these.

        Args:
            gray: uint8 [H, W].

        Returns:
            uint8 [H, W], a new array, independent of the values of `gray` in these pixels.

        Raises:
            ConfigError: the frame has another size.
        """
        self.check(gray.shape)
        filled = gray.copy()
        filled[self.mask] = gray.take(self._places)
        return filled

    def check(self, frame_hw: tuple[int, ...]) -> None:
        """Check the frame size.

        Raises:
            ConfigError: it differs from the mask's.
        """
        if frame_hw != self.mask.shape:
            raise ConfigError(
                f"a frame has shape {frame_hw}, and what is ignored {self.mask.shape}",
                "give both in one size",
            )

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        # Finding them takes far longer than using them.
        return mirrored_places(self.mask)

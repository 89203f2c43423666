"""The scale of a georeferenced picture: how much ground its pixels cover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from edgecrack.scale.quantity import Quantity
from edgecrack.scale.scale import ModelledScale, Points, WallMap

_MM_PER_M = 1000.0


class GroundGrid(Protocol):
    """What is asked of a picture's place on a map, such as `orthomosaic.map_grid.MapGrid`."""

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    def length_m(self, xy: Points) -> float | None:
        """Length on the ground of a line in pixels, float64 [N, 2]; None where it is not known."""
        ...


def ground_scale(grid: GroundGrid) -> ModelledScale | None:
    """The scale in the middle of a georeferenced picture; None where the map's unit is unknown.

    How well the picture was put together, nobody says, so its uncertainty is not stated.

    Args:
        grid: where the pixels lie on a map.
    """
    height, width = grid.hw
    middle = np.array([width / 2, height / 2])
    sides = [grid.length_m(np.stack([middle - step, middle + step])) for step in np.eye(2) / 2]
    if any(not side for side in sides):
        return None
    across, down = (_MM_PER_M * (side or 0.0) for side in sides)

    def wall(values: Mapping[str, float]) -> list[WallMap]:
        factors = np.array([across, down]) / np.sqrt(across * down) * values["ground sampling"]

        def to_wall(points: Points) -> Points:
            return np.asarray(points * factors, np.float64)

        return [to_wall]

    sampling = {"ground sampling": Quantity(float(np.sqrt(across * down)))}
    return ModelledScale("the map's ground sampling", sampling, wall)

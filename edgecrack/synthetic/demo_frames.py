"""The built-in demonstration: a camera that moves along a long painted wall.

Gives frames by index, each with the exact mask for its view; knows nothing of sources,
threads or clocks.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.synthetic.demo_wall import WALL_HW, build_long_wall
from edgecrack.synthetic.noise import FloatArray, smooth_sequence
from edgecrack.synthetic.wall import Wall, check_size_hw

_REFERENCE_HW = (480, 640)
_NOISE_SIGMA = 2.0
_NOISE_SLACK_PX = 64
_MARGIN_PX = 24.0


class DemoPath:
    """A camera pan along a wall of concrete, brick and asphalt.

    The wall is painted once, when this is made; a frame is one affine view of it plus
    noise. The same arguments give the same frames.

    Args:
        seed: draws the shapes on the wall and the camera's shake; 0 or more.
        frame_hw: height and width of a frame in pixels, each 32 to 8192. Frames larger
            than 480x640 see the wall enlarged, smaller ones see less of it.
        frame_count: number of frames in one pass; 1 or more.

    Attributes:
        frame_rate_hz: the rate at which the pass looks like a slow walk.
        frame_hw: as given.

    Raises:
        ConfigError: an argument is out of its range.
    """

    frame_rate_hz: float = 25.0

    def __init__(
        self, seed: int = 7, frame_hw: tuple[int, int] = (480, 640), frame_count: int = 240
    ) -> None:
        """Paint the wall and plan the pan; takes a few tenths of a second."""
        if seed < 0:
            raise ConfigError(f"seed is {seed}", "give 0 or a positive integer")
        if frame_count < 1:
            raise ConfigError(f"frame_count is {frame_count}", "give 1 or more")
        check_size_hw("frame_hw", frame_hw)
        self.frame_hw = frame_hw
        self._seed = seed
        self._wall = build_long_wall(seed)
        self._views = _views(np.random.default_rng((seed, 4)), frame_hw, frame_count)
        self._noise = _noise(np.random.default_rng((seed, 5)), frame_hw)

    def __len__(self) -> int:
        """Number of frames in one pass."""
        return len(self._views)

    def view_matrix(self, index: int) -> FloatArray:
        """Where the wall lies in a frame: float32 [2, 3], wall x, y to frame x, y in pixels.

        Raises:
            IndexError: there is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        return np.asarray(self._views[index])

    def frame(self, index: int) -> Wall:
        """One view of the wall.

        Args:
            index: 0 to `len(self) - 1`; any order.

        Returns:
            The picture and the mask of the cracks in it; `surface` is the material in
            the middle of the view.

        Raises:
            IndexError: there is no such frame.
        """
        view = self.view_matrix(index)
        height, width = self.frame_hw
        image = cv2.warpAffine(
            self._wall.image, view, (width, height), None, cv2.INTER_LINEAR, cv2.BORDER_REFLECT
        )
        mask = cv2.warpAffine(
            self._wall.mask, view, (width, height), None, cv2.INTER_NEAREST, cv2.BORDER_REFLECT
        )
        rng = np.random.default_rng((self._seed, 6, index))
        y, x = rng.integers(0, _NOISE_SLACK_PX, 2).tolist()
        noise = self._noise[y : y + height, x : x + width]
        image = cv2.add(image, noise, None, None, cv2.CV_8U)
        back = cv2.invertAffineTransform(view)
        middle_x = float(back[0] @ np.array([width / 2.0, height / 2.0, 1.0]))
        return Wall(
            np.asarray(image, dtype=np.uint8),
            np.asarray(mask, dtype=np.uint8),
            self._wall.surface_at(middle_x),
        )


def _views(rng: np.random.Generator, frame_hw: tuple[int, int], count: int) -> FloatArray:
    """One affine matrix a frame, float32 [N, 2, 3]: pan, drift, zoom, tilt and shake."""
    height, width = frame_hw
    scale = max(1.0, height / _REFERENCE_HW[0], width / _REFERENCE_HW[1])
    along = np.linspace(0.0, 1.0, count) if count > 1 else np.zeros(1)
    zoom = scale * (1.06 + 0.05 * np.sin(2.0 * np.pi * (2.0 * along + 0.3)))
    angle = 0.02 * np.sin(2.0 * np.pi * 1.5 * along) + 0.004 * smooth_sequence(rng, count, 6.0)
    half = np.array([width, height]) / (2.0 * scale)
    first, last = half[0] + _MARGIN_PX, WALL_HW[1] - half[0] - _MARGIN_PX
    slack = WALL_HW[0] / 2.0 - half[1] - 2.0 * _MARGIN_PX
    x = first + (last - first) * along + 1.2 * smooth_sequence(rng, count, 4.0)
    y = WALL_HW[0] / 2.0 + slack * 0.6 * np.sin(2.0 * np.pi * 1.25 * along)
    y = y + 1.2 * smooth_sequence(rng, count, 4.0)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    shift_x = width / 2.0 - cosine * x + sine * y
    shift_y = height / 2.0 - sine * x - cosine * y
    rows = [np.stack([cosine, -sine, shift_x], axis=1), np.stack([sine, cosine, shift_y], axis=1)]
    return np.stack(rows, axis=1).astype(np.float32)


def _noise(
    rng: np.random.Generator, frame_hw: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    """Sensor noise to add, int8 [H + slack, W + slack, 3]; each frame takes another window."""
    hw = (frame_hw[0] + _NOISE_SLACK_PX, frame_hw[1] + _NOISE_SLACK_PX)
    gray = rng.standard_normal(hw, dtype=np.float32) * np.float32(_NOISE_SIGMA)
    return np.asarray(cv2.merge([np.rint(gray).astype(np.int8)] * 3), dtype=np.int8)

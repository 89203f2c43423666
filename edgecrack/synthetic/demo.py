"""The built-in demo: a camera that moves along a long painted wall."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.synthetic import markings, objects
from edgecrack.synthetic.camera import to_bytes
from edgecrack.synthetic.canvas import (
    ByteArray,
    Canvas,
    FloatArray,
    band,
    polygon,
    smooth_sequence,
    soft,
    worn,
)
from edgecrack.synthetic.crack_paint import CrackLook, paint_cracks
from edgecrack.synthetic.crack_paths import grow, map_cracks, stepped_crack, walk
from edgecrack.synthetic.surfaces import BrickBond, Surface, render_brick, render_surface
from edgecrack.synthetic.wall import Wall, check_size_hw

WALL_HW = (720, 2944)
_BORDERS_PX = (1230, 2040)
_BOND = BrickBond(course_px=44.0, brick_px=124.0, mortar_px=6.0, shift_x_px=20.0, shift_y_px=9.0)


@dataclass(frozen=True)
class LongWall:
    """A painted wall: uint8 [H, W, 3] BGR, uint8 [H, W] 0 or 255, and its materials."""

    image: ByteArray
    mask: ByteArray

    def surface_at(self, x_px: float) -> Surface:
        """The material at a position along the wall."""
        if x_px < _BORDERS_PX[0]:
            return "concrete"
        return "brick" if x_px < _BORDERS_PX[1] else "asphalt"


def build_long_wall(seed: int) -> LongWall:
    """Paint the whole wall; takes a few tenths of a second."""
    height, width = WALL_HW
    image = np.empty((height, width, 3), dtype=np.float32)
    whole = Canvas(image, np.zeros(WALL_HW, dtype=np.uint8))
    concrete = whole.view(0, 0, height, _BORDERS_PX[0])
    brick = whole.view(0, _BORDERS_PX[0], height, _BORDERS_PX[1])
    asphalt = whole.view(0, _BORDERS_PX[1], height, width)
    _paint_concrete(concrete, np.random.default_rng((seed, 1)))
    _paint_brick(brick, np.random.default_rng((seed, 2)))
    _paint_asphalt(asphalt, np.random.default_rng((seed, 3)))
    for border in _BORDERS_PX:
        _paint_pillar(whole, border)
    return LongWall(to_bytes(image), whole.mask)


def _level(canvas: Canvas, brightness: float) -> None:
    """Set the mean brightness of a section, so that the camera sees no sudden change."""
    mean = float(np.mean(cv2.mean(canvas.image)[:3]))
    np.multiply(canvas.image, np.float32(brightness / mean), out=canvas.image)


def _crack(
    canvas: Canvas,
    rng: np.random.Generator,
    start_xy: tuple[float, float],
    heading_rad: float,
    length_px: float,
    width_px: float,
    branches: float,
    look: CrackLook,
) -> None:
    """One crack from a given point in a given direction."""
    points = walk(rng, start_xy, heading_rad, length_px, 0.55)
    paint_cracks(canvas, grow(rng, points, width_px, branches, faintness=0.15), look, rng)


def _paint_concrete(canvas: Canvas, rng: np.random.Generator) -> None:
    """Formwork, bug holes, a stain, drips; a wide wet crack, a hairline, a branching one."""
    canvas.image[...] = render_surface("concrete", canvas.hw, rng)[0]
    _level(canvas, 150.0)
    markings.bug_holes(canvas, rng)
    markings.formwork(canvas, rng)
    markings.stain(canvas.view(60, 560, 460, 960), rng)
    markings.drips(canvas.view(0, 850, 700, 1200), rng)
    canvas.shade(soft(band(canvas, (640, 0), np.pi / 2.0, 4.0), 0.7), 0.5)
    _crack(canvas, rng, (190, -20), 1.25, 860, 4.5, 3.0, CrackLook(0.85, 0.15, 0.3, 0.1, 0.35))
    _crack(canvas, rng, (480, 480), -0.2, 520, 1.4, 1.0, CrackLook(0.75))
    _crack(canvas, rng, (1010, 760), -1.35, 640, 3.0, 3.0, CrackLook(0.8, 0.2, 0.2, 0.15))
    _building_shadow(canvas, ((300.0, 0.0), (520.0, 0.0), (380.0, 720.0), (150.0, 720.0)))
    objects.debris(canvas.view(420, 700, 720, 1200), rng)


def _paint_brick(canvas: Canvas, rng: np.random.Generator) -> None:
    """A stepped crack along the joints, one through the bricks; a cable and a pole's shadow."""
    canvas.image[...] = render_brick(canvas.hw, rng, _BOND)
    _level(canvas, 104.0)
    markings.stain(canvas.view(300, 420, 700, 800), rng)
    markings.drips(canvas.view(0, 20, 600, 260), rng)
    look = CrackLook(0.88, 0.1, 0.25)
    paint_cracks(canvas, stepped_crack(rng, (420, 420), 3.2, _BOND), look, rng)
    _crack(canvas, rng, (560, -20), 1.45, 800, 3.0, 2.0, look)
    ys = np.linspace(-10.0, canvas.hw[0] + 10.0, 60)
    cable = np.stack([250.0 + 14.0 * np.sin(ys / 130.0) + 0.05 * ys, ys], axis=1)
    objects.draw_cable(canvas, rng, cable, 5)
    _building_shadow(canvas, ((640.0, 0.0), (664.0, 0.0), (764.0, 720.0), (732.0, 720.0)))


def _paint_asphalt(canvas: Canvas, rng: np.random.Generator) -> None:
    """Worn paint, a sealed joint, a manhole; a long crack and a net of map cracks."""
    canvas.image[...] = render_surface("asphalt", canvas.hw, rng)[0]
    _level(canvas, 122.0)
    stripe = worn(band(canvas, (420, 0), np.pi / 2.0 + 0.06, 64), rng, 0.25)
    canvas.blend(soft(stripe, 0.5), (196.0, 202.0, 205.0), 0.85)
    canvas.shade(soft(band(canvas, (0, 560), 0.02, 5.0), 0.7), 0.4)
    look = CrackLook(0.78, 0.25, 0.15, 0.1)
    _crack(canvas, rng, (-20, 250), 0.06, 1000, 3.0, 3.0, look)
    net = canvas.view(180, 480, 700, canvas.hw[1])
    paint_cracks(net, map_cracks(rng, net.hw, 2.4), look, rng)
    objects.manhole(canvas.view(290, 20, 690, 420), rng, (190.0, 200.0))


def _building_shadow(canvas: Canvas, corners: tuple[tuple[float, float], ...]) -> None:
    """A cast shadow with a nearly hard edge."""
    shape = polygon(canvas, np.array(corners, dtype=np.float64))
    canvas.shade(soft(shape, 1.5), (0.62, 0.58, 0.56))


def _paint_pillar(whole: Canvas, x_px: int) -> None:
    """A pillar between two materials: shaded as round, dark at its edges."""
    part = whole.view(0, x_px - 60, whole.hw[0], x_px + 60)
    middle = (60.0, whole.hw[0] / 2.0)
    upright = np.pi / 2.0
    part.shade(soft(band(part, (64.0, middle[1]), upright, 76.0), 4.0), 0.5)
    body = band(part, middle, upright, 60.0)
    across = np.cos((np.arange(120, dtype=np.float32) - 48.0) * np.float32(np.pi / 110.0))
    grain = np.random.default_rng(x_px).normal(0.0, 3.0, part.hw)
    level = (70.0 + 90.0 * across[None, :] + grain)[..., None] * np.array([0.98, 1.0, 1.02])
    part.blend(body, level.astype(np.float32))
    part.hide(body)


_REFERENCE_HW = (480, 640)
_NOISE_SIGMA = 2.0
_NOISE_SLACK_PX = 64
_MARGIN_PX = 24.0


class DemoPath:
    """A camera pan along a wall of concrete, brick and asphalt.

    The wall is painted once, on construction; a frame is an affine view of it plus noise. The
    same arguments produce the same frames.

    Args:
        seed: determines the shapes on the wall and the camera's shake; 0 or more.
        frame_hw: height and width of a frame in pixels, each 32 to 8192. Frames larger
            than 480x640 show the wall enlarged, smaller ones show less of it.
        frame_count: number of frames in one pass; 1 or more.

    Attributes:
        frame_rate_hz: the rate at which the pass resembles a slow walk.
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
        """The view of a frame: float32 [2, 3], from wall x, y to frame x, y in pixels.

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
    """One affine matrix per frame, float32 [N, 2, 3]: pan, drift, zoom, tilt and shake."""
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
    """Sensor noise to add, int8 [H + slack, W + slack, 3]; each frame uses another window."""
    hw = (frame_hw[0] + _NOISE_SLACK_PX, frame_hw[1] + _NOISE_SLACK_PX)
    gray = rng.standard_normal(hw, dtype=np.float32) * np.float32(_NOISE_SIGMA)
    return np.asarray(cv2.merge([np.rint(gray).astype(np.int8)] * 3), dtype=np.int8)

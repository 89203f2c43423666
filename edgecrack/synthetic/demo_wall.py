"""The long wall that the demonstration's camera travels along.

Three stretches, concrete, brick and asphalt, each with several kinds of crack and with
things that are not cracks: shadow, stain, cable, joint, paint. The places are set by
hand, so that any seed shows all of them; the seed draws their shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgecrack.synthetic import markings, objects
from edgecrack.synthetic.canvas import Canvas, soft, worn
from edgecrack.synthetic.crack_nets import map_cracks, stepped_crack
from edgecrack.synthetic.crack_paint import CrackLook, paint_cracks
from edgecrack.synthetic.crack_paths import grow, walk
from edgecrack.synthetic.lens import to_bytes
from edgecrack.synthetic.noise import ByteArray
from edgecrack.synthetic.shapes import band, polygon
from edgecrack.synthetic.surfaces import BrickBond, Surface, render_brick, render_surface

WALL_HW = (720, 2944)
_BORDERS_PX = (1230, 2040)
_BOND = BrickBond(course_px=44.0, brick_px=124.0, mortar_px=6.0, shift_x_px=20.0, shift_y_px=9.0)


@dataclass(frozen=True)
class LongWall:
    """A painted wall: uint8 [H, W, 3] BGR, uint8 [H, W] 0 or 255, and its materials."""

    image: ByteArray
    mask: ByteArray

    def surface_at(self, x_px: float) -> Surface:
        """The material at a place along the wall."""
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
    """Set the mean brightness of a stretch, so that the camera sees no sudden change."""
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
    """One crack from a given place in a given direction."""
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
    """A pillar that parts two materials: rounded by its shading, dark where it meets them."""
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

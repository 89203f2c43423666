"""One inspected surface from one seed: bare surface, markings, cracks, objects, camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgecrack.data.synthetic import markings, objects
from edgecrack.data.synthetic.camera import photograph, to_bytes
from edgecrack.data.synthetic.canvas import Canvas
from edgecrack.data.synthetic.crack_nets import map_cracks, stepped_crack
from edgecrack.data.synthetic.crack_paint import paint_cracks, random_look
from edgecrack.data.synthetic.crack_paths import CrackPath, branched_crack
from edgecrack.data.synthetic.noise import ByteArray
from edgecrack.data.synthetic.surfaces import SURFACES, BrickBond, Surface, render_surface
from edgecrack.errors import ConfigError

Painter = Callable[[Canvas, np.random.Generator], None]

# Painted before the cracks, with how often each is drawn on each surface.
MARKINGS: dict[Painter, dict[Surface, float]] = {
    markings.straight_joint: {"concrete": 1.2, "asphalt": 1.0, "brick": 0.4},
    markings.formwork: {"concrete": 1.0, "asphalt": 0.0, "brick": 0.0},
    markings.stain: {"concrete": 1.4, "asphalt": 1.0, "brick": 1.0},
    markings.drips: {"concrete": 1.0, "asphalt": 0.1, "brick": 0.8},
    markings.lane_paint: {"concrete": 0.4, "asphalt": 1.3, "brick": 0.2},
    markings.bug_holes: {"concrete": 1.4, "asphalt": 0.8, "brick": 0.5},
    markings.scratches: {"concrete": 0.8, "asphalt": 0.6, "brick": 0.5},
    markings.smooth_patch: {"concrete": 0.5, "asphalt": 0.7, "brick": 0.3},
    objects.inspection_mark: {"concrete": 0.4, "asphalt": 0.3, "brick": 0.3},
}
# Painted over the cracks.
OBJECTS: dict[Painter, dict[Surface, float]] = {
    objects.shadow: {"concrete": 1.2, "asphalt": 1.4, "brick": 1.2},
    objects.cable: {"concrete": 0.7, "asphalt": 0.4, "brick": 0.8},
    objects.debris: {"concrete": 0.4, "asphalt": 0.8, "brick": 0.2},
    objects.manhole: {"concrete": 0.3, "asphalt": 0.7, "brick": 0.1},
    objects.object_edge: {"concrete": 0.7, "asphalt": 0.6, "brick": 0.6},
}
DISTRACTORS: tuple[Painter, ...] = (*MARKINGS, *OBJECTS)

_SMALLEST_PX = 32
_LARGEST_PX = 8192


@dataclass(frozen=True)
class WallConfig:
    """What to generate.

    Attributes:
        seed: the same configuration with the same seed gives the same bytes; 0 or more.
        size_hw: height and width in pixels, each 32 to 8192.
        surface: the material; None draws it from the seed.
        crack_count: number of separate cracks; None draws 0 to 4, 0 with probability 0.2.
        distractor_count: number of things that are not cracks; None draws 0 to 5.
        camera_effects: whether light, lens, noise and compression are simulated.

    Raises:
        ConfigError: a value is out of its range.
    """

    seed: int = 0
    size_hw: tuple[int, int] = (480, 640)
    surface: Surface | None = None
    crack_count: int | None = None
    distractor_count: int | None = None
    camera_effects: bool = True

    def __post_init__(self) -> None:
        """Refuse values that no wall can have."""
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}", "give 0 or a positive integer")
        check_size_hw("size_hw", self.size_hw)
        if self.surface is not None and self.surface not in SURFACES:
            raise ConfigError(f"surface is {self.surface!r}", f"give one of {', '.join(SURFACES)}")
        for name in ("crack_count", "distractor_count"):
            count = getattr(self, name)
            if count is not None and not 0 <= count <= 100:
                raise ConfigError(f"{name} is {count}", "give 0 to 100, or None to draw it")


def check_size_hw(name: str, size_hw: tuple[int, int]) -> None:
    """Raise a ConfigError unless both sides lie in the range that can be generated."""
    if len(size_hw) != 2 or not all(_SMALLEST_PX <= side <= _LARGEST_PX for side in size_hw):
        raise ConfigError(
            f"{name} is {size_hw}", f"give height and width of {_SMALLEST_PX} to {_LARGEST_PX}"
        )


@dataclass(frozen=True)
class Wall:
    """A picture of a surface and the exact mask of its cracks.

    Attributes:
        image: uint8 [H, W, 3], BGR.
        mask: uint8 [H, W], 255 on a crack, else 0.
        surface: the material.
    """

    image: ByteArray
    mask: ByteArray
    surface: Surface


def generate_wall(config: WallConfig) -> Wall:
    """Generate one wall.

    Args:
        config: what to generate.

    Returns:
        The picture and its mask; the same for the same configuration, byte by byte.
    """
    rng = np.random.default_rng(config.seed)
    drawn_surface = SURFACES[int(rng.choice(3, p=(0.45, 0.37, 0.18)))]
    drawn_cracks = int(rng.choice(5, p=(0.2, 0.43, 0.22, 0.1, 0.05)))
    drawn_distractors = int(rng.choice(6, p=(0.14, 0.24, 0.24, 0.18, 0.12, 0.08)))
    surface = config.surface or drawn_surface
    cracks = drawn_cracks if config.crack_count is None else config.crack_count
    distractors = drawn_distractors if config.distractor_count is None else config.distractor_count
    image, bond = render_surface(surface, config.size_hw, rng)
    canvas = Canvas(image, np.zeros(config.size_hw, dtype=np.uint8))
    below, above = _draw_painters(surface, distractors, rng)
    for painter in below:
        painter(canvas, rng)
    for _ in range(cracks):
        add_crack(canvas, rng, surface, bond)
    for painter in above:
        painter(canvas, rng)
    picture = photograph(canvas.image, rng) if config.camera_effects else to_bytes(canvas.image)
    return Wall(picture, canvas.mask, surface)


def _draw_painters(
    surface: Surface, count: int, rng: np.random.Generator
) -> tuple[list[Painter], list[Painter]]:
    """Which distractors a wall gets, those under its cracks and those over them."""
    weights = np.array([(MARKINGS | OBJECTS)[painter][surface] for painter in DISTRACTORS])
    drawn = rng.choice(len(DISTRACTORS), size=count, p=weights / weights.sum())
    chosen = [DISTRACTORS[index] for index in drawn.tolist()]
    below = [painter for painter in chosen if painter in MARKINGS]
    return below, [painter for painter in chosen if painter in OBJECTS]


def add_crack(
    canvas: Canvas, rng: np.random.Generator, surface: Surface, bond: BrickBond | None
) -> None:
    """Paint one random crack, with all that belongs to it, somewhere on the canvas."""
    narrowest = 0.6 if surface == "concrete" else 1.2
    width_px = float(np.clip(np.exp(rng.normal(0.75, 0.55)), narrowest, 12.0))
    paths = _random_paths(canvas.hw, rng, bond, width_px)
    look = random_look(rng, width_px)
    # Against stones or the pattern of joints, nobody could tell a faint crack.
    shallowest = {"concrete": 0.0, "asphalt": 0.48, "brick": 0.6}[surface]
    look = replace(look, depth=max(look.depth, shallowest))
    paint_cracks(canvas, paths, look, rng)


def _random_paths(
    hw: tuple[int, int], rng: np.random.Generator, bond: BrickBond | None, width_px: float
) -> list[CrackPath]:
    """A crack's shape: mostly a branching run, at times a net, on brick often stepped."""
    kind = rng.random()
    if bond is not None and kind < 0.45:
        return stepped_crack(rng, hw, max(1.4, min(width_px, 1.2 * bond.mortar_px)), bond)
    if kind > 0.9:
        return map_cracks(rng, hw, min(width_px, 3.5))
    return branched_crack(rng, hw, width_px, rng.uniform(0.0, 2.2))

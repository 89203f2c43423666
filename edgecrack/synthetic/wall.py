"""Generates a surface from a seed, and folders of such surfaces in a dataset's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.files import make_folder, write_atomic, write_png
from edgecrack.synthetic import covers
from edgecrack.synthetic.camera import ground_view, photograph, to_bytes
from edgecrack.synthetic.canvas import ByteArray, Canvas, smooth_sequence
from edgecrack.synthetic.crack_paint import paint_cracks, random_look
from edgecrack.synthetic.crack_paths import (
    CrackPath,
    branched_crack,
    dress,
    map_cracks,
    stepped_crack,
)
from edgecrack.synthetic.distractors import Painter, draw_painters
from edgecrack.synthetic.surfaces import SURFACES, BrickBond, Surface, render_surface

_SMALLEST_PX = 32
_LARGEST_PX = 8192
_SLANTING_SHARE = 0.18


@dataclass(frozen=True)
class WallConfig:
    """What to generate.

    Attributes:
        seed: the same configuration and seed produce the same bytes; 0 or more.
        size_hw: height and width in pixels, each 32 to 8192.
        surface: the material; None for a random one.
        crack_count: number of separate cracks; None draws 0 to 4, 0 with probability 0.24.
        distractor_count: number of non-crack objects; None draws 0 to 6, one more if there is no
            crack.
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
        """Validate all values."""
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
    """Raise a ConfigError unless both sides are in the range that can be generated."""
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
    drawn_cracks = int(rng.choice(5, p=(0.24, 0.41, 0.21, 0.09, 0.05)))
    drawn_distractors = int(rng.choice(6, p=(0.1, 0.2, 0.22, 0.21, 0.16, 0.11)))
    drawn_distractors += int(drawn_cracks == 0)
    surface = config.surface or drawn_surface
    cracks = drawn_cracks if config.crack_count is None else config.crack_count
    distractors = drawn_distractors if config.distractor_count is None else config.distractor_count
    slanting = rng.random() < _SLANTING_SHARE
    hw = _enlarged(config.size_hw) if slanting else config.size_hw
    image, bond = render_surface(surface, hw, rng)
    canvas = Canvas(image, np.zeros(hw, dtype=np.uint8))
    below, lying, standing = draw_painters(surface, distractors, rng)
    for painter in below:
        painter(canvas, rng)
    if cracks and covers.manhole_cover in lying and rng.random() < 0.5:
        cracks -= 1
        lying[lying.index(covers.manhole_cover)] = _cracked_surround(canvas, rng)
    for _ in range(cracks):
        add_crack(canvas, rng, surface, bond)
    for painter in lying:
        painter(canvas, rng)
    if slanting:
        canvas = ground_view(canvas, config.size_hw, rng)
    for painter in standing:
        painter(canvas, rng)
    picture = photograph(canvas.image, rng) if config.camera_effects else to_bytes(canvas.image)
    return Wall(picture, canvas.mask, surface)


def _enlarged(hw: tuple[int, int]) -> tuple[int, int]:
    """The surface size for an oblique view that shows the near end at about its own size."""
    return int(1.3 * hw[0]), int(1.3 * hw[1])


def _cracked_surround(canvas: Canvas, rng: np.random.Generator) -> Painter:
    """Crack the road around a point, and return a painter that places a manhole cover there."""
    height, width = canvas.hw
    place = (rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.85) * height)
    count = int(rng.integers(50, 140))
    turn = rng.uniform(0.0, 2.0 * np.pi) + np.linspace(0.0, rng.uniform(1.5, 5.5), count)
    radius = rng.uniform(0.25, 0.42) * min(height, width)
    reach = radius * (1.0 + 0.08 * smooth_sequence(rng, count, 25.0))
    reach += 1.3 * smooth_sequence(rng, count, 3.0)
    arc = np.stack([place[0] + reach * np.cos(turn), place[1] + reach * np.sin(turn)], axis=1)
    width_px = rng.uniform(1.3, 3.0)
    look = random_look(rng, width_px)
    look = replace(look, depth=max(look.depth, 0.5))
    paint_cracks(canvas, [dress(rng, arc.astype(np.float32), width_px)], look, rng)

    def cover(on: Canvas, generator: np.random.Generator) -> None:
        covers.manhole_cover(on, generator, place)

    return cover


def add_crack(
    canvas: Canvas, rng: np.random.Generator, surface: Surface, bond: BrickBond | None
) -> None:
    """Paint one random crack with its surroundings at a random place."""
    narrowest = 0.6 if surface == "concrete" else 1.2
    width_px = float(np.clip(np.exp(rng.normal(0.75, 0.55)), narrowest, 12.0))
    paths = _random_paths(canvas.hw, rng, bond, width_px)
    look = random_look(rng, width_px)
    # Between stones or joints, a faint crack would be invisible.
    shallowest = {"concrete": 0.0, "asphalt": 0.48, "brick": 0.6}[surface]
    look = replace(look, depth=max(look.depth, shallowest))
    paint_cracks(canvas, paths, look, rng)


def _random_paths(
    hw: tuple[int, int], rng: np.random.Generator, bond: BrickBond | None, width_px: float
) -> list[CrackPath]:
    """A crack's shape: mostly branching, sometimes a net, on brick often stepped."""
    kind = rng.random()
    if bond is not None and kind < 0.45:
        return stepped_crack(rng, hw, max(1.4, min(width_px, 1.2 * bond.mortar_px)), bond)
    if kind > 0.9:
        return map_cracks(rng, hw, min(width_px, 3.5))
    return branched_crack(rng, hw, width_px, rng.uniform(0.0, 2.2))


SPLIT_NAMES = ("train", "val", "test")
_DEFAULT_FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}


def write_dataset(
    folder: Path,
    count: int,
    size_hw: tuple[int, int] = (480, 640),
    seed: int = 0,
    split_fractions: Mapping[str, float] | None = None,
) -> None:
    """Write images/NNNN.png, masks/NNNN.png and splits.json.

    Wall N is `generate_wall` of seed `seed + N`. Every file is written to a temporary sibling
    and renamed, so a reader never sees an incomplete file; splits.json is written last.

    Args:
        folder: created if it does not exist; files of the same names are replaced.
        count: number of walls, 1 or more.
        size_hw: height and width of each, in pixels.
        seed: seed of the first wall, 0 or more.
        split_fractions: shares of train, val and test, which sum to 1; None is 0.8,
            0.1, 0.1.

    Raises:
        ConfigError: an argument is out of range.
        OutputError: the folder cannot be written.
    """
    if count < 1:
        raise ConfigError(f"count is {count}", "give 1 or more")
    check_size_hw("size_hw", size_hw)
    first = WallConfig(seed=seed, size_hw=size_hw).seed
    names = [f"{index:04d}" for index in range(count)]
    splits = _split(names, split_fractions or _DEFAULT_FRACTIONS, seed)
    for kind in ("images", "masks"):
        make_folder(folder / kind)
    for index, name in enumerate(names):
        wall = generate_wall(WallConfig(seed=first + index, size_hw=size_hw))
        write_png(folder / "images" / f"{name}.png", wall.image, durable=False)
        write_png(folder / "masks" / f"{name}.png", wall.mask, durable=False)
    write_atomic(folder / "splits.json", json.dumps(splits, indent=2) + "\n")


def _split(names: list[str], fractions: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Distribute the names at random; each name is in exactly one split."""
    shares = [fractions.get(name, 0.0) for name in SPLIT_NAMES]
    unknown = sorted(set(fractions) - set(SPLIT_NAMES))
    if unknown or min(shares) < 0.0 or abs(sum(shares) - 1.0) > 1e-6:
        raise ConfigError(
            f"split_fractions is {dict(fractions)}",
            f"give shares of {', '.join(SPLIT_NAMES)}, none negative, that sum to 1",
        )
    order = np.random.default_rng((seed, 1)).permutation(len(names))
    ends = np.rint(np.cumsum([0.0, *shares]) * len(names)).astype(int).tolist()
    return {
        split: sorted(names[index] for index in order[begin:end])
        for split, begin, end in zip(SPLIT_NAMES, ends[:-1], ends[1:], strict=True)
    }

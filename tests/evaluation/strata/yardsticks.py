"""A small yardstick of generated walls and rendered cracks, made in a moment."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.synthetic import WallConfig, generate_wall
from edgecrack.synthetic.surfaces import SURFACES
from edgecrack.yardstick.manifest import Item, Origin, TrueCrack, write_manifest
from edgecrack.yardstick.rendering import CrackConfig, render_crack

SIDE = 128


def clean_wall(seed: int) -> NDArray[np.uint8]:
    """A generated concrete wall without any crack, uint8 [128, 128, 3]."""
    config = WallConfig(seed, (SIDE, SIDE), "concrete", crack_count=0, distractor_count=0)
    return generate_wall(config).image


def write_pair(
    folder: Path, name: str, image: NDArray[np.uint8], mask: NDArray[np.uint8] | None
) -> tuple[Path, Path | None]:
    """Write a picture and its mask, if any, as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.png", folder / f"{name}.mask.png"
    cv2.imwrite(str(paths[0]), image)
    if mask is None:
        return paths[0], None
    cv2.imwrite(str(paths[1]), mask)
    return paths


def generated(folder: Path, number: int) -> Item:
    """A wall with a crack, which counts as a photo labelled by somebody where it is even."""
    wall = generate_wall(WallConfig(number, (SIDE, SIDE), SURFACES[number % 3], crack_count=2))
    surface = "masonry" if wall.surface == "brick" else wall.surface
    image, mask = write_pair(folder, f"wall_{number}", wall.image, wall.mask)
    origin: Origin = "labelled" if number % 2 == 0 else "generated"
    return Item(f"wall_{number}", image, mask, origin=origin, surface=surface, photo=f"{number}")


def rendered(folder: Path, number: int, width_px: float) -> Item:
    """A crack of known width on a clean wall; every two share a photo."""
    config = CrackConfig(width_px, 0.7, blur_px=0.8)
    crack = render_crack(clean_wall(number // 2), config, np.random.default_rng(number))
    image, mask = write_pair(folder, f"crack_{number}", crack.image, crack.mask)
    cracks = (TrueCrack(crack.centre_line, crack.width_px),)
    return Item(
        f"crack_{number}", image, mask, origin="rendered", photo=f"p{number // 2}", cracks=cracks
    )


def write_yardstick(folder: Path) -> Path:
    """Eighteen pictures: labelled, generated and rendered cracks, and two kinds of none."""
    items = [generated(folder / "walls", number) for number in range(8)]
    widths = (1.0, 1.0, 2.0, 2.0, 6.0, 6.0)
    items += [rendered(folder / "cracks", number, width) for number, width in enumerate(widths)]
    for number in range(4):
        image, _ = write_pair(folder / "clean", f"none_{number}", clean_wall(50 + number), None)
        kind = ("clean", "joint")[number % 2]
        items.append(Item(f"none_{number}", image, None, kind, "photo", photo=f"n{number}"))
    write_manifest(folder, items, 0.8, {"about": "a yardstick for tests"})
    return folder

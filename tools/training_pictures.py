"""Training pictures: cracks of 1 to 80 px with exact masks, drawn on real clean surfaces.

    python tools/training_pictures.py --data DIR --out runs/training/rendered --count 2000

Backgrounds are crack-free tiles of concrete_tiles, windows of uav315's training photos in which
nothing is labelled, windows of road_frames in which neither the weak labels nor the bundled model
see anything, and generated surfaces. Nothing of the yardstick is among them. Each contains
non-crack objects, and beside a long, dark one there is a crack of similar width, so that width and
darkness alone do not tell them apart.

The yardstick's rendered cracks come from the same renderer, with other surfaces and narrower
ranges: scores there flatter a network that was trained on these. Writes images/ and masks/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.data.reading import read_image  # noqa: E402
from edgecrack.data.splits import content_hash, reserved_hashes  # noqa: E402
from edgecrack.files import make_folder, write_png  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402
from edgecrack.synthetic import WallConfig, generate_wall, objects, wear  # noqa: E402
from edgecrack.synthetic.camera import to_bytes  # noqa: E402
from edgecrack.synthetic.canvas import Canvas, band, polygon, soft  # noqa: E402  # noqa: E402
from edgecrack.synthetic.distractors import LYING, MARKINGS, STANDING  # noqa: E402
from edgecrack.synthetic.surfaces import Surface  # noqa: E402
from edgecrack.yardstick.clean_surfaces import quilt  # noqa: E402
from edgecrack.yardstick.rendering import (  # noqa: E402
    CrackConfig,
    blurred,
    camera_noise,
    noise_level,
    render_crack,
)
from tools.masonry_walls import masonry_wall  # noqa: E402

Bytes = NDArray[np.uint8]
Painter = Callable[[Canvas, np.random.Generator], None]

SIDE_PX = 448
LEAST_WINDOW_PX = 160
_FIRST_SEED = 2**40  # of walls; the yardstick's and those of `synthetic:` have others
_KINDS = ("concrete", "drone", "road", "generated")
_KIND_SHARES = (0.37, 0.18, 0.15, 0.3)
_TEXTURE_STEP = 12
_CRACK_COUNTS = (0.35, 0.43, 0.16, 0.06)
# How many non-crack objects are below the cracks and above them, and how many stand in front of
# them; more in busy pictures.
_BELOW, _ABOVE, _STANDING = (0.35, 0.4, 0.17, 0.08), (0.45, 0.4, 0.15, 0.0), (1.0, 0.0)
_BUSY_BELOW, _BUSY_ABOVE = (0.15, 0.35, 0.3, 0.2), (0.0, 0.4, 0.4, 0.2)
_BUSY_STANDING = (0.55, 0.45)
# Long and dark as a crack is: a real crack lies beside it.
_LIKE_CRACKS = ("straight_joint", "formwork", "ruled_lines", "seam", "wires", "cable", "shadow")
# Even, dark and long: beside an even crack nothing would tell them apart.
_LIKE_EVEN_CRACKS = (objects.cable, wear.wires)


@dataclass(frozen=True)
class Style:
    """What kind of pictures is made.

    Attributes:
        cracks: shares of pictures with 0, 1, 2 and 3 cracks.
        below: of pictures with so many things below the cracks.
        above: above them.
        standing: before them.
        blurs_px: range of the camera's blur.
        even: cracks with smooth and nearly parallel edges, without cables beside them.
        clean: no cracks, beside joints and shadows neither.
        masonry: on walls of `masonry_walls.py` alone, whose own cracks come first.
    """

    cracks: tuple[float, ...] = _CRACK_COUNTS
    below: tuple[float, ...] = _BELOW
    above: tuple[float, ...] = _ABOVE
    standing: tuple[float, ...] = _STANDING
    blurs_px: tuple[float, float] = (0.4, 1.8)
    even: bool = False
    clean: bool = False
    masonry: bool = False


STYLES = {
    "usual": Style(),
    "busy": Style(below=_BUSY_BELOW, above=_BUSY_ABOVE, standing=_BUSY_STANDING),
    "even": Style(cracks=(0.0, 0.7, 0.25, 0.05), above=(0.7, 0.3), blurs_px=(0.5, 2.4), even=True),
    "clean": Style(cracks=(1.0,), below=(0.0, 0.5, 0.3, 0.2), above=(0.4, 0.4, 0.2), clean=True),
    "masonry": Style(cracks=(0.75, 0.25), below=(0.6, 0.4), above=(0.7, 0.3), masonry=True),
}


@dataclass(frozen=True)
class Sources:
    """Where clean surfaces are cut from.

    Attributes:
        data: holds concrete_tiles/, uav315/ and road_frames/.
    """

    data: Path

    @cached_property
    def concrete(self) -> list[Path]:
        """Crack-free tiles that are not the yardstick's."""
        found = sorted((self.data / "concrete_tiles" / "negative").glob("*.jpg"))
        return [path for path in found if content_hash(path) not in reserved_hashes()]

    @cached_property
    def textures(self) -> list[Bytes]:
        """Some of the crack-free tiles."""
        return [read_image(path) for path in self.concrete[::_TEXTURE_STEP]]

    @cached_property
    def drone(self) -> list[Bytes]:
        """Windows of training photos without any labelled crack."""
        windows = []
        for sample in open_dataset(self.data / "uav315").samples("train"):
            if content_hash(sample.image_path) in reserved_hashes():
                continue
            image, mask = sample.load()
            wide = cv2.dilate((mask > 0).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
            windows += _clean_windows(image, wide)
        return windows

    @cached_property
    def road(self) -> list[Bytes]:
        """Windows of road frames without visible cracks."""
        windows = []
        folder = self.data / "road_frames"
        with open_detector(scales=(1.0,), threads=1) as detector:
            for path in sorted((folder / "images").iterdir()):
                if content_hash(path) in reserved_hashes():
                    continue
                image = read_image(path)
                lower = image[image.shape[0] // 2 :]  # the road; above are the objects beside it
                small = cv2.resize(lower, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                found = detector.probability_of(lower) > 20
                half = detector.probability_of(np.asarray(small, np.uint8)) > 20
                found |= cv2.resize(half.astype(np.uint8), found.shape[::-1]) > 0
                weak = folder / "crack_weak" / f"{path.stem}.png"
                if weak.is_file():
                    labels = cv2.imread(str(weak), cv2.IMREAD_GRAYSCALE)
                    found |= np.asarray(labels)[image.shape[0] // 2 :] > 0
                wide = cv2.dilate(found.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
                windows += _clean_windows(lower, wide)
        return windows


def _clean_windows(image: Bytes, crack: NDArray[np.bool_]) -> list[Bytes]:
    """The largest square windows without crack, at most two of an image."""
    taken = crack.copy()
    windows = []
    for _ in range(2):
        away = cv2.distanceTransform(
            np.pad((~taken).astype(np.uint8), 1), cv2.DIST_C, cv2.DIST_MASK_3
        )[1:-1, 1:-1]
        half = int(away.max()) - 1
        if 2 * half < LEAST_WINDOW_PX:
            break
        y, x = np.unravel_index(int(away.argmax()), away.shape)
        place = slice(int(y) - half, int(y) + half), slice(int(x) - half, int(x) + half)
        windows.append(np.ascontiguousarray(image[place]))
        taken[place] = True
    return windows


def background(
    sources: Sources, kind: str, rng: np.random.Generator
) -> tuple[Bytes, Bytes, Surface]:
    """A picture of SIDE_PX, its mask, and what material painters are to take it for.

    All are clean but half of the brick walls and two thirds of the masonry, whose cracks follow
    the joints.
    """
    clean = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    if kind == "generated":
        surface: Surface = ("asphalt", "brick", "brick", "concrete")[int(rng.integers(0, 4))]
        seed = _FIRST_SEED + int(rng.integers(0, 2**31))
        cracks = int(rng.integers(0, 2) * rng.integers(1, 3)) if surface == "brick" else 0
        wall = generate_wall(WallConfig(seed, (SIDE_PX, SIDE_PX), surface, cracks, 0))
        return wall.image, wall.mask, surface
    if kind == "masonry":
        image, mask = masonry_wall(sources.textures, SIDE_PX, rng)
        return image, mask, "brick"
    if kind == "concrete":
        image = read_image(sources.concrete[int(rng.integers(0, len(sources.concrete)))])
    else:
        windows = sources.drone if kind == "drone" else sources.road
        image = windows[int(rng.integers(0, len(windows)))]
    factor = float(np.exp(rng.uniform(np.log(0.7), np.log(1.8))))
    factor = max(factor, 130 / min(image.shape[:2]))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    part = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=method), np.uint8)
    part = np.rot90(part, int(rng.integers(0, 4) if kind == "concrete" else 2 * rng.integers(0, 2)))
    part = np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)
    if min(part.shape[:2]) >= SIDE_PX:
        y, x = rng.integers(0, [side - SIDE_PX + 1 for side in part.shape[:2]]).tolist()
        return np.ascontiguousarray(part[y : y + SIDE_PX, x : x + SIDE_PX]), clean, "concrete"
    side = min(*part.shape[:2], SIDE_PX - 1)
    grown = quilt(np.ascontiguousarray(part[:side, :side]), SIDE_PX, rng)
    return grown, clean, "asphalt" if kind == "road" else "concrete"


def paint(
    image: Bytes, mask: Bytes, painter: Painter, rng: np.random.Generator, blur_px: float
) -> tuple[Bytes, Bytes]:
    """A thing on a photo, blurred as its camera does, and the mask without what it hides."""
    before = image.astype(np.float32)
    canvas = Canvas(before.copy(), np.full(mask.shape, 255, np.uint8))
    painter(canvas, rng)
    hidden = canvas.mask == 0
    change = blurred(np.clip(canvas.image, 0, 255) - before, blur_px)
    opaque = blurred(hidden.astype(np.float32), blur_px)[..., None]
    result = before + change - opaque * (before - blurred(before, blur_px))
    result += camera_noise(rng, mask.shape) * (np.float32(noise_level(image)) * opaque)
    return to_bytes(result), np.where(hidden, 0, mask).astype(np.uint8)


def cast_shadows(canvas: Canvas, rng: np.random.Generator) -> None:
    """Sharp shadows of what stands nearby: straight bars of one direction, and plates.

    Unlike a crack's, their edges are straight and their width is constant.
    """
    angle = float(rng.uniform(0, np.pi))
    shade = canvas.blank()
    for _ in range(int(rng.integers(1, 5))):
        width = float(np.exp(rng.uniform(np.log(2.0), np.log(60.0))))
        turn = angle + float(rng.choice([0.0, 0.0, np.pi / 2]) + rng.normal(0, 0.05))
        place = (float(rng.uniform(0, SIDE_PX)), float(rng.uniform(0, SIDE_PX)))
        shade = np.maximum(shade, band(canvas, place, turn, width))
    if rng.random() < 0.6:
        middle, reach = rng.uniform(0, SIDE_PX, 2), float(rng.uniform(20, 180))
        around = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        corners = middle + reach * np.stack([np.cos(around), np.sin(around)], axis=1)
        shade = np.maximum(shade, polygon(canvas, corners))
    canvas.shade(soft(shade, float(rng.uniform(0.4, 4.0))), float(rng.uniform(0.3, 0.75)))


def dark_shapes(canvas: Canvas, rng: np.random.Generator) -> None:
    """Black figures as on signs, plates and boards: squares, bars, discs, rings; some on white."""
    x, y = rng.uniform(0, SIDE_PX, 2).tolist()
    size, turn = float(rng.uniform(12, 90)), float(rng.uniform(0, np.pi))
    along = np.array([np.cos(turn), np.sin(turn)])
    across = np.array([-along[1], along[0]])
    level = float(rng.uniform(5, 70))

    def place(u: float, v: float, half_u: float, half_v: float) -> Bytes:
        middle = np.array([x, y]) + u * along + v * across
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        return polygon(
            canvas, np.array([middle + a * half_u * along + b * half_v * across for a, b in signs])
        )

    if rng.random() < 0.6:
        card = place(0, 0, 1.5 * size, float(rng.uniform(1.1, 1.6)) * size)
        canvas.blend(card, (level + 130,) * 3)
        canvas.hide(card)
    for _ in range(int(rng.integers(1, 7))):
        u, v = rng.uniform(-1, 1, 2).tolist()
        if rng.random() < 0.5:
            figure = place(u * size, v * size, *(size * rng.uniform(0.1, 0.5, 2)).tolist())
        else:
            middle = (round(x + u * size), round(y + v * size))
            figure, radius = canvas.blank(), round(size * float(rng.uniform(0.1, 0.5))) + 2
            thickness = -1 if rng.random() < 0.5 else max(1, radius // 4)
            cv2.circle(figure, middle, radius, 255, thickness, cv2.LINE_AA)
        canvas.blend(figure, (level, level, level))
        canvas.hide(figure)


def drawn_painter(
    table: dict[Painter, dict[Surface, float]], surface: Surface, rng: np.random.Generator
) -> Painter:
    """One of the painters, as often as they occur on a surface."""
    painters = list(table)
    weights = np.array([table[painter][surface] for painter in painters])
    return painters[int(rng.choice(len(painters), p=weights / weights.sum()))]


def drawn_even_crack(rng: np.random.Generator, blur_px: float) -> CrackConfig:
    """A crack whose edges are smooth and nearly parallel, as young ones are."""
    return CrackConfig(
        width_px=float(np.exp(rng.uniform(np.log(1.0), np.log(30.0)))),
        contrast=float(rng.uniform(0.3, 0.9)),
        blur_px=blur_px,
        ragged=float(rng.uniform(0.0, 0.12)),
        swell=float(rng.uniform(0.0, 0.15)),
        jaggedness=float(rng.uniform(0.0, 0.35)),
        fading=float(rng.uniform(0.0, 0.4)),
        crosses=True,
        branch=bool(rng.random() < 0.2),
    )


def drawn_crack(rng: np.random.Generator, blur_px: float, smooth: bool) -> CrackConfig:
    """A crack of any width, as faint as the surface allows it to be seen."""
    width_px = float(np.exp(rng.uniform(np.log(0.7), np.log(80.0))))
    # A faint line on a rough surface is no label that anybody would draw.
    faintest = (0.12 if smooth else 0.3) if width_px < 12 else 0.35
    return CrackConfig(
        width_px=width_px,
        contrast=float(rng.uniform(faintest, 0.9)),
        blur_px=blur_px,
        ragged=float(rng.uniform(0.03, 0.4)),
        swell=float(rng.uniform(0.05, 0.4)),
        jaggedness=float(rng.uniform(0.1, 0.85)),
        fading=float(rng.uniform(0.0, 0.6)),
        spalls=float(rng.uniform(0.0, 3.0)) if rng.random() < 0.5 else 0.0,
        crosses=bool(rng.random() < 0.7),
        branch=bool(rng.random() < 0.35),
    )


def dirtied(image: Bytes, mask: Bytes, rng: np.random.Generator) -> Bytes:
    """Dirt or damp around a crack: darker beside it, fading with the distance."""
    reach_px = float(rng.uniform(4.0, 22.0))
    near = cv2.GaussianBlur((mask > 0).astype(np.float32), (0, 0), reach_px)
    patchy = cv2.resize(
        rng.random((6, 6), dtype=np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC
    )
    share = np.clip(near / max(float(near.max()), 1e-6) * patchy, 0, 1)
    factor = 1.0 - np.float32(rng.uniform(0.1, 0.35)) * share
    return to_bytes(image.astype(np.float32) * factor[..., None])


def compose(sources: Sources, number: int, seed: int, style: Style) -> tuple[Bytes, Bytes, str]:
    """One picture, its mask and the kind of its surface."""
    rng = np.random.default_rng((seed, number))

    def drawn(shares: tuple[float, ...]) -> range:
        return range(int(rng.choice(len(shares), p=shares)))

    kind = "masonry" if style.masonry else str(rng.choice(_KINDS, p=_KIND_SHARES))
    image, mask, surface = background(sources, kind, rng)
    blur_px = float(rng.uniform(*style.blurs_px))
    cracks = drawn(style.cracks)
    for _ in drawn(style.below):
        painter = drawn_painter(MARKINGS, surface, rng)
        image, mask = paint(image, mask, painter, rng, blur_px)
        if painter.__name__ in _LIKE_CRACKS and not style.clean:
            cracks = range(max(len(cracks), 1))
    smooth = float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.CV_32F).std()) < 14
    for _ in cracks:
        crack = drawn_even_crack(rng, blur_px) if style.even else drawn_crack(rng, blur_px, smooth)
        made = render_crack(image, crack, rng)
        image, mask = made.image, np.maximum(mask, made.mask)
    if mask.any() and rng.random() < 0.25:
        image = dirtied(image, mask, rng)
    lying = {
        painter: shares
        for painter, shares in LYING.items()
        if not (style.even and painter in _LIKE_EVEN_CRACKS)
    }
    for _ in drawn(style.above):
        own = (cast_shadows, dark_shapes)[int(rng.integers(0, 2))]
        painter = own if rng.random() < 0.35 else drawn_painter(lying, surface, rng)
        image, mask = paint(image, mask, painter, rng, blur_px)
    for _ in drawn(style.standing):
        image, mask = paint(image, mask, drawn_painter(STANDING, surface, rng), rng, blur_px)
    return image, mask, kind


def pictures(
    sources: Sources, count: int, seed: int, style: Style
) -> Iterator[tuple[str, Bytes, Bytes]]:
    """All pictures with their names."""
    for number in range(count):
        image, mask, kind = compose(sources, number, seed, style)
        yield f"{kind}-{number:05d}", image, mask


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--style",
        choices=sorted(STYLES),
        default="usual",
        help="busy: more non-crack objects, upright ones too; even: cracks with smooth, nearly "
        "parallel edges; clean: non-crack objects alone; masonry: brick, blocks and rubble",
    )
    given = parser.parse_args()
    cv2.setNumThreads(1)
    for name in ("images", "masks"):
        make_folder(given.out / name)
    for name, image, mask in pictures(
        Sources(given.data), given.count, given.seed, STYLES[given.style]
    ):
        write_png(given.out / "images" / f"{name}.png", image, durable=False)
        write_png(given.out / "masks" / f"{name}.png", mask, durable=False)
    print(f"{given.count} pictures in {given.out}")


if __name__ == "__main__":
    main()

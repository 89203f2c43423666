"""Walls of brick, blocks and rubble for training: units textured by photos, cracks along joints.

    from tools.masonry_walls import masonry_wall
    image, mask = masonry_wall(photos_of_clean_concrete, 448, np.random.default_rng(1))

A crack takes the way of least resistance: mortar is weaker than the units, so it mostly follows the
joints and cuts through a unit where the detour would be long. On clean walls, and beside each
crack, dark and ragged joints are not cracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from edgecrack.synthetic.camera import photograph
from edgecrack.synthetic.canvas import Canvas, FloatArray, fractal_noise, smooth_noise, smooth_step
from edgecrack.synthetic.crack_paint import paint_cracks, random_look
from edgecrack.synthetic.crack_paths import CrackPath, grow, roughened
from edgecrack.synthetic.surfaces import lit_relief

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int32]

_CRACKED_SHARE = 0.65
# Beside dark joints a faint crack is no label that anybody would draw.
_LEAST_DEPTH = 0.6
# Searching for a crack's way on every pixel would be slow.
_GRID_PX = 4
# BGR of clay, sandstone, limestone, concrete block and engineering brick.
_COLOURS = ((72, 84, 138), (110, 145, 175), (165, 180, 190), (140, 143, 146), (80, 75, 85))


def masonry_wall(
    photos: Sequence[Bytes], side_px: int, rng: np.random.Generator
) -> tuple[Bytes, Bytes]:
    """One wall, cracked in two of three cases.

    Args:
        photos: clean surfaces, uint8 [h, w, 3], each side 64 px or more.
        side_px: height and width.
        rng: source of randomness.

    Returns:
        The picture, uint8 [H, W, 3] BGR, and its mask, uint8 [H, W], 255 on a crack.
    """
    hw = side_px, side_px
    unit_px = float(np.exp(rng.uniform(np.log(14.0), np.log(130.0))))
    units = (_rubble if rng.random() < 0.25 else _courses)(hw, unit_px, rng)
    mortar_px = max(1.6, unit_px * float(rng.uniform(0.06, 0.26)))
    away_px = _from_joint(units)
    canvas = Canvas(_painted(photos, units, away_px, mortar_px, rng), np.zeros(hw, np.uint8))
    if rng.random() < _CRACKED_SHARE:
        for _ in range(int(rng.integers(1, 3))):
            _crack(canvas, away_px, mortar_px, rng)
    return photograph(canvas.image, rng), canvas.mask


def _courses(hw: tuple[int, int], unit_px: float, rng: np.random.Generator) -> Labels:
    """Units in courses: bricks of one size, or blocks of different lengths and heights."""
    height, width = hw
    uneven = float(rng.choice([0.0, 0.05, 0.3]))
    wobble = smooth_noise(rng, hw, (unit_px, unit_px)) * np.float32(0.03 * unit_px)
    bend = smooth_noise(rng, hw, (300.0, 300.0)) * np.float32(0.03 * unit_px)
    ys = np.arange(height, dtype=np.float32)[:, None] + wobble + bend
    xs = np.arange(width, dtype=np.float32)[None, :] + wobble
    tops = _borders(height, unit_px, uneven, rng)
    course = np.searchsorted(tops, ys).astype(np.int32)
    length_px = unit_px * float(rng.uniform(1.2, 3.6))
    shift = float(rng.choice([0.5, 0.5, 0.33, 0.0]))
    units = np.zeros(hw, np.int32)
    for number in range(len(tops) + 1):
        begins = _borders(width, length_px, uneven, rng) + number * shift % 1.0 * length_px
        here = course == number
        units[here] = number * 1000 + np.searchsorted(begins, xs[here])
    return units


def _borders(
    extent: int, mean_px: float, uneven: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Where units end along one direction."""
    count = int(extent / mean_px) + 4
    sizes = mean_px * np.exp(rng.normal(0.0, uneven, count))
    return np.cumsum(sizes) - float(rng.uniform(1.0, 2.0)) * mean_px


def _rubble(hw: tuple[int, int], unit_px: float, rng: np.random.Generator) -> Labels:
    """Stones of irregular shape."""
    height, width = hw
    spacing = 1.5 * unit_px
    rows, columns = int(height / spacing) + 3, int(width / spacing) + 3
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    seeds = (grid.reshape(-1, 2) - 1 + rng.uniform(-0.4, 0.4, (rows * columns, 2))) * spacing
    seeds = seeds[((seeds >= 0) & (seeds < np.array(hw))).all(axis=1)]
    marked = np.ones(hw, np.uint8)
    for y, x in seeds.astype(int).tolist():
        marked[y, x] = 0
    _, units = cv2.distanceTransformWithLabels(
        marked, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rough = np.float32(0.06 * unit_px)
    across = smooth_noise(rng, hw, (0.5 * unit_px, 0.5 * unit_px)) * rough
    down = smooth_noise(rng, hw, (0.5 * unit_px, 0.5 * unit_px)) * rough
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        units.astype(np.float32), xs + across, ys + down, cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(moved, np.int32)


def _from_joint(units: Labels) -> FloatArray:
    """Distance of each pixel from the middle of the nearest joint."""
    edge = np.zeros(units.shape, np.uint8)
    edge[:, 1:] |= units[:, 1:] != units[:, :-1]
    edge[1:] |= units[1:] != units[:-1]
    return np.asarray(
        cv2.distanceTransform(1 - edge, cv2.DIST_L2, cv2.DIST_MASK_5), dtype=np.float32
    )


def _texture(photos: Sequence[Bytes], hw: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """A photo's texture around 1, enlarged or reduced at random; float32 [H, W]."""
    photo = cv2.cvtColor(photos[int(rng.integers(0, len(photos)))], cv2.COLOR_BGR2GRAY)
    factor = float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))
    part = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    part = np.asarray(part, np.float32)
    flat = part / np.maximum(cv2.GaussianBlur(part, (0, 0), 24.0), 1.0)
    times = [-(-side // own) for side, own in zip(hw, flat.shape, strict=True)]
    mirrored = np.pad(
        flat, [(0, own * (count - 1)) for own, count in zip(flat.shape, times, strict=True)],
        mode="symmetric",
    )  # fmt: skip
    return np.asarray(mirrored[: hw[0], : hw[1]] ** np.float32(rng.uniform(0.6, 2.0)), np.float32)


def _painted(
    photos: Sequence[Bytes],
    units: Labels,
    away_px: FloatArray,
    mortar_px: float,
    rng: np.random.Generator,
) -> FloatArray:
    """The bare wall, float32 [H, W, 3]."""
    hw = units.shape
    numbers = np.unique(units, return_inverse=True)[1].reshape(hw)
    count = int(numbers.max()) + 1
    base = np.array(_COLOURS[int(rng.integers(0, len(_COLOURS)))]) * rng.uniform(0.6, 1.25)
    colours = base * rng.normal(1.0, rng.uniform(0.02, 0.2), (count, 1))
    colours = colours * rng.normal(1.0, rng.uniform(0.005, 0.04), (count, 3))
    colours = colours + rng.uniform(0.0, 0.7) * (base.mean() - colours) * rng.random()
    face = np.take(np.clip(colours, 12, 245).astype(np.float32), numbers, axis=0)
    image = face * _texture(photos, hw, rng)[..., None]
    # Mortar from nearly black, as open or dirty joints are, to white.
    level = float(base.mean() * np.exp(rng.uniform(np.log(0.3), np.log(2.0))))
    tint = np.array([1.0 - rng.normal(0.04, 0.03), 1.0, 1.0 + rng.normal(0.02, 0.03)])
    mortar = (min(level, 235.0) * tint).astype(np.float32) * _texture(photos, hw, rng)[..., None]
    ragged = fractal_noise(rng, hw, max(4.0, 1.5 * mortar_px), 1.5, gain=0.6)
    inside = away_px - np.float32(0.5 * mortar_px)
    inside = inside + ragged * np.float32(rng.uniform(0.02, 0.16) * mortar_px)
    share = smooth_step(inside, -0.6, float(rng.uniform(0.6, 1.6)))[..., None]
    image = np.asarray(mortar + (image - mortar) * share, np.float32)
    # The joint is recessed: on the side away from the light its edge is in shade.
    depth = float(rng.uniform(0.0, 0.5))
    if depth > 0.05:
        shade = np.exp(-np.square(inside * np.float32(2.0 / max(1.5, 0.4 * mortar_px))))
        turn = float(rng.uniform(0, 2 * np.pi))
        slope = cv2.Sobel(cv2.GaussianBlur(away_px, (0, 0), 1.5), -1, 1, 0) * np.cos(turn)
        slope += cv2.Sobel(cv2.GaussianBlur(away_px, (0, 0), 1.5), -1, 0, 1) * np.sin(turn)
        lit = np.clip(slope / 8.0, -1.0, 1.0).astype(np.float32)
        image *= 1.0 - (np.float32(depth) * shade * np.clip(0.3 + lit, 0, 1))[..., None]
    clouds = fractal_noise(rng, hw, float(rng.uniform(60, 320)), 3.0, gain=0.65)
    image *= 1.0 + (np.float32(rng.uniform(0.02, 0.12)) * clouds)[..., None]
    image *= 1.0 + (np.float32(rng.uniform(0.0, 0.04)) * lit_relief(ragged, rng))[..., None]
    if rng.random() < 0.25:  # painted, or whitened by salts
        wash = np.float32(rng.uniform(0.3, 0.85)) * smooth_step(clouds, *_edges(rng))[..., None]
        image = image + (np.float32(rng.uniform(120, 225)) - image) * wash
    return np.asarray(image, np.float32)


def _edges(rng: np.random.Generator) -> tuple[float, float]:
    low = float(rng.uniform(-2.5, 1.0))
    return low, low + float(rng.uniform(0.3, 1.5))


def _crack(canvas: Canvas, away_px: FloatArray, mortar_px: float, rng: np.random.Generator) -> None:
    """Paint one crack along the way of least resistance from border to border, or a part of it."""
    line = _weakest_way(away_px, mortar_px, rng)
    if rng.random() < 0.45:
        kept = max(30, int(len(line) * float(rng.uniform(0.25, 0.8))))
        first = int(rng.integers(0, max(1, len(line) - kept)))
        line = line[first : first + kept]
    points = roughened(rng, line, float(rng.uniform(0.1, 0.5)) + 0.05 * mortar_px)
    width_px = float(np.exp(rng.uniform(np.log(0.8), np.log(max(4.0, min(26.0, 1.3 * mortar_px))))))
    branches = float(rng.uniform(0.0, 1.0))
    paths: list[CrackPath] = grow(rng, points, width_px, branches, faintness=rng.uniform(0, 0.35))
    look = random_look(rng, width_px)
    paint_cracks(canvas, paths, replace(look, depth=max(look.depth, _LEAST_DEPTH)), rng)


def _weakest_way(away_px: FloatArray, mortar_px: float, rng: np.random.Generator) -> FloatArray:
    """A polyline across the wall, float32 [N, 2], x and y."""
    joint = ndimage.minimum_filter(away_px, _GRID_PX)[::_GRID_PX, ::_GRID_PX]
    rows, columns = joint.shape
    strength = float(rng.uniform(1.5, 8.0))  # of a unit, relative to mortar
    resistance = np.where(joint < 0.5 * mortar_px + 1, 1.0, strength)
    resistance *= np.exp(0.6 * smooth_noise(rng, joint.shape, (3.0, 3.0)))
    number = np.arange(rows * columns).reshape(rows, columns)
    begins, ends, costs = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = np.s_[: rows - down, max(0, -right) : columns - max(0, right)]
        there = np.s_[down:, max(0, right) : columns + min(0, right)]
        begins.append(number[here].ravel())
        ends.append(number[there].ravel())
        mean = 0.5 * (resistance[here] + resistance[there]).ravel()
        costs.append(mean * float(np.hypot(down, right)))
    place = np.concatenate(begins), np.concatenate(ends)
    graph = coo_array((np.concatenate(costs), place), shape=(number.size, number.size)).tocsr()
    if rng.random() < 0.5:
        start, end = number[0, rng.integers(0, columns)], number[-1, rng.integers(0, columns)]
    else:
        start, end = number[rng.integers(0, rows), 0], number[rng.integers(0, rows), -1]
    _, before = dijkstra(graph, directed=False, indices=int(start), return_predecessors=True)
    way = [int(end)]
    while way[-1] != start:
        way.append(int(before[way[-1]]))
    cells = np.stack(np.unravel_index(way, joint.shape), axis=1)[:, ::-1] * float(_GRID_PX)
    line = ndimage.gaussian_filter1d(cells, 1.0, axis=0, mode="nearest")
    return np.asarray(line + 0.5 * (_GRID_PX - 1), np.float32)

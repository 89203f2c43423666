"""Cracks that follow a net: the joints of brickwork, or the cells of map cracking.

Pure geometry, like `crack_paths.py`.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from edgecrack.synthetic.crack_paths import STEP_PX, CrackPath, dress
from edgecrack.synthetic.noise import FloatArray, smooth_sequence
from edgecrack.synthetic.surfaces import BrickBond


def stepped_crack(
    rng: np.random.Generator, hw: tuple[int, int], width_px: float, bond: BrickBond
) -> list[CrackPath]:
    """A crack that climbs brickwork along the mortar, now and then through a brick."""
    height, width = hw
    row = int(rng.integers(0, max(1, int(height / bond.course_px / 2))))
    column = int(rng.integers(0, max(1, int(width / bond.brick_px)))) + 1
    side = rng.choice([-1.0, 1.0])
    y = row * bond.course_px - bond.shift_y_px % bond.course_px
    odd = int(np.floor((y + bond.shift_y_px) / bond.course_px + 0.5)) % 2
    x = column * bond.brick_px - bond.shift_x_px % bond.brick_px - odd * bond.brick_px / 2.0
    corners = [(x, y)]
    for _ in range(int(rng.integers(3, 3 + max(2, int(height / bond.course_px))))):
        y += bond.course_px
        corners.append((x, y))
        if rng.random() < 0.85:
            x += side * bond.brick_px / 2.0
            corners.append((x, y))
    outline = np.array(corners, dtype=np.float32)
    points = roughened(rng, outline, 0.16 * bond.mortar_px + 0.3)
    return [dress(rng, points, width_px, (0.15, 0.15), rng.uniform(0.0, 0.4))]


def roughened(rng: np.random.Generator, outline: FloatArray, amount_px: float) -> FloatArray:
    """A polyline resampled every step and displaced sideways by rough noise."""
    pieces = []
    for begin, end in itertools.pairwise(outline):
        count = max(2, int(np.hypot(*(end - begin)) / STEP_PX))
        pieces.append(np.linspace(begin, end, count, endpoint=False))
    line = np.concatenate([*pieces, outline[-1:]]).astype(np.float32)
    for scale in (14.0, 4.0):
        offset = np.stack([smooth_sequence(rng, len(line), scale) for _ in range(2)], axis=1)
        line = line + offset * np.float32(amount_px * scale / 9.0)
    return np.asarray(line, dtype=np.float32)


def map_cracks(rng: np.random.Generator, hw: tuple[int, int], width_px: float) -> list[CrackPath]:
    """Alligator cracking: the ragged edges of a Voronoi net over part of the picture."""
    height, width = hw
    cell_px = rng.uniform(16.0, 60.0)
    centre = rng.uniform(0.2, 0.8, 2) * (width, height)
    radius = rng.uniform(2.4, 5.0, 2) * cell_px
    lowest = np.maximum(centre - radius, -cell_px)
    highest = np.minimum(centre + radius, (width + cell_px, height + cell_px))
    columns, rows = np.maximum(3, ((highest - lowest) / cell_px).astype(int))
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    seeds = lowest + (grid + 0.5 + rng.uniform(-0.42, 0.42, grid.shape)) * cell_px
    paths = []
    faintness = rng.uniform(0.0, 0.45)
    for begin, end in _voronoi_edges(seeds.astype(np.float32)):
        middle = 0.5 * (begin + end)
        if np.sum(((middle - centre) / radius) ** 2) > 1.0 or rng.random() < 0.12:
            continue
        outline = np.stack([begin, end])
        points = roughened(rng, outline, rng.uniform(0.6, 1.6))
        width_here = width_px * float(np.exp(rng.normal(0.0, 0.35)))
        paths.append(dress(rng, points, width_here, (0.0, 0.0), faintness))
    return paths


def _voronoi_edges(seeds: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """The finite edges between the cells of some points, each once."""
    low = np.floor(seeds.min(axis=0)) - 4
    high = np.ceil(seeds.max(axis=0)) + 4
    box = (int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
    subdivision = cv2.Subdiv2D(box)
    for x, y in seeds:
        subdivision.insert((float(x), float(y)))
    facets, _ = subdivision.getVoronoiFacetList([])
    edges: dict[tuple[int, ...], tuple[FloatArray, FloatArray]] = {}
    margin = 0.5 * float(np.max(high - low))
    for facet in facets:
        corners = np.asarray(facet, dtype=np.float32)
        for begin, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            far = np.concatenate([low - begin, begin - high, low - end, end - high]).max()
            if far > margin or np.hypot(*(end - begin)) < 3.0:
                continue
            # Neighbouring cells both list their common edge, in opposite directions.
            ends = sorted(tuple(np.rint(corner * 4.0).astype(int)) for corner in (begin, end))
            edges.setdefault((*ends[0], *ends[1]), (begin, end))
    return list(edges.values())

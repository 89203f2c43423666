"""The course of cracks: single, branched, along joints, and as a net of cells."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from edgecrack.synthetic.canvas import FloatArray, smooth_sequence
from edgecrack.synthetic.surfaces import BrickBond

STEP_PX = 1.6
_FAINTEST = 0.4
_NARROWEST_PX = 0.8


@dataclass(frozen=True)
class CrackPath:
    """One unbranched run of crack.

    Attributes:
        points: float32 [N, 2], x and y in pixels, at most about two pixels apart.
        left_px: float32 [N], half width on the left of the direction of travel.
        right_px: float32 [N], half width on the right.
        darkness: float32 [N], 0 to 1, relative to the darkest part of this crack.
    """

    points: FloatArray
    left_px: FloatArray
    right_px: FloatArray
    darkness: FloatArray

    @property
    def length(self) -> int:
        """Number of points."""
        return len(self.points)


def normals(points: FloatArray) -> FloatArray:
    """Unit vectors to the left of the direction of travel, float32 [N, 2]."""
    tangent = np.gradient(points, axis=0)
    size = np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-6)
    across = np.stack([-tangent[:, 1] / size, tangent[:, 0] / size], axis=1)
    return np.asarray(across, dtype=np.float32)


def walk(
    rng: np.random.Generator,
    start_xy: tuple[float, float],
    heading_rad: float,
    length_px: float,
    jaggedness: float,
) -> FloatArray:
    """A crack's centre line: slow wander, sharp short-range kinks, rough edges.

    Args:
        rng: source of randomness.
        start_xy: first point, pixels.
        heading_rad: mean direction of travel; 0 is to the right, positive turns down.
        length_px: length of the walk.
        jaggedness: standard deviation of the kinks, in radians; 0.3 to 0.9 look real.

    Returns:
        float32 [N, 2], x and y.
    """
    count = max(4, int(length_px / STEP_PX))
    facet_px = rng.uniform(4.0, 14.0)
    turns = (rng.random(count) < STEP_PX / facet_px).astype(np.intp)
    turns[0] = 0
    facet = np.cumsum(turns)
    kinks = rng.normal(0.0, jaggedness, int(facet[-1]) + 1)[facet]
    bends = smooth_sequence(rng, count, rng.uniform(25.0, 60.0)) * rng.uniform(0.1, 0.4)
    drift = smooth_sequence(rng, count, count / 2.0) * 0.2
    heading = heading_rad + kinks + bends + drift
    steps = STEP_PX * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    points = np.cumsum(steps, axis=0) + np.array(start_xy)
    points += rng.normal(0.0, 0.22, points.shape)
    return np.asarray(points, dtype=np.float32)


def dress(
    rng: np.random.Generator,
    points: FloatArray,
    width_px: float,
    taper: tuple[float, float] = (0.25, 0.25),
    faintness: float = 0.3,
) -> CrackPath:
    """Give a centre line its widths and its darkness.

    Args:
        rng: source of randomness.
        points: float32 [N, 2].
        width_px: typical full width.
        taper: share of the length over which the crack narrows at its start and end.
        faintness: how much of its length is faint, 0 to 1.
    """
    count = len(points)
    along = np.linspace(0.0, 1.0, count, dtype=np.float32)
    ends = np.ones(count, dtype=np.float32)
    if taper[0] > 0.0:
        ends = np.minimum(ends, along / taper[0])
    if taper[1] > 0.0:
        ends = np.minimum(ends, (1.0 - along) / taper[1])
    width = width_px * (0.35 + 0.65 * np.sqrt(ends))
    width = width * np.exp(rng.uniform(0.1, 0.42) * smooth_sequence(rng, count, 26.0))
    width = width * np.exp(0.22 * smooth_sequence(rng, count, 4.0))
    width = np.maximum(width, _NARROWEST_PX)
    lean = np.clip(0.5 + 0.12 * smooth_sequence(rng, count, 3.0), 0.2, 0.8)
    darkness = 1.0 - faintness * (0.75 + 0.9 * smooth_sequence(rng, count, 28.0))
    darkness -= faintness * 0.35 * np.abs(smooth_sequence(rng, count, 5.0))
    darkness *= 0.65 + 0.35 * np.sqrt(ends)
    return CrackPath(
        points=points,
        left_px=(width * lean).astype(np.float32),
        right_px=(width * (1.0 - lean)).astype(np.float32),
        darkness=np.clip(darkness, _FAINTEST, 1.0).astype(np.float32),
    )


def branched_crack(
    rng: np.random.Generator, hw: tuple[int, int], width_px: float, branchiness: float
) -> list[CrackPath]:
    """A crack that crosses the picture, or part of it, with its branches and islands."""
    height, width = hw
    reach = float(np.hypot(height, width))
    heading = rng.uniform(0.0, 2.0 * np.pi)
    if rng.random() < 0.5:  # Most real cracks run roughly along or across a structure.
        heading = rng.integers(0, 4) * np.pi / 2.0 + rng.normal(0.0, 0.25)
    centre = rng.uniform(0.15, 0.85, 2) * (width, height)
    crosses = rng.random() < (0.72 if width_px < 4.0 else 0.95)
    length = reach * (rng.uniform(0.9, 1.4) if crosses else rng.uniform(0.25, 0.7))
    start = centre - 0.5 * length * np.array([np.cos(heading), np.sin(heading)])
    jaggedness = rng.uniform(0.25, 0.85)
    points = walk(rng, (start[0], start[1]), heading, length, jaggedness)
    return grow(rng, points, width_px, branchiness, jaggedness)


def grow(
    rng: np.random.Generator,
    points: FloatArray,
    width_px: float,
    branchiness: float,
    jaggedness: float = 0.5,
    faintness: float | None = None,
) -> list[CrackPath]:
    """A crack along a given centre line, with random branches and islands.

    Args:
        rng: source of randomness.
        points: float32 [N, 2], the trunk.
        width_px: typical full width of the trunk.
        branchiness: mean number of branches.
        jaggedness: of the branches, as for `walk`.
        faintness: as for `dress`; None draws it.
    """
    taper = (rng.uniform(0.0, 0.3), rng.uniform(0.05, 0.4))
    if rng.random() < 0.4:  # It continues beyond the picture with the same width.
        taper = (0.0, 0.0)
    faintness = rng.uniform(0.0, 0.5) if faintness is None else faintness
    trunk = dress(rng, points, width_px, taper, faintness)
    paths = [trunk]
    for _ in range(rng.poisson(branchiness)):
        paths.extend(_branch(rng, trunk, jaggedness, faintness))
    for _ in range(rng.poisson(0.4 * branchiness)):
        paths.append(_island(rng, trunk, faintness))
    return paths


def _branch(
    rng: np.random.Generator, parent: CrackPath, jaggedness: float, faintness: float
) -> list[CrackPath]:
    """A side crack, thinner than its parent, sometimes with its own branch."""
    at = int(rng.integers(parent.length // 8, max(parent.length // 8 + 1, parent.length - 3)))
    ahead = parent.points[min(at + 6, parent.length - 1)] - parent.points[max(at - 6, 0)]
    side = rng.choice([-1.0, 1.0])
    heading = float(np.arctan2(ahead[1], ahead[0])) + side * rng.uniform(0.4, 1.35)
    length = parent.length * STEP_PX * rng.uniform(0.08, 0.4)
    parent_width = float(parent.left_px[at] + parent.right_px[at])
    width = float(np.clip(parent_width * rng.uniform(0.35, 0.8), 0.5, 6.0))
    x, y = parent.points[at]
    points = walk(rng, (float(x), float(y)), heading, length, jaggedness)
    child = dress(rng, points, width, (0.0, rng.uniform(0.3, 0.7)), faintness)
    if child.length > 40 and rng.random() < 0.35:
        return [child, *_branch(rng, child, jaggedness, faintness)]
    return [child]


def _island(rng: np.random.Generator, parent: CrackPath, faintness: float) -> CrackPath:
    """A strand that leaves the crack and joins it again a little further on."""
    span = min(int(rng.integers(14, 60)), parent.length - 2)
    first = int(rng.integers(0, parent.length - span))
    piece = slice(first, first + span)
    bow = np.sin(np.linspace(0.0, np.pi, span)) * rng.choice([-1.0, 1.0])
    bow = bow * span * STEP_PX * rng.uniform(0.12, 0.3)
    bow = bow + smooth_sequence(rng, span, 5.0) * np.sin(np.linspace(0.0, np.pi, span)) * 2.0
    straight = np.linspace(parent.points[first], parent.points[first + span - 1], span)
    base = 0.5 * (parent.points[piece] + straight)
    points = base + normals(straight.astype(np.float32)) * bow[:, None]
    width = float(np.mean(parent.left_px[piece] + parent.right_px[piece])) * rng.uniform(0.4, 0.9)
    return dress(rng, points.astype(np.float32), max(width, 0.6), (0.0, 0.0), faintness)


def stepped_crack(
    rng: np.random.Generator, hw: tuple[int, int], width_px: float, bond: BrickBond
) -> list[CrackPath]:
    """A stepped crack in brickwork along the mortar, sometimes through a brick."""
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

"""Non-crack objects on a wall, with their frequency by surface.

Weights are relative: a wall draws each of its distractors from all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecrack.synthetic import clutter, covers, lettering, markings, objects, wear
from edgecrack.synthetic.canvas import Canvas
from edgecrack.synthetic.surfaces import Surface

Painter = Callable[[Canvas, np.random.Generator], None]

# Painted before the cracks, with the frequency of each on each surface.
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
    wear.crazed_paint: {"concrete": 0.2, "asphalt": 0.9, "brick": 0.1},
    wear.scars: {"concrete": 1.0, "asphalt": 0.8, "brick": 0.3},
    wear.damp_spots: {"concrete": 0.7, "asphalt": 0.5, "brick": 0.3},
    wear.ruled_lines: {"concrete": 0.8, "asphalt": 0.7, "brick": 0.4},
    wear.seam: {"concrete": 0.5, "asphalt": 0.6, "brick": 0.2},
    lettering.stencil: {"concrete": 0.5, "asphalt": 0.3, "brick": 0.3},
    lettering.chalk: {"concrete": 0.7, "asphalt": 0.4, "brick": 0.4},
}
# Painted over the cracks; they lie flat, or nearly so.
LYING: dict[Painter, dict[Surface, float]] = {
    objects.shadow: {"concrete": 1.2, "asphalt": 1.4, "brick": 1.2},
    objects.cable: {"concrete": 0.7, "asphalt": 0.4, "brick": 0.8},
    objects.debris: {"concrete": 0.4, "asphalt": 0.8, "brick": 0.2},
    objects.manhole: {"concrete": 0.1, "asphalt": 0.2, "brick": 0.1},
    objects.object_edge: {"concrete": 0.7, "asphalt": 0.6, "brick": 0.6},
    covers.manhole_cover: {"concrete": 0.5, "asphalt": 1.2, "brick": 0.1},
    covers.drain_grate: {"concrete": 0.3, "asphalt": 0.7, "brick": 0.2},
    wear.stones: {"concrete": 0.3, "asphalt": 0.4, "brick": 0.1},
    wear.scraps: {"concrete": 0.2, "asphalt": 0.3, "brick": 0.2},
    wear.verge: {"concrete": 0.2, "asphalt": 0.3, "brick": 0.2},
    wear.wires: {"concrete": 0.5, "asphalt": 0.3, "brick": 0.5},
    lettering.target_sheet: {"concrete": 0.5, "asphalt": 0.3, "brick": 0.4},
    lettering.gauge_card: {"concrete": 0.4, "asphalt": 0.2, "brick": 0.3},
    lettering.ruler: {"concrete": 0.3, "asphalt": 0.2, "brick": 0.2},
}
# Painted last: they are upright, so the perspective of the ground does not apply to them.
STANDING: dict[Painter, dict[Surface, float]] = {
    objects.vehicle: {"concrete": 0.2, "asphalt": 0.6, "brick": 0.1},
    objects.wheel: {"concrete": 0.2, "asphalt": 0.3, "brick": 0.1},
    clutter.legs: {"concrete": 0.3, "asphalt": 0.6, "brick": 0.1},
    objects.bicycle: {"concrete": 0.2, "asphalt": 0.4, "brick": 0.2},
    clutter.roadside: {"concrete": 0.3, "asphalt": 0.6, "brick": 0.1},
}
OBJECTS: dict[Painter, dict[Surface, float]] = LYING | STANDING
DISTRACTORS: tuple[Painter, ...] = (*MARKINGS, *OBJECTS)


def draw_painters(
    surface: Surface, count: int, rng: np.random.Generator
) -> tuple[list[Painter], list[Painter], list[Painter]]:
    """The distractors of a wall: under its cracks, over them, and in front of it."""
    weights = np.array([(MARKINGS | OBJECTS)[painter][surface] for painter in DISTRACTORS])
    drawn = rng.choice(len(DISTRACTORS), size=count, p=weights / weights.sum())
    chosen = [DISTRACTORS[index] for index in drawn.tolist()]
    below, lying, standing = (
        [painter for painter in chosen if painter in table] for table in (MARKINGS, LYING, STANDING)
    )
    return below, lying, standing

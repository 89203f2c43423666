"""Local image scale: millimetres on the wall per pixel, at a point and in a direction.

Lens distortion and oblique views make the scale depend on position and direction. Its uncertainty
is kept by source, because none of it averages out along a crack. Each scale is a function of a few
quantities; varying a quantity by its uncertainty gives the effect on the scale (GUM, JCGM 100:2008,
5.1.3, note 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecrack.scale.quantity import Quantity

Points = NDArray[np.float64]
# Image points, float [N, 2], to points on the wall in mm, float [N, 2].
WallMap = Callable[[Points], Points]
# Difference in scale between centre and corners of an image for an uncalibrated lens, as a relative
# standard deviation: distortion of k1 = -0.2 to 0.05 at usual fields of view.
_LENS_SHARE = 0.12


@dataclass(frozen=True)
class LocalScale:
    """The scale at points.

    Attributes:
        mm_per_px: float [N].
        terms: relative standard uncertainty by source, float [N]; each is the same error at all
            points, and sources are independent.
        is_stated: whether all uncertainties that go into it are known.
    """

    mm_per_px: NDArray[np.float64]
    terms: Mapping[str, NDArray[np.float64]]
    is_stated: bool = True

    @property
    def relative(self) -> NDArray[np.float64]:
        """Combined relative standard uncertainty, float [N]."""
        squares = [np.square(term) for term in self.terms.values()]
        return np.sqrt(np.sum(squares, axis=0)) if squares else np.zeros_like(self.mm_per_px)


class Scale(Protocol):
    """The scale of an image."""

    @property
    def source(self) -> str:
        """Where it comes from, as a noun for the user."""
        ...

    def local(
        self, points_px: ArrayLike, directions: ArrayLike, *, across: bool = False
    ) -> LocalScale:
        """The scale at points, each in a direction.

        Args:
            points_px: float [N, 2], x and y; the centre of the first pixel is (0.5, 0.5).
            directions: float [N, 2], unit vectors.
            across: the directions are across a crack in the image, and the scale applies to its
                width on the wall. In an oblique view, right angles in the image are not right
                angles on the wall.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """What it was made from, as JSON values."""
        ...


@dataclass(frozen=True)
class UnknownLens:
    """Scale error from an unknown lens, away from where the scale was measured.

    Attributes:
        hw: height and width of the image in pixels.
        known_at_px: where the scale was measured, x and y; None means the image centre.
        share: relative difference in scale between centre and corners, as a standard deviation.
    """

    hw: tuple[int, int]
    known_at_px: tuple[float, float] | None = None
    share: float = _LENS_SHARE

    def deviation(self, points_px: Points) -> NDArray[np.float64]:
        """Relative standard uncertainty of the scale at points, float [N]."""
        middle = np.array(self.hw[::-1], np.float64) / 2
        known_at = middle if self.known_at_px is None else np.array(self.known_at_px)
        half_diagonal = math.hypot(*self.hw) / 2
        outward = [
            np.square((np.atleast_2d(each) - middle) / half_diagonal).sum(axis=1)
            for each in (points_px, known_at)
        ]
        return np.asarray(self.share * np.abs(outward[0] - outward[1]), np.float64)


@dataclass(frozen=True)
class ModelledScale:
    """A scale computed from quantities.

    Attributes:
        source: where it comes from.
        quantities: by the name of their uncertainty term.
        wall: function from quantity values to maps from the image to the wall; several equally
            likely maps if it is unknown which one is right.
        undecided: name of the uncertainty term for the difference between these maps.
        facts: extra entries for `to_dict`.
        lens: an unknown lens; None if distortion is removed.
    """

    source: str
    quantities: Mapping[str, Quantity]
    wall: Callable[[Mapping[str, float]], Sequence[WallMap]] = field(repr=False)
    undecided: str = "direction"
    facts: Mapping[str, Any] = field(default_factory=dict)
    lens: UnknownLens | None = None

    def local(
        self, points_px: ArrayLike, directions: ArrayLike, *, across: bool = False
    ) -> LocalScale:
        """See `Scale`."""
        points = np.atleast_2d(np.asarray(points_px, np.float64))
        along = np.broadcast_to(np.atleast_2d(np.asarray(directions, np.float64)), points.shape)
        values = {name: quantity.value for name, quantity in self.quantities.items()}
        each = self._each(values, points, along, across)
        scale = each.mean(axis=0)
        terms = {}
        if len(each) > 1:
            terms[self.undecided] = each.std(axis=0) / scale
        for name, quantity in self.quantities.items():
            if not quantity.deviation:
                continue
            moved = [
                self._each({**values, name: quantity.value + step}, points, along, across) - each
                for step in (-quantity.deviation, quantity.deviation)
            ]
            # The larger of the two sides: from a tilt of 0, either sign increases the scale.
            sizes = [np.sqrt(np.square(one).mean(axis=0)) for one in moved]
            terms[name] = np.max(sizes, axis=0) / scale
        if self.lens is not None:
            terms["unknown lens"] = self.lens.deviation(points)
        is_stated = all(quantity.deviation is not None for quantity in self.quantities.values())
        return LocalScale(scale, terms, is_stated)

    def _each(
        self, values: Mapping[str, float], points: Points, along: Points, across: bool
    ) -> NDArray[np.float64]:
        """Scale from each of the maps, float [maps, N]."""
        found = []
        for wall in self.wall(values):
            first = _step(wall, points, along)
            if not across:
                found.append(np.hypot(*first.T))
                continue
            # Width on the wall is the area of a crack strip over its length.
            second = _step(wall, points, np.stack([-along[:, 1], along[:, 0]], axis=1))
            area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
            found.append(area / np.maximum(np.hypot(*second.T), 1e-12))
        return np.asarray(found, np.float64)

    def to_dict(self) -> dict[str, Any]:
        """See `Scale`."""
        return {
            "source": self.source,
            "quantities": {
                name: {"value": quantity.value, "spread_95": quantity.spread}
                for name, quantity in self.quantities.items()
            },
            **self.facts,
        }


@dataclass(frozen=True)
class JoinedScale:
    """Several consistent scales of one image, averaged with inverse-variance weights.

    Attributes:
        parts: at least one; all from the same source.
        shared: names of terms that are the same error in all parts, such as a printer's; the
            others are independent between parts.
    """

    parts: Sequence[Scale]
    shared: frozenset[str] = frozenset()

    @property
    def source(self) -> str:
        """See `Scale`."""
        return self.parts[0].source

    def local(
        self, points_px: ArrayLike, directions: ArrayLike, *, across: bool = False
    ) -> LocalScale:
        """See `Scale`."""
        each = [part.local(points_px, directions, across=across) for part in self.parts]
        own = np.array([np.square(self._own(one)).sum(axis=0) for one in each])
        weights = 1 / np.maximum(own, 1e-12)
        weights /= weights.sum(axis=0)
        scale = np.einsum("kn,kn->n", weights, [one.mm_per_px for one in each])
        terms = {}
        for name in {name: None for one in each for name in one.terms}:
            parts = [one.terms.get(name, np.zeros_like(scale)) for one in each]
            terms[name] = (
                np.einsum("kn,kn->n", weights, parts)
                if name in self.shared
                else np.sqrt(np.einsum("kn,kn->n", weights**2, np.square(parts)))
            )
        return LocalScale(scale, terms, all(one.is_stated for one in each))

    def _own(self, one: LocalScale) -> NDArray[np.float64]:
        found = [term for name, term in one.terms.items() if name not in self.shared]
        return np.array(found) if found else np.zeros((1, len(one.mm_per_px)))

    def to_dict(self) -> dict[str, Any]:
        """See `Scale`."""
        return {"source": self.source, "parts": [part.to_dict() for part in self.parts]}


def _step(wall: WallMap, points: Points, along: Points) -> Points:
    """The vector on the wall for one pixel in a direction, float [N, 2]."""
    return np.asarray(wall(points + 0.5 * along) - wall(points - 0.5 * along), np.float64)


def uniform_scale(
    mm_per_pixel: Quantity, source: str = "given", lens: UnknownLens | None = None
) -> ModelledScale:
    """The same scale everywhere: a camera square to a flat wall.

        >>> scale = uniform_scale(Quantity(0.12, 0.0025))
        >>> local = scale.local([[10.0, 20.0]], [[1.0, 0.0]])
        >>> local.mm_per_px.round(3).tolist(), local.relative.round(4).tolist()
        ([0.12], [0.0208])

    Args:
        mm_per_pixel: above 0.
        source: where it comes from.
        lens: adds uncertainty away from the image centre; None for a lens without distortion.
    """
    return ModelledScale(
        source,
        {"mm per pixel": mm_per_pixel},
        lambda values: (lambda points: points * values["mm per pixel"],),
        lens=lens,
    )

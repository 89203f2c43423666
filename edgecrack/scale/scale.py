"""The scale at places of an image: millimetres on the wall for a pixel, in a direction.

A lens distorts and a wall may be seen at an angle, so the scale is another at every place and in
every direction. Its uncertainty is told by what it comes from, since none of that averages out
along a crack. Each source of scale is a function of a few quantities; what an uncertain quantity
does to the scale is found by moving it (GUM, JCGM 100:2008, 5.1.3, note 2).
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
# Places in an image, float [N, 2], to places on the wall in mm, float [N, 2].
WallMap = Callable[[Points], Points]
# How much the scale of an uncalibrated lens differs between the middle and the corners of an image,
# as a standard deviation: distortion of k1 = -0.2 to 0.05 at usual fields of view.
_LENS_SHARE = 0.12


@dataclass(frozen=True)
class LocalScale:
    """The scale at some places.

    Attributes:
        mm_per_px: float [N].
        terms: by source, the relative standard uncertainty, float [N]; each is the same error at
            all places, sources are independent of each other.
        is_stated: whether the uncertainty of all that goes into it is known.
    """

    mm_per_px: NDArray[np.float64]
    terms: Mapping[str, NDArray[np.float64]]
    is_stated: bool = True

    @property
    def relative(self) -> NDArray[np.float64]:
        """All terms together, float [N]."""
        squares = [np.square(term) for term in self.terms.values()]
        return np.sqrt(np.sum(squares, axis=0)) if squares else np.zeros_like(self.mm_per_px)


class Scale(Protocol):
    """Says how large what an image shows is."""

    @property
    def source(self) -> str:
        """Where it comes from, as a noun for a person."""
        ...

    def local(
        self, points_px: ArrayLike, directions: ArrayLike, *, across: bool = False
    ) -> LocalScale:
        """The scale at places, each in a direction.

        Args:
            points_px: float [N, 2], x and y; the middle of the first pixel is (0.5, 0.5).
            directions: float [N, 2], unit vectors.
            across: the directions are those across a crack in the image, and the scale is that of
                its width on the wall. At an angle, what is at right angles in the image is not on
                the wall.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what it was made from."""
        ...


@dataclass(frozen=True)
class UnknownLens:
    """What a lens of which nothing is known does to the scale away from where it was measured.

    Attributes:
        hw: height and width of the image in pixels.
        known_at_px: where the scale was measured, x and y; None is the middle of the image.
        share: how much the scale differs between the middle and the corners, as a standard
            deviation.
    """

    hw: tuple[int, int]
    known_at_px: tuple[float, float] | None = None
    share: float = _LENS_SHARE

    def deviation(self, points_px: Points) -> NDArray[np.float64]:
        """Relative standard uncertainty of the scale at places, float [N]."""
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
    """A scale that follows from quantities.

    Attributes:
        source: where it comes from.
        quantities: by the name of their term.
        wall: from the values of the quantities to maps from the image to the wall; several where it
            is not known which of them holds, each as likely as the others.
        undecided: name of the term for what the several maps differ in.
        facts: more that belongs into `to_dict`.
        lens: of which nothing is known; None where its distortion is taken out.
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
            # The larger of both sides: a tilt of 0 lengthens what is seen one way and the other.
            sizes = [np.sqrt(np.square(one).mean(axis=0)) for one in moved]
            terms[name] = np.max(sizes, axis=0) / scale
        if self.lens is not None:
            terms["unknown lens"] = self.lens.deviation(points)
        is_stated = all(quantity.deviation is not None for quantity in self.quantities.values())
        return LocalScale(scale, terms, is_stated)

    def _each(
        self, values: Mapping[str, float], points: Points, along: Points, across: bool
    ) -> NDArray[np.float64]:
        """By each of the maps, float [maps, N]."""
        found = []
        for wall in self.wall(values):
            first = _step(wall, points, along)
            if not across:
                found.append(np.hypot(*first.T))
                continue
            # A strip of the crack keeps its area: its width there is that over its length.
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
    """Several scales of one image that agree, each counted the more the surer it is.

    Attributes:
        parts: at least one; all of the same source.
        shared: names of terms that are one error in all parts, as that of a printer's is; the
            others are independent from part to part.
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
    """What a pixel in a direction comes to on the wall, float [N, 2]."""
    return np.asarray(wall(points + 0.5 * along) - wall(points - 0.5 * along), np.float64)


def uniform_scale(
    mm_per_pixel: Quantity, source: str = "given", lens: UnknownLens | None = None
) -> ModelledScale:
    """The same scale everywhere: the camera looks straight at a flat wall.

        >>> scale = uniform_scale(Quantity(0.12, 0.0025))
        >>> local = scale.local([[10.0, 20.0]], [[1.0, 0.0]])
        >>> local.mm_per_px.round(3).tolist(), local.relative.round(4).tolist()
        ([0.12], [0.0208])

    Args:
        mm_per_pixel: above 0.
        source: where it comes from.
        lens: makes it less sure away from the middle; None for one without distortion.
    """
    return ModelledScale(
        source,
        {"mm per pixel": mm_per_pixel},
        lambda values: (lambda points: points * values["mm per pixel"],),
        lens=lens,
    )

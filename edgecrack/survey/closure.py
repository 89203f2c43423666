"""Loops closed and sheets put together, where key frames show the same for certain.

A place that comes into view again is looked for only where the layout says that it should be; a
layout that begins anew is put on another one only where several key frames agree or one does so
strongly. What would bend a layout is left out: two sheets that are said to be two are better than a
plane on which a crack stands twice. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, product

import numpy as np

from edgecrack.survey.adjustment import Tie
from edgecrack.survey.layout import (
    MOST_KEYS,
    KeyFrame,
    Layout,
    Pair,
    distances_px,
    reference_of,
    settled,
)
from edgecrack.survey.matching import Match, match
from edgecrack.survey.plane_geometry import (
    Matrix,
    corners,
    inverse,
    moved,
    normal,
    overlap,
)

MATCHED_SIGMA_PX = 0.7
_ROUNDS = 2
_LOOKED_AT, _EXPECTED = 0.15, 0.4  # overlaps
# How far a loop may have drifted: so much, and a share of the way between the key frames.
_DRIFT_PX, _DRIFT_SHARE = 25.0, 0.03
# Root mean square of a tie's distances that is too much for one plane.
_BENT_PX = 2.5
_LEAST_LINK, _STRONG_LINK = 25, 60
_LINKS_AGREE_PX = 12.0
_MOST_COMPARED = 1500  # pairs of key frames of different sheets
_LEAST_FEATURES = 40


class Closer:
    """Closes loops and links layouts; remembers which key frames it has compared.

    Args:
        keys: a run's key frames; the list may grow between calls.
    """

    def __init__(self, keys: Sequence[KeyFrame]) -> None:
        self._keys = keys
        self._loops: dict[Pair, Match | None] = {}
        self._links: dict[Pair, Match | None] = {}

    def close(self, layout: Layout) -> Layout:
        """A layout with its loops closed, settled.

        Args:
            layout: as the frames were laid one after the other.
        """
        layout = settled(layout, self._keys)
        doubtful: dict[Pair, None] = {}
        for _ in range(_ROUNDS):
            ties = {}
            doubtful = {}
            for pair, shared in self._again_in_view(layout):
                found = self._loop(layout, pair)
                if found is not None:
                    ties[pair] = _tie(pair, found)
                elif shared >= _EXPECTED and not _is_tied(layout, pair):
                    doubtful[pair] = None
            if not ties:
                break
            tried = settled(replace(layout, ties={**layout.ties, **ties}), self._keys)
            bent = [pair for pair in ties if _rms(tried, ties[pair]) > _BENT_PX]
            for pair in bent:
                self._loops[pair] = None
                del ties[pair]
            if bent:
                tried = settled(replace(layout, ties={**layout.ties, **ties}), self._keys)
            layout = tried
        return replace(layout, doubtful=tuple(doubtful))

    def link(self, layouts: Sequence[Layout]) -> list[Layout]:
        """Layouts put together where they show the same.

        Args:
            layouts: each closed.

        Returns:
            By the first key frame of each.
        """
        done = list(layouts)
        for one, other in list(islice(self._pairs_of_sheets(len(done)), _MOST_COMPARED)):
            if done[one] is done[other]:
                continue
            joined = self._joined(done[one], done[other])
            if joined is not None:
                old = done[one], done[other]
                done = [joined if each in old else each for each in done]
        unique = {id(each): each for each in done}
        return sorted(unique.values(), key=lambda each: min(each.homographies))

    def _pairs_of_sheets(self, count: int) -> Iterator[Pair]:
        """Those that follow each other first."""
        for apart in range(1, count):
            for one in range(count - apart):
                yield one, one + apart

    def _again_in_view(self, layout: Layout) -> Iterator[tuple[Pair, float]]:
        """Pairs that are not tied and ought to show the same, with how much of it."""
        numbers = sorted(layout.homographies)
        outlines = np.array(
            [moved(corners(self._keys[key].hw), layout.homographies[key]) for key in numbers]
        )
        low, high = outlines.min(axis=1), outlines.max(axis=1)
        for place, one in enumerate(numbers):
            beside = (low[place] <= high[place + 1 :]) & (low[place + 1 :] <= high[place])
            for other in (numbers[place + 1 + at] for at in np.flatnonzero(beside.all(axis=1))):
                if (one, other) in layout.ties:
                    continue
                shared = overlap(
                    self._keys[other].hw, self._keys[one].hw, _between(layout, one, other)
                )
                if shared >= _LOOKED_AT:
                    yield (one, other), shared

    def _loop(self, layout: Layout, pair: Pair) -> Match | None:
        if pair not in self._loops:
            one, other = pair
            way_px = (other - one) * 0.3 * max(self._keys[one].hw)
            within_px = _DRIFT_PX + _DRIFT_SHARE * way_px
            first, second = self._keys[one].features, self._keys[other].features
            expected = _between(layout, one, other)
            self._loops[pair] = match(first, second, expected, within_px)
        return self._loops[pair]

    def _joined(self, one: Layout, other: Layout) -> Layout | None:
        """Two layouts on one plane; None where they do not show the same for certain."""
        if len(one.homographies) + len(other.homographies) > MOST_KEYS:
            return None
        ties = self._agreeing(one, other)
        if not ties:
            return None
        pair, found = ties[0]
        across = _across(one, other, pair, found)
        brought = {key: normal(across @ each) for key, each in other.homographies.items()}
        if reference_of({**one.homographies, **brought}, self._keys) is None:
            return None
        new = {pair: _tie(pair, found) for pair, found in ties}
        both = Layout(
            {**one.homographies, **brought},
            {**one.ties, **other.ties, **new},
            one.begins if min(one.homographies) < min(other.homographies) else other.begins,
            one.reference,
        )
        joined = self.close(both)
        if any(_rms(joined, tie) > _BENT_PX for tie in new.values()):
            return None
        return joined

    def _agreeing(self, one: Layout, other: Layout) -> list[tuple[Pair, Match]]:
        """Matches between two layouts, the best first, that say the same of how they lie."""
        found = []
        for first, second in product(one.homographies, other.homographies):
            pair = min(first, second), max(first, second)
            if (each := self._linked(pair)) is not None:
                found.append((pair, each))
        found.sort(key=lambda each: (-each[1].inliers, each[0]))
        if not found:
            return []
        best = _across(one, other, *found[0])
        outline = {pair: self._outline(other, pair) for pair, _ in found}
        agreeing = [
            (pair, each)
            for pair, each in found
            if _apart(best, _across(one, other, pair, each), outline[pair]) < _LINKS_AGREE_PX
        ]
        if len(agreeing) < 2 and found[0][1].inliers < _STRONG_LINK:
            return []
        return agreeing

    def _outline(self, layout: Layout, pair: Pair) -> Matrix:
        """Where on a layout the corners of that frame of a pair lie which it holds."""
        key = pair[0] if pair[0] in layout.homographies else pair[1]
        return moved(corners(self._keys[key].hw), layout.homographies[key])

    def _linked(self, pair: Pair) -> Match | None:
        if pair not in self._links:
            first, second = self._keys[pair[0]].features, self._keys[pair[1]].features
            enough = min(len(first.xy), len(second.xy)) >= _LEAST_FEATURES
            compared = len(self._links) < _MOST_COMPARED
            found = match(first, second, least_inliers=_LEAST_LINK) if enough and compared else None
            self._links[pair] = found
        return self._links[pair]


def _is_tied(layout: Layout, pair: Pair) -> bool:
    """Whether a third key frame is tied to both."""
    beside: list[set[int]] = [set(), set()]
    for one, other in layout.ties:
        for own, key in zip(beside, pair, strict=True):
            if key in (one, other):
                own.add(one + other - key)
    return bool(beside[0] & beside[1])


def _between(layout: Layout, one: int, other: int) -> Matrix:
    """From one key frame's pixels to another's."""
    return normal(inverse(layout.homographies[other]) @ layout.homographies[one])


def _across(one: Layout, other: Layout, pair: Pair, found: Match) -> Matrix:
    """From the second layout's pixels to the first's, by a match between key frames of them."""
    homography = found.homography if pair[0] in other.homographies else inverse(found.homography)
    here, there = (pair[1], pair[0]) if pair[0] in other.homographies else pair
    return normal(one.homographies[here] @ homography @ inverse(other.homographies[there]))


def _apart(one: Matrix, other: Matrix, points: Matrix) -> float:
    return float(np.hypot(*(moved(points, one) - moved(points, other)).T).max())


def _tie(pair: Pair, found: Match) -> Tie:
    return Tie(*pair, found.first, found.second, MATCHED_SIGMA_PX, found.brighter)


def _rms(layout: Layout, tie: Tie) -> float:
    return float(np.sqrt((distances_px(layout.homographies, tie) ** 2).mean()))

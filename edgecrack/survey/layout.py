"""Lays key frames out on a plane, closes loops, and links layouts that show the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.plane_geometry import (
    Matrix,
    corners,
    implausible,
    inverse,
    local_scale,
    moved,
    normal,
    overlap,
)
from edgecrack.survey.registration import (
    Adjusted,
    Features,
    Match,
    Tie,
    adjust,
    match,
    place_covariance,
)

Pair = tuple[int, int]
# Most key frames in one layout: all are solved together, which takes quadratic memory and cubic
# time.
MOST_KEYS = 400
# 95 % of the distances in the plane are within this many of the larger standard deviation.
_WITHIN_95 = 2.45
# Points of a match share the errors due to the lens and an uneven wall: this many count as one.
_ALIKE = 8.0
# Tracking error between two key frames.
_BETWEEN_KEYS_PX = 1.0
_LEAST_SIGMA_PX = 0.3
# Standard deviations (log) of the prior of each gain, around 1, and of a measured gain ratio.
_GAIN_SPREAD, _GAIN_NOISE = 0.2, 0.05
# Most candidates for the reference; cost of a distance of one frame length.
_MOST_ASKED, _FAR = 40, 0.15


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """A frame that a sheet is made from.

    Attributes:
        number: frame number in the run.
        hw: height and width in pixels.
        features: for matching it with others.
    """

    number: int
    hw: tuple[int, int]
    features: Features


@dataclass(frozen=True, eq=False)
class Layout:
    """Key frames on one plane; each is identified by its index in the run's list of key frames.

    Attributes:
        homographies: by key frame, float64 [3, 3], from its pixels to the plane's.
        ties: by pair of key frames, the lower one first.
        begins: why a new layout began here, as a clause; "" for a run's first.
        reference: the key frame whose pixels are the plane's.
        sigma_px: registration error between two frames, one standard deviation.
        drift_px: 95 % bound of a point's distance from its position in the reference frame.
        doubtful: pairs that should overlap but could not be matched.
    """

    homographies: dict[int, Matrix]
    ties: dict[Pair, Tie]
    begins: str
    reference: int
    sigma_px: float = _LEAST_SIGMA_PX
    drift_px: float = _BETWEEN_KEYS_PX
    doubtful: tuple[Pair, ...] = field(default=())


def settled(layout: Layout, keys: Sequence[KeyFrame]) -> Layout:
    """Adjust all key frames together, in the pixels of one of them.

    Args:
        layout: initial layout.
        keys: a run's key frames.
    """
    chosen = reference_of(layout.homographies, keys)
    chosen = layout.reference if chosen is None else chosen
    based = based_on(chosen, layout.homographies)
    free = [key for key in based if key != chosen]
    unit_px = unit_of(keys[chosen])
    adjusted = adjust(based, list(layout.ties.values()), free, unit_px)
    return replace(
        layout,
        homographies=adjusted.homographies,
        reference=chosen,
        sigma_px=max(_LEAST_SIGMA_PX, adjusted.sigma_px),
        drift_px=_drift_px(adjusted, keys, unit_px),
    )


def unit_of(key: KeyFrame) -> float:
    """Half a frame's longer side, the unit of length in `adjust`."""
    return max(key.hw) / 2


def reference_of(homographies: dict[int, Matrix], keys: Sequence[KeyFrame]) -> int | None:
    """Choose a central key frame in whose pixels the others are least distorted.

    Args:
        homographies: by key frame, float64 [3, 3], to one plane.
        keys: a run's key frames.

    Returns:
        None if there is none in whose pixels all others are plausible.
    """
    numbers = list(homographies)
    costs = {}
    for key in numbers[:: 1 + len(numbers) // _MOST_ASKED]:
        based = based_on(key, homographies)
        if not any(implausible(keys[each].hw, way) for each, way in based.items()):
            costs[key] = max(_distortion(way, keys[each].hw) for each, way in based.items())
    return min(costs, key=lambda key: costs[key]) if costs else None


def based_on(reference: int, homographies: dict[int, Matrix]) -> dict[int, Matrix]:
    """The same homographies, to the pixels of one of the key frames."""
    back = inverse(homographies[reference])
    return {key: normal(back @ each) for key, each in homographies.items()}


def distances_px(homographies: dict[int, Matrix], tie: Tie) -> NDArray[np.float64]:
    """Distances between a tie's points, float64 [N], in pixels of its second frame."""
    both = inverse(homographies[tie.second]) @ homographies[tie.first]
    return np.asarray(np.hypot(*(moved(tie.first_xy, both) - tie.second_xy).T), np.float64)


def gains_of(layout: Layout, keys: Sequence[KeyFrame]) -> dict[int, float]:
    """Gains that equalize the key frames' brightness, by frame number.

    Least squares over the matches with a weak prior at 1 (M. Brown and D. Lowe, "Automatic
    panoramic image stitching using invariant features", IJCV 74, 2007).
    """
    at = {key: place for place, key in enumerate(layout.homographies)}
    matrix = np.eye(len(at)) / _GAIN_SPREAD**2
    right = np.zeros(len(at))
    for tie in layout.ties.values():
        if tie.brighter is None:
            continue
        one, other = at[tie.first], at[tie.second]
        weight = 1 / _GAIN_NOISE**2
        matrix[[one, other], [one, other]] += weight
        matrix[one, other] -= weight
        matrix[other, one] -= weight
        right[one] += weight * np.log(tie.brighter)
        right[other] -= weight * np.log(tie.brighter)
    logs = np.linalg.solve(matrix, right)
    return {keys[key].number: float(np.exp(logs[place])) for key, place in at.items()}


def _distortion(homography: Matrix, hw: tuple[int, int]) -> float:
    """Change of a frame's scale, plus a small cost for its distance."""
    height, width = hw
    middle = np.array([[width / 2, height / 2]])
    away = np.hypot(*(moved(middle, homography) - middle)[0]) / max(hw)
    return float(abs(np.log(local_scale(homography, middle)[0])) + _FAR * away)


def _drift_px(adjusted: Adjusted, keys: Sequence[KeyFrame], unit_px: float) -> float:
    """95 % bound over the corners of all key frames."""
    worst = 0.0
    for key, covariance in adjusted.covariances.items():
        places = place_covariance(
            adjusted.homographies[key], _ALIKE * covariance, corners(keys[key].hw), unit_px
        )
        worst = max(worst, float(np.linalg.eigvalsh(places).max()))
    return float(np.hypot(_WITHIN_95 * np.sqrt(worst), _BETWEEN_KEYS_PX))


MATCHED_SIGMA_PX = 0.7
_ROUNDS = 2
# Overlaps from which on a loop is searched for, and expected to be found.
_LOOKED_AT, _EXPECTED = 0.15, 0.4
# Largest drift of a loop: a constant, plus a share of the distance between the key frames.
_DRIFT_PX, _DRIFT_SHARE = 25.0, 0.03
# Largest root mean square of a tie's distances on one plane.
_BENT_PX = 2.5
_LEAST_LINK, _STRONG_LINK = 25, 60
_LINKS_AGREE_PX = 12.0
_MOST_COMPARED = 1500  # pairs of key frames of different sheets
_LEAST_FEATURES = 40


class Closer:
    """Closes loops and links layouts; caches the comparisons of key frames.

    Args:
        keys: a run's key frames; the list may grow between calls.
    """

    def __init__(self, keys: Sequence[KeyFrame]) -> None:
        self._keys = keys
        self._loops: dict[Pair, Match | None] = {}
        self._links: dict[Pair, Match | None] = {}

    def close(self, layout: Layout) -> Layout:
        """Close a layout's loops and adjust it.

        Args:
            layout: as built frame by frame.
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
        """Join layouts that show the same.

        Args:
            layouts: each closed.

        Returns:
            Ordered by the first key frame of each.
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
        """All pairs, adjacent ones first."""
        for apart in range(1, count):
            for one in range(count - apart):
                yield one, one + apart

    def _again_in_view(self, layout: Layout) -> Iterator[tuple[Pair, float]]:
        """Pairs that are not tied but should overlap, with their overlap."""
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
        """Two layouts on one plane; None unless they certainly show the same."""
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
        """Matches between two layouts that agree on their relative position, best first."""
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
        """Corners, on a layout, of the frame of a pair that belongs to it."""
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
    """From the second layout's pixels to the first's, using a match between their key frames."""
    homography = found.homography if pair[0] in other.homographies else inverse(found.homography)
    here, there = (pair[1], pair[0]) if pair[0] in other.homographies else pair
    return normal(one.homographies[here] @ homography @ inverse(other.homographies[there]))


def _apart(one: Matrix, other: Matrix, points: Matrix) -> float:
    return float(np.hypot(*(moved(points, one) - moved(points, other)).T).max())


def _tie(pair: Pair, found: Match) -> Tie:
    return Tie(*pair, found.first, found.second, MATCHED_SIGMA_PX, found.brighter)


def _rms(layout: Layout, tie: Tie) -> float:
    return float(np.sqrt((distances_px(layout.homographies, tie) ** 2).mean()))

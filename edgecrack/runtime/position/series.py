"""Samples in order of their time, in bounded memory, each with the path length up to it.

A sample is a time and a row of numbers. Samples may come a little out of order or twice, and the
clock that stamps them may be set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Row = tuple[float, ...]

REORDER_NS = 2_000_000_000
CLOCK_SET_SAMPLES = 5
# The most samples before which a late one is inserted, as each of them is computed again.
MOST_REORDERED = 1_000
MAX_SPEED_M_S = 100.0
_SHORTEST_STEP_S = 0.1
_FIRST_ROOM = 256
_PLACE = 3


class PositionSample(NamedTuple):
    """One sample: its time, its numbers, and the path length up to it."""

    time_ns: int
    values: Row
    distance_m: float


class _Path(NamedTuple):
    """The length of the path, and the place where it was last extended."""

    length_m: float
    place: Row


class Series:
    """Samples of one kind. Not thread-safe; the track that owns it is.

    The path goes straight from place to place and skips samples less than `dead_band_m` from its
    last place, so that a receiver at rest does not add to it. A step that no robot can make (above
    100 m/s) is not counted: there the origin was moved.

    Args:
        width: numbers in a row; the first three are the place.
        capacity: samples kept; the oldest go.
        step_m: distance between two places, given by three numbers each.
        dead_band_m: shortest step that counts.
    """

    def __init__(
        self, width: int, capacity: int, step_m: Callable[[Row, Row], float], dead_band_m: float
    ) -> None:
        self._width, self._capacity = width, capacity
        self._step_m, self._dead_band_m = step_m, dead_band_m
        self._times = np.zeros(_FIRST_ROOM, np.int64)
        # A row's numbers, then the path up to it: length and place.
        self._rows = np.zeros((_FIRST_ROOM, width + 1 + _PLACE))
        # The row before the first sample, if any, has the path up to there.
        self._start = self._end = 0
        self._newest = (0, _Path(0.0, ()))
        self._late_count = 0
        self._late_ns = 0

    def __len__(self) -> int:
        return self._end - self._start

    def add(
        self,
        time_ns: int,
        values: Row,
        latest_ns: int | None = None,
        *,
        follows_late_samples: bool = True,
    ) -> bool:
        """Take a sample; False if it is too late to be plausible.

        A sample with the time of another replaces it. Several late samples in a row that are in
        order among themselves mean that the clock was set back: earlier samples are then forgotten,
        as their times have become meaningless, and the path goes on from its end.

        Args:
            time_ns: of the sample.
            values: its numbers.
            latest_ns: the latest possible time; where the newest sample is later, the clock was set
                back, and earlier samples are forgotten.
            follows_late_samples: take late samples in a row for a clock that was set back.
        """
        if latest_ns is not None and len(self) and self._newest[0] > latest_ns:
            self._forget()
        newest_ns = self._newest[0]
        if len(self) and time_ns < newest_ns - REORDER_NS:
            if not follows_late_samples:
                return False
            in_order = self._late_count > 0 and time_ns > self._late_ns
            self._late_count = self._late_count + 1 if in_order else 1
            self._late_ns = time_ns
            if self._late_count < CLOCK_SET_SAMPLES:
                return False
            self._forget()
        if len(self) and self._end - self._place_of(time_ns) > MOST_REORDERED:
            return False
        self._late_count = 0
        self._make_room()
        if len(self) and time_ns <= self._newest[0]:
            self._insert(time_ns, values)
        else:
            self._append(time_ns, values)
        return True

    def around(self, time_ns: int) -> tuple[PositionSample | None, PositionSample | None]:
        """The last sample at or before a time, and the first at or after it."""
        after = self._place_of(time_ns)
        if after < self._end and self._times[after] == time_ns:
            return self._sample(after), self._sample(after)
        before = self._sample(after - 1) if after > self._start else None
        return before, self._sample(after) if after < self._end else None

    def _place_of(self, time_ns: int) -> int:
        times = self._times[self._start : self._end]
        # As int64, since a time beyond its range would be compared as a float, which is too coarse.
        limits = np.iinfo(np.int64)
        wanted = np.int64(min(max(time_ns, limits.min), limits.max))
        return self._start + int(np.searchsorted(times, wanted))

    def _sample(self, row: int) -> PositionSample:
        *values, distance_m = self._rows[row, : self._width + 1].tolist()
        return PositionSample(int(self._times[row]), tuple(values), distance_m)

    def _append(self, time_ns: int, values: Row) -> None:
        path = self._longer(self._newest[1] if self._end else None, self._end, time_ns, values)
        self._write(self._end, time_ns, values, path)
        self._end += 1

    def _insert(self, time_ns: int, values: Row) -> None:
        """Insert a sample between others; at most those of `REORDER_NS` follow it."""
        first = self._place_of(time_ns)
        if self._times[first] != time_ns:
            self._times[first + 1 : self._end + 1] = self._times[first : self._end].copy()
            self._rows[first + 1 : self._end + 1] = self._rows[first : self._end].copy()
            self._end += 1
        self._times[first] = time_ns
        self._rows[first, : self._width] = values
        for row in range(first, self._end):
            time_ns, values = int(self._times[row]), tuple(self._rows[row, : self._width].tolist())
            path = self._path_at(row - 1) if row else None
            self._write(row, time_ns, values, self._longer(path, row, time_ns, values))

    def _write(self, row: int, time_ns: int, values: Row, path: _Path) -> None:
        self._times[row] = time_ns
        self._rows[row] = (*values, path.length_m, *path.place)
        self._newest = (time_ns, path)

    def _path_at(self, row: int) -> _Path:
        length_m, *place = self._rows[row, self._width :].tolist()
        return _Path(length_m, tuple(place))

    def _longer(self, path: _Path | None, row: int, time_ns: int, values: Row) -> _Path:
        place = values[:_PLACE]
        if path is None:
            return _Path(0.0, place)
        step_m = self._step_m(path.place, place)
        if step_m < self._dead_band_m:
            return path
        seconds = (time_ns - int(self._times[row - 1])) / 1e9
        is_driven = step_m <= MAX_SPEED_M_S * max(seconds, _SHORTEST_STEP_S)
        return _Path(path.length_m + step_m if is_driven else path.length_m, place)

    def _forget(self) -> None:
        self._rows[0] = self._rows[self._end - 1]
        self._times[0] = self._times[self._end - 1]
        self._start = self._end = 1

    def _make_room(self) -> None:
        if len(self) >= self._capacity:
            self._start += 1
        if self._end < len(self._times):
            return
        if self._start > len(self._times) // 2:
            kept = slice(self._start - 1, self._end)
            count = self._end - self._start + 1
            self._times[:count] = self._times[kept].copy()
            self._rows[:count] = self._rows[kept].copy()
            self._start, self._end = 1, count
        else:
            self._times = np.concatenate([self._times, np.zeros_like(self._times)])
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])

"""Positions from the recording whose images are replayed.

Read in one pass before the run, since the positions of a frame may come much later in the file.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecrack.errors import SourceError
from edgecrack.mcap.cdr import MalformedMessageError, read_fix, read_pose, read_range
from edgecrack.mcap.message_types import FIX, ODOMETRY, POSE, POSE_WITH_COVARIANCE, RANGE
from edgecrack.mcap.reader import McapFile
from edgecrack.mcap.topics import OWN_PREFIX, channels_of
from edgecrack.runtime.position.interpolate import PositionTrack
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from mcap.records import Channel

POSE_TYPES = (ODOMETRY, POSE, POSE_WITH_COVARIANCE)
SPACING_NS = 20_000_000

_LOG = logging.getLogger("edgecrack")


def recorded_positions(
    path: Path, topics: Sequence[str] | None = None, *, needs_range: bool = False
) -> PositionTrack:
    """Read the poses, fixes and ranges of an MCAP recording.

    Samples less than 20 ms after the last one are left out: a robot moves little in that time, and
    the odometry of a shift fits in memory. A sample's time is its message's stamp or, if that is
    not set, the time at which it was recorded, as for images.

    Args:
        path: the recording.
        topics: one with poses (Odometry, PoseStamped, PoseWithCovarianceStamped), one with
            NavSatFix, one with Range, or several of these. None takes those that edgecrack
            recorded, otherwise the only ones; of several Range topics, as on a robot with sonars,
            none.
        needs_range: a recording without a Range topic is refused.

    Raises:
        SourceError: it cannot be read, has no such topic, or several of which none was chosen.
        MissingDependencyError: the extra "record" is not installed.
    """
    file = McapFile(path)
    try:
        chosen = _choose(file, topics, needs_range)
        samples = _Samples()
        types = {channel.id: file.type_of(channel)[0] for channel in chosen}
        for message in file.messages(types):
            samples.take(message.data, types[message.channel_id], message.log_time_ns)
    finally:
        file.close()
    track = samples.track()
    names = ", ".join(sorted({channel.topic for channel in chosen}))
    if not len(track):
        raise SourceError(
            f"{path} holds no position on {names} that can be used",
            "check that the receiver had a fix, or give other topics",
        )
    refused = samples.refused + file.lost_messages
    if refused:
        lost, verb = counted(refused, "position"), "is" if refused == 1 else "are"
        _LOG.warning("%s: %s on %s %s damaged and left out", path, lost, names, verb)
    return track


class _Thinned:
    """Samples of one kind as they come, at least 20 ms apart.

    Args:
        width: numbers of a sample.
        arguments: what they are to `PositionTrack.add`.
    """

    def __init__(self, width: int, arguments: Callable[[list[float]], dict[str, Any]]) -> None:
        self._width, self._arguments = width, arguments
        self._times, self._rows = array("q"), array("d")

    def __len__(self) -> int:
        return len(self._times)

    def take(self, time_ns: int, row: Sequence[float]) -> None:
        if not self._times or not 0 <= time_ns - self._times[-1] < SPACING_NS:
            self._times.append(time_ns)
            self._rows.extend(row)

    def add_to(self, track: PositionTrack) -> int:
        """Add all samples in the order of their times; returns how many were refused."""
        rows = np.array(self._rows).reshape(-1, self._width)
        refused = 0
        for index in np.argsort(np.array(self._times, np.int64), kind="stable").tolist():
            try:
                track.add(self._times[index], **self._arguments(rows[index].tolist()))
            except ValueError:
                refused += 1
        return refused


class _Samples:
    """All samples of a recording, thinned; made into a track in order of time."""

    def __init__(self) -> None:
        self.refused = 0
        self._poses = _Thinned(7, _pose_arguments)
        self._fixes = _Thinned(3, lambda row: {"fix": (row[0], row[1], _finite(row[2]))})
        self._ranges = _Thinned(
            2, lambda row: {"range_m": row[0], "range_deviation_m": _finite(row[1])}
        )

    def take(self, data: memoryview, type_name: str, log_time_ns: int) -> None:
        try:
            if type_name == FIX:
                fix = read_fix(data)
                place = (fix.latitude_deg, fix.longitude_deg)
                # Without a fix receivers send any values, which is not damage.
                if fix.status >= 0 and all(map(math.isfinite, place)):
                    self._fixes.take(fix.stamp_ns or log_time_ns, (*place, fix.altitude_m))
            elif type_name == RANGE:
                found = read_range(data)
                if found.range_m is not None:  # too near or too far is no damage either
                    deviation = math.nan if found.deviation_m is None else found.deviation_m
                    self._ranges.take(found.stamp_ns or log_time_ns, (found.range_m, deviation))
            else:
                pose = read_pose(data, type_name)
                row = (*pose.xyz_m, *pose.quaternion_xyzw)
                self._poses.take(pose.stamp_ns or log_time_ns, row)
        except (MalformedMessageError, OverflowError):
            self.refused += 1

    def track(self) -> PositionTrack:
        kinds = (self._poses, self._fixes, self._ranges)
        track = PositionTrack(capacity=max(2, *map(len, kinds)))
        self.refused += sum(each.add_to(track) for each in kinds)
        return track


def _pose_arguments(row: list[float]) -> dict[str, Any]:
    x, y, z, *turn = row
    return {"xyz_m": (x, y, z), "quaternion_xyzw": tuple(turn) if any(turn) else None}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _choose(file: McapFile, topics: Sequence[str] | None, needs_range: bool) -> list[Channel]:
    poses, fixes = channels_of(file, POSE_TYPES), channels_of(file, (FIX,))
    ranges = channels_of(file, (RANGE,))
    known = {**poses, **fixes, **ranges}
    if not known:
        raise SourceError(
            f"{file.path} holds no positions",
            "give a recording with nav_msgs/msg/Odometry, geometry_msgs/msg/PoseStamped, "
            "sensor_msgs/msg/NavSatFix or sensor_msgs/msg/Range, or leave `position` out",
        )
    for topic in topics or ():
        if topic not in known:
            raise SourceError(
                f"{file.path} has no positions on {topic}", f"choose of {', '.join(sorted(known))}"
            )
    chosen: list[Channel] = []
    for kind in (poses, fixes, ranges):
        if topics:
            names = [topic for topic in kind if topic in topics]
        else:
            names = [topic for topic in kind if topic.startswith(OWN_PREFIX)] or list(kind)
        if kind is ranges and len(names) > 1 and not topics and not needs_range and chosen:
            continue  # a robot has many, and it is not known which one faces the camera's way
        if len(names) > 1:
            raise SourceError(
                f"{file.path} holds the same kind of position on {', '.join(names)}",
                f"choose one with `position` recording:{names[0]}",
            )
        chosen += [channel for name in names for channel in kind[name]]
    if needs_range and not any(channel.topic in ranges for channel in chosen):
        held = f"it has them on {', '.join(ranges)}" if ranges else "it holds none"
        raise SourceError(
            f"{file.path} has no ranges for the scale: {held}",
            f"name the topic with `position`, such as recording:{next(iter(ranges))}"
            if ranges
            else "give `distance_m`",
        )
    return chosen

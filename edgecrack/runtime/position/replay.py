"""Positions out of the recording whose images are replayed.

Read in one pass before the run, for a frame may be asked about long before its positions come
in the file. Must not know frames.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecrack.closeable import Closeable
from edgecrack.errors import SourceError
from edgecrack.mcap.cdr import MalformedMessageError, read_fix, read_pose, read_range
from edgecrack.mcap.message_types import FIX, ODOMETRY, POSE, POSE_WITH_COVARIANCE, RANGE
from edgecrack.mcap.reader import McapFile
from edgecrack.mcap.topics import OWN_PREFIX, channels_of
from edgecrack.runtime.frame import Position
from edgecrack.runtime.position.interpolate import PositionTrack
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from mcap.records import Channel

POSE_TYPES = (ODOMETRY, POSE, POSE_WITH_COVARIANCE)
SPACING_NS = 20_000_000

_LOG = logging.getLogger("edgecrack")


class RecordedPositions(Closeable):
    """Says where the robot was when a recording was made.

    Args:
        track: holds all of the recording's positions.
    """

    def __init__(self, track: PositionTrack) -> None:
        self._track = track

    def locate(self, time_ns: int) -> Position | None:
        """The position at a moment; None if none is known near it."""
        return self._track.locate(time_ns)

    def close(self) -> None:
        """Nothing is held open."""


def recorded_positions(
    path: Path, topics: Sequence[str] | None = None, *, needs_range: bool = False
) -> RecordedPositions:
    """Read the poses, fixes and ranges of an MCAP recording.

    Samples closer than 20 ms to the one before are left out: a robot moves little in that time,
    and a shift's odometry fits in memory. A sample's time is its message's stamp or, where that
    is not set, the time at which it was recorded, as for images.

    Args:
        path: the recording.
        topics: one with poses (Odometry, PoseStamped, PoseWithCovarianceStamped), one with
            NavSatFix, one with Range, or several of these. None takes those that edgecrack
            recorded, otherwise the only ones; of several Range topics, as a robot with sonars
            has, none.
        needs_range: without a Range topic there is nothing to be had.

    Raises:
        SourceError: it cannot be read, has no such topic, or several where one is to be taken.
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
    return RecordedPositions(track)


class _Samples:
    """Numbers as they come, thinned; made into a track in order of time."""

    def __init__(self) -> None:
        self.refused = 0
        self._pose_times, self._poses = array("q"), array("d")
        self._fix_times, self._fixes = array("q"), array("d")
        self._range_times, self._ranges = array("q"), array("d")

    def take(self, data: memoryview, type_name: str, log_time_ns: int) -> None:
        try:
            if type_name == FIX:
                fix = read_fix(data)
                place = (fix.latitude_deg, fix.longitude_deg)
                # Without a fix receivers send what they like, and that is no damage.
                if fix.status >= 0 and all(map(math.isfinite, place)):
                    time_ns = fix.stamp_ns or log_time_ns
                    _keep(self._fix_times, self._fixes, time_ns, (*place, fix.altitude_m))
            elif type_name == RANGE:
                found = read_range(data)
                if found.range_m is not None:  # too near or too far is no damage either
                    deviation = math.nan if found.deviation_m is None else found.deviation_m
                    time_ns = found.stamp_ns or log_time_ns
                    _keep(self._range_times, self._ranges, time_ns, (found.range_m, deviation))
            else:
                pose = read_pose(data, type_name)
                row = (*pose.xyz_m, *pose.quaternion_xyzw)
                _keep(self._pose_times, self._poses, pose.stamp_ns or log_time_ns, row)
        except (MalformedMessageError, OverflowError):
            self.refused += 1

    def track(self) -> PositionTrack:
        capacity = max(2, len(self._pose_times), len(self._fix_times), len(self._range_times))
        track = PositionTrack(capacity=capacity)
        poses = np.frombuffer(self._poses).reshape(-1, 7) if self._poses else np.empty((0, 7))
        for index in _order(self._pose_times):
            x, y, z, qx, qy, qz, qw = poses[index].tolist()
            turn = (qx, qy, qz, qw) if any((qx, qy, qz, qw)) else None  # not set is all zero
            try:
                track.add(self._pose_times[index], xyz_m=(x, y, z), quaternion_xyzw=turn)
            except ValueError:
                self.refused += 1
        fixes = np.frombuffer(self._fixes).reshape(-1, 3) if self._fixes else np.empty((0, 3))
        for index in _order(self._fix_times):
            latitude, longitude, altitude = fixes[index].tolist()
            height = altitude if math.isfinite(altitude) else None
            try:
                track.add(self._fix_times[index], fix=(latitude, longitude, height))
            except ValueError:
                self.refused += 1
        ranges = np.frombuffer(self._ranges).reshape(-1, 2) if self._ranges else np.empty((0, 2))
        for index in _order(self._range_times):
            range_m, deviation = ranges[index].tolist()
            known = None if math.isnan(deviation) else deviation
            try:
                track.add(self._range_times[index], range_m=range_m, range_deviation_m=known)
            except ValueError:
                self.refused += 1
        return track


def _keep(times: array[int], rows: array[float], time_ns: int, row: Sequence[float]) -> None:
    if times and 0 <= time_ns - times[-1] < SPACING_NS:
        return
    times.append(time_ns)
    rows.extend(row)


def _order(times: array[int]) -> list[int]:
    order: list[int] = np.argsort(np.array(times, np.int64), kind="stable").tolist()
    return order


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
            continue  # a robot has many, and which one looks where the camera does, nobody says
        if len(names) > 1:
            raise SourceError(
                f"{file.path} holds the same kind of position on {', '.join(names)}",
                f"choose one with `position` recording:{names[0]}",
            )
        chosen += [channel for name in names for channel in kind[name]]
    if needs_range and not any(channel.topic in ranges for channel in chosen):
        held = f"it has them on {', '.join(ranges)}" if ranges else "it holds none"
        raise SourceError(
            f"{file.path} gives no ranges for the scale: {held}",
            f"name the topic with `position`, such as recording:{next(iter(ranges))}"
            if ranges
            else "give `distance_m`",
        )
    return chosen

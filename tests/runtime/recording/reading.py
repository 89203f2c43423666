"""Readers of recordings that are not ours, and results to record."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.telemetry.events import Event, EventLog
from tests.runtime.fakes import frame, result_of


class Read(NamedTuple):
    topic: str
    time_ns: int
    data: bytes
    message: Any


def result(
    index: int = 0, *, live: bool = False, position: Position | None = None, noise: bool = False
) -> FrameResult:
    """A small result; with `noise` its JPEG has some 17 kB."""
    image = None
    if noise:
        random = np.random.default_rng(index)
        image = random.integers(0, 256, (96, 128, 3)).astype(np.uint8)
    made = result_of(replace(frame(index, image), live=live))
    return replace(made, position=position)


def read_with_rosbags(path: Path) -> list[Read]:
    """Every message, decoded by the definitions in the file."""
    with AnyReader([path]) as reader:
        return [
            Read(connection.topic, time_ns, data, reader.deserialize(data, connection.msgtype))
            for connection, time_ns, data in reader.messages()
        ]


def read_with_mcap(path: Path) -> list[tuple[str, int, bytes]]:
    """Every message as (topic, log time, bytes), with checksums and the index verified."""
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        found = [
            (channel.topic, message.log_time, message.data)
            for _, channel, message in reader.iter_messages()
        ]
        counts = Counter(topic for topic, _, _ in found)
        told = {
            summary.channels[number].topic: count
            for number, count in summary.statistics.channel_message_counts.items()
        }
        assert dict(counts) == told
        assert summary.statistics.message_count == len(found)
        return found


def frame_times(path: Path) -> list[int]:
    """Log times of the recorded pictures."""
    return [time_ns for topic, time_ns, _ in read_with_mcap(path) if topic.endswith("/image")]


class Heard:
    """Keeps the events of a log."""

    def __init__(self) -> None:
        self.log = EventLog()
        self.events: list[Event] = []
        self.log.subscribe(self.events.append)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

"""A process that records: `python -m tests.runtime.recording.recording_child FOLDER COUNT`.

A COUNT of 0 goes on until it is killed. Prints a line for each result before it hands it over:
its number and log time; and "synced" whenever the disk has all that was written out before. At its
end it says which events there were, and why the recording
stopped if it did.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.recorder import McapRecorder
from edgecrack.runtime.telemetry.events import EventLog
from tests.runtime.recording.reading import result


def say(line: str) -> None:
    """Write a line at once: two threads talk, and `print` may mix their words."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def tell_of_syncs() -> None:
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        real(descriptor)
        say("synced")

    os.fdatasync = fdatasync  # type: ignore[assignment]


def main(folder: Path, count: int) -> None:
    if count == 0:
        tell_of_syncs()
    events = EventLog()
    recorder = McapRecorder(
        RecordingConfig(folder / "run.mcap", reserve_bytes=0),
        events=events,
        stats=None,
        about={},
    )
    made = [result(index, noise=True) for index in range(12)]
    for index in itertools.count() if count == 0 else range(count):
        now_ns = time.time_ns()
        one = made[index % len(made)]
        taken = replace(one.frame, index=index, capture_time_ns=now_ns, live=count == 0)
        say(f"{index} {now_ns}")
        recorder.write(replace(one, frame=taken))
        if count == 0:
            time.sleep(0.02)
    recorder.close()
    for kind, number in events.counts().items():
        print(kind, number)
    print("problem:", recorder.status().problem)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Results that grow too old before they are recorded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.recording import recording_session
from tests.runtime.recording.reading import Heard, frame_times, read_with_rosbags, result
from tests.runtime.recording.recorders import pictures, recording, times, wait_for_pictures

LIMIT_MS = 500.0
START_NS = 10**12


class Age:
    """The clock that ages are counted with, in ms since the frames were taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ms = 0.0
        monkeypatch.setattr(recording_session, "now_ns", lambda: START_NS + int(self.now_ms * 1e6))


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> Age:
    return Age(monkeypatch)


def taken(index: int, at_ms: float = 0.0, live: bool = True) -> FrameResult:
    one = result(index, live=live)
    moment_ns = START_NS + int(at_ms * 1e6)
    return replace(one, frame=replace(one.frame, monotonic_ns=moment_ns))


def test_only_results_that_are_young_enough_are_recorded(tmp_path: Path, age: Age) -> None:
    heard = Heard()
    with recording(tmp_path, heard, max_age_ms=LIMIT_MS) as recorder:
        age.now_ms = 600
        ages = [0.0, 99.0, 100.0, 600.0]
        results = [taken(index, at_ms) for index, at_ms in enumerate(ages)]
        for one in results:
            recorder.write(one)
        wait_for_pictures(tmp_path, 2)
        recorder.stop()
        assert (recorder.stale, recorder.dropped, recorder.status().dropped) == (2, 2, 2)
    assert pictures(tmp_path) == times(results[2:])
    [event] = heard.of("recording.stale")
    assert event.level == "warning"
    assert event.data == {"age_ms": 600.0, "limit_ms": LIMIT_MS}
    assert recorder.status().problem is None


def test_a_later_episode_is_said_again(tmp_path: Path, age: Age) -> None:
    heard = Heard()
    with recording(tmp_path, heard, max_age_ms=LIMIT_MS) as recorder:
        for now_ms in (1_000, 2_000, 11_900, 22_000):
            age.now_ms = now_ms
            recorder.write(taken(0))
            recorder.stop()
            recorder.start()
    assert recorder.stale == 4
    assert len(heard.of("recording.stale")) == 2


@pytest.mark.parametrize(("limit_ms", "live"), [(None, True), (LIMIT_MS, False)])
def test_without_a_limit_or_from_a_recording_any_age_is_recorded(
    tmp_path: Path, age: Age, limit_ms: float | None, live: bool
) -> None:
    age.now_ms = 1e9
    with recording(tmp_path, max_age_ms=limit_ms) as recorder:
        recorder.write(taken(0, live=live))
    assert pictures(tmp_path) == times([result(0)])
    assert recorder.stale == 0


def test_what_waits_while_the_disk_stalls_is_not_recorded_after_it(
    tmp_path: Path, age: Age, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stall is that of a new part's first write, with a result at hand."""
    real: Any = os.fdatasync

    def stall(descriptor: int) -> None:
        age.now_ms += 2_000
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", stall)
    with recording(tmp_path, max_age_ms=LIMIT_MS, flush_s=60.0) as recorder:
        recorder.write(taken(0))
        recorder.stop()
        assert recorder.stale == 1
        monkeypatch.undo()
    whole = tmp_path / "run_0001.mcap"
    assert frame_times(whole) == []
    assert {one.topic for one in read_with_rosbags(whole)} <= {"/edgecrack/events"}

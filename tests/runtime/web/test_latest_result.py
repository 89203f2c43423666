from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest

from edgecrack.runtime.web.status import SHORTEST_STALE_MS, LatestResult
from tests.runtime.fakes import frame, result_of
from tests.runtime.web.rig import live_result

SECOND_NS = 1_000_000_000


class Clock:
    now_ns = 50 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


def test_only_the_newest_is_kept() -> None:
    latest = LatestResult()
    assert latest.newest() is None
    assert latest.age_ms() is None
    first = live_result(0)
    gone = weakref.ref(first.frame.image)
    latest.write(first)
    del first
    for index in range(1, 4):
        latest.write(live_result(index))
    newest = latest.newest()
    assert newest is not None
    assert (newest.number, newest.result.frame.index) == (4, 3)
    gc.collect()
    assert gone() is None


def test_a_live_picture_is_as_old_as_its_capture() -> None:
    clock = Clock()
    latest = LatestResult(clock)
    taken = replace(frame(), live=True, monotonic_ns=clock.now_ns - SECOND_NS // 10)
    latest.write(result_of(taken))
    assert latest.age_ms() == pytest.approx(100)
    clock.now_ns += SECOND_NS
    assert latest.age_ms() == pytest.approx(1100)


def test_waiting_in_queues_does_not_age_a_recording() -> None:
    clock = Clock()
    latest = LatestResult(clock)
    taken = replace(frame(), live=False, monotonic_ns=clock.now_ns - 30 * SECOND_NS)
    latest.write(result_of(taken, latency_ms=40.0))
    assert latest.age_ms() == pytest.approx(40)


def test_a_slow_robot_is_not_taken_for_a_stuck_one() -> None:
    clock = Clock()
    latest = LatestResult(clock)
    for _ in range(4):
        latest.write(result_of(frame(), latency_ms=0.0))
        clock.now_ns += SECOND_NS // 10
    assert latest.stale_after_ms == SHORTEST_STALE_MS
    for _ in range(9):
        clock.now_ns += 4 * SECOND_NS
        latest.write(result_of(frame(), latency_ms=0.0))
    assert latest.stale_after_ms == pytest.approx(12_000, rel=0.1)


def test_a_live_result_that_is_too_old_is_shown_to_nobody() -> None:
    clock = Clock()
    latest = LatestResult(clock, max_age_ms=500)
    taken = replace(frame(), live=True, monotonic_ns=clock.now_ns)
    latest.write(result_of(taken))
    shown = latest.newest()
    assert shown is not None
    assert latest.stale_after_ms == 500
    clock.now_ns += SECOND_NS
    assert latest.newest() is None
    assert latest.age_ms() is None
    assert not latest.may_be_shown(shown)
    latest.write(result_of(replace(taken, live=False)))
    clock.now_ns += SECOND_NS
    assert latest.newest() is not None  # a recording does not get old


def test_listeners_hear_each_result_until_they_leave() -> None:
    latest = LatestResult()
    heard: list[int] = []
    leave = latest.subscribe(lambda: heard.append(1))
    latest.write(live_result(0))
    leave()
    leave()
    latest.write(live_result(1))
    assert heard == [1]


def test_a_closed_hub_keeps_the_last_picture() -> None:
    latest = LatestResult()
    latest.write(live_result(0))
    assert not latest.ended
    latest.close()
    assert latest.ended
    assert latest.newest() is not None

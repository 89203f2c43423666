from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest

from edgecrack.runtime.web.latest_result import SHORTEST_STALE_MS, LiveHub
from tests.runtime.fakes import frame, result_of
from tests.runtime.web.rig import live_result

SECOND_NS = 1_000_000_000


class Clock:
    now_ns = 50 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


def test_only_the_newest_is_kept() -> None:
    hub = LiveHub()
    assert hub.newest() is None
    assert hub.age_ms() is None
    first = live_result(0)
    gone = weakref.ref(first.frame.image)
    hub.write(first)
    del first
    for index in range(1, 4):
        hub.write(live_result(index))
    newest = hub.newest()
    assert newest is not None
    assert (newest.number, newest.result.frame.index) == (4, 3)
    gc.collect()
    assert gone() is None


def test_a_live_picture_is_as_old_as_its_capture() -> None:
    clock = Clock()
    hub = LiveHub(clock)
    taken = replace(frame(), live=True, monotonic_ns=clock.now_ns - SECOND_NS // 10)
    hub.write(result_of(taken))
    assert hub.age_ms() == pytest.approx(100)
    clock.now_ns += SECOND_NS
    assert hub.age_ms() == pytest.approx(1100)


def test_waiting_in_queues_does_not_age_a_recording() -> None:
    clock = Clock()
    hub = LiveHub(clock)
    taken = replace(frame(), live=False, monotonic_ns=clock.now_ns - 30 * SECOND_NS)
    hub.write(result_of(taken, latency_ms=40.0))
    assert hub.age_ms() == pytest.approx(40)


def test_a_slow_robot_is_not_taken_for_a_stuck_one() -> None:
    clock = Clock()
    hub = LiveHub(clock)
    for _ in range(4):
        hub.write(result_of(frame(), latency_ms=0.0))
        clock.now_ns += SECOND_NS // 10
    assert hub.stale_after_ms == SHORTEST_STALE_MS
    for _ in range(9):
        clock.now_ns += 4 * SECOND_NS
        hub.write(result_of(frame(), latency_ms=0.0))
    assert hub.stale_after_ms == pytest.approx(12_000, rel=0.1)


def test_a_live_result_that_is_too_old_is_shown_to_nobody() -> None:
    clock = Clock()
    hub = LiveHub(clock, max_age_ms=500)
    taken = replace(frame(), live=True, monotonic_ns=clock.now_ns)
    hub.write(result_of(taken))
    shown = hub.newest()
    assert shown is not None
    assert hub.stale_after_ms == 500
    clock.now_ns += SECOND_NS
    assert hub.newest() is None
    assert hub.age_ms() is None
    assert not hub.may_be_shown(shown)
    hub.write(result_of(replace(taken, live=False)))
    clock.now_ns += SECOND_NS
    assert hub.newest() is not None  # a recording does not get old


def test_listeners_hear_each_result_until_they_leave() -> None:
    hub = LiveHub()
    heard: list[int] = []
    leave = hub.subscribe(lambda: heard.append(1))
    hub.write(live_result(0))
    leave()
    leave()
    hub.write(live_result(1))
    assert heard == [1]


def test_a_closed_hub_keeps_the_last_picture() -> None:
    hub = LiveHub()
    hub.write(live_result(0))
    assert not hub.ended
    hub.close()
    assert hub.ended
    assert hub.newest() is not None

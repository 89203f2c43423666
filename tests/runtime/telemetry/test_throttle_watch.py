from __future__ import annotations

import logging
import threading

import pytest

from edgecrack.machine_sensors.evidence import Evidence
from edgecrack.machine_sensors.throttling import ThrottleLook
from edgecrack.runtime.telemetry.events import Event, EventLog
from edgecrack.runtime.telemetry.stats import StreamStats
from edgecrack.runtime.telemetry.throttle_watch import ThrottleWatch
from tests.runtime.fakes import frame, result_of
from tests.waiting import PATIENCE_S, wait_until

HOT = ThrottleLook(
    "throttled",
    (Evidence("cooling", "the kernel cools by cpu-throttle-alert"),),
    ("cooling",),
    1200.0,
    2400.0,
    71.2,
)
WELL = ThrottleLook("not throttled", (), ("cooling",), 2400.0, 2400.0, 58.0)
DARK = ThrottleLook("unknown")


class Course:
    """A machine whose looks are written down: one every two seconds, eight frames between two."""

    def __init__(self) -> None:
        self.now_s, self.found = 100.0, WELL
        self.events = EventLog()
        self.stats = StreamStats(lambda: self.now_s)
        self.watch = ThrottleWatch(lambda: self.found, self.events, self.stats, lambda: self.now_s)

    def go(self, *looks: ThrottleLook) -> None:
        for self.found in looks:
            for index in range(8):
                self.now_s += 0.25
                self.stats.add(result_of(frame(index)))
            self.watch.look()

    def said(self) -> list[Event]:
        return self.events.recent()

    def counted(self) -> tuple[str, int, float, int]:
        now = self.stats.snapshot()
        seconds = round(now.throttled_s, 3)
        return now.throttling, now.throttle_episodes, seconds, now.throttled_frames


@pytest.fixture
def course() -> Course:
    return Course()


def test_an_episode_is_one_event_when_it_begins_and_one_when_it_ends(course: Course) -> None:
    course.go(WELL, HOT, HOT, HOT, HOT, *[WELL] * 9)
    begin, end = course.said()
    assert (begin.kind, begin.level) == ("machine.throttled", "warning")
    assert begin.message == (
        "the machine throttles: 71 °C, 1.2 of 2.4 GHz, 4.0 frames/s "
        "(the kernel cools by cpu-throttle-alert)"
    )
    assert begin.data["evidence"] == [
        {"kind": "cooling", "text": "the kernel cools by cpu-throttle-alert"}
    ]
    assert (begin.data["clock_mhz"], begin.data["rated_mhz"]) == (1200, 2400)
    assert (begin.data["temperature_c"], begin.data["fps"]) == (71.2, 4.0)
    assert (end.kind, end.level) == ("machine.recovered", "info")
    assert end.message == (
        "the machine no longer throttles: 58 °C, 2.4 of 2.4 GHz; it did for 8 s, at 4.0 frames/s"
    )
    assert (end.data["throttled_s"], end.data["throttled_frames"]) == (8.0, 32)
    assert course.counted() == ("not throttled", 1, 8.0, 32)


def test_one_look_alone_is_no_episode(course: Course) -> None:
    course.go(WELL, HOT, WELL, HOT, WELL, WELL, HOT)
    assert course.said() == []
    assert course.counted() == ("not throttled", 0, 0.0, 0)


def test_a_short_breath_does_not_end_it(course: Course) -> None:
    course.go(HOT, HOT, *[WELL] * 4, HOT, *[WELL] * 4, HOT, *[WELL] * 4)
    assert [event.kind for event in course.said()] == ["machine.throttled"]
    assert course.counted() == ("throttled", 1, 24.0, 96)
    course.go(WELL)
    assert [event.kind for event in course.said()] == ["machine.throttled", "machine.recovered"]
    assert course.counted() == ("not throttled", 1, 24.0, 96)


def test_a_second_episode_adds_to_the_first(course: Course) -> None:
    for _ in range(2):
        course.go(WELL, HOT, HOT, *[WELL] * 5)
    assert course.events.counts() == {"machine.throttled": 2, "machine.recovered": 2}
    assert course.counted() == ("not throttled", 2, 8.0, 32)
    assert course.stats.snapshot().throttled_fps == 4.0


def test_while_it_lasts_its_seconds_are_counted_already(course: Course) -> None:
    course.go(HOT, HOT, HOT)
    assert course.counted() == ("throttled", 1, 6.0, 24)


def test_a_machine_that_tells_nothing_is_unknown_and_never_well(course: Course) -> None:
    course.go(DARK, DARK)
    assert course.counted() == ("unknown", 0, 0.0, 0)
    assert course.watch.status()["state"] == "unknown"
    course.go(HOT, HOT, *[DARK] * 5)
    assert course.counted()[0] == "unknown"
    assert "no longer throttles, as far as this machine tells; it did" in course.said()[-1].message
    assert course.said()[-1].data["state"] == "unknown"


def test_the_status_has_the_last_look(course: Course) -> None:
    course.go(HOT, HOT)
    status = course.watch.status()
    assert (status["state"], status["clock_mhz"], status["told_by"]) == (
        "throttled", 1200.0, ["cooling"],
    )  # fmt: skip


def test_a_thread_looks_at_once_and_until_it_is_closed() -> None:
    looks = threading.Semaphore(0)

    def look() -> ThrottleLook:
        looks.release()
        return HOT

    events, stats = EventLog(), StreamStats()
    watch = ThrottleWatch(look, events, stats, interval_s=0.01)
    watch.start()
    for _ in range(3):
        assert looks.acquire(timeout=PATIENCE_S)
    wait_until(lambda: stats.snapshot().throttling == "throttled")
    watch.close()
    watch.close()
    assert not any(thread.name == "edgecrack-throttle" for thread in threading.enumerate())
    assert events.counts() == {"machine.throttled": 1}


def test_a_look_that_fails_is_logged_once_and_leaves_all_unknown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries = threading.Semaphore(0)

    def look() -> ThrottleLook:
        tries.release()
        raise RuntimeError("a driver's defect")

    stats = StreamStats()
    with caplog.at_level(logging.ERROR, "edgecrack"):
        watch = ThrottleWatch(look, EventLog(), stats, interval_s=0.01)
        watch.start()
        for _ in range(3):
            assert tries.acquire(timeout=PATIENCE_S)
        watch.close()
    assert stats.snapshot().throttling == "unknown"
    assert [record.message for record in caplog.records] == [
        "whether the machine is throttled could not be checked"
    ]

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from edgecrack.runtime.telemetry.stats import LATENCY_WINDOW_FRAMES, StreamStats, is_truncated
from tests.runtime.fakes import frame, picture, result_of
from tests.waiting import PATIENCE_S


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_before_the_first_frame_all_is_zero() -> None:
    clock = Clock()
    stats = StreamStats(clock)
    clock.now_s += 2
    shown = stats.snapshot().to_dict()
    assert shown.pop("elapsed_s") == 2
    assert (shown.pop("shedding"), shown.pop("source_state")) == ("nothing", "connecting")
    assert shown.pop("inspected_ratio") == 1
    assert shown.pop("fit_ratio") is None
    assert (shown.pop("throttling"), shown.pop("throttled_fps")) == ("unknown", None)
    assert set(shown.values()) == {0}


def test_the_share_of_measured_frames_that_were_fit_for_it() -> None:
    stats = StreamStats()
    for is_fit in (True, False, True):
        stats.add_measured(is_fit=is_fit)
    shown = stats.snapshot()
    assert (shown.measured, shown.fit_to_measure, shown.fit_ratio) == (3, 2, 0.6667)


def test_recent_rate_forgets_and_overall_rate_does_not() -> None:
    clock = Clock()
    stats = StreamStats(clock)
    for index in range(100):
        clock.now_s += 0.1
        stats.add(result_of(frame(index)))
    assert stats.snapshot().fps == pytest.approx(10, abs=0.5)
    assert stats.snapshot().fps_overall == pytest.approx(10)
    clock.now_s += 10
    assert stats.snapshot().fps == 0
    assert stats.snapshot().fps_overall == pytest.approx(5)


def test_percentiles_equal_numpy_s_over_the_window() -> None:
    stats = StreamStats()
    latencies = [float((7 * index) % 1013) for index in range(900)]
    for index, latency_ms in enumerate(latencies):
        stats.add(result_of(frame(index % 20), latency_ms))
    window = latencies[-LATENCY_WINDOW_FRAMES:]
    assert stats.snapshot().latency_p50_ms == pytest.approx(np.percentile(window, 50))
    assert stats.snapshot().latency_p95_ms == pytest.approx(np.percentile(window, 95))


def test_crack_counts() -> None:
    stats = StreamStats()
    empty = picture()
    empty[:] = 0
    shown = [result_of(frame(0)), result_of(frame(1)), result_of(frame(2, empty))]
    for result in shown:
        stats.add(result)
    stats.set_counts(drops=3)
    snapshot = stats.snapshot()
    assert snapshot.crack_pixels == 0
    assert snapshot.crack_pixels_total == 6 * 8 + 6 * 10
    assert (snapshot.frames, snapshot.frames_with_cracks, snapshot.drops) == (3, 2, 3)
    assert json.loads(json.dumps(snapshot.to_dict()))["frames"] == 3


def test_adding_from_many_threads_loses_nothing() -> None:
    stats = StreamStats()
    result = result_of(frame())

    def add_many() -> None:
        for _ in range(200):
            stats.add(result)

    threads = [threading.Thread(target=add_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert stats.snapshot().frames == 800


@pytest.mark.parametrize(
    ("read", "expected", "truncated"),
    [
        (100, 100, False),
        (98, 100, False),
        (97, 100, True),
        (980, 1000, False),
        (979, 1000, True),
        (101, 100, False),
        (5, None, False),
        (1, 3, False),
        (0, 3, True),
    ],
)
def test_is_truncated(read: int, expected: int | None, truncated: bool) -> None:
    assert is_truncated(read, expected) is truncated

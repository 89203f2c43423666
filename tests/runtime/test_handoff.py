from __future__ import annotations

import threading

import pytest

from edgecrack.runtime.handoff import Abandoned, Handoff, TimedOut
from tests.waiting import PATIENCE_S


def test_items_come_out_in_order_and_then_none() -> None:
    handoff = Handoff[int](3)
    for number in range(3):
        handoff.put(number)
    handoff.finish()
    assert [handoff.get(), handoff.get(), handoff.get(), handoff.get()] == [0, 1, 2, None]


def test_newest_replaces_and_counts() -> None:
    handoff = Handoff[int](1, keep_newest=True)
    for number in range(10):
        handoff.put(number)
    assert handoff.get() == 9
    assert handoff.replaced == 9


def test_the_last_item_comes_before_the_error() -> None:
    handoff = Handoff[int](1, keep_newest=True)
    handoff.put(1)
    handoff.finish(ValueError("broken"))
    assert handoff.get() == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            handoff.get()


def test_waits_end_at_their_timeout() -> None:
    handoff = Handoff[int](1)
    with pytest.raises(TimedOut):
        handoff.get(0.01)
    handoff.put(1)
    with pytest.raises(TimedOut):
        handoff.put(2, 0.01)
    assert handoff.get() == 1


def test_a_full_queue_makes_the_producer_wait_until_there_is_room() -> None:
    handoff = Handoff[int](2)

    def produce() -> None:
        for number in range(50):
            handoff.put(number)

    producer = threading.Thread(target=produce)
    producer.start()
    assert [handoff.get(PATIENCE_S) for _ in range(50)] == list(range(50))
    producer.join(PATIENCE_S)
    assert not producer.is_alive()
    assert handoff.replaced == 0


def test_abandoning_wakes_a_waiting_producer() -> None:
    handoff = Handoff[int](1)
    handoff.put(0)
    seen: list[BaseException] = []

    def produce() -> None:
        try:
            handoff.put(1)
        except Abandoned as signal:
            seen.append(signal)

    producer = threading.Thread(target=produce)
    producer.start()
    handoff.abandon()
    producer.join(PATIENCE_S)
    assert len(seen) == 1


def test_the_consumer_s_error_reaches_the_producer() -> None:
    handoff = Handoff[int](4)
    handoff.abandon(OSError("disk full"))
    handoff.abandon()
    with pytest.raises(OSError, match="disk full"):
        handoff.put(1)
    with pytest.raises(OSError, match="disk full"):
        handoff.check()


def test_whoever_takes_nothing_more_hears_of_no_error() -> None:
    for abandons_first in (False, True):
        handoff = Handoff[int](1)
        steps = [lambda h=handoff: h.finish(OSError("unplugged")), handoff.abandon]
        for step in reversed(steps) if abandons_first else steps:
            step()
        assert handoff.get(0) is None

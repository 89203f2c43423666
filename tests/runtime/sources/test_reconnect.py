"""A live source through losses, stalls, damage, hangs and changes of size."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.open import open_live_source
from edgecrack.runtime.sources.reconnecting import ReconnectingSource, ReconnectPolicy
from edgecrack.runtime.telemetry.events import EventLog
from tests.runtime.fakes import HW, stream_threads
from tests.runtime.sources.live_fakes import FaultySource, Opener
from tests.waiting import PATIENCE_S, wait_until

QUICK = ReconnectPolicy(
    open_timeout_s=PATIENCE_S,
    stall_timeout_s=PATIENCE_S,
    first_delay_s=0.01,
    longest_delay_s=0.05,
)
# Where something hangs for ever; on a busy machine what does not hang needs time as well.
IMPATIENT = replace(QUICK, open_timeout_s=1.0, stall_timeout_s=1.0)
GONE = SourceError("camera:0 stopped delivering frames", "check its cable")


def opened(
    opener: Opener, policy: ReconnectPolicy = QUICK, events: EventLog | None = None
) -> ReconnectingSource:
    return ReconnectingSource(opener, "camera:0", policy, events)


def next_frame(source: Source) -> Frame:
    taken = source.read()
    assert taken is not None
    return taken


def kinds(events: EventLog) -> list[str]:
    return [event.kind for event in events.recent()]


def test_a_source_that_stops_is_opened_again_and_frames_count_on() -> None:
    events = EventLog()
    opener = Opener(FaultySource([HW, GONE]), FaultySource([HW]))
    with opened(opener, events=events) as source:
        first, second = next_frame(source), next_frame(source)
        assert source.health.reconnects == 1
        assert source.health.state == "live"
    assert (first.index, second.index) == (0, 1)
    assert second.name == "000001"
    assert second.live
    assert opener.opened[0].closed.is_set()
    assert kinds(events) == ["source.lost", "source.recovered"]
    assert "stopped delivering" in events.recent()[0].message


def test_an_outage_of_many_attempts_is_said_once() -> None:
    events = EventLog()
    refusals = [SourceError("nobody answers", "wait")] * 6
    with opened(
        Opener(FaultySource([HW, GONE]), *refusals, FaultySource([HW])), events=events
    ) as source:
        next_frame(source)
        next_frame(source)
        assert source.health.open_failures == 6
    assert kinds(events) == ["source.lost", "source.recovered"]


def test_a_silent_source_is_a_stall_and_is_opened_again() -> None:
    events = EventLog()
    opener = Opener(FaultySource([HW]), FaultySource([HW]))
    with opened(opener, IMPATIENT, events) as source:
        next_frame(source)
        next_frame(source)
        assert source.health.stalls == 1
    assert "no frame for 1 s" in events.recent()[0].message


def test_a_read_that_hangs_is_left_behind_and_closed_when_it_returns() -> None:
    hanging = FaultySource([HW, "hang"])
    with opened(Opener(hanging, FaultySource([HW])), IMPATIENT) as source:
        next_frame(source)
        next_frame(source)
        hanging.let_go.set()
        wait_until(lambda: "edgecrack-source-0" not in stream_threads())
    assert hanging.closed.is_set()


def test_an_opening_that_hangs_is_given_up_and_closed_when_it_returns() -> None:
    let_go = threading.Event()
    late = FaultySource([HW])

    def hang() -> FaultySource:
        let_go.wait(PATIENCE_S)
        return late

    with opened(Opener(hang, FaultySource([HW])), IMPATIENT) as source:
        next_frame(source)
        assert source.health.open_failures == 1
        let_go.set()
        assert late.closed.wait(PATIENCE_S)


def test_too_many_calls_that_hang_end_it() -> None:
    hanging = [FaultySource(["hang"]) for _ in range(4)]
    policy = replace(QUICK, stall_timeout_s=0.05, max_stuck=2)
    with (
        opened(Opener(*hanging), policy) as source,
        pytest.raises(SourceError, match=r"hangs in its driver: 3 calls.*replug"),
    ):
        source.read()
    for each in hanging:
        each.let_go.set()


def test_another_size_after_a_reconnect_is_an_event() -> None:
    events = EventLog()
    with opened(
        Opener(FaultySource([HW, GONE]), FaultySource([(20, 30)])), events=events
    ) as source:
        assert next_frame(source).hw == HW
        assert next_frame(source).hw == (20, 30)
        assert source.health.size_changes == 1
    changed = events.recent()[-1]
    assert changed.kind == "source.size_changed"
    assert "30x20 px instead of 64x48" in changed.message


def test_damaged_frames_are_counted_over_connections_and_said_once() -> None:
    events = EventLog()
    may_go_on = threading.Event()
    script = ["corrupt", HW, may_go_on.wait, "corrupt", "corrupt", HW, GONE]
    with opened(Opener(FaultySource(script), FaultySource(["corrupt", HW])), events=events) as s:
        next_frame(s)
        may_go_on.set()
        next_frame(s)
        next_frame(s)
        assert s.corrupt_frames == 4
    assert kinds(events).count("source.corrupt") == 1


def test_only_the_newest_frame_is_kept_and_drops_are_counted() -> None:
    first_taken, all_read = threading.Event(), threading.Event()

    def wait() -> None:
        first_taken.wait(PATIENCE_S)

    script: list[object] = [HW, wait, *[HW] * 9, all_read.set]
    with opened(Opener(FaultySource(script))) as source:
        assert next_frame(source).index == 0
        first_taken.set()
        assert all_read.wait(PATIENCE_S)
        assert next_frame(source).index == 9
        assert source.drops == 8


def test_closing_ends_a_wait_for_a_source_that_is_away() -> None:
    source = opened(Opener(), ReconnectPolicy(first_delay_s=30.0, longest_delay_s=30.0))
    got: list[Frame | None] = []
    reader = threading.Thread(target=lambda: got.append(source.read()))
    reader.start()
    wait_until(lambda: source.health.open_failures == 1)
    source.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert got == [None]
    assert source.health.state == "ended"
    source.close()


def test_no_thread_is_left() -> None:
    with opened(Opener(FaultySource([HW, GONE]), FaultySource([HW]))) as source:
        next_frame(source)
        next_frame(source)
    wait_until(lambda: not [name for name in stream_threads() if "source" in name])


@contextmanager
def no_collector() -> Iterator[None]:
    """What is in a circle stays, as it does for thousands of frames of a stream."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_what_was_lost_or_never_opened_is_let_go_without_the_collector() -> None:
    tried: list[weakref.ref[FaultySource]] = []

    def lose() -> None:
        raise SourceError("camera:0 stopped delivering frames", "check its cable")

    def open_() -> FaultySource:
        opening = FaultySource([HW, lose])
        tried.append(weakref.ref(opening))
        if len(tried) in (2, 3):
            raise SourceError("camera:0 is not there", "plug it in")
        return opening

    with no_collector():
        with ReconnectingSource(open_, "camera:0", QUICK) as source:
            for _ in range(3):
                next_frame(source)
        wait_until(lambda: not stream_threads(), "the threads to end")
        assert [each() is None for each in tried[:-1]] == [True] * 4


def test_it_gives_up_after_the_time_allowed() -> None:
    policy = replace(QUICK, give_up_after_s=0.1)
    with opened(Opener(FaultySource([HW, GONE])), policy) as source:
        next_frame(source)
        with pytest.raises(SourceError, match="stayed away") as caught:
            source.read()
    assert "camera:0 is not there" in str(caught.value)


def test_a_failure_that_nobody_foresaw_is_a_loss_like_any_other() -> None:
    script: list[object] = [HW, RuntimeError("a driver's own")]
    opener = Opener(FaultySource(script), RuntimeError("at opening"), FaultySource([HW]))
    events = EventLog()
    with opened(opener, events=events) as source:
        next_frame(source)
        next_frame(source)
    assert kinds(events) == ["source.lost", "source.recovered"]
    assert "a driver's own" in events.recent()[0].message


def test_a_source_that_was_waited_for_has_not_reconnected() -> None:
    refusal = SourceError("camera:0 is not there", "plug it in")
    with opened(Opener(refusal, FaultySource([HW]))) as source:
        next_frame(source)
        assert source.health.reconnects == 0
        assert source.health.open_failures == 1


def test_a_camera_that_flaps_is_tried_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [0.0]
    sources = [FaultySource([HW, GONE]) for _ in range(6)]
    policy = ReconnectPolicy(first_delay_s=0.01, longest_delay_s=0.04)
    source = ReconnectingSource(Opener(*sources), "camera:0", policy, clock=lambda: now_s[0])
    waits: list[float] = []

    def wait(timeout: float | None = None) -> bool:
        waits.append(timeout or 0.0)
        return False

    monkeypatch.setattr(source._closed, "wait", wait)
    for _ in range(5):
        next_frame(source)
    source.close()
    assert waits == [0.01, 0.02, 0.04, 0.04]


def test_frames_before_anybody_reads_are_not_dropped() -> None:
    all_read = threading.Event()
    opener = Opener(FaultySource([HW, HW, HW, all_read.set]))
    with open_live_source("camera:0", policy=QUICK, open_=opener) as source:
        assert isinstance(source, ReconnectingSource)
        assert not all_read.wait(0.2)
        assert source.drops == 0
        next_frame(source)


def test_a_wrong_option_is_not_tried_again() -> None:
    opener = Opener(ConfigError("pixel format is XYZW", "give MJPG"))
    with opened(opener) as source, pytest.raises(ConfigError, match="XYZW"):
        source.read()
    assert opener.attempts == 1


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 10.0), (10**6, 10.0)]
)
def test_waits_double_up_to_a_limit(failures: int, delay_s: float) -> None:
    assert ReconnectPolicy().delay_s(failures) == delay_s


@pytest.mark.parametrize(
    "name", ["open_timeout_s", "stall_timeout_s", "first_delay_s", "longest_delay_s"]
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), 1e9])
def test_waits_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` is {value}; give a number above 0"):
        replace(ReconnectPolicy(), **{name: value})  # type: ignore[arg-type]


class TestOpenLasting:
    def test_a_live_source_that_is_not_there_is_an_error_at_once(self) -> None:
        opener = Opener()
        with pytest.raises(SourceError, match="not there"):
            open_live_source("camera:0", policy=QUICK, open_=opener)
        assert opener.attempts == 1

    def test_unless_it_is_waited_for(self) -> None:
        refusal = SourceError("camera:0 is not there", "plug it in")
        opener = Opener(refusal, refusal, FaultySource([HW]))
        policy = replace(QUICK, wait_for_first=True)
        with open_live_source("camera:0", policy=policy, open_=opener) as source:
            assert next_frame(source).index == 0

    def test_one_that_does_not_answer(self) -> None:
        let_go = threading.Event()

        def hang() -> FaultySource:
            let_go.wait(PATIENCE_S)
            return FaultySource([])

        with pytest.raises(SourceError, match=r"1 s.*`wait`"):
            open_live_source("camera:0", policy=IMPATIENT, open_=Opener(hang))
        let_go.set()

    def test_one_that_is_slow_to_open_is_not_waited_for_when_it_must_stop(self) -> None:
        stop, let_go = threading.Event(), threading.Event()

        def hang() -> FaultySource:
            stop.set()
            let_go.wait(PATIENCE_S)
            return FaultySource([])

        policy = ReconnectPolicy(open_timeout_s=600.0)
        with open_live_source("camera:0", policy=policy, open_=Opener(hang), stop=stop) as source:
            assert isinstance(source, ReconnectingSource)
        let_go.set()

    def test_the_first_connection_is_used(self) -> None:
        opener = Opener(FaultySource([HW, HW]))
        with open_live_source("camera:0", policy=QUICK, open_=opener) as source:
            next_frame(source)
        assert opener.attempts == 1

    def test_a_recording_that_a_web_server_delivers_is_not_wrapped(self) -> None:
        recording = FaultySource([HW])
        recording.live = False
        source = open_live_source("http://127.0.0.1/a.mp4", policy=QUICK, open_=Opener(recording))
        assert source is recording
        assert not recording.closed.is_set()

    def test_files_are_opened_as_they_are(self) -> None:
        with open_live_source("demo?frames=1") as source:
            assert not isinstance(source, ReconnectingSource)

"""The whole pipeline on live sources: outages, old results, pauses, failing outputs, overload."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.runtime.detector import CrackDetector, open_detector
from edgecrack.runtime.frame import Frame, FrameResult, Position
from edgecrack.runtime.outputs.sinks import PassiveSink
from edgecrack.runtime.pipeline import delivery
from edgecrack.runtime.pipeline.config import StreamControls
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask
from edgecrack.runtime.pipeline.inspection import Effort
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.sources.reconnecting import ReconnectingSource, ReconnectPolicy
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import StreamStats, StreamSummary
from tests.runtime.fakes import (
    HW,
    BrightDetector,
    Image,
    ListSink,
    ScriptedSource,
    frame,
    picture,
    stream_threads,
)
from tests.runtime.models import IdentityRunner
from tests.runtime.sources.live_fakes import FaultySource, Opener
from tests.waiting import PATIENCE_S, wait_until

QUICK = ReconnectPolicy(
    open_timeout_s=PATIENCE_S, stall_timeout_s=PATIENCE_S, first_delay_s=0.01, longest_delay_s=0.05
)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    wait_until(lambda: not stream_threads(), "the end of all threads")


class LiveScript(ScriptedSource):
    """A live source whose frames are as old as `age_ms(index)` says when they arrive."""

    def __init__(
        self,
        count: int,
        age_ms: Callable[[int], float] = lambda index: 0.0,
        before_read: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(count, live=True, before_read=before_read)
        self._age_ms = age_ms

    def read(self) -> Frame | None:
        taken = super().read()
        if taken is None:
            return None
        age_ns = int(self._age_ms(taken.index) * 1e6)
        return replace(taken, live=True, monotonic_ns=time.monotonic_ns() - age_ns)


class Turnstile:
    """Lets the source deliver the next frame only when the last was dealt with."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(1)

    def before_read(self, index: int) -> None:
        self._free.acquire(timeout=PATIENCE_S)

    def let_one(self) -> None:
        self._free.release()


def test_a_source_that_raises_on_the_fiftieth_frame_goes_on_with_the_next_connection() -> None:
    turnstile = Turnstile()
    gone = SourceError("camera:0 stopped delivering frames", "check its cable")

    def script(frames: int, *end: object) -> Iterator[object]:
        for _ in range(frames):
            yield lambda: turnstile.before_read(0)
            yield HW
        yield from end

    events, sink = EventLog(), ListSink(before_write=lambda number: turnstile.let_one())
    opener = Opener(FaultySource(script(49, gone)), FaultySource(script(20)))
    source = ReconnectingSource(opener, "camera:0", QUICK, events)
    summary = run_pipeline(
        source, BrightDetector(), [sink], PipelineConfig(max_frames=60, events=events)
    )
    assert sink.indices == list(range(60))
    assert (summary.stats.reconnects, summary.stats.drops) == (1, 0)
    assert events.counts() == {"source.lost": 1, "source.recovered": 1}
    assert opener.attempts == 2


def test_stopping_while_the_source_is_away_ends_at_once() -> None:
    stop = threading.Event()
    policy = ReconnectPolicy(first_delay_s=60.0, longest_delay_s=60.0)
    events = EventLog()
    events.subscribe(lambda event: stop.set() if event.kind == "source.lost" else None)
    source = ReconnectingSource(Opener(), "camera:0", policy, events)
    sink = ListSink()
    config = PipelineConfig(stop=stop, events=events)
    summary = run_pipeline(source, BrightDetector(), [sink], config)
    assert summary.end_reason == "stopped"
    assert summary.stats.open_failures == 1
    assert sink.closed == 1


def test_the_counters_tell_of_a_lost_source_while_it_is_lost() -> None:
    stop, stats = threading.Event(), StreamStats()
    gone = SourceError("camera:0 stopped", "check its cable")
    source = ReconnectingSource(Opener(FaultySource([HW, gone])), "camera:0", QUICK)
    config = PipelineConfig(stop=stop, stats=stats)
    runner = threading.Thread(
        target=lambda: run_pipeline(source, BrightDetector(), [ListSink()], config)
    )
    runner.start()
    wait_until(lambda: stats.snapshot().source_state == "lost", "the loss")
    stop.set()
    runner.join(PATIENCE_S)
    assert not runner.is_alive()


class TestAge:
    def test_a_frame_that_is_old_when_it_comes_is_not_inspected(self) -> None:
        turnstile = Turnstile()
        inferred: list[int] = []
        source = LiveScript(10, lambda index: 1e7 if index % 2 else 0.0, turnstile.before_read)
        events = EventLog()
        sink = ListSink(before_write=lambda number: turnstile.let_one())
        # Old ones never reach the sink, so they let the next one through themselves.
        stats = _Noticing(turnstile.let_one)
        config = PipelineConfig(max_age_ms=1e6, events=events, stats=stats)
        summary = run_pipeline(source, BrightDetector(inferred.append), [sink], config)
        assert sink.indices == [0, 2, 4, 6, 8]
        assert len(inferred) == 5
        assert summary.stats.stale == 5
        assert events.counts() == {"result.stale": 1}

    def test_one_that_grows_old_in_the_network_is_not_published(self) -> None:
        source = LiveScript(3)
        sink = ListSink()
        detector = BrightDetector(lambda number: time.sleep(0.12))
        summary = run_pipeline(source, detector, [sink], PipelineConfig(max_age_ms=100))
        assert sink.results == []
        assert summary.stats.stale >= 1
        assert summary.stats.frames == 0

    def test_one_that_grows_old_before_a_slow_output_is_not_given_to_the_next(self) -> None:
        class Ageing(ListSink):
            """Takes so long that a frame is older by an hour afterwards."""

            def write(self, result: FrameResult) -> None:
                super().write(result)
                taken_ns = result.frame.monotonic_ns - 3600 * 10**9
                object.__setattr__(result.frame, "monotonic_ns", taken_ns)

        slow, late = Ageing(), ListSink()
        summary = run_pipeline(
            LiveScript(1), BrightDetector(), [slow, late], PipelineConfig(max_age_ms=1e6)
        )
        assert len(slow.results) == 1
        assert late.results == []
        assert summary.stats.stale == 1

    @pytest.mark.parametrize(
        "config", [PipelineConfig(max_age_ms=100), PipelineConfig(target_fps=5)]
    )
    def test_a_recording_has_no_age_and_no_rate(self, config: PipelineConfig) -> None:
        with pytest.raises(ConfigError, match="the source is a recording"):
            run_pipeline(ScriptedSource(3), BrightDetector(), [ListSink()], config)


class _Noticing(StreamStats):
    def __init__(self, on_stale: Callable[[], None]) -> None:
        super().__init__()
        self._on_stale = on_stale

    def add_stale(self) -> None:
        super().add_stale()
        self._on_stale()


class TestControls:
    def test_the_threshold_can_change_while_it_runs(self) -> None:
        controls = StreamControls(0.5)
        sink = ListSink()

        def raise_it(number: int) -> None:
            if number == 3:
                controls.set_threshold(0.99)  # the bright bar is 250 of 255

        config = PipelineConfig(controls=controls, min_area_px=4)
        run_pipeline(ScriptedSource(6), BrightDetector(raise_it), [sink], config)
        found = [(result.threshold, result.crack_pixels > 0) for result in sink.results]
        assert found == [(0.5, True)] * 4 + [(0.99, False)] * 2

    def test_a_paused_recording_waits_and_loses_nothing(self) -> None:
        controls = StreamControls(0.5)
        controls.pause()
        sink = ListSink()
        written_while_paused: list[int] = []

        def beat() -> None:
            if controls.paused:
                written_while_paused.append(len(sink.results))
                if len(written_while_paused) == 5:
                    controls.resume()

        config = PipelineConfig(controls=controls, heartbeat=beat)
        run_pipeline(ScriptedSource(20), BrightDetector(), [sink], config)
        assert written_while_paused == [0] * 5
        assert sink.indices == list(range(20))

    def test_a_paused_live_source_goes_by(self) -> None:
        controls, stop = StreamControls(0.5), threading.Event()
        controls.pause()
        source = LiveScript(10, before_read=lambda index: time.sleep(0.005))
        config = PipelineConfig(controls=controls, stop=stop)
        summary = run_pipeline(source, BrightDetector(), [ListSink()], config)
        assert summary.stats.frames == 0
        assert summary.stats.skipped + summary.stats.drops == 10
        assert summary.stats.paused


class TestOutputs:
    def test_a_live_stream_goes_on_without_an_output_that_fails_and_says_so(self) -> None:
        turnstile, events = Turnstile(), EventLog()
        source = LiveScript(8, before_read=turnstile.before_read)
        failing = ListSink(fail_at=2)
        sound = ListSink(before_write=lambda number: turnstile.let_one())
        with pytest.raises(OutputError, match="disk full"):
            run_pipeline(source, BrightDetector(), [failing, sound], PipelineConfig(events=events))
        assert sound.indices == list(range(8))
        assert len(failing.results) == 2
        assert (failing.closed, sound.closed) == (1, 1)
        assert events.counts() == {"output.failed": 1}

    def test_whatever_an_output_fails_with(self) -> None:
        turnstile = Turnstile()
        failing = ListSink(fail_at=0, error=ZeroDivisionError("a defect"))
        sound = ListSink(before_write=lambda number: turnstile.let_one())
        source = LiveScript(3, before_read=turnstile.before_read)
        with pytest.raises(OutputError, match="a defect"):
            run_pipeline(source, BrightDetector(), [failing, sound])
        assert sound.indices == [0, 1, 2]

    def test_but_not_for_outputs_that_keep_nothing(self) -> None:
        class Passive(ListSink, PassiveSink):
            pass

        with pytest.raises(OutputError, match="disk full"):
            run_pipeline(
                LiveScript(50, before_read=lambda index: time.sleep(0.01)),
                BrightDetector(),
                [Passive(), ListSink(fail_at=0)],
            )

    def test_a_slow_output_holds_up_neither_the_network_nor_the_end(self) -> None:
        events, stop, inferred = EventLog(), threading.Event(), threading.Event()
        let_go = threading.Event()

        def count(number: int) -> None:
            if number == 20:
                inferred.set()

        def wait(number: int) -> None:
            let_go.wait(PATIENCE_S)

        stuck = ListSink(before_write=wait)
        source = LiveScript(10_000, before_read=lambda index: time.sleep(0.005))
        ended: list[Exception] = []

        def run() -> None:
            try:
                config = PipelineConfig(stop=stop, events=events)
                run_pipeline(source, BrightDetector(count), [stuck], config)
            except OutputError as error:
                ended.append(error)

        runner = threading.Thread(target=run)
        runner.start()
        assert inferred.wait(PATIENCE_S), "the network waited for the output"
        stop.set()
        runner.join(PATIENCE_S)
        assert not runner.is_alive()
        let_go.set()
        assert "took nothing" in str(ended[0])
        assert events.counts()["output.behind"] >= 1

    def test_outputs_too_slow_for_a_stop_are_closed_whole(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delivery, "_LAST_CHANCE_S", PATIENCE_S)
        stop = threading.Event()
        slow = ListSink(before_write=lambda number: time.sleep(0.6))
        source = ScriptedSource(8, before_read=lambda index: stop.set() if index == 7 else None)
        summary = run_pipeline(source, BrightDetector(), [slow], PipelineConfig(stop=stop))
        assert summary.end_reason == "stopped"
        assert slow.closed == 1

    def test_a_recording_ends_at_once(self) -> None:
        with pytest.raises(OutputError, match="disk full"):
            run_pipeline(ScriptedSource(50), BrightDetector(), [ListSink(fail_at=2), ListSink()])


def test_a_network_that_hangs_is_said_once_and_so_is_its_return() -> None:
    events, said = EventLog(), threading.Event()
    events.subscribe(lambda event: said.set() if event.kind == "network.hangs" else None)

    def hang_until_it_is_said(number: int) -> None:
        if number == 1:
            assert said.wait(PATIENCE_S)
            time.sleep(0.5)  # in which it could be said again

    config = PipelineConfig(events=events, hang_timeout_s=1.0)
    run_pipeline(ScriptedSource(3), BrightDetector(hang_until_it_is_said), [ListSink()], config)
    assert events.counts()["network.hangs"] == 1


def test_a_stop_that_a_hanging_network_would_swallow() -> None:
    stop, let_go = threading.Event(), threading.Event()
    abandoned: list[StreamSummary] = []

    def hang(number: int) -> None:
        if number == 0:
            stop.set()
            let_go.wait(PATIENCE_S)

    def leave(summary: StreamSummary) -> None:
        abandoned.append(summary)
        let_go.set()  # where the program would end the process

    sink = ListSink()
    config = PipelineConfig(stop=stop, abandon=leave)
    with suppress(OutputError):
        run_pipeline(LiveScript(5), BrightDetector(hang), [sink], config)
    (summary,) = abandoned
    assert summary.end_reason == "stopped"
    assert sink.closed >= 1


def test_the_heart_beats_while_the_source_is_silent() -> None:
    beats, stop = [], threading.Event()

    def beat() -> None:
        beats.append(time.monotonic())
        if len(beats) == 12:
            stop.set()

    source = ReconnectingSource(Opener(FaultySource([])), "camera:0", ReconnectPolicy())
    run_pipeline(source, BrightDetector(), [ListSink()], PipelineConfig(stop=stop, heartbeat=beat))
    assert len(beats) == 12


def test_results_know_where_the_robot_was() -> None:
    class Rails:
        """One metre per nanosecond."""

        def locate(self, time_ns: int) -> Position | None:
            return Position(time_ns, distance_m=float(time_ns - frame(0).stamp_ns))

        def close(self) -> None:
            pass

    sink = ListSink()
    run_pipeline(ScriptedSource(4), BrightDetector(), [sink], PipelineConfig(positions=Rails()))
    places = [result.position.distance_m for result in sink.results if result.position]
    assert places == [0.0, 1.0, 2.0, 3.0]


class TestTargetRate:
    def test_frames_above_it_are_skipped(self) -> None:
        class At100Hz(LiveScript):
            """By the frames' times, whatever the machine's clock says."""

            def read(self) -> Frame | None:
                taken = super().read()
                return taken and replace(taken, monotonic_ns=taken.index * 10**7)

        summary = run_pipeline(
            At100Hz(100), BrightDetector(), [ListSink()], PipelineConfig(target_fps=20)
        )
        assert summary.stats.skipped == 80
        assert summary.stats.frames + summary.stats.drops == 20

    def test_a_network_too_slow_for_it_sees_less_of_each_frame_and_says_so(self) -> None:
        class Slow(BrightDetector):
            """10 ms a tile, 8 tiles, no gain from less overlap."""

            def tiles_of(self, frame_hw: tuple[int, int], effort: Effort) -> float:
                return 8 / effort.share

            def infer_some(self, prepared: Image, effort: Effort, turn: int) -> tuple[Image, float]:
                time.sleep(0.08 / effort.share)
                return self.infer(prepared), 1 / effort.share

        events, sink = EventLog(), ListSink()
        source = LiveScript(10_000, before_read=lambda index: time.sleep(0.005))
        config = PipelineConfig(target_fps=20, events=events, max_frames=14)
        summary = run_pipeline(source, Slow(), [sink], config)
        assert summary.stats.shedding == "every second tile"
        assert sink.results[0].inspected_ratio == 1
        assert sink.results[-1].inspected_ratio <= 0.5
        assert events.recent()[0].kind == "overload.shedding"


class TestDetectorByHalves:
    def test_two_turns_see_the_whole_frame_as_one_does(self) -> None:
        rng = np.random.default_rng(3)
        image = np.asarray(rng.integers(0, 255, (400, 700, 3)), np.uint8)
        with open_detector(threads=1) as detector:
            prepared = detector.prepare(image)
            whole, ratio = detector.infer_some(prepared, Effort(), 0)
            assert ratio == 1
            assert np.array_equal(whole, detector.infer(prepared))
            halves = [detector.infer_some(prepared, Effort(None, 2), turn) for turn in (0, 1)]
        seen = [half[1] for half in halves]
        assert sum(seen) > 1  # overlaps are seen twice
        assert max(seen) < 0.75
        # Where only one half looked, it says what the whole says, up to blending at the borders.
        joined = np.maximum(halves[0][0], halves[1][0])
        assert np.abs(joined.astype(int) - whole).mean() < 12

    @pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
    def test_a_small_frame_is_one_tile_of_each_size_whatever_the_effort(
        self, scales: tuple[float, ...]
    ) -> None:
        with open_detector(scales=scales, threads=1) as detector:
            prepared = detector.prepare(picture())
            assert detector.tiles_of(HW, Effort(0, 4)) == len(scales)
            for turn in range(3):
                found, ratio = detector.infer_some(prepared, Effort(0, 4), turn)
                assert ratio == 1
                assert np.array_equal(found, detector.infer(prepared))


class TestIgnoring:
    def test_a_camera_that_comes_back_in_another_shape_is_inspected_whole(self) -> None:
        """Nothing that should be inspected is left out, and it is told once."""
        turnstile = Turnstile()
        gone = SourceError("camera:0 stopped delivering frames", "check its cable")

        def script(hw: tuple[int, int], *end: object) -> Iterator[object]:
            for _ in range(3):
                yield lambda: turnstile.before_read(0)
                yield hw
            yield from end

        drawn = np.zeros((96, 128), np.bool_)
        drawn[:48] = True
        events, sink = EventLog(), ListSink(before_write=lambda number: turnstile.let_one())
        sources = [
            FaultySource(script(HW, gone)), FaultySource(script((48, 48), gone)),
            FaultySource(script((24, 32)))
        ]  # fmt: skip
        source = ReconnectingSource(Opener(*sources), "camera:0", QUICK, events)
        mask = IgnoreMask("arm.png", (96, 128), drawn)
        config = PipelineConfig(ignore=mask, max_frames=9, events=events)
        run_pipeline(source, BrightDetector(), [sink], config)
        ratios = [result.ignored_ratio for result in sink.results]
        assert ratios == [0.5] * 3 + [0.0] * 3 + [0.5] * 3
        counts = events.counts()
        assert (counts["ignore.misfit"], counts["ignore.fits"]) == (1, 1)

    def test_overload_counts_what_is_ignored_apart(self) -> None:
        drawn = np.zeros((128, 192), np.bool_)
        drawn[64:] = True
        detector = CrackDetector(IdentityRunner((64, 64)), "identity", overlap_px=0)
        sink = ListSink()

        class Larger(LiveScript):
            def read(self) -> Frame | None:
                taken = super().read()
                return taken and replace(taken, image=picture(taken.index, (128, 192)))

        source = Larger(10_000)
        config = PipelineConfig(
            ignore=IgnoreMask("arm.png", (128, 192), drawn), target_fps=1000, max_frames=40
        )
        run_pipeline(source, detector, [sink], config)
        for result in sink.results:
            assert result.ignored_ratio == 0.5
            assert result.inspected_ratio + result.missed_ratio == pytest.approx(0.5)
            assert result.inspected_ratio > 0

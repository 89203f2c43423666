from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.runtime.outputs.sinks import open_sinks
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import StatsSnapshot, StreamSummary
from tests.runtime.fakes import (
    HW,
    BrightDetector,
    Image,
    ListSink,
    ScriptedSource,
    picture,
    read_video,
    stream_threads,
    write_video,
)
from tests.waiting import PATIENCE_S, wait_until


def wait_for(event: threading.Event) -> None:
    assert event.wait(PATIENCE_S)


def wait_for_threads() -> None:
    wait_until(lambda: not stream_threads(), "the end of all threads")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert stream_threads() == []


def test_a_recording_is_processed_whole_and_in_order() -> None:
    source, sink = ScriptedSource(30, frame_count=30), ListSink()
    summary = run_pipeline(source, BrightDetector(), [sink], PipelineConfig(min_area_px=4))
    assert sink.indices == list(range(30))
    assert sink.closed == 1
    assert (summary.end_reason, summary.error, summary.truncated) == ("end of source", None, False)
    assert (summary.stats.frames, summary.frames_read, summary.stats.drops) == (30, 30, 0)
    assert summary.stats.frames_with_cracks == 30
    assert summary.stats.crack_pixels_total == sum(r.crack_pixels for r in sink.results)
    for result in sink.results:
        expected = np.where(result.frame.image[:, :, 0] > 128, 255, 0)
        assert np.array_equal(result.mask, expected)
        assert result.latency_ms >= result.inference_ms >= 0
        assert result.crack_pixels == int((expected > 0).sum())


def test_a_slow_detector_on_a_recording_drops_nothing_and_reads_only_a_little_ahead() -> None:
    source, sink = ScriptedSource(40), ListSink()
    ahead: list[int] = []

    def before_infer(number: int) -> None:
        time.sleep(0.003)
        ahead.append(source.delivered - number)

    config = PipelineConfig(queue_size=3)
    summary = run_pipeline(source, BrightDetector(before_infer), [sink], config)
    assert sink.indices == list(range(40))
    assert summary.stats.drops == 0
    assert max(ahead) <= 2 * config.queue_size + 3


@pytest.mark.parametrize("slow", ["prepare", "infer"])
def test_a_live_source_keeps_the_newest_frame_and_counts_the_drops(slow: str) -> None:
    source, sink = ScriptedSource(50, live=True), ListSink()
    detector = BrightDetector()
    fast = getattr(detector, slow)

    def lasts_until_the_camera_has_delivered_everything(image: Image) -> Image:
        wait_for(source.exhausted)
        found: Image = fast(image)
        return found

    setattr(detector, slow, lasts_until_the_camera_has_delivered_everything)
    summary = run_pipeline(source, detector, [sink])
    assert sink.indices == sorted(sink.indices)
    assert sink.indices[-1] == 49
    assert len(sink.indices) <= 4
    assert summary.frames_read == 50
    assert summary.stats.drops + len(sink.indices) == 50


def test_a_live_source_has_bounded_latency() -> None:
    """However long it runs: a backlog would grow by four frames with each inference."""
    may_read = threading.Semaphore(0)
    source, sink = (
        ScriptedSource(80, live=True, before_read=lambda index: wait_for_turn()),
        ListSink(),
    )
    at_hand: list[int] = []

    def wait_for_turn() -> None:
        assert may_read.acquire(timeout=PATIENCE_S)

    def lasts_for_five_frames(number: int) -> None:
        wait_until(lambda: len(sink.results) == number, "the result before")
        at_hand.append(source.delivered)
        may_read.release(5 if number < 13 else 80)
        wanted = source.delivered + 5
        wait_until(lambda: source.delivered >= wanted, f"frame {wanted}")

    may_read.release()
    config = PipelineConfig(max_frames=14)
    run_pipeline(source, BrightDetector(lasts_for_five_frames), [sink], config)
    ages = [delivered - index for delivered, index in zip(at_hand, sink.indices, strict=True)]
    assert max(ages) <= 10
    assert sink.indices[-1] >= 50


def test_an_error_in_mid_stream_arrives_without_any_timeout_and_the_next_run_works() -> None:
    def fail_at_five(index: int) -> None:
        if index == 5:
            raise SourceError("the cable was pulled", "plug it in")

    sink, an_hour_s = ListSink(), 3600.0
    config = PipelineConfig(
        stall_timeout_s=an_hour_s, drain_timeout_s=an_hour_s, join_timeout_s=an_hour_s
    )
    started_s = time.monotonic()
    with pytest.raises(SourceError, match="cable"):
        run_pipeline(ScriptedSource(90, before_read=fail_at_five), BrightDetector(), [sink], config)
    assert time.monotonic() - started_s < PATIENCE_S
    assert sink.indices == [0, 1, 2, 3, 4]
    assert sink.closed == 1
    assert stream_threads() == []
    again = ListSink()
    run_pipeline(ScriptedSource(7), BrightDetector(), [again])
    assert again.indices == list(range(7))


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("stage", ["read", "prepare", "infer", "write", "close", "progress"])
def test_a_defect_in_any_stage_is_raised_and_the_sinks_are_closed(stage: str, live: bool) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError(stage)

    source, detector, sink, config = ScriptedSource(20, live), BrightDetector(), ListSink(), None
    if stage == "read":
        source = ScriptedSource(20, live, before_read=fail)
    elif stage == "prepare":
        detector.prepare = fail  # type: ignore[assignment]
    elif stage == "infer":
        detector.infer = fail  # type: ignore[assignment]
    elif stage == "write":
        sink = ListSink(before_write=fail)
    elif stage == "close":
        sink.close = fail  # type: ignore[method-assign]
    else:
        config = PipelineConfig(on_progress=fail)
    last = ListSink()
    # A live stream first goes on without the output, and tells of it at the end.
    expected = OutputError if stage == "write" and live else ZeroDivisionError
    with pytest.raises(expected, match=stage):
        run_pipeline(source, detector, [sink, last], config)
    assert last.closed == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OutputError("cannot write list.txt: disk full", "free some space"), "list.txt: disk full"),
        (OSError(28, "No space left on device", "list.txt"), "No space left"),
        (cv2.error("strange"), "strange"),
    ],
)
def test_a_failing_sink_is_named_and_all_sinks_are_closed(error: Exception, said: str) -> None:
    failing, other = ListSink(fail_at=2, error=error), ListSink()
    with pytest.raises(OutputError) as caught:
        run_pipeline(ScriptedSource(1000), BrightDetector(), [other, failing])
    assert caught.value.problem.startswith("the list output failed at frame 000002")
    assert said in caught.value.problem
    assert failing.indices == [0, 1]
    assert (failing.closed, other.closed) == (1, 1)


def test_a_sink_that_fails_while_the_camera_is_silent_is_noticed() -> None:
    release = threading.Event()

    def silent_after_three(index: int) -> None:
        if index == 3:
            wait_for(release)

    source = ScriptedSource(4, live=True, before_read=silent_after_three)
    with pytest.raises(OutputError, match="list output failed"):
        run_pipeline(
            source, BrightDetector(), [ListSink(fail_at=0)], PipelineConfig(join_timeout_s=0.1)
        )
    assert source.delivered == 3
    release.set()
    wait_for_threads()


def test_an_unfinished_output_is_an_error() -> None:
    sink = ListSink()

    def close() -> None:
        raise OutputError("cannot write overlay.mp4: disk full", "free some space")

    sink.close = close  # type: ignore[method-assign]
    with pytest.raises(OutputError, match=r"list output is not whole: cannot write overlay\.mp4"):
        run_pipeline(ScriptedSource(5), BrightDetector(), [sink])


def test_outputs_that_hang_are_an_error() -> None:
    release = threading.Event()
    sink = ListSink(before_write=lambda number: wait_for(release))
    config = PipelineConfig(queue_size=1, drain_timeout_s=0.2)
    try:
        with pytest.raises(OutputError, match="took nothing"):
            run_pipeline(ScriptedSource(50), BrightDetector(), [sink], config)
        assert sink.closed == 0  # it is still being written to
    finally:
        release.set()
        wait_for_threads()


def test_a_live_source_that_hangs_is_an_error() -> None:
    release = threading.Event()

    def hang(index: int) -> None:
        if index == 2:
            wait_for(release)

    source = ScriptedSource(4, live=True, before_read=hang)
    config = PipelineConfig(stall_timeout_s=0.3, join_timeout_s=0.1)
    with pytest.raises(SourceError, match="no frame for"):
        run_pipeline(source, BrightDetector(), [], config)
    release.set()
    wait_for_threads()


def test_max_frames_counts_processed_frames() -> None:
    sink = ListSink()
    summary = run_pipeline(
        ScriptedSource(100, frame_count=100), BrightDetector(), [sink], PipelineConfig(max_frames=7)
    )
    assert sink.indices == list(range(7))
    assert (summary.end_reason, summary.truncated) == ("max frames", False)


def test_stop_finishes_the_frame_in_flight_and_leaves_a_playable_overlay(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wall.mp4", [picture(index) for index in range(60)])
    stop = threading.Event()
    detector = BrightDetector(lambda number: stop.set() if number == 9 else None)
    out = tmp_path / "out"
    told: list[StreamSummary] = []
    config = PipelineConfig(stop=stop, on_summary=told.append)
    with open_source(path) as source:
        sinks = open_sinks(["overlay", "mask", "jsonl"], out, source.frame_rate_hz)
        summary = run_pipeline(source, detector, sinks, config)
    assert (summary.end_reason, summary.stats.frames) == ("stopped", 10)
    assert len(read_video(out / "overlay.mp4")) == 10
    assert len(list((out / "masks").glob("*.png"))) == 10
    assert len((out / "frames.jsonl").read_text().splitlines()) == 10
    assert told == [summary]
    saved = json.loads(json.dumps(summary.to_dict()))
    assert (saved["end_reason"], saved["frames"], saved["model"]) == ("stopped", 10, "bright")


def test_ctrl_c_keeps_what_was_found() -> None:
    def interrupt(number: int) -> None:
        if number == 4:
            raise KeyboardInterrupt

    sink, told = ListSink(), list[StreamSummary]()
    config = PipelineConfig(on_summary=told.append)
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(ScriptedSource(50), BrightDetector(interrupt), [sink], config)
    assert sink.indices == [0, 1, 2, 3]
    assert sink.closed == 1
    assert [summary.end_reason for summary in told] == ["stopped"]


def test_a_failed_run_says_so_in_its_summary() -> None:
    def fail(index: int) -> None:
        if index == 3:
            raise SourceError("the cable was pulled", "plug it in")

    told: list[StreamSummary] = []
    with pytest.raises(SourceError):
        run_pipeline(
            ScriptedSource(9, before_read=fail),
            BrightDetector(),
            [],
            PipelineConfig(on_summary=told.append),
        )
    (summary,) = told
    assert summary.end_reason == "failed"
    assert summary.error == "the cable was pulled; plug it in."
    assert summary.stats.frames == 3


def test_a_summary_that_cannot_be_kept_is_a_failure_of_the_run() -> None:
    def fail(summary: StreamSummary) -> None:
        raise OutputError("cannot write summary.json", "free some space")

    with pytest.raises(OutputError, match="free some space"):
        run_pipeline(ScriptedSource(2), BrightDetector(), [], PipelineConfig(on_summary=fail))


def test_a_recording_cut_short_is_reported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images: list[Image] = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    path = write_video(tmp_path / "wall.avi", images, "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_source(path) as source:
        summary = run_pipeline(source, BrightDetector(), [ListSink()])
    assert summary.truncated
    assert summary.frames_expected is None  # an AVI's count is no promise
    assert summary.frames_read == summary.stats.frames < 25


def test_a_damaged_image_in_a_folder_is_named_and_the_others_are_inspected(
    tmp_path: Path,
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"wall{index}.png"), picture(index))
    damaged = folder / "wall2.png"
    damaged.write_bytes(damaged.read_bytes()[:90])
    events = EventLog()
    with open_source(folder) as source:
        sinks = open_sinks(["mask"], out)
        summary = run_pipeline(source, BrightDetector(), sinks, PipelineConfig(events=events))
    assert summary.unreadable == 1
    assert [Path(str(one.data["path"])) for one in events.recent()] == [damaged]
    assert sorted(path.name for path in (out / "masks").iterdir()) == [
        "wall0.png", "wall1.png", "wall3.png",
    ]  # fmt: skip


def test_progress_is_shown_at_the_end_at_least() -> None:
    seen: list[StatsSnapshot] = []
    summary = run_pipeline(
        ScriptedSource(5), BrightDetector(), [], PipelineConfig(on_progress=seen.append)
    )
    assert seen[-1] == summary.stats
    assert seen[-1].frames == 5


def test_a_detector_that_changes_the_size_is_refused() -> None:
    detector = BrightDetector()
    detector.infer = lambda prepared: prepared[1:]  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="keeps the frame's size"):
        run_pipeline(ScriptedSource(3), detector, [])


def test_a_wrong_threshold_is_refused_before_anything_starts() -> None:
    detector = BrightDetector()
    detector.threshold = 1.5
    source = ScriptedSource(3)
    with pytest.raises(ConfigError, match=r"1\.5"):
        run_pipeline(source, detector, [])
    assert source.delivered == 0


@pytest.mark.parametrize(
    ("field", "value"), [("max_frames", 0), ("min_area_px", -1), ("queue_size", 0)]
)
def test_a_configuration_out_of_range_is_refused(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}"):
        PipelineConfig(**{field: value})  # type: ignore[arg-type]


def left_half(hw: tuple[int, int] = HW) -> IgnoreMask:
    drawn = np.zeros(hw, np.bool_)
    drawn[:, : hw[1] // 2] = True
    return IgnoreMask("arm.png", hw, drawn)


def test_what_is_ignored_is_in_no_result_and_each_result_says_so() -> None:
    sink, events = ListSink(), EventLog()
    config = PipelineConfig(ignore=left_half((96, 128)), events=events)
    summary = run_pipeline(ScriptedSource(20), BrightDetector(), [sink], config)
    assert sink.indices == list(range(20))
    for result in sink.results:
        bright = (result.frame.image[..., 0] > 127) & (np.arange(HW[1]) >= HW[1] // 2)
        np.testing.assert_array_equal(result.probability > 127, bright)
        assert not result.mask[:, : HW[1] // 2].any()
        assert all(region.xyxy[0] >= HW[1] // 2 for region in result.regions)
        assert (result.ignored_ratio, result.inspected_ratio) == (0.5, 0.5)
        assert result.missed_ratio == 0
    stats = summary.to_dict()
    assert (stats["ignored_ratio"], stats["inspected_ratio"]) == (0.5, 0.5)
    assert not events.recent()


def test_an_empty_mask_changes_nothing_and_is_told() -> None:
    sink, events = ListSink(), EventLog()
    empty = IgnoreMask("black.png", HW, np.zeros(HW, np.bool_))
    run_pipeline(
        ScriptedSource(3), BrightDetector(), [sink], PipelineConfig(ignore=empty, events=events)
    )
    assert [result.ignored for result in sink.results] == [None] * 3
    assert [result.inspected_ratio for result in sink.results] == [1.0] * 3
    assert events.counts() == {"ignore.empty": 1}


def test_a_recording_that_the_mask_does_not_fit_is_an_error() -> None:
    sink = ListSink()
    with pytest.raises(ConfigError, match="to frame 000000 of 64x48 px, for the shapes differ"):
        run_pipeline(
            ScriptedSource(3), BrightDetector(), [sink], PipelineConfig(ignore=left_half((48, 48)))
        )
    assert not sink.results


def test_a_detector_that_can_leave_nothing_out_is_refused() -> None:
    class Plain:
        threshold = 0.5
        model_name = "plain"

        def prepare(self, image: Image) -> Image:
            return image[..., 0]

        def infer(self, prepared: Image) -> Image:
            return prepared

    with pytest.raises(ConfigError, match="plain cannot ignore a part of a frame"):
        run_pipeline(ScriptedSource(1), Plain(), [], PipelineConfig(ignore=left_half()))
    run_pipeline(ScriptedSource(1), Plain(), [])

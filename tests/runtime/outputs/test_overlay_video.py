from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgecrack.runtime.frame import Frame
from edgecrack.runtime.outputs import overlay
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.overlay import FrameTimes, OverlaySink
from edgecrack.runtime.outputs.video_writer import ENCODERS
from tests.runtime.fakes import frame, picture, read_video, result_of
from tests.runtime.videos import pictures, probe


def recorded(index: int, media_time_ms: float | None) -> Frame:
    return replace(frame(index), media_time_ms=media_time_ms)


def live(index: int, monotonic_ms: float) -> Frame:
    taken = replace(frame(index), media_time_ms=None, live=True)
    return replace(taken, monotonic_ns=5_000_000_000 + round(monotonic_ms * 1e6))


# Media times of frames of a recording, and when a video at 25 Hz shows them, both in ms.
RECORDED = {
    "a constant rate": ([0, 40, 80], [0, 40, 80]),
    "a beginning later than 0": ([700, 740], [0, 40]),
    "a variable rate": ([0, 33, 400, 401], [0, 33, 400, 401]),
    "frames left out": ([0, 40, 400], [0, 40, 400]),
    "ten seconds between two": ([0, 10_000], [0, 10_000]),
    "a longer gap is one interval": ([0, 10_001, 10_041], [0, 40, 80]),
    "played again from the beginning": ([0, 40, 80, 0, 40], [0, 40, 80, 120, 160]),
    "the same time twice": ([0, 40, 40, 80], [0, 40, 80, 120]),
    "no times, as of still images": ([None, None, None], [0, 40, 80]),
    "times that are missing": ([0, None, 50, 60], [0, 40, 80, 90]),
}


@pytest.mark.parametrize(("media_ms", "shown_ms"), RECORDED.values(), ids=list(RECORDED))
def test_frames_of_a_recording_keep_their_times(
    media_ms: list[float | None], shown_ms: list[float]
) -> None:
    times = FrameTimes(25.0)
    shown = [times.after_ns(recorded(index, time)) for index, time in enumerate(media_ms)]
    assert shown == [time * 1_000_000 for time in shown_ms]


def test_frames_of_a_camera_are_shown_at_the_pace_of_their_capture() -> None:
    times = FrameTimes(30.0)
    captured_ms = [0, 33.4, 66.1, 500, 9000, 60_000, 60_050]
    shown = [times.after_ns(live(index, time)) for index, time in enumerate(captured_ms)]
    # The outage of 51 s is one interval.
    after_ms = 9000 + 100 / 3
    expected_ms = [0, 33.4, 66.1, 500, 9000, after_ms, after_ms + 50]
    assert [time / 1e6 for time in shown] == pytest.approx(expected_ms)


def test_a_video_has_the_times_of_its_frames_and_each_file_begins_at_0(tmp_path: Path) -> None:
    sink = OverlaySink(OutputFolder(tmp_path), 25.0)
    for index, time_ms in enumerate([500, 540, 700, 1500]):
        hw = (48, 64) if index < 3 else (64, 48)
        shown = replace(frame(index, picture(index, hw)), media_time_ms=float(time_ms))
        sink.write(result_of(shown))
    sink.close()
    first, second = probe(tmp_path / "overlay.mp4"), probe(tmp_path / "overlay_2.mp4")
    assert first.times_s == pytest.approx([0, 0.04, 0.2])
    assert first.duration_s == pytest.approx(0.24)
    assert second.times_s == [0]
    assert second.duration_s == pytest.approx(0.04)


@pytest.mark.parametrize(("rate_hz", "step_s"), [(None, 0.1), (20.0, 0.05)])
def test_still_images_follow_at_the_constant_rate(
    rate_hz: float | None, step_s: float, tmp_path: Path
) -> None:
    sink = OverlaySink(OutputFolder(tmp_path), rate_hz)
    for index in range(5):
        sink.write(result_of(recorded(index, None)))
    sink.close()
    video = probe(tmp_path / "overlay.mp4")
    assert video.times_s == pytest.approx([index * step_s for index in range(5)])
    assert video.duration_s == pytest.approx(5 * step_s)


def test_without_x264_it_is_vp9(tmp_path: Path) -> None:
    encoders = [encoder for encoder in ENCODERS if encoder.name != "libx264"]
    sink = OverlaySink(OutputFolder(tmp_path), encoders=encoders[-1:])
    for index in range(5):
        sink.write(result_of(frame(index)))
    sink.close()
    video = probe(tmp_path / "overlay.mp4")
    assert (video.stream["codec_name"], video.frames) == ("vp9", 5)


def test_a_very_long_video_goes_on_in_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "MOST_FRAMES_PER_VIDEO", 4)
    sink = OverlaySink(OutputFolder(tmp_path))
    for index in range(9):
        sink.write(result_of(frame(index)))
    sink.close()
    names = ["overlay.mp4", "overlay_2.mp4", "overlay_3.mp4"]
    assert [len(read_video(tmp_path / name)) for name in names] == [4, 4, 1]


def test_it_can_be_watched_while_it_is_written(tmp_path: Path) -> None:
    sink = OverlaySink(OutputFolder(tmp_path))
    for index in range(10):
        sink.write(result_of(frame(index)))
    assert len(pictures(tmp_path / "overlay.mp4")) == 9
    sink.close()
    assert len(read_video(tmp_path / "overlay.mp4")) == 10

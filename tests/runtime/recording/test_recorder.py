"""The recorder as a sink and as something to start and stop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgecrack.errors import OutputError
from edgecrack.extras import origin
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.outputs.sinks import Sink
from edgecrack.runtime.pipeline.config import Recorder
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.recorder import McapRecorder
from tests.runtime.fakes import stream_threads
from tests.runtime.recording.reading import (
    Heard,
    frame_times,
    read_with_mcap,
    read_with_rosbags,
    result,
)
from tests.runtime.recording.recorders import (
    Clock,
    Disk,
    names,
    pictures,
    recording,
    times,
    wait_for_pictures,
)
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[3]


def test_it_is_a_sink_and_a_recorder(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        sink: Sink = recorder
        control: Recorder = recorder
        assert sink.name == "recording"
        assert control.status().active


def test_nothing_is_made_before_the_first_result(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with recording(folder) as recorder:
        assert recorder.status().path is None
        assert names(folder) == []
    assert names(folder) == []


def test_a_part_in_progress_does_not_look_whole(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        recorder.write(result())
        wait_for_pictures(tmp_path, 1)
        assert names(tmp_path) == ["run_0001.mcap.part"]
        assert recorder.status().path == str(tmp_path / "run_0001.mcap.part")
    assert names(tmp_path) == ["run_0001.mcap"]
    status = recorder.status()
    assert (status.active, status.parts) == (False, 1)
    assert status.path == str(tmp_path / "run_0001.mcap")
    assert status.bytes_written == (tmp_path / "run_0001.mcap").stat().st_size


def test_start_stop_start(tmp_path: Path) -> None:
    results = [result(index) for index in range(9)]
    with recording(tmp_path, active=False) as recorder:
        for one in results[:3]:
            recorder.write(one)
        recorder.start()
        recorder.start()
        for one in results[3:6]:
            recorder.write(one)
        recorder.stop()
        assert frame_times(tmp_path / "run_0001.mcap") == times(results[3:6])
        assert not recorder.status().active
        recorder.write(results[6])
        recorder.stop()
        recorder.start()
        assert recorder.status().active
        for one in results[7:]:
            recorder.write(one)
    assert names(tmp_path) == ["run_0001.mcap", "run_0002.mcap"]
    assert frame_times(tmp_path / "run_0002.mcap") == times(results[7:])
    recorder.start()
    recorder.stop()
    recorder.write(results[0])
    assert len(names(tmp_path)) == 2


def test_rollover_by_size_loses_nothing(tmp_path: Path) -> None:
    results = [result(index, noise=True) for index in range(30)]
    with recording(tmp_path, part_bytes=128 * 1024) as recorder:
        for one in results:
            recorder.write(one)
    parts = sorted(tmp_path.glob("*.mcap"))
    assert len(parts) > 3
    assert pictures(tmp_path) == times(results)
    assert all(part.stat().st_size < 192 * 1024 for part in parts)
    assert recorder.status().parts == len(parts)
    assert recorder.status().bytes_written == sum(part.stat().st_size for part in parts)


def test_rollover_by_age(tmp_path: Path) -> None:
    clock, results = Clock(), [result(index) for index in range(4)]
    with recording(tmp_path, clock=clock, part_s=600) as recorder:
        for number, now_s in enumerate((100, 699, 701, 1302)):
            clock.now_s = now_s
            recorder.write(results[number])
            wait_for_pictures(tmp_path, number + 1)
    assert [len(frame_times(part)) for part in sorted(tmp_path.glob("*.mcap"))] == [2, 1, 1]


def test_an_idle_recording_is_flushed_and_not_rolled_over(tmp_path: Path) -> None:
    clock, heard = Clock(), Heard()
    with recording(tmp_path, heard, clock=clock, part_s=600) as recorder:
        recorder.write(result(0))
        wait_for_pictures(tmp_path, 1)
        heard.log.emit("source.lost", "SOURCE-IS-GONE")
        clock.now_s += 10_000
        part = tmp_path / "run_0001.mcap.part"
        wait_until(lambda: b"SOURCE-IS-GONE" in part.read_bytes(), "a flush without a result")
        assert names(tmp_path) == [part.name]


def test_numbering_goes_on_and_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "run_0007.mcap").write_bytes(b"precious")
    (tmp_path / "run_12.mcap").write_bytes(b"another's")
    (tmp_path / "run_0001.mcap.bak").write_bytes(b"another's")
    with recording(tmp_path) as recorder:
        recorder.write(result(0))
        wait_until(lambda: (tmp_path / "run_0008.mcap.part").exists(), "the part")
        (tmp_path / "run_0008.mcap").write_bytes(b"put here meanwhile")
    assert names(tmp_path) == [
        "run_0001.mcap.bak",
        "run_0007.mcap",
        "run_0008.mcap",
        "run_0009.mcap",
        "run_12.mcap",
    ]
    assert (tmp_path / "run_0007.mcap").read_bytes() == b"precious"
    assert (tmp_path / "run_0008.mcap").read_bytes() == b"put here meanwhile"
    assert len(frame_times(tmp_path / "run_0009.mcap")) == 1


def test_two_recordings_of_one_name_do_not_meet(tmp_path: Path) -> None:
    with recording(tmp_path) as first:
        first.write(result(0))
        wait_for_pictures(tmp_path, 1)
        second = McapRecorder(
            RecordingConfig(tmp_path / "run.mcap"),
            events=Heard().log,
            stats=None,
            about={},
            free=Disk(),
        )
        second.write(result(1))
        second.close()
        assert names(tmp_path) == ["run_0001.mcap.part", "run_0002.mcap"]
    assert names(tmp_path) == ["run_0001.mcap", "run_0002.mcap"]
    assert pictures(tmp_path) == times([result(0), result(1)])


def test_an_unwritable_folder_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/edgecrack")):
        with pytest.raises(OutputError, match="cannot write"), recording(folder):
            pass
    assert stream_threads() == []


@pytest.mark.parametrize("length", [243, 300])
def test_a_name_that_the_disk_does_not_take_is_said_at_once(tmp_path: Path, length: int) -> None:
    with pytest.raises(OutputError, match="File name too long; give a shorter"):
        McapRecorder(
            RecordingConfig(tmp_path / ("r" * length + ".mcap")),
            events=Heard().log,
            stats=None,
            about={},
            free=Disk(),
        )
    assert stream_threads() == []


def test_a_folder_that_goes_away(tmp_path: Path) -> None:
    heard, folder = Heard(), tmp_path / "stick"
    with recording(folder, heard) as recorder:
        recorder.write(result(0))
        wait_for_pictures(folder, 1)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        recorder.stop()
        recorder.start()
        recorder.write(result(1))
        wait_until(lambda: recorder.status().problem is not None, "the stop")
    assert len(heard.of("recording.stopped")) >= 1


def test_events_of_the_stream_are_recorded(tmp_path: Path) -> None:
    heard = Heard()
    with recording(tmp_path, heard) as recorder:
        heard.log.emit("source.lost", "before the first part")
        recorder.write(result(0))
        wait_for_pictures(tmp_path, 1)
        heard.log.emit("source.lost", "the camera is gone", "warning")
        heard.log.emit("source.failed", "no such camera", "error")
    logs = [
        (one.message.level, one.message.function, one.message.msg)
        for one in read_with_rosbags(tmp_path / "run_0001.mcap")
        if one.topic == "/edgecrack/events"
    ]
    assert logs[1:] == [
        (30, "source.lost", "the camera is gone"),
        (40, "source.failed", "no such camera"),
    ]
    assert logs[0][1] == "recording.part"


def test_counters_that_fail_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def stats() -> Any:
        raise RuntimeError("no counters")

    recorder = McapRecorder(
        RecordingConfig(tmp_path / "run.mcap", flush_s=0.05),
        events=Heard().log,
        stats=stats,
        about={},
        free=Disk(),
    )
    recorder.write(result(0))
    recorder.close()
    topics = {topic for topic, _, _ in read_with_mcap(tmp_path / "run_0001.mcap")}
    assert "/edgecrack/image" in topics
    assert "/edgecrack/stats" not in topics
    assert "counters failed" in caplog.text


def test_a_defect_stops_the_recording_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    with recording(tmp_path, heard) as recorder:
        recorder.write(result(0))
        wait_for_pictures(tmp_path, 1)

        def fail(result: FrameResult) -> Any:
            raise ZeroDivisionError("a defect")

        monkeypatch.setattr("edgecrack.runtime.recording.messages.frame_messages", fail)
        recorder.write(result(1))
        wait_until(lambda: recorder.status().problem is not None, "the stop")
    assert recorder.status().problem == "a defect"
    assert "ZeroDivisionError" in caplog.text
    assert pictures(tmp_path) == times([result(0)])


@pytest.mark.parametrize("missing", ["mcap", "lz4"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import edgecrack.runtime.recording.config\n"
        "from edgecrack.errors import MissingDependencyError\n"
        "try:\n    import edgecrack.runtime.recording.recorder\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert f"a recording needs {missing}" in done.stdout
    assert origin().install("record") in done.stdout

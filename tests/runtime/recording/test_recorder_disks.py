"""Disks that are full, slow, broken or gone."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgecrack.errors import OutputError
from edgecrack.mcap.parts.writer import PartWriter
from edgecrack.runtime.recording import recorder as recorder_module
from edgecrack.runtime.recording.config import MIB, RecordingConfig
from edgecrack.runtime.recording.recorder import McapRecorder
from edgecrack.runtime.recording.recording_session import RecordingSession
from tests.runtime.fakes import stream_threads
from tests.runtime.recording.reading import (
    Heard,
    frame_times,
    result,
)
from tests.runtime.recording.recorders import (
    PLENTY,
    Clock,
    Disk,
    names,
    pictures,
    recording,
    times,
    wait_for_pictures,
)
from tests.waiting import PATIENCE_S, wait_until


def test_a_full_disk_stops_the_recording_and_nothing_else(tmp_path: Path) -> None:
    heard, disk = Heard(), Disk()
    with recording(tmp_path, heard, disk=disk, reserve_bytes=10_000_000) as recorder:
        recorder.write(result(0))
        wait_for_pictures(tmp_path, 1)
        disk.free = 9_000_000
        recorder.write(result(1))
        wait_until(lambda: recorder.status().problem is not None, "the stop")
        for index in range(2, 50):
            recorder.write(result(index))
        assert not recorder.status().active
        assert "only 9 MiB are free" in (recorder.status().problem or "")
        [event] = heard.of("recording.stopped")
        assert event.level == "error"
        assert "inspection goes on" in event.message
        assert pictures(tmp_path) == times([result(0), result(1)])
        disk.free = PLENTY
        recorder.start()
        assert recorder.status().problem is None
        recorder.write(result(60))
    assert names(tmp_path) == ["run_0001.mcap", "run_0002.mcap"]
    assert pictures(tmp_path)[-1:] == times([result(60)])


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    heard = Heard()
    with recording(tmp_path, heard, disk=Disk(0), active=False) as recorder:
        recorder.start()
        recorder.write(result(0))
        wait_until(lambda: recorder.status().problem is not None, "the stop")
        assert recorder.status().path is None
    assert names(tmp_path) == []
    assert heard.kinds() == ["recording.stopped"]


@pytest.mark.parametrize(
    ("free", "reserve", "said"),
    [
        (
            9 * MIB,
            512 * MIB,
            r"only 9 MiB are free on .*, and 512 MiB must stay free; .*`rec",
        ),
        (5000, 2**50, "only 5 KiB are free on .*, and 1073741824 MiB must stay free"),
        (0, 0, "the disk of .* is full; free some space, or give another folder"),
    ],
)
def test_a_recording_that_could_not_begin_is_refused(
    tmp_path: Path, free: int, reserve: int, said: str
) -> None:
    for when_full in ("stop", "delete-oldest"):
        settings: dict[str, Any] = {"reserve_bytes": reserve, "when_full": when_full}
        with (
            pytest.raises(OutputError, match=said),
            recording(tmp_path, disk=Disk(free), **settings),
        ):
            pass
    assert stream_threads() == []
    assert names(tmp_path) == []


def test_parts_that_can_be_removed_count_as_room(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        recorder.write(result(0, noise=True))
    size = (tmp_path / "run_0001.mcap").stat().st_size
    settings: dict[str, Any] = {"reserve_bytes": 1000 + size, "when_full": "delete-oldest"}
    with recording(tmp_path, disk=Disk(1000), **settings):
        assert names(tmp_path) == ["run_0001.mcap"]
    with pytest.raises(OutputError), recording(tmp_path, disk=Disk(999), **settings):
        pass
    assert names(tmp_path) == ["run_0001.mcap"]


def test_the_oldest_parts_go_and_only_those(tmp_path: Path) -> None:
    results = [result(index, noise=True) for index in range(40)]
    foreign = {
        "run_0000.mcap": b"not of edgecrack, though it is called so",
        "walk_0001.mcap": b"another recording",
        "run.mcap": b"no part",
        "notes.txt": b"a diary",
    }
    for name, data in foreign.items():
        (tmp_path / name).write_bytes(data)
    elsewhere = tmp_path.parent / "elsewhere.mcap"
    with recording(tmp_path / "other") as other:
        other.write(result(0))
    (tmp_path / "other" / "run_0001.mcap").rename(elsewhere)
    (tmp_path / "run_0002.mcap").symlink_to(elsewhere)
    heard = Heard()
    total = 700_000

    def free(folder: Path) -> int:
        used = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
        return total - sum(used)

    with recording(
        tmp_path,
        heard,
        disk=free,
        part_bytes=100 * 1024,
        reserve_bytes=200_000,
        when_full="delete-oldest",
    ) as recorder:
        for one in results:
            recorder.write(one)
            time.sleep(0.02)  # lets flushes fall between results
        assert recorder.status().problem is None
    assert len(heard.of("recording.deleted")) >= 2
    for name, data in foreign.items():
        assert (tmp_path / name).read_bytes() == data
    assert (tmp_path / "run_0002.mcap").is_symlink()
    assert elsewhere.exists()
    ours = [
        path
        for path in sorted(tmp_path.glob("run_*.mcap"))
        if path.name not in foreign and not path.is_symlink()
    ]
    kept = [time_ns for path in ours for time_ns in frame_times(path)]
    assert kept == times(results)[-len(kept) :]
    assert 10 < len(kept) < 40


def test_when_nothing_is_left_to_delete_it_stops(tmp_path: Path) -> None:
    heard, disk = Heard(), Disk()
    with recording(tmp_path, heard, disk=disk, when_full="delete-oldest") as recorder:
        recorder.write(result(0))
        recorder.stop()
        recorder.start()
        recorder.write(result(1))
        wait_for_pictures(tmp_path, 2)
        disk.free = 0
        wait_until(lambda: recorder.status().problem is not None, "the stop")
    assert names(tmp_path) == ["run_0002.mcap"]
    assert pictures(tmp_path) == times([result(1)])


def test_room_that_comes_back_late_costs_one_part(tmp_path: Path) -> None:
    """Some file systems count a removed file as used for a while."""
    clock, disk, heard = Clock(), Disk(), Heard()
    with recording(
        tmp_path, heard, clock, disk, when_full="delete-oldest", reserve_bytes=10_000
    ) as recorder:
        for index in range(3):
            recorder.start()
            recorder.write(result(index))
            recorder.stop()
        recorder.start()
        recorder.write(result(3))
        wait_for_pictures(tmp_path, 4)
        disk.free = 9_000
        for _ in range(5):
            disk.asked.clear()
            clock.now_s += 1
            assert disk.asked.wait(PATIENCE_S)
        assert recorder.status().active
        assert len(heard.of("recording.deleted")) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EFBIG])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_write_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, lasting: bool
) -> None:
    """Half a chunk gets through, then an error: the part ends with its last whole chunk."""
    heard = Heard()
    failures = iter([True] * (1000 if lasting else 1))
    failing = threading.Event()
    real = os.pwrite

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if failing.is_set() and next(failures, False):
            real(descriptor, data[: len(data) // 2], offset)
            raise OSError(code, os.strerror(code))
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with recording(tmp_path, heard) as recorder:
        recorder.write(result(0))
        wait_for_pictures(tmp_path, 1)
        failing.set()
        recorder.write(result(1))
        wait_until(lambda: recorder.status().problem is not None, "the stop")
        recorder.write(result(2))
    [event] = heard.of("recording.stopped")
    assert os.strerror(code) in event.message
    if lasting:
        assert names(tmp_path) == ["run_0001.mcap.part"]
        assert "edgecrack recover" in event.message
        monkeypatch.undo()
        with recording(tmp_path) as recorder:
            wait_until(lambda: names(tmp_path) == ["run_0001.mcap"], "the recovery")
        assert pictures(tmp_path) == times([result(0)])
    else:
        # What failed once was tried again when the part was finished.
        assert names(tmp_path) == ["run_0001.mcap"]
        assert pictures(tmp_path) == times([result(0), result(1)])


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a defect"), ValueError("closed")])
@pytest.mark.parametrize("failing", ["write_out", "write_out finish", "write_out finish abandon"])
def test_an_error_that_comes_again_while_giving_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, failing: str
) -> None:
    """No error of any kind ends the thread: the recording stops, is said, and can begin again."""

    def fail(part: PartWriter) -> None:
        raise error

    heard = Heard()
    with recording(tmp_path, heard) as recorder:
        recorder.write(result(0))
        wait_for_pictures(tmp_path, 1)
        with monkeypatch.context() as patch:
            for name in failing.split():
                patch.setattr(PartWriter, name, fail)
            recorder.write(result(1))
            wait_until(lambda: "recording.stopped" in heard.kinds(), "the stop")
            problem = recorder.status().problem or ""
            assert problem == (str(error) or "the machine is out of memory")
            assert not recorder.status().active
            for index in range(2, 60):
                recorder.write(result(index))
        [event] = heard.of("recording.stopped")
        assert event.level == "error"
        assert ("edgecrack recover" in event.message) == ("finish" in failing)
        recorder.start()
        recorder.write(result(70))
        wait_for_pictures(tmp_path, 2)
        assert recorder.status().problem is None
        assert "recording.behind" not in heard.kinds()
    assert frame_times(tmp_path / "run_0002.mcap") == times([result(70)])


def test_an_error_outside_of_the_work_itself_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, calls = Heard(), []

    def fail(session: RecordingSession) -> float:
        calls.append(session)
        raise RuntimeError("a defect")

    with recording(tmp_path, heard) as recorder:
        recorder.write(result(0))
        wait_for_pictures(tmp_path, 1)
        with monkeypatch.context() as patch:
            patch.setattr(RecordingSession, "due_in_s", fail)
            wait_until(lambda: len(calls) > 4, "some errors")
            assert recorder.status().problem == "a defect"
            for index in range(1, 60):
                recorder.write(result(index))
        assert len(heard.of("recording.stopped")) == 1
        recorder.start()
        recorder.write(result(70))
    assert pictures(tmp_path) == times([result(0), result(70)])


def test_a_full_disk_that_only_a_write_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program was quicker to fill it: the oldest part goes, nothing is lost."""
    heard, full, real = Heard(), threading.Event(), os.pwrite

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if full.is_set() and (tmp_path / "run_0001.mcap").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with recording(tmp_path, heard, when_full="delete-oldest") as recorder:
        recorder.write(result(0))
        recorder.stop()
        recorder.start()
        recorder.write(result(1))
        wait_for_pictures(tmp_path, 2)
        full.set()
        recorder.write(result(2))
        wait_until(lambda: "recording.deleted" in heard.kinds(), "the removal")
    assert pictures(tmp_path) == times([result(1), result(2)])
    assert recorder.status().problem is None


def test_a_part_whose_index_found_no_room_is_mended_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the recorder that goes on, at its next start; no other process has to be started."""
    heard, full, real = Heard(), threading.Event(), os.pwrite

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with recording(tmp_path, heard) as recorder:
        recorder.write(result(0))
        wait_for_pictures(tmp_path, 1)
        full.set()
        recorder.write(result(1))
        wait_until(lambda: recorder.status().problem is not None, "the stop")
        assert names(tmp_path) == ["run_0001.mcap.part"]
        full.clear()
        recorder.start()
        wait_until(lambda: "recording.recovered" in heard.kinds(), "the recovery")
        recorder.write(result(2))
    assert names(tmp_path) == ["run_0001.mcap", "run_0002.mcap"]
    assert frame_times(tmp_path / "run_0001.mcap") == times([result(0)])
    assert frame_times(tmp_path / "run_0002.mcap") == times([result(2)])


class SlowDisk:
    """An fdatasync that waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = threading.Event()
        self.let_go = threading.Event()
        self._real = os.fdatasync
        self._calls = 0
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, descriptor: int) -> None:
        self._calls += 1
        if self._calls > 1:  # the first is that of the new file's head
            self.waiting.set()
            assert self.let_go.wait(PATIENCE_S)
        self._real(descriptor)


def test_a_slow_disk_drops_live_frames_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, disk = Heard(), SlowDisk(monkeypatch)
    results = [result(index, live=True) for index in range(100)]
    with recording(tmp_path, heard) as recorder:
        recorder.write(results[0])
        assert disk.waiting.wait(PATIENCE_S)
        before_s = time.monotonic()
        for one in results[1:]:
            recorder.write(one)
        assert time.monotonic() - before_s < PATIENCE_S / 3
        assert recorder.dropped == 99 - recorder_module.QUEUE_FRAMES
        assert recorder.status().dropped == recorder.dropped
        assert heard.kinds().count("recording.behind") == 1
        disk.let_go.set()
        wait_until(lambda: "recording.caught_up" in heard.kinds(), "the end of the episode")
        [event] = heard.of("recording.caught_up")
        assert event.data["frames"] == recorder.dropped
        recorder.write(result(200, live=True))
    kept = [*results[: 1 + recorder_module.QUEUE_FRAMES], result(200)]
    assert pictures(tmp_path) == times(kept)


def test_a_slow_disk_makes_a_recording_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, disk = Heard(), SlowDisk(monkeypatch)
    results = [result(index) for index in range(40)]
    with recording(tmp_path, heard) as recorder:
        recorder.write(results[0])
        assert disk.waiting.wait(PATIENCE_S)

        def write() -> None:
            for one in results[1:]:
                recorder.write(one)

        writer = threading.Thread(target=write)
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        disk.let_go.set()
        writer.join(PATIENCE_S)
        assert not writer.is_alive()
    assert pictures(tmp_path) == times(results)
    assert recorder.dropped == 0
    assert "recording.behind" not in heard.kinds()


def test_a_recording_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "LONGEST_WAIT_S", 0.2)
    heard, disk = Heard(), SlowDisk(monkeypatch)
    with recording(tmp_path, heard) as recorder:
        recorder.write(result(0))
        assert disk.waiting.wait(PATIENCE_S)
        for index in range(1, 60):
            recorder.write(result(index))
        assert recorder.dropped == 59 - recorder_module.QUEUE_FRAMES
        disk.let_go.set()
    assert heard.kinds().count("recording.behind") == 1


def test_a_dead_disk_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "CLOSE_S", 0.2)
    monkeypatch.setattr(recorder_module, "STOP_S", 0.2)
    heard, disk = Heard(), SlowDisk(monkeypatch)
    recorder = McapRecorder(
        RecordingConfig(tmp_path / "run.mcap", flush_s=0.05),
        events=heard.log,
        stats=None,
        about={},
        free=Disk(),
    )
    recorder.write(result(0))
    assert disk.waiting.wait(PATIENCE_S)
    recorder.stop()
    recorder.close()
    unfinished = heard.of("recording.unfinished")
    assert [event.level for event in unfinished] == ["error", "error"]
    assert names(tmp_path) == ["run_0001.mcap.part"]
    disk.let_go.set()
    wait_until(lambda: stream_threads() == [], "the thread")
    assert pictures(tmp_path) == times([result(0)])

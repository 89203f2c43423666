"""Real processes that are killed, real disks that are full."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from edgecrack.mcap.parts.recovery import recover
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.recorder import McapRecorder
from edgecrack.runtime.telemetry.events import EventLog
from tests.runtime.recording.reading import (
    Heard,
    frame_times,
    read_with_rosbags,
    result,
)
from tests.waiting import PATIENCE_S, wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
CHILD = "tests.runtime.recording.recording_child"


def child(
    folder: Path, count: int, file_size: int | None = None, output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return subprocess.Popen(
        [sys.executable, "-m", CHILD, str(folder), str(count)],
        stdout=output or subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=limit,
    )


def killed_recording(folder: Path, tmp_path: Path) -> tuple[list[int], int]:
    """Record for some flushes and kill; the log times handed over, and how many must be kept.

    A flush comes every second. What had been handed over when the last but one ended, the last one
    has written out; the result that was said then may have been on its way still.
    """
    said = tmp_path / "said.txt"
    with said.open("wb") as output, child(folder, 0, output=output) as process:
        wait_until(lambda: said.read_bytes().count(b"synced\n") > 4, "flushes")
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    lines = said.read_text().splitlines()[:-1]
    syncs = [place for place, line in enumerate(lines) if line == "synced"]
    times = [int(line.split()[1]) for line in lines if line != "synced"]
    return times, syncs[-2] - len(syncs[:-2]) - 1


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int], int]:
    """What a killed process left, what it had handed over, and how many results must be kept."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, *killed_recording(folder, tmp_path_factory.mktemp("said"))


def test_a_kill_loses_at_most_what_came_since_the_last_flush(
    killed: tuple[Path, list[int], int], tmp_path: Path
) -> None:
    folder, handed_over, must_be_kept = killed
    [left] = folder.iterdir()
    assert left.name == "run_0001.mcap.part"
    report = recover(left, tmp_path / "whole.mcap")
    kept = frame_times(tmp_path / "whole.mcap")
    assert kept == handed_over[: len(kept)]
    assert len(kept) >= must_be_kept > 20
    assert len(read_with_rosbags(tmp_path / "whole.mcap")) == report.messages


def test_the_next_run_recovers_and_goes_on(
    killed: tuple[Path, list[int], int], tmp_path: Path
) -> None:
    killed_folder, handed_over, _ = killed
    folder = tmp_path / "robot"
    shutil.copytree(killed_folder, folder)
    heard = Heard()
    recorder = McapRecorder(
        RecordingConfig(folder / "run.mcap", reserve_bytes=0),
        events=heard.log,
        stats=None,
        about={},
    )
    recorder.write(result(0))
    wait_until(lambda: "recording.recovered" in heard.kinds(), "the recovery")
    recorder.close()
    assert sorted(path.name for path in folder.iterdir()) == ["run_0001.mcap", "run_0002.mcap"]
    kept = frame_times(folder / "run_0001.mcap")
    assert kept == handed_over[: len(kept)]
    assert len(kept) > 20
    assert len(frame_times(folder / "run_0002.mcap")) == 1


@pytest.mark.parametrize("file_size", [200_000, 213_000, 1_500_000, 1_531_000])
def test_a_limit_on_the_size_of_files(tmp_path: Path, file_size: int) -> None:
    """The write that passes the limit fails with EFBIG; the process goes on to its end."""
    with child(tmp_path, 300, file_size) as process:
        output = process.communicate(timeout=PATIENCE_S)[0].decode().splitlines()
    assert process.returncode == 0
    assert "recording.stopped 1" in output
    assert "File too large" in output[-1]
    handed_over = [int(line.split()[1]) for line in output if line[0].isdigit()]
    assert len(handed_over) == 300
    assert_readable_start(tmp_path, handed_over)


def assert_readable_start(folder: Path, handed_over: list[int]) -> None:
    """One part, whole or recoverable, with the first results."""
    [left] = folder.iterdir()
    if left.name.endswith(".part"):
        assert recover(left).out == folder / "run_0001.mcap"
    whole = folder / "run_0001.mcap"
    kept = frame_times(whole)
    assert kept == handed_over[: len(kept)]
    assert kept or whole.stat().st_size < 300_000
    assert read_with_rosbags(whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root and mount")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up(small_disk: Path) -> None:
    with child(small_disk, 300) as process:
        output = process.communicate(timeout=PATIENCE_S)[0].decode().splitlines()
    assert process.returncode == 0
    assert "recording.stopped 1" in output
    assert "No space left" in output[-1]
    handed_over = [int(line.split()[1]) for line in output if line[0].isdigit()]
    assert len(frame_times(small_disk / "run_0001.mcap")) > 50
    assert_readable_start(small_disk, handed_over)


def test_a_reserve_on_a_disk_that_fills_up(small_disk: Path) -> None:
    """The recording stops before the disk is full, and loses nothing until then."""
    heard = Heard()
    recorder = recorder_on(small_disk, heard.log, reserve_bytes=2_000_000)
    results = [result(index, noise=True) for index in range(400)]
    for one in results:
        recorder.write(one)
    recorder.close()
    [event] = heard.of("recording.stopped")
    assert "must stay free" in event.message
    [part] = small_disk.glob("*.mcap")
    kept = frame_times(part)
    assert kept == [one.frame.capture_time_ns for one in results[: len(kept)]]
    assert len(kept) > 30
    assert shutil.disk_usage(small_disk).free > 500_000


def test_the_oldest_parts_make_room_on_a_real_disk(small_disk: Path) -> None:
    heard = Heard()
    recorder = recorder_on(
        small_disk,
        heard.log,
        part_bytes=300_000,
        reserve_bytes=2_000_000,
        when_full="delete-oldest",
    )
    results = [result(index, noise=True) for index in range(400)]
    for one in results:
        recorder.write(one)
    recorder.close()
    assert recorder.status().problem is None
    assert len(heard.of("recording.deleted")) > 5
    parts = sorted(small_disk.iterdir())
    kept = [time_ns for part in parts for time_ns in frame_times(part)]
    assert kept == [one.frame.capture_time_ns for one in results[-len(kept) :]]
    assert len(kept) > 30


def recorder_on(folder: Path, events: EventLog, **settings: int | str) -> McapRecorder:
    config = RecordingConfig(folder / "run.mcap", flush_s=0.02, **settings)  # type: ignore[arg-type]
    return McapRecorder(config, events=events, stats=None, about={})

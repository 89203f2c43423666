"""Other processes that remove, rename or change what is being recorded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecrack.errors import OutputError
from edgecrack.mcap.parts.part_file import PartFile
from tests.runtime.recording.reading import Heard, frame_times, result
from tests.runtime.recording.recorders import (
    Clock,
    names,
    pictures,
    recording,
    times,
    wait_for_pictures,
)
from tests.waiting import wait_until

PART = "run_0001.mcap.part"


def replaced(folder: Path) -> None:
    (folder / PART).unlink()
    (folder / PART).write_bytes(b"somebody else's")


MEDDLING: dict[str, Callable[[Path], object]] = {
    "folder removed": shutil.rmtree,
    "folder renamed": lambda folder: folder.rename(folder.with_name("elsewhere")),
    "removed": lambda folder: (folder / PART).unlink(),
    "renamed": lambda folder: (folder / PART).rename(folder / "mine.mcap"),
    "replaced": replaced,
}


@pytest.mark.parametrize("what", MEDDLING)
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_part_that_is_gone_is_noticed(tmp_path: Path, what: str, at_the_end: bool) -> None:
    """While it is idle, without a further result; and by the end of the part."""
    heard, folder, clock = Heard(), tmp_path / "stick", Clock()
    with recording(folder, heard, clock) as recorder:
        recorder.write(result(0))
        wait_until(lambda: recorder.status().path is not None, "the part")
        clock.now_s += 1
        wait_for_pictures(folder, 1)
        MEDDLING[what](folder)
        if at_the_end:
            recorder.stop()
        else:
            clock.now_s += 1
        wait_until(lambda: recorder.status().problem is not None, "the stop")
        said = f"{folder / PART} was removed or renamed while it was written"
        assert recorder.status().problem == said
        assert not recorder.status().active
    [event] = heard.of("recording.stopped")
    assert event.level == "error"
    assert "edgecrack recover" not in event.message
    if what == "replaced":
        assert (folder / PART).read_bytes() == b"somebody else's"
        assert names(folder) == [PART]
    if what == "renamed":
        assert frame_times(folder / "mine.mcap") == times([result(0)])


@pytest.mark.parametrize("change", [-1000, 100])
def test_a_part_that_another_process_changes_is_noticed(tmp_path: Path, change: int) -> None:
    heard = Heard()
    with recording(tmp_path, heard) as recorder:
        for index in range(2):
            recorder.write(result(index))
            wait_for_pictures(tmp_path, index + 1)
        part = tmp_path / PART
        os.truncate(part, part.stat().st_size + change)
        recorder.write(result(2))
        wait_until(lambda: recorder.status().problem is not None, "the stop")
        size = part.stat().st_size
        assert f"was changed while it was written: it has {size} " in str(recorder.status().problem)
    [event] = heard.of("recording.stopped")
    assert f"recover it with: edgecrack recover {part}" in event.message
    assert names(tmp_path) == [PART]
    with recording(tmp_path) as recorder:
        wait_until(lambda: (tmp_path / "run_0001.mcap").exists(), "the recovery")
    kept = times([result(0), result(1)])
    assert pictures(tmp_path) == kept[: 2 if change > 0 else 1]


def test_a_tear_of_our_own_is_not_taken_for_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the write nor taking back its half succeeded: the next write goes over it."""
    part = PartFile(tmp_path / PART)
    part.append(b"whole")

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    real = os.pwrite
    pieces = iter([lambda *given: real(given[0], b"to", given[2]), fail])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *given: next(pieces)(*given))
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(OSError, match="Input/output"):
            part.append(b"torn")
    part.append(b", and whole again")
    assert (tmp_path / PART).read_bytes() == b"whole, and whole again"
    os.truncate(tmp_path / PART, 3)
    with pytest.raises(OutputError, match="was changed"):
        part.append(b"more")
    part.close()

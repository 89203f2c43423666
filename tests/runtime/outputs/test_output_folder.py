"""The list of files: what is removed, what never is, and who may come in."""

from __future__ import annotations

import errno
import fcntl
import json
from pathlib import Path

import pytest

from edgecrack.errors import OutputError
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, OutputFolder
from tests.runtime.fakes import frame, result_of


def write(folder: OutputFolder, *names: str) -> None:
    for name in names:
        folder.claim(name).write_text("ours")


def files_in(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {LEDGER_NAME}


def test_clearing_removes_what_was_claimed_and_nothing_else(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    write(folder, "masks/000000.png", "frames.jsonl", "masks/a\nb.png", 'quoted"名.png')
    write(folder.within("part-2"), "masks/000000.png", "frames.jsonl")
    (tmp_path / "masks/notes.txt").write_text("mine")
    (tmp_path / "report.md").write_text("mine")
    OutputFolder(tmp_path).clear()
    assert files_in(tmp_path) == {"masks/notes.txt", "report.md"}
    assert not (tmp_path / "part-2").exists()  # its last file was ours
    assert not OutputFolder(tmp_path).has_results()


def test_snapshots_are_nobody_s_to_remove(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    write(folder, "frames.jsonl", "snapshots/old.png")  # edgecrack 0.1 had them on the list
    for place in (folder, folder.within("part-2")):
        place.keep("snapshots/new.png").write_text("kept")
    folder.clear()
    assert files_in(tmp_path) == {
        "snapshots/old.png",
        "snapshots/new.png",
        "part-2/snapshots/new.png",
    }


def test_a_list_that_leads_outside_deletes_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    lines = [json.dumps("../victim.txt"), json.dumps(str(victim)), "torn", "7", '"masks', "{"]
    (out / LEDGER_NAME).write_text("\n".join(lines))
    OutputFolder(out).clear()
    assert victim.read_text() == "mine"


def test_temporary_files_of_a_killed_run_go_with_its_results(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    write(folder, "masks/000000.png")
    (tmp_path / "masks/.edgecrack-0123456789ab.png").write_bytes(b"torn")
    (tmp_path / ".edgecrack-0123456789ab.onnx").write_bytes(b"an export that goes on")
    assert folder.in_the_way(["masks/*.png"]) == []
    folder.clear()
    assert files_in(tmp_path) == {".edgecrack-0123456789ab.onnx"}


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    write(folder, "masks/ours.png")
    for name in "abcde":
        (tmp_path / "masks" / f"{name}.png").write_text("mine")
    patterns = ["masks/*.png", "frames.jsonl"]
    assert folder.in_the_way(patterns) == [f"masks/{name}.png" for name in "abcde"]
    with pytest.raises(OutputError, match=r"masks/a\.png, .*b\.png, .*c\.png and 2 more, which no"):
        folder.refuse_foreign(patterns)


def test_notes_and_names_lie_on_one_list(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    folder.note({"part": 1})
    write(folder, "frames.jsonl")
    folder.note({"part": 2, "source": "größer"})
    again = OutputFolder(tmp_path)
    assert again.notes() == [{"part": 1}, {"part": 2, "source": "größer"}]
    assert again.results() == {tmp_path / "frames.jsonl"}
    again.forget()
    assert (again.notes(), again.results()) == ([], set())
    assert (tmp_path / "frames.jsonl").exists()


def test_half_a_line_of_a_power_cut_spoils_no_other(tmp_path: Path) -> None:
    write(OutputFolder(tmp_path), "a.png")
    with (tmp_path / LEDGER_NAME).open("a") as ledger:
        ledger.write('"mask')
    folder = OutputFolder(tmp_path)
    assert folder.lock() == "held"
    write(folder, "b.png")
    assert folder.results() == {tmp_path / "a.png", tmp_path / "b.png"}
    folder.unlock()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = OutputFolder(tmp_path / "out"), OutputFolder(tmp_path / "out")
    assert first.lock() == "held"
    assert second.lock() == "busy"
    second.discard()  # takes nothing away from the first
    write(first, "frames.jsonl")
    first.unlock()
    first.unlock()
    assert second.lock() == "held"
    assert second.has_results()
    second.unlock()


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "deep/out")
    assert folder.lock() == "held"
    folder.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_begin_leaves_what_others_put_there(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    folder = OutputFolder(tmp_path)
    assert folder.lock() == "held"
    folder.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_whose_list_was_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    first, second = OutputFolder(tmp_path / "out"), OutputFolder(tmp_path / "out")
    assert first.lock() == "held"
    first.discard()
    assert second.lock() == "held"
    assert (tmp_path / "out" / LEDGER_NAME).exists()
    second.unlock()


def test_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    first, second = OutputFolder(tmp_path), OutputFolder(tmp_path)
    assert (first.lock(), first.is_new) == ("impossible", True)
    assert (second.lock(), second.is_new) == ("impossible", False)
    first.unlock()
    second.unlock()


def test_a_folder_that_is_removed_during_a_run_is_an_error(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "out")
    write(folder, "masks/a.png")
    OutputFolder(tmp_path / "out").clear()
    (tmp_path / "out" / LEDGER_NAME).unlink()
    (tmp_path / "out").rmdir()
    with pytest.raises(OutputError, match=r"out/masks/b\.png"):
        folder.claim("masks/b.png")


@pytest.mark.parametrize("name", ["file", "file/out"])
def test_a_file_in_the_place_of_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file"):
        OutputFolder(tmp_path / name)


def test_masks_of_frames_with_odd_names(tmp_path: Path) -> None:
    from edgecrack.runtime.outputs.sinks import MaskSink

    MaskSink(OutputFolder(tmp_path)).write(result_of(frame(name="a\nb")))
    assert files_in(tmp_path) == {"masks/a\nb.png"}
    OutputFolder(tmp_path).clear()
    assert files_in(tmp_path) == set()

"""The file of a review keeps what it said to have kept, whatever ends the program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.run_review.review_log import REVIEW_NAME, ReviewLog, read_review
from edgecrack.run_survey.survey_document import read_survey
from edgecrack.runtime.outputs.output_folder import OutputFolder

KILLED = """
import sys
from pathlib import Path
from edgecrack.run_review.review_session import ReviewSession
session = ReviewSession(Path(sys.argv[1]))
while True:
    kept = session.act("Ann", {"action": "note", "crack": 1, "text": "x" * 1500})
    print(kept["revision"], flush=True)
"""


def open_log(run: Path) -> ReviewLog:
    return ReviewLog(run, read_survey(run), lambda: "2026-11-30T10:00:00+00:00")


def test_entries_come_back_as_they_were_written(run: Path) -> None:
    with open_log(run) as log:
        log.append(" Jörg  ", {"action": "confirm", "crack": 1})
        log.append("Ann", {"action": "undo"})
    found = read_review(run, read_survey(run))
    assert [(each.number, each.reviewer, each.action["action"]) for each in found] == [
        (1, "Jörg", "confirm"), (2, "Ann", "undo"),
    ]  # fmt: skip
    with open_log(run) as log:
        assert log.append("Ann", {"action": "undo"}).number == 3


def test_a_killed_program_loses_nothing_that_it_said_to_be_kept(run: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(run)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(5)]
        os.kill(process.pid, signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().splitlines()]
    found = read_review(run, read_survey(run))
    assert len(found) >= said[-1]
    with open_log(run) as log:
        assert len(log.entries) == len(found)


def test_half_a_line_at_the_end_was_never_kept(run: Path) -> None:
    with open_log(run) as log:
        log.append("Ann", {"action": "confirm", "crack": 1})
    with (run / REVIEW_NAME).open("ab") as file:
        file.write(b'{"number": 2, "time": "2026')
    assert len(read_review(run, read_survey(run))) == 1
    with open_log(run) as log:
        log.append("Ann", {"action": "undo"})
    assert len(read_review(run, read_survey(run))) == 2


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"[1]", b"{}", b'{"number": 7, "time": "", "reviewer": "", "action": "undo"}',
     b"[" * 50_000, b'{"number": 2, "time": 1, "reviewer": "Ann", "action": "undo"}', b"\xff"],
)  # fmt: skip
def test_a_damaged_line_is_told_by_its_number(run: Path, line: bytes) -> None:
    with open_log(run) as log:
        log.append("Ann", {"action": "confirm", "crack": 1})
    with (run / REVIEW_NAME).open("ab") as file:
        file.write(line + b"\n")
    for read in (lambda: read_review(run, read_survey(run)), lambda: open_log(run)):
        with pytest.raises(SourceError, match=r"line 3 of .*review\.jsonl is damaged"):
            read()


def test_a_review_of_another_run_is_refused(run: Path) -> None:
    with open_log(run) as log:
        log.append("Ann", {"action": "confirm", "crack": 1})
    (run / "summary.json").write_text(json.dumps({"run": {"id": "another"}}))
    with pytest.raises(
        SourceError, match="and this is 'another'; move that file away, or to its own run"
    ):
        read_review(run, read_survey(run))
    with pytest.raises(SourceError, match="is the review of the run"):
        open_log(run)


def test_a_review_of_another_version_is_refused(run: Path) -> None:
    (run / REVIEW_NAME).write_text('{"schema_version": 9}\n')
    with pytest.raises(SourceError, match="has schema version 9 instead of 1"):
        open_log(run)


def test_two_programs_do_not_write_one_review(run: Path) -> None:
    with open_log(run), pytest.raises(OutputError, match="written by another review"):
        open_log(run)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 81, None, 7])
def test_a_reviewer_has_a_name(run: Path, name: object) -> None:
    with open_log(run) as log, pytest.raises(ConfigError, match="the reviewer is"):
        log.append(name, {"action": "undo"})  # type: ignore[arg-type]
    assert read_review(run, read_survey(run)) == ()


def test_a_full_disk_leaves_the_review_as_it_was(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(run) as log:
        log.append("Ann", {"action": "confirm", "crack": 1})
        before = (run / REVIEW_NAME).read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            log.append("Ann", {"action": "undo"})
        monkeypatch.undo()
        assert (run / REVIEW_NAME).read_bytes() == before
        assert log.append("Ann", {"action": "undo"}).number == 2


def test_a_file_that_was_replaced_is_not_written_past(run: Path) -> None:
    with open_log(run) as log:
        log.append("Ann", {"action": "confirm", "crack": 1})
        other = run / "copy.jsonl"
        other.write_bytes((run / REVIEW_NAME).read_bytes())
        other.replace(run / REVIEW_NAME)
        with pytest.raises(OutputError, match="it was replaced or moved"):
            log.append("Ann", {"action": "undo"})
    assert len(read_review(run, read_survey(run))) == 1


def test_a_killed_run_keeps_its_review_when_it_goes_on(run: Path) -> None:
    folder = OutputFolder(run)
    folder.note({"run": "20261130T000000Z-1", "part": 1, "started_at": "", "settings": {}})
    with open_log(run) as log:
        log.append("Ann", {"action": "confirm", "crack": 1})
    document = read_survey(run)
    document["cracks"][0]["lines"][0].pop()
    assert len(read_review(run, document)) == 1
    summary = {"run": {"id": "20261130T000000Z-1"}}
    (run / "summary.json").write_text(json.dumps(summary))
    assert len(read_review(run, document)) == 1

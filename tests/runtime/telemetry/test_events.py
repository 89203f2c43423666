"""Events, the log they go to, and the switches that cause some."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from edgecrack.errors import ConfigError
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.sinks import EventsFile, Snapshots
from edgecrack.runtime.pipeline.config import StreamControls
from edgecrack.runtime.telemetry.events import Event, EventLog, LogFormat, log_to
from tests.runtime.fakes import frame, result_of


def test_an_event_is_one_flat_object() -> None:
    log = EventLog(clock=lambda: 1_700_000_000_123_456_789)
    event = log.emit(
        "source.lost", "camera:0 is gone", "warning", how="stalled", time="mine", schema_version=9
    )
    assert event.to_dict() == {
        "schema_version": 2,
        "time": "2023-11-14T22:13:20.123Z",
        "time_ns": 1_700_000_000_123_456_789,
        "level": "warning",
        "kind": "source.lost",
        "message": "camera:0 is gone",
        "how": "stalled",
    }


def test_the_last_are_kept_and_all_are_counted() -> None:
    log = EventLog()
    for number in range(300):
        log.emit("a", str(number))
    log.emit("b", "last")
    assert len(log.recent()) == 256
    assert [event.message for event in log.recent(2)] == ["299", "last"]
    assert log.recent(0) == []
    assert log.counts() == {"a": 300, "b": 1}


def test_a_listener_that_fails_does_not_end_the_stream_or_silence_the_others() -> None:
    log = EventLog()
    heard: list[str] = []

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    log.subscribe(fail)
    forget = log.subscribe(lambda event: heard.append(event.kind))
    log.emit("a", "x")
    log.emit("b", "x")
    forget()
    forget()
    log.emit("c", "x")
    assert heard == ["a", "b"]


def test_events_from_many_threads_are_all_counted() -> None:
    log = EventLog()
    threads = [
        threading.Thread(target=lambda: [log.emit("a", "x") for _ in range(200)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.counts() == {"a": 1600}


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_is_lines_for_people_or_for_machines(form: LogFormat) -> None:
    lines: list[str] = []
    undo = log_to(lines.append, form)
    log = EventLog()
    log.emit("source.lost", "camera:0 is gone", "warning", away_s=3)
    log.emit("finding.closed", "finding 1", "detail")
    logging.getLogger("edgecrack.runtime").warning("a read is stuck")
    undo()
    log.emit("later", "not heard", "warning")
    if form == "text":
        assert [line[9:] for line in lines] == [
            "warning: camera:0 is gone",
            "warning: a read is stuck",
        ]
    else:
        found = [json.loads(line) for line in lines]
        assert [record["kind"] for record in found] == [
            "source.lost",
            "finding.closed",
            "log.edgecrack.runtime",
        ]
        assert found[0]["away_s"] == 3
        assert (found[2]["message"], found[2]["level"]) == ("a read is stuck", "warning")
        common = {"schema_version", "time", "time_ns", "level", "kind", "message"}
        assert all(common <= record.keys() for record in found)


def test_a_log_that_nobody_reads_any_more_does_no_harm() -> None:
    def gone(line: str) -> None:
        raise BrokenPipeError

    log = EventLog()
    undo = log_to(gone)
    log.emit("a", "lost")
    undo()
    lines: list[str] = []
    undo = log_to(lines.append)
    log.emit("b", "seen")
    undo()
    assert [line.rpartition(" ")[2] for line in lines] == ["seen"]


def test_the_file_of_events_has_them_as_lines(tmp_path: Path) -> None:
    log = EventLog()
    log.emit("early", "before it was opened")
    file = EventsFile(OutputFolder(tmp_path), log)
    log.emit("a", "größer", size=3)
    file.close()
    file.close()
    log.emit("late", "after it was closed")
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["early", "a"]
    assert [json.loads(line)["schema_version"] for line in lines] == [2, 2]
    assert json.loads(lines[1])["message"] == "größer"


class TestControls:
    def test_the_threshold_changes_and_says_so_once(self) -> None:
        log = EventLog()
        controls = StreamControls(0.5, log)
        controls.set_threshold(0.7)
        controls.set_threshold(0.7)
        assert controls.threshold == 0.7
        assert [event.data for event in log.recent()] == [{"before": 0.5, "threshold": 0.7}]

    @pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, 2.0, float("nan"), float("inf")])
    def test_no_threshold(self, threshold: float) -> None:
        controls = StreamControls(0.5)
        with pytest.raises(ConfigError, match="threshold is"):
            controls.set_threshold(threshold)
        assert controls.threshold == 0.5
        with pytest.raises(ConfigError, match="threshold is"):
            StreamControls(threshold)

    def test_pausing_twice_is_pausing_once(self) -> None:
        log = EventLog()
        controls = StreamControls(0.5, log)
        for switch in (controls.pause, controls.pause, controls.resume, controls.resume):
            switch()
        assert [event.kind for event in log.recent()] == ["stream.paused", "stream.resumed"]


def test_a_snapshot_is_the_newest_result_in_three_files(tmp_path: Path) -> None:
    log = EventLog()
    snapshots = Snapshots(OutputFolder(tmp_path), log)
    assert snapshots.take() is None
    snapshots.write(result_of(frame(3)))
    snapshots.write(result_of(frame(4)))
    path = snapshots.take()
    assert path is not None
    assert path.name == "20231114T221320_000004_overlay.png"
    assert sorted(item.name.rpartition("000004")[2] for item in path.parent.iterdir()) == [
        ".json",
        ".png",
        "_overlay.png",
    ]
    assert log.counts() == {"snapshot.taken": 1}


def test_a_snapshot_never_takes_the_place_of_another(tmp_path: Path) -> None:
    """A recording that is replayed shows the same frame at the same time again."""
    for _ in range(3):
        snapshots = Snapshots(OutputFolder(tmp_path), EventLog())
        snapshots.write(result_of(frame(4)))
        assert snapshots.take() is not None
        OutputFolder(tmp_path).clear()
    names = {path.name for path in (tmp_path / "snapshots").iterdir()}
    stem = "20231114T221320_000004"
    assert names == {
        f"{stem}{number}{end}"
        for number in ("", "_2", "_3")
        for end in (".png", ".json", "_overlay.png")
    }

"""What edgecrack writes, against the JSON Schemas that come with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgecrack.prediction.batch import PredictConfig, predict_images
from edgecrack.prediction.results import RESULT_SCHEMA_VERSION
from edgecrack.run_survey.survey_record import SURVEY_SCHEMA_VERSION
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.frame import FrameResult, Position
from edgecrack.runtime.measuring.width_record import WIDTHS_SCHEMA_VERSION, width_record
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.run_parts import SUMMARY_SCHEMA_VERSION
from edgecrack.runtime.outputs.sinks import FRAME_SCHEMA_VERSION, Snapshots, frame_record
from edgecrack.runtime.stream import run_stream
from edgecrack.runtime.stream_config import StreamConfig
from edgecrack.runtime.telemetry.events import EVENT_SCHEMA_VERSION, EventLog, log_to
from edgecrack.runtime.tracking.findings import FINDING_SCHEMA_VERSION
from tests.runtime.fakes import frame, picture, result_of
from tests.runtime.models import IdentityRunner, write_quick_model

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is of the dev extra")

NAMES = ("frame", "event", "summary", "result", "width", "finding", "survey")


def schema(name: str) -> dict[str, Any]:
    file = resources.files("edgecrack") / "schemas" / f"{name}.schema.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def check(name: str, documents: Iterable[Mapping[str, Any]], *, all_known: bool = True) -> int:
    """Validate documents; `all_known` also sees that the schema tells of every field."""
    validator = jsonschema.Draft202012Validator(schema(name))
    number = 0
    for document in documents:
        number += 1
        plain = json.loads(json.dumps(document))
        assert [error.message for error in validator.iter_errors(plain)] == []
        if all_known:
            assert plain.keys() <= validator.schema["properties"].keys()
    return number


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_schema_that_explains_every_field(name: str) -> None:
    found = schema(name)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(found)
    assert all(field["description"] for field in found["properties"].values())
    version = found["properties"]["schema_version"]["const"]
    assert found["$id"] == f"urn:edgecrack:schema:{name}:{version}"


def test_the_versions_are_those_that_are_written() -> None:
    versions = [schema(name)["properties"]["schema_version"]["const"] for name in NAMES]
    assert versions == [
        FRAME_SCHEMA_VERSION, EVENT_SCHEMA_VERSION, SUMMARY_SCHEMA_VERSION, RESULT_SCHEMA_VERSION,
        WIDTHS_SCHEMA_VERSION, FINDING_SCHEMA_VERSION, SURVEY_SCHEMA_VERSION,
    ]  # fmt: skip


def test_lines_of_widths() -> None:
    results = [result_of(frame(index)) for index in range(3)]
    assert check("width", map(width_record, results)) == 3


def test_lines_of_predict(tmp_path: Path) -> None:
    for index in range(2):
        assert cv2.imwrite(str(tmp_path / f"{index}.png"), picture(index))
    (tmp_path / "2.png").write_bytes(b"no picture")
    (tmp_path / "plan.pdf").write_bytes(b"%PDF")
    detector = CrackDetector(IdentityRunner((64, 64)), "bright", threshold=0.5)
    predict_images(detector, [tmp_path], PredictConfig(tmp_path / "out", ("mask",)))
    assert check("result", lines(tmp_path / "out" / "results.jsonl")) == 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quick_model(tmp_path_factory.mktemp("model") / "quick.onnx")


@pytest.mark.usefixtures("one_demo_wall")
class TestRun:
    def stream(self, out: Path, model: Path, source: str, **more: Any) -> None:
        config = StreamConfig(source, out, model=model, save=("jsonl",), threads=1, **more)
        run_stream(config)

    def test_of_a_file(self, tmp_path: Path, model: Path) -> None:
        self.stream(tmp_path / "out", model, "demo?frames=3")
        assert check("frame", lines(tmp_path / "out" / "frames.jsonl")) == 3
        check("event", lines(tmp_path / "out" / "events.jsonl"), all_known=False)
        document = json.loads((tmp_path / "out" / "summary.json").read_text())
        check("summary", [document])
        known = schema("summary")["properties"]["parts"]["items"]["properties"]
        assert document["parts"][0].keys() <= known.keys()
        # The other way about, too: nothing is told of that is not written.
        assert (
            schema("frame")["properties"].keys()
            == lines(tmp_path / "out" / "frames.jsonl")[0].keys()
        )
        assert schema("summary")["properties"].keys() == document.keys()

    def test_in_several_parts_one_of_which_was_killed(self, tmp_path: Path, model: Path) -> None:
        out = tmp_path / "out"
        self.stream(out, model, "demo?live=1", max_frames=2)
        ledger = out / ".edgecrack-files"
        kept = [line for line in ledger.read_text().splitlines() if '"end"' not in line]
        ledger.write_text("\n".join(kept) + "\n")  # as a kill leaves it
        self.stream(out, model, "demo?live=1", max_frames=2, existing="continue")
        document = json.loads((out / "summary.json").read_text())
        assert [part["end_reason"] for part in document["parts"]] == ["killed", "max frames"]
        check("summary", [document])
        check("frame", lines(out / "part-2" / "frames.jsonl"))
        assert check("event", lines(out / "part-2" / "events.jsonl"), all_known=False) >= 1

    def test_that_goes_on(self, tmp_path: Path, model: Path) -> None:
        from edgecrack.runtime.session import open_session

        config = StreamConfig("demo", tmp_path / "out", model=model, existing="continue", threads=1)
        for _ in range(2):
            with open_session(config, EventLog()):
                pass
        check("summary", [json.loads((tmp_path / "out" / "summary.json").read_text())])

    def test_whose_log_is_json(self, tmp_path: Path, model: Path) -> None:
        said: list[str] = []
        undo = log_to(said.append, "json")
        try:
            self.stream(tmp_path, model, "demo?frames=1", log_format="json")
            logging.getLogger("edgecrack.runtime").error("a read is stuck")
            EventLog().emit("finding.closed", "finding 1", "detail", finding={"id": 1})
        finally:
            undo()
        assert check("event", map(json.loads, said), all_known=False) >= 2


def results() -> list[FrameResult]:
    known = Position(1, 2.0, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0), 52.5, 13.4, 34.0, 12.5)
    return [
        result_of(frame(0)),
        replace(result_of(frame(1)), position=known),
        replace(result_of(frame(2)), position=Position(1)),
        result_of(replace(frame(3), capture_time_ns=None, media_time_ms=None)),
    ]


def test_frames_with_and_without_a_position_or_a_time() -> None:
    assert check("frame", map(frame_record, results())) == 4


def test_a_snapshot_is_told_like_a_frame(tmp_path: Path) -> None:
    snapshots = Snapshots(OutputFolder(tmp_path), EventLog())
    snapshots.write(result_of(frame(4)))
    snapshots.take()
    (path,) = (tmp_path / "snapshots").glob("*.json")
    check("frame", [json.loads(path.read_text())])


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"frame": -1},
        {"captured_at": "yesterday"},
        {"boxes": [[1, 2, 3, 4]]},
        {"time_source": "guess"},
        {"inspected_ratio": 1.5},
    ],
)
def test_what_is_wrong_is_refused(change: dict[str, Any]) -> None:
    line = {**json.loads(json.dumps(frame_record(results()[0]))), **change}
    assert not jsonschema.Draft202012Validator(schema("frame")).is_valid(line)


def test_a_line_of_an_earlier_version_is_refused_and_a_new_field_is_not() -> None:
    validator = jsonschema.Draft202012Validator(schema("frame"))
    line = json.loads(json.dumps(frame_record(results()[0])))
    assert validator.is_valid({**line, "of_a_later_version": 1})
    line["version"] = line.pop("schema_version") - 1
    assert not validator.is_valid(line)

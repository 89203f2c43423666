"""`edgecrack survey` from the command line: of a run, of a video, and of what is neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgecrack.cli import app, main
from tests.run_survey.kept_flight import keep, views
from tests.runtime.fakes import write_video
from tests.runtime.models import write_quick_model
from tests.survey.small_walls import along


def test_a_run_is_surveyed_and_told(tmp_path: Path) -> None:
    keep(tmp_path, views(along(0, 440, 60)))
    outcome = CliRunner().invoke(app, ["survey", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert "1 confirmed crack, " in outcome.stdout
    assert f"survey: {tmp_path / 'survey'}" in outcome.stdout
    assert "crack 1: 6" in outcome.stdout
    again = CliRunner().invoke(app, ["survey", str(tmp_path), "--json", "-o", str(tmp_path / "b")])
    assert json.loads(again.stdout)["count"]["high"] == 1
    assert (tmp_path / "b" / "map.png").is_file()


def test_a_video_is_streamed_and_surveyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = write_quick_model(tmp_path / "quick.onnx")
    write_video(tmp_path / "wall.mp4", [each.frame.image for each in views(along(0, 200, 60))])
    words = ["survey", "wall.mp4", "--model", str(model), "-o", "run", "--mm-per-pixel", "0.1"]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0, outcome.output
    document = json.loads((tmp_path / "run" / "survey" / "cracks.json").read_text())
    assert len(document["sheets"]) == 1
    assert document["coverage"]["shares"]["skipped"] == 0
    assert (tmp_path / "run" / "frames.jsonl").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["survey", "nowhere.mp4"], "nowhere.mp4"),
        (["survey", "RUN", "--threshold", "0.5"], "is a run already"),
        (["survey", "RUN", "--mount", "1,2"], "the mount is '1,2'"),
        (["survey", "RUN", "--severity", "nobody"], "nobody"),
        (["survey", "EMPTY"], "EMPTY"),
    ],
)
def test_what_cannot_be_surveyed_is_one_sentence(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    keep(tmp_path / "RUN", views(along(0, 40, 60)))
    (tmp_path / "EMPTY").mkdir()
    monkeypatch.setattr("sys.argv", ["edgecrack", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().err
    assert ended.value.code in (2, 3, 4, 5)
    assert message in shown
    assert "Traceback" not in shown
    assert shown.strip().count("\n") == 0

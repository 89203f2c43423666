"""A run and its parts: what `summary.json` says of them, also of one that was killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.output_place import ResultsPlace
from edgecrack.runtime.outputs.run_parts import RunPart, plan_part, why_not_to_go_on
from edgecrack.runtime.telemetry.stats import EndReason, StatsSnapshot, StreamSummary

SETTINGS = {"source": "demo", "model": "ab12", "threshold": "0.5"}


def summary_of(
    frames: int = 0, reason: EndReason = "running", elapsed_s: float = 0.0, **changes: Any
) -> StreamSummary:
    stats = StatsSnapshot(
        frames=frames,
        fps=2.0,
        fps_overall=2.0,
        latency_p50_ms=80.0,
        latency_p95_ms=120.0,
        inference_p50_ms=60.0,
        crack_pixels=5,
        crack_pixels_total=100 * frames,
        frames_with_cracks=frames // 2,
        drops=1,
        elapsed_s=elapsed_s,
        findings=frames // 4,
    )
    given: dict[str, Any] = {
        "source": "demo",
        "model": "m.onnx",
        "threshold": 0.5,
        "min_area_px": 60,
        "started_at": "2026-11-30T08:00:00+00:00",
        "ended_at": None if reason == "running" else "2026-11-30T09:00:00+00:00",
        "end_reason": reason,
        "error": None,
        "frames_read": frames,
        "frames_expected": None,
        "truncated": False,
        "stats": stats,
    }
    return StreamSummary(**(given | changes))


def begin(out: Path, settings: dict[str, str] | None = None) -> RunPart:
    """As a stream with --continue does it, where only one is at work."""
    settings = SETTINGS if settings is None else settings
    folder = OutputFolder(out)
    goes_on = why_not_to_go_on(folder.notes(), settings) is None
    part = plan_part(ResultsPlace(folder, goes_on=goes_on), Path("asked/for"), settings)
    part.begin(summary_of())
    return part


def read(out: Path) -> Any:
    return json.loads((out / "summary.json").read_text())


def write_frames(part: RunPart, cracks: list[int], torn: str = "") -> None:
    lines = [json.dumps({"frame": n, "crack_pixels": px}) for n, px in enumerate(cracks)]
    part.folder.claim("frames.jsonl").write_text("\n".join(lines) + "\n" + torn)


def test_a_run_of_one_part_is_what_its_stream_did(tmp_path: Path) -> None:
    part = begin(tmp_path)
    assert not (tmp_path / "summary.json").exists()  # one that is there tells of results
    assert part.note == ""
    summary = summary_of(8, "stopped", 4.0)
    part.end(summary)
    saved = read(tmp_path)
    assert saved == part.document(summary)
    assert saved["schema_version"] == 1
    assert saved["run"] == {
        "id": part.run_id,
        "started_at": part.started_at,
        "folder": str(tmp_path),
        "requested_folder": "asked/for",
    }
    flat = {**json.loads(json.dumps(summary.to_dict())), "started_at": part.started_at}
    assert {key: saved[key] for key in flat} == flat
    (entry,) = saved["parts"]
    assert (entry["part"], entry["folder"], entry["frames"]) == (1, ".", 8)
    assert (entry["end_reason"], entry["ended_at"]) == ("stopped", "2026-11-30T09:00:00+00:00")


def test_parts_add_up(tmp_path: Path) -> None:
    first = begin(tmp_path)
    first.end(summary_of(8, "stopped", 4.0))
    second = begin(tmp_path)
    assert (second.run_id, second.number) == (first.run_id, 2)
    assert second.folder.path == tmp_path / "part-2"
    assert first.run_id in second.note
    second.end(
        summary_of(20, "failed", 16.0, error="the cable was pulled; plug it in.", threshold=0.7)
    )
    third = begin(tmp_path)
    third.end(summary_of(4, "stopped", 4.0, truncated=True))
    saved = read(tmp_path)
    assert saved["run"]["id"] == first.run_id
    assert saved["started_at"] == saved["run"]["started_at"] == first.started_at
    assert [part["folder"] for part in saved["parts"]] == [".", "part-2", "part-3"]
    assert [part["end_reason"] for part in saved["parts"]] == ["stopped", "failed", "stopped"]
    assert [part["error"] for part in saved["parts"]] == [
        None,
        "the cable was pulled; plug it in.",
        None,
    ]
    assert (saved["frames"], saved["frames_with_cracks"], saved["drops"]) == (32, 16, 3)
    assert (saved["elapsed_s"], saved["fps_overall"]) == (24.0, round(32 / 24, 3))
    assert saved["truncated"] is True
    assert (saved["end_reason"], saved["error"]) == ("stopped", None)


def test_throttling_adds_up_over_the_parts_and_ends_as_in_the_last(tmp_path: Path) -> None:
    for seconds, frames, state in ((10.0, 30, "throttled"), (5.0, 6, "not throttled")):
        stats = replace(
            summary_of().stats,
            throttling=state,  # type: ignore[arg-type]
            throttle_episodes=1,
            throttled_s=seconds,
            throttled_frames=frames,
            throttled_fps=frames / seconds,
        )
        begin(tmp_path).end(summary_of(8, "stopped", 20.0, stats=stats))
    saved = read(tmp_path)
    assert (saved["throttling"], saved["throttle_episodes"]) == ("not throttled", 2)
    assert (saved["throttled_s"], saved["throttled_frames"]) == (15.0, 36)
    assert saved["throttled_fps"] == 2.4
    assert [part["throttled_fps"] for part in saved["parts"]] == [3.0, 1.2]


def test_a_part_that_was_killed_is_listed_with_what_its_lines_tell(tmp_path: Path) -> None:
    write_frames(begin(tmp_path), [0, 7, 0, 12], torn='{"frame": 4, "crack_pixels": 9')
    second = begin(tmp_path)
    entry = {
        "part": 1,
        "folder": ".",
        "ended_at": None,
        "end_reason": "killed",
        "error": None,
        "frames": 4,
        "frames_with_cracks": 2,
        "crack_pixels_total": 19,
    }
    for _ in range(2):  # at once, and at the end
        saved = read(tmp_path)
        assert {**saved["parts"][0], **entry} == saved["parts"][0]
        second.end(summary_of(8, "stopped", 4.0))
    saved = read(tmp_path)
    assert (saved["frames"], saved["frames_with_cracks"], saved["crack_pixels_total"]) == (
        12,
        6,
        819,
    )
    assert saved["fps_overall"] == 2.0  # how long the killed part took is not known
    # Its lines are counted once: hours of them would hold up every start.
    (tmp_path / "frames.jsonl").unlink()
    begin(tmp_path).end(summary_of(0, "stopped", 1.0))
    assert read(tmp_path)["parts"][0]["frames"] == 4


def test_a_killed_part_without_lines_has_frames_that_nobody_knows(tmp_path: Path) -> None:
    begin(tmp_path)
    begin(tmp_path)
    saved = read(tmp_path)
    assert saved["parts"][0]["frames"] is None
    assert saved["frames"] == 0


def test_while_a_further_part_runs_the_summary_says_so(tmp_path: Path) -> None:
    begin(tmp_path).end(summary_of(8, "stopped", 4.0))
    begin(tmp_path)
    saved = read(tmp_path)
    assert [part["end_reason"] for part in saved["parts"]] == ["stopped", "running"]
    assert saved["parts"][1]["ended_at"] is None
    assert (saved["end_reason"], saved["frames"]) == ("running", 8)


def test_a_part_of_which_the_summary_could_not_be_written_has_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecrack.errors import OutputError
    from edgecrack.runtime.outputs import run_parts

    def fail(*arguments: object) -> None:
        raise OutputError("the disk is full", "free some space")

    part = begin(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(run_parts, "write_atomic", fail)
        with pytest.raises(OutputError, match="the disk is full"):
            part.end(summary_of(8, "failed", 4.0, error="the disk is full; free some space."))
    begin(tmp_path)
    assert read(tmp_path)["parts"][0]["end_reason"] == "failed"


@pytest.mark.parametrize("reason", ["end of source", "max frames"])
def test_a_run_that_ended_by_itself_is_complete(tmp_path: Path, reason: EndReason) -> None:
    part = begin(tmp_path)
    part.end(summary_of(8, reason, 4.0))
    assert why_not_to_go_on(part.folder.notes(), SETTINGS) == f"is complete ({reason})"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({**SETTINGS, "model": "cd34"}, "model"),
        ({**SETTINGS, "threshold": "0.7", "source": "camera:0"}, "source, threshold"),
        ({**SETTINGS, "ignore": "arm.png"}, "ignore"),
        ({"source": "demo", "model": "ab12"}, "threshold"),
    ],
)
def test_a_run_with_other_settings_is_another_run(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    part = begin(tmp_path)
    part.end(summary_of(8, "stopped", 4.0))
    assert why_not_to_go_on(part.folder.notes(), settings) == f"had other settings ({named})"
    other = begin(tmp_path, settings)
    assert (other.number, other.earlier) == (1, ())
    assert other.run_id != part.run_id


@pytest.mark.parametrize("notes", [[], [{"part": 1}], [{"run": "a", "part": 1, "end": {}}]])
def test_results_of_earlier_versions_are_not_gone_on_with(notes: list[dict[str, Any]]) -> None:
    assert why_not_to_go_on(notes, SETTINGS) == "has no record of its settings"


def test_runs_that_begin_at_the_same_moment_have_names_of_their_own(tmp_path: Path) -> None:
    ids = {begin(tmp_path / str(number)).run_id for number in range(50)}
    assert len(ids) == 50

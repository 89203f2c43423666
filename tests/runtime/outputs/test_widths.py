"""Widths as an output: in a thread that leaves frames out before anything waits for it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.errors import OutputError
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.measuring import width_record as width_module
from edgecrack.runtime.measuring.frame_scale import FrameScale
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.sinks import WidthSink
from tests.runtime.fakes import frame, result_of, stream_threads
from tests.waiting import PATIENCE_S, wait_until

HW = (80, 160)


def wall(index: int, *, live: bool) -> FrameResult:
    """A dark bar of 4 px on a noisy wall, and the mask of a detector that found it."""
    light = np.full(HW, 0.4)
    light[38:42, 10:150] = 0.06
    noise = np.random.default_rng(index).normal(0, 2, HW)
    image = 255 * cv2.GaussianBlur(light, (0, 0), 1.0) ** (1 / 2.2) + noise
    picture = np.dstack([np.clip(image, 0, 255).astype(np.uint8)] * 3)
    mask = np.zeros(HW, np.uint8)
    mask[37:43, 10:150] = 255
    taken = replace(frame(index, picture), live=live)
    return replace(result_of(taken), probability=mask, mask=mask)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "widths.jsonl").read_text().splitlines()]


def test_every_frame_of_a_recording_is_measured(tmp_path: Path) -> None:
    sink = WidthSink(OutputFolder(tmp_path))
    for index in range(4):
        sink.write(wall(index, live=False))
    sink.close()
    found = lines(tmp_path)
    assert [line["frame"] for line in found] == [0, 1, 2, 3]
    for line in found:
        (crack,) = line["cracks"]
        assert crack["length_px"] == pytest.approx(140, rel=0.06)
        mean = crack["width"]["mean"]
        assert mean["low_px"] <= 4 <= mean["high_px"]
        assert mean["value_px"] == pytest.approx(4, abs=0.7)
        assert line["fitness"]["verdict"] in ("measure", "detect")
    assert "edgecrack-widths" not in stream_threads()


def test_of_a_camera_the_newest_is_measured_and_nothing_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, go_on = threading.Event(), threading.Event()
    real = width_module.width_record

    def slow(result: FrameResult, scale: FrameScale | None) -> dict[str, Any]:
        at_work.set()
        assert go_on.wait(PATIENCE_S)
        return real(result, scale)

    monkeypatch.setattr(width_module, "width_record", slow)
    sink = WidthSink(OutputFolder(tmp_path))
    sink.write(wall(0, live=True))
    assert at_work.wait(PATIENCE_S)
    for index in range(1, 6):
        sink.write(wall(index, live=True))  # returns at once
    go_on.set()
    sink.close()
    assert [line["frame"] for line in lines(tmp_path)] == [0, 5]
    assert sink.left_out == 4


def test_a_disk_that_is_full_is_an_error_of_this_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = WidthSink(OutputFolder(tmp_path))

    def full(record: Any) -> None:
        raise OutputError("cannot write widths.jsonl: disk full", "free some space")

    monkeypatch.setattr(sink._lines, "append", full)
    sink.write(wall(0, live=False))
    wait_until(lambda: "edgecrack-widths" not in stream_threads())
    with pytest.raises(OutputError, match="disk full"):
        sink.write(wall(1, live=False))
    with pytest.raises(OutputError, match="disk full"):
        sink.close()


def test_nothing_written_is_an_empty_file(tmp_path: Path) -> None:
    WidthSink(OutputFolder(tmp_path)).close()
    assert lines(tmp_path) == []

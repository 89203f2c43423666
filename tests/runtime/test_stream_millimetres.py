"""`edgecrack stream` in millimetres from end to end: real files, a real port, the real network."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.measuring.frame_scale import NO_RANGE
from edgecrack.runtime.measuring.stream_scale import RecordedCamera, StreamScale, stream_scale
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.stream import run_stream
from edgecrack.runtime.stream_config import StreamConfig
from edgecrack.scale.quantity import Quantity
from tests.runtime.measuring.cameras import FOCAL_PX, HW, camera_path, picture, write_dark_model
from tests.runtime.recording.reading import read_with_rosbags
from tests.runtime.sources import bags
from tests.runtime.sources.bags import START_NS, Entry

IMAGE, INFO = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
RANGE = "sensor_msgs/msg/Range"
RANGE_M = 0.05  # 0.1 mm a pixel


def survey(folder: Path, *, ranges: int = 4) -> Path:
    """Four pictures of a crack 4 px wide, the camera's calibration, and a range for the first."""
    entries: list[Entry] = []
    for index in range(4):
        time_ns = START_NS + index * 1000 * 10**6
        image = bags.compressed(bags.png_of(picture(index)), time_ns, "png")
        entries.append(("/camera/image/compressed", time_ns, IMAGE, image))
        info = bags.camera_info(FOCAL_PX, HW[::-1], time_ns)
        entries.append(("/camera/camera_info", time_ns, INFO, info))
        if index < ranges:
            entries.append(("/laser", time_ns, RANGE, bags.range_of(RANGE_M, time_ns, (0.01, 9))))
    return bags.write_bag(folder, entries)


def photos(folder: Path, count: int = 2) -> Path:
    folder.mkdir()
    for index in range(count):
        assert cv2.imwrite(str(folder / f"{index}.png"), picture(index))
    return folder


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled network does not take the drawn bar for a crack."""
    return write_dark_model(tmp_path_factory.mktemp("model") / "dark.onnx")


def measured(config: StreamConfig) -> list[dict[str, Any]]:
    run_stream(replace(config, threads=1))
    lines = (config.out / "widths.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def mean_mm(line: dict[str, Any]) -> dict[str, float]:
    (crack,) = line["cracks"]
    found: dict[str, float] = crack["width_mm"]["mean"]
    return found


def test_by_a_figure_and_recorded(tmp_path: Path, dark: Path) -> None:
    config = StreamConfig(
        str(photos(tmp_path / "photos")), tmp_path / "out", save=("jsonl",),
        model=dark, scale=stream_scale("0.1+-0.002"), record=RecordingConfig(tmp_path / "run.mcap"),
    )  # fmt: skip
    lines = measured(config)
    assert len(lines) == 2
    for line in lines:
        mean = mean_mm(line)
        assert mean["low_mm"] <= 0.4 <= mean["high_mm"]
        assert mean["high_mm"] - mean["low_mm"] < 0.25
        assert line["cracks"][0]["length_mm"]["value_mm"] == pytest.approx(20, rel=0.08)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["measured"] == 2
    assert summary["fit_ratio"] == summary["fit_to_measure"] / 2
    recorded = [
        json.loads(one.message.data)
        for one in read_with_rosbags(tmp_path / "run_0001.mcap")
        if one.topic == "/edgecrack/widths"
    ]
    assert recorded == lines


def test_by_camera_and_range_out_of_one_recording(tmp_path: Path, dark: Path) -> None:
    config = StreamConfig(
        str(survey(tmp_path, ranges=2)), tmp_path / "out", model=dark, save=("jsonl",),
        scale=StreamScale(camera=RecordedCamera()), position="recording",
    )  # fmt: skip
    lines = measured(config)
    assert [line["scale"]["reason"] for line in lines] == ["", "", NO_RANGE, NO_RANGE]
    for line in lines[:2]:
        assert line["scale"]["source"] == "camera and range"
        assert line["scale"]["mm_per_px"] == pytest.approx(0.1, rel=0.004)
        assert line["scale"]["spread_95_mm_per_px"] is None  # ROS says no uncertainties
        assert mean_mm(line)["value_mm"] == pytest.approx(0.4, abs=0.08)
    for line in lines[2:]:
        assert line["cracks"][0]["width_mm"] is None
        assert line["cracks"][0]["width"]["mean"] is not None
    events = (tmp_path / "out" / "events.jsonl").read_text()
    assert events.count('"scale.refused"') == 1


def test_a_recording_without_ranges_or_camera_is_refused_at_once(tmp_path: Path) -> None:
    path = survey(tmp_path, ranges=0)
    config = StreamConfig(
        str(path), tmp_path / "out", scale=StreamScale(camera=RecordedCamera()),
        position="recording",
    )  # fmt: skip
    with pytest.raises(SourceError, match="holds no positions"):
        run_stream(config)
    by_distance = StreamScale(camera=RecordedCamera(), distance_m=Quantity(1.0))
    with pytest.raises(ConfigError, match="the camera is to come from the recording"):
        run_stream(StreamConfig("demo", tmp_path / "out", scale=by_distance))
    assert not (tmp_path / "out").exists()


@contextmanager
def range_finder(port: int) -> Iterator[None]:
    """Sends a range every 20 ms, without a time of its own."""
    stop = threading.Event()

    def send() -> None:
        line = json.dumps({"range": RANGE_M, "range_u": 0.0005}).encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not stop.wait(0.02):
                out.sendto(line, ("127.0.0.1", port))

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_of_a_live_source_the_range_comes_over_a_port(tmp_path: Path) -> None:
    """The demo's pictures have another size than the camera's, and the same shape."""
    port = free_port()
    scale = stream_scale(
        camera_file=str(camera_path(tmp_path, image_size=(640, 480), matrix=_vga()))
    )
    config = StreamConfig(
        "demo?live=1", tmp_path / "out", save=("jsonl",), max_frames=6, scale=scale,
        position=f"udp://127.0.0.1:{port}",
    )  # fmt: skip
    with range_finder(port):
        lines = measured(config)
    frames = (tmp_path / "out" / "frames.jsonl").read_text().splitlines()
    assert json.loads(frames[-1])["position"]["range_m"] == pytest.approx(RANGE_M)
    last = lines[-1]
    assert last["scale"]["reason"] == ""
    assert last["scale"]["distance_m"] == RANGE_M
    assert last["scale"]["spread_95_mm_per_px"] > 0
    assert any(crack["width_mm"] is not None for line in lines for crack in line["cracks"])


def _vga() -> Any:
    return np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fixed_focus": False}, "focuses or zooms by itself"),
        ({"image_size": (240, 240)}, "another shape"),
    ],
)
def test_millimetres_that_would_be_wrong_are_not_written(
    changes: dict[str, Any], reason: str, tmp_path: Path, dark: Path
) -> None:
    scale = stream_scale(camera_file=str(camera_path(tmp_path, **changes)), distance_m="0.05")
    source = str(photos(tmp_path / "photos", 1))
    config = StreamConfig(source, tmp_path / "out", model=dark, save=("none",), scale=scale)
    (line,) = measured(config)
    assert reason in line["scale"]["reason"]
    assert line["scale"]["mm_per_px"] is None
    (crack,) = line["cracks"]
    assert (crack["length_mm"], crack["width_mm"], crack["budget"]) == (None, None, None)
    assert crack["width"]["mean"]["value_px"] == pytest.approx(4, abs=0.8)


def test_a_scale_changes_nothing_else(tmp_path: Path, dark: Path) -> None:
    source = str(photos(tmp_path / "photos", 1))
    lines = [
        measured(StreamConfig(source, tmp_path / name, model=dark, save=("widths",), scale=scale))[
            0
        ]
        for name, scale in (("plain", None), ("scaled", stream_scale("0.1+-0.002")))
    ]
    assert [len(line["cracks"]) for line in lines] == [1, 1]
    for line in lines:
        for crack in line["cracks"]:
            for name in ("length_mm", "width_mm", "budget"):
                del crack[name]
        del line["scale"]
    assert lines[0] == lines[1]


def test_frames_carry_the_figures_of_the_newest_measured_frame(tmp_path: Path, dark: Path) -> None:
    config = StreamConfig(
        str(photos(tmp_path / "photos", 6)), tmp_path / "out", save=("jsonl", "widths"),
        model=dark, scale=stream_scale("0.1+-0.002"),
    )  # fmt: skip
    records = {record["frame"]: record for record in measured(config)}
    text = (tmp_path / "out" / "frames.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    known = [line for line in lines if line["widths"] is not None]
    assert known
    for line in known:
        widths = line["widths"]
        assert widths["frame"] <= line["frame"]
        (crack,), (full,) = widths["cracks"], records[widths["frame"]]["cracks"]
        assert crack["length_mm"] == full["length_mm"]["value_mm"]
        assert crack["width_mm"] == full["width_mm"]["mean"]
        assert widths["mm_per_px"] == 0.1

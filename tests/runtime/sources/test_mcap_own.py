"""What edgecrack recorded, replayed: the same pictures, times and positions."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.position.open import open_positions
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.recorder import McapRecorder
from edgecrack.runtime.sources.mcap_recording import open_recording
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.telemetry.events import EventLog
from tests.runtime.fakes import BrightDetector, ListSink
from tests.runtime.sources import bags
from tests.runtime.sources.bags import PERIOD_NS, START_NS, Entry, images

COUNT = 15


def journey() -> list[Entry]:
    """Images of a robot that drives a metre a second, with odometry and GNSS."""
    entries = images(COUNT)
    for index in range(COUNT):
        time_ns = START_NS + index * PERIOD_NS
        odometry = bags.odometry((index * 0.04, 0, 0), time_ns=time_ns)
        entries.append(("/odom", time_ns, "nav_msgs/msg/Odometry", odometry))
        fix = bags.fix(50.0, 10.0 + index * 1e-6, 30.0, time_ns)
        entries.append(("/fix", time_ns, "sensor_msgs/msg/NavSatFix", fix))
    return sorted(entries, key=lambda entry: entry[1])


def run(path: Path, recorder: McapRecorder | None = None) -> ListSink:
    """Replay a recording with its positions."""
    sink = ListSink()
    positions = open_positions("recording", str(path), EventLog())
    with open_recording(path, SourceOptions()) as source:
        config = PipelineConfig(positions=positions)
        run_pipeline(source, BrightDetector(), [sink, *([recorder] if recorder else [])], config)
    positions.close()
    return sink


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[ListSink, Path]:
    """The results of replaying a foreign recording, and the recording of them."""
    folder = tmp_path_factory.mktemp("own")
    recorder = McapRecorder(
        RecordingConfig(folder / "run.mcap"), events=EventLog(), stats=None, about={}
    )
    results = run(bags.write_bag(folder, journey()), recorder)
    return results, folder / "run_0001.mcap"


def test_an_own_recording_is_replayed_as_it_was_seen(own: tuple[ListSink, Path]) -> None:
    first, path = own
    second = run(path)
    assert len(second.results) == COUNT
    for seen, again in zip(first.results, second.results, strict=True):
        assert again.frame.jpeg == seen.frame.jpeg
        assert again.frame.capture_time_ns == seen.frame.capture_time_ns
        assert again.frame.media_time_ms == seen.frame.media_time_ms
        assert (again.mask == seen.mask).all()
        assert again.position is not None
        assert seen.position is not None
        assert again.position.xyz_m == pytest.approx(seen.position.xyz_m)
        assert again.position.longitude_deg == pytest.approx(seen.position.longitude_deg, abs=1e-9)
        assert again.position.distance_m == pytest.approx(seen.position.distance_m, abs=0.011)


def test_an_own_recording_whose_recorder_was_killed_is_replayed_as_far_as_whole(
    own: tuple[ListSink, Path], tmp_path: Path
) -> None:
    first, path = own
    whole = path.read_bytes()
    # Within the index of the last chunk: before the end of data and the summary, which begins
    # where the footer, 28 bytes with the magic behind it, says.
    summary_start = int.from_bytes(whole[-28:-20], "little")
    part = tmp_path / "run_0001.mcap.part"
    part.write_bytes(whole[: summary_start - 30])
    with open_recording(part, SourceOptions()) as source:
        frames = []
        while (frame := source.read()) is not None:
            frames.append(frame)
        assert source.is_cut_short
        assert source.corrupt_frames == 0
    assert [frame.jpeg for frame in frames] == [result.frame.jpeg for result in first.results]

"""Positions out of recordings that rosbags wrote."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2.enums import CompressionMode

from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.frame import Position
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.position.open import PositionSource, open_positions
from edgecrack.runtime.position.replay import recorded_positions
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.recorder import McapRecorder
from edgecrack.runtime.sources.mcap_recording import open_recording
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.telemetry.events import EventLog
from tests.runtime.fakes import BrightDetector, ListSink, frame, result_of
from tests.runtime.sources import bags
from tests.runtime.sources.bags import PERIOD_NS, START_NS, STORE, Entry, images

MS = 10**6
ODOMETRY, FIX = "nav_msgs/msg/Odometry", "sensor_msgs/msg/NavSatFix"
RANGE = "sensor_msgs/msg/Range"


def odometry(count: int, topic: str = "/odom") -> list[Entry]:
    """A metre a second along x at 50 Hz."""
    times = [START_NS + index * 20 * MS for index in range(count)]
    return [
        (topic, time, ODOMETRY, bags.odometry(((time - START_NS) / 1e9, 2, 0), time_ns=time))
        for time in times
    ]


def fixes(count: int, topic: str = "/fix") -> list[Entry]:
    return [
        (
            topic,
            START_NS + index * 1000 * MS,
            FIX,
            bags.fix(50.0, 10.0 + index * 1e-4, 100.0 + index, START_NS + index * 1000 * MS),
        )
        for index in range(count)
    ]


def ranges(count: int, topic: str = "/laser") -> list[Entry]:
    """From 1 m, a centimetre more every 40 ms."""
    times = [START_NS + index * 40 * MS for index in range(count)]
    return [
        (topic, time, RANGE, bags.range_of(1 + 0.01 * index, time))
        for index, time in enumerate(times)
    ]


def by_time(*groups: list[Entry]) -> list[Entry]:
    return sorted((entry for group in groups for entry in group), key=lambda entry: entry[1])


def at(positions: PositionSource, time_ns: int) -> Position:
    found = positions.locate(time_ns)
    assert found is not None
    return found


@pytest.mark.parametrize("compression", list(CompressionMode))
def test_each_frame_of_a_recording_has_its_position(
    tmp_path: Path, compression: CompressionMode
) -> None:
    path = bags.write_bag(tmp_path, by_time(images(20), odometry(60), fixes(2)), compression)
    positions = open_positions("recording", str(path), EventLog())
    sink = ListSink()
    with open_recording(path, SourceOptions()) as source:
        config = PipelineConfig(positions=positions)
        run_pipeline(source, BrightDetector(), [sink], config)
    positions.close()
    assert len(sink.results) == 20
    for index, result in enumerate(sink.results):
        found = result.position
        assert found is not None
        seconds = index * PERIOD_NS / 1e9
        assert found.xyz_m == pytest.approx((seconds, 2.0, 0.0))
        assert found.distance_m == pytest.approx(seconds, abs=0.011)
        assert found.longitude_deg == pytest.approx(10.0 + seconds * 1e-4)
        assert found.altitude_m == pytest.approx(100.0 + seconds)
        assert found.time_ns == result.frame.capture_time_ns


def test_every_kind_of_pose_is_read(tmp_path: Path) -> None:
    turn = (0.0, 0.0, math.sin(0.5), math.cos(0.5))
    whole = bags.odometry((1, 2, 3), turn, START_NS)
    kinds = {
        ODOMETRY: whole,
        "geometry_msgs/msg/PoseStamped": STORE.types["geometry_msgs/msg/PoseStamped"](
            whole.header, whole.pose.pose
        ),
        "geometry_msgs/msg/PoseWithCovarianceStamped": STORE.types[
            "geometry_msgs/msg/PoseWithCovarianceStamped"
        ](whole.header, whole.pose),
    }
    for number, (kind, message) in enumerate(kinds.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = bags.write_bag(folder, [("/pose", START_NS, kind, message)])
        found = at(recorded_positions(path), START_NS)
        assert found.xyz_m == (1.0, 2.0, 3.0)
        assert found.quaternion_xyzw == pytest.approx(turn)


def test_without_a_stamp_the_time_of_recording_counts(tmp_path: Path) -> None:
    entries = [("/odom", START_NS + 7, ODOMETRY, bags.odometry((4, 5, 6)))]
    found = at(recorded_positions(bags.write_bag(tmp_path, entries)), START_NS + 7)
    assert (found.xyz_m, found.gap_ms) == ((4.0, 5.0, 6.0), 0)


def test_an_orientation_of_zeros_is_not_one(tmp_path: Path) -> None:
    entries = [("/odom", START_NS, ODOMETRY, bags.odometry((4, 5, 6), (0, 0, 0, 0)))]
    found = at(recorded_positions(bags.write_bag(tmp_path, entries)), START_NS)
    assert (found.xyz_m, found.quaternion_xyzw) == ((4.0, 5.0, 6.0), None)


def test_messages_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    entries = odometry(600)[::-1]
    positions = recorded_positions(bags.write_mcap(tmp_path / "run.mcap", entries))
    found = at(positions, START_NS + 10_010 * MS)
    assert found.xyz_m == pytest.approx((10.01, 2.0, 0.0))
    assert found.distance_m == pytest.approx(10.01, abs=0.011)


def test_a_fast_odometry_is_thinned_and_still_exact(tmp_path: Path) -> None:
    times = [START_NS + index * 2 * MS for index in range(3_000)]  # 500 Hz
    entries = [
        ("/odom", time, ODOMETRY, bags.odometry(((time - START_NS) / 1e9, 0, 0), time_ns=time))
        for time in times
    ]
    positions = recorded_positions(bags.write_mcap(tmp_path / "run.mcap", entries))
    for time_ns in range(START_NS, START_NS + 5_900 * MS, 137 * MS):
        found = at(positions, time_ns)
        assert found.xyz_m == pytest.approx(((time_ns - START_NS) / 1e9, 0.0, 0.0), abs=1e-6)
        assert found.gap_ms <= 10


def test_receivers_without_a_fix_say_nothing(tmp_path: Path) -> None:
    nan = math.nan
    entries: list[Entry] = [
        ("/fix", START_NS, FIX, bags.fix(0.0, 0.0, 0.0, START_NS, status=-1)),
        ("/fix", START_NS + 1, FIX, bags.fix(nan, nan, nan, START_NS + 1)),
        ("/fix", START_NS + 2000 * MS, FIX, bags.fix(50.0, 10.0, nan, START_NS + 2000 * MS)),
    ]
    positions = recorded_positions(bags.write_bag(tmp_path, entries))
    assert positions.locate(START_NS) is None
    found = at(positions, START_NS + 2000 * MS)
    assert (found.latitude_deg, found.altitude_m) == (50.0, None)


def test_a_recording_without_a_single_fix_is_refused(tmp_path: Path) -> None:
    entries = [("/fix", START_NS, FIX, bags.fix(0.0, 0.0, 0.0, START_NS, status=-1))]
    with pytest.raises(SourceError, match=r"no position on /fix that can be used"):
        recorded_positions(bags.write_bag(tmp_path, entries))


def test_numbers_out_of_range_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = odometry(5)
    for index, xyz in ((1, (math.nan, 0, 0)), (3, (0, 1e30, 0))):
        entries[index] = (*entries[index][:3], bags.odometry(xyz, time_ns=entries[index][1]))
    with caplog.at_level(logging.WARNING, "edgecrack"):
        positions = recorded_positions(bags.write_bag(tmp_path, entries))
    assert at(positions, START_NS + 20 * MS).xyz_m == pytest.approx((0.02, 2.0, 0.0))
    assert ["2 positions on /odom are damaged" in text for text in caplog.messages] == [True]


def test_several_odometries_have_to_be_chosen_from(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path, by_time(odometry(3), odometry(3, "/filtered"), fixes(2)))
    with pytest.raises(SourceError, match=r"on /filtered, /odom; .*recording:/filtered"):
        recorded_positions(path)
    only = open_positions("recording: /odom", str(path), EventLog())
    assert (at(only, START_NS).xyz_m, at(only, START_NS).latitude_deg) == ((0, 2, 0), None)
    both = open_positions("recording:/odom,/fix", str(path), EventLog())
    assert (at(both, START_NS).xyz_m, at(both, START_NS).latitude_deg) == ((0, 2, 0), 50.0)
    with pytest.raises(SourceError, match=r"the same kind of position on /filtered, /odom"):
        open_positions("recording:/odom,/filtered", str(path), EventLog())


def test_of_an_own_recording_its_own_positions_are_taken(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path, by_time(odometry(3), odometry(9, "/edgecrack/pose"), fixes(1)))
    positions = recorded_positions(path)
    assert at(positions, START_NS + 160 * MS).xyz_m == pytest.approx((0.16, 2.0, 0.0))
    assert at(positions, START_NS).latitude_deg == 50.0


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        (["/gone"], r"no positions on /gone; choose of /fix, /odom"),
        (["/camera/image/compressed"], r"no positions on /camera/image/compressed"),
    ],
)
def test_topics_without_positions_are_named(tmp_path: Path, topics: Any, said: str) -> None:
    path = bags.write_bag(tmp_path, by_time(images(1), odometry(2), fixes(2)))
    with pytest.raises(SourceError, match=said):
        recorded_positions(path, topics)


def test_a_recording_of_images_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no positions; .*leave `position` out"):
        recorded_positions(bags.write_bag(tmp_path, images(2)))


@pytest.mark.parametrize("source", ["camera:0", "wall.mp4", "rtsp://camera/stream", "frames/"])
def test_the_recording_s_positions_need_a_recording(source: str) -> None:
    with pytest.raises(ConfigError, match="`position` is recording, but the source is"):
        open_positions("recording", source, EventLog())


@pytest.mark.parametrize("address", ["recording:", "recording: , "])
def test_no_topic_is_not_a_choice_of_topics(address: str) -> None:
    with pytest.raises(ConfigError, match="names no topic; give recording:/odom"):
        open_positions(address, "run.mcap", EventLog())


def test_ranges_are_read_with_poses(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path, by_time(images(2), odometry(20), ranges(5)))
    positions = open_positions("recording", str(path), EventLog(), needs_range=True)
    found = at(positions, START_NS + 60 * MS)
    assert found.range_m == pytest.approx(1.015, abs=1e-6)
    assert found.range_deviation_m is None  # Humble's Range has no variance
    assert found.xyz_m is not None
    assert at(positions, START_NS + 650 * MS).range_m == pytest.approx(1.04)
    assert at(positions, START_NS + 680 * MS).range_m is None  # the last is too long ago
    assert at(positions, START_NS + 680 * MS).xyz_m is not None


def test_what_a_range_finder_did_not_read_is_no_range(tmp_path: Path) -> None:
    inf, nan = math.inf, math.nan
    read = [0.05, 1.0, 41.0, inf, -inf, nan, -1.0]
    entries = [
        ("/laser", START_NS + index * 2000 * MS, RANGE, bags.range_of(value, 0, (0.1, 40.0)))
        for index, value in enumerate(read)
    ]
    positions = recorded_positions(bags.write_bag(tmp_path, entries))
    found = [positions.locate(entry[1]) for entry in entries]
    assert [each is not None for each in found] == [value == 1.0 for value in read]


@pytest.mark.parametrize("limits_m", [(0.0, 0.0), (0.5, 0.5)])
def test_limits_that_nobody_set_are_none(tmp_path: Path, limits_m: tuple[float, float]) -> None:
    entries = [("/laser", START_NS, RANGE, bags.range_of(1.5, START_NS, limits_m))]
    assert at(recorded_positions(bags.write_bag(tmp_path, entries)), START_NS).range_m == 1.5


def test_of_a_robot_s_many_range_finders_none_is_taken_unless_named(tmp_path: Path) -> None:
    sonars = [ranges(3, f"/sonar_{number}") for number in range(3)]
    path = bags.write_bag(tmp_path, by_time(images(2), odometry(3), *sonars))
    plain = at(open_positions("recording", str(path), EventLog()), START_NS)
    assert (plain.xyz_m, plain.range_m) == ((0.0, 2.0, 0.0), None)
    with pytest.raises(SourceError, match=r"the same kind .*/sonar_0, .*recording:/sonar_0"):
        open_positions("recording", str(path), EventLog(), needs_range=True)
    named = open_positions("recording:/odom,/sonar_1", str(path), EventLog(), needs_range=True)
    assert at(named, START_NS).range_m == 1.0
    with pytest.raises(SourceError, match=r"has no ranges for the scale: it has them on"):
        open_positions("recording:/odom", str(path), EventLog(), needs_range=True)


def test_a_recording_without_ranges_gives_no_scale(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path, by_time(images(1), odometry(3)))
    with pytest.raises(SourceError, match=r"it holds none; give `distance_m`"):
        open_positions("recording", str(path), EventLog(), needs_range=True)


def test_a_range_with_its_variance_comes_back_from_our_own_recording(tmp_path: Path) -> None:
    """And the topics of a recording from before there were ranges are read as they were."""
    config = RecordingConfig(tmp_path / "run.mcap", reserve_bytes=0)
    recorder = McapRecorder(config, events=EventLog(), stats=None, about={})
    for index in range(3):
        where = Position(START_NS + index * 40 * MS, range_m=1.5, range_deviation_m=0.25)
        taken = replace(frame(index), capture_time_ns=where.time_ns)
        recorder.write(replace(result_of(taken), position=where))
    recorder.close()
    path = tmp_path / "run_0001.mcap"
    found = at(open_positions("recording", str(path), EventLog(), needs_range=True), START_NS)
    assert (found.range_m, found.range_deviation_m) == (1.5, 0.25)

"""What is recorded, read back with readers that are not ours."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.typesys import Stores, get_typestore

from edgecrack.mcap import message_types
from edgecrack.mcap.cdr import encode
from edgecrack.measurement.regions import Region
from edgecrack.runtime.frame import CentreLines, FrameResult, Position
from edgecrack.runtime.recording import messages
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.recorder import McapRecorder
from edgecrack.runtime.telemetry.events import Event, EventLog, Level
from edgecrack.runtime.telemetry.stats import StreamStats, Throttling
from tests.runtime.recording.reading import Read, read_with_rosbags, result
from tests.waiting import wait_until

CAPTURE_NS = 1_700_000_000_123_456_789
SOMEWHERE = Position(
    time_ns=CAPTURE_NS,
    xyz_m=(1.5, -2.0, 0.25),
    quaternion_xyzw=(0.0, 0.0, 0.6, 0.8),
    latitude_deg=48.137,
    longitude_deg=11.575,
    altitude_m=519.0,
    distance_m=42.5,
    range_m=1.5,
    range_deviation_m=0.25,
)
MEASURED = {"frame": 0, "cracks": [{"length_px": 12.5}], "scale": None}
FOUND = {"id": 3, "status": "confirmed", "closed": True, "length_px": 80.0}


def two_regions() -> FrameResult:
    """Two regions of known probability."""
    made = result(0, position=SOMEWHERE)
    mask = np.zeros((48, 64), np.uint8)
    probability = np.zeros((48, 64), np.uint8)
    mask[4:8, 10:30], probability[4:8, 10:30] = 255, 204
    mask[40:48, 60:64], probability[40:48, 60:64] = 255, 255
    probability[20, 20] = 100  # below the threshold, in no region
    regions = (Region((10, 4, 30, 8), 80), Region((60, 40, 64, 48), 32))
    return replace(made, mask=mask, probability=probability, regions=regions, crack_pixels=112)


def recorded(folder: Path, *results: FrameResult) -> Path:
    events = EventLog(clock=lambda: CAPTURE_NS + 5)
    stats = StreamStats()
    about = {"source": "rtsp://***@robot/1", "model": "bright"}
    recorder = McapRecorder(
        RecordingConfig(folder / "run.mcap", reserve_bytes=0),
        events=events,
        stats=stats.snapshot,
        about=about,
    )
    for one in results:
        stats.add(one)
        recorder.write(one)
    wait_until(lambda: recorder.status().parts > 0 or not results)
    for one in results:
        recorder.take_widths(one, MEASURED)
        recorder.take_finding({**FOUND, "ended_ns": CAPTURE_NS})
    recorder.close()
    return folder / "run_0001.mcap"


def of_topic(read: list[Read], topic: str) -> list[Any]:
    return [one.message for one in read if one.topic == topic]


def stamp_ns(header: Any) -> int:
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


def test_picture_and_mask_come_back_as_they_were(tmp_path: Path) -> None:
    made = two_regions()
    read = read_with_rosbags(recorded(tmp_path, made))
    [image] = of_topic(read, "/edgecrack/image")
    [mask] = of_topic(read, "/edgecrack/mask")
    assert (image.format, mask.format) == ("jpeg", "png")
    assert image.data.tobytes() == made.jpeg()
    decoded = cv2.imdecode(mask.data, cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert np.array_equal(decoded, made.mask)
    assert {stamp_ns(image.header), stamp_ns(mask.header)} == {CAPTURE_NS}
    assert {image.header.frame_id, mask.header.frame_id} == {"camera"}


def test_findings_have_box_class_and_score(tmp_path: Path) -> None:
    read = read_with_rosbags(recorded(tmp_path, two_regions()))
    [array] = of_topic(read, "/edgecrack/findings")
    first, second = array.detections
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (20, 6)
    assert (first.bbox.size_x, first.bbox.size_y) == (20, 4)
    assert (second.bbox.center.position.x, second.bbox.center.position.y) == (62, 44)
    assert [one.results[0].hypothesis.class_id for one in (first, second)] == ["crack", "crack"]
    assert first.results[0].hypothesis.score == pytest.approx(0.8)
    assert second.results[0].hypothesis.score == pytest.approx(1.0)
    assert first.results[0].pose.pose.orientation.w == 1
    assert stamp_ns(array.header) == stamp_ns(second.header) == CAPTURE_NS


def test_annotations_outline_each_box(tmp_path: Path) -> None:
    read = read_with_rosbags(recorded(tmp_path, two_regions()))
    [drawing] = of_topic(read, "/edgecrack/annotations")
    lines, _ = drawing.points
    assert lines.type == 4  # pairs of points
    points = [(point.x, point.y) for point in lines.points]
    segments = {frozenset(points[at : at + 2]) for at in range(0, len(points), 2)}
    corners = [(10, 4), (30, 4), (30, 8), (10, 8)], [(60, 40), (64, 40), (64, 48), (60, 48)]
    expected = {frozenset((ring[at], ring[at - 1])) for ring in corners for at in range(4)}
    assert segments == expected
    assert len(points) == 16
    assert lines.outline_color.a == 1
    assert (drawing.circles, drawing.texts) == ([], [])


def test_annotations_follow_the_middle_of_each_crack(tmp_path: Path) -> None:
    made = two_regions()
    read = read_with_rosbags(recorded(tmp_path, made))
    [drawing] = of_topic(read, "/edgecrack/annotations")
    _, lines = drawing.points
    points = np.array([(point.x, point.y) for point in lines.points])
    steps = [np.stack([line[:-1], line[1:]], axis=1) for line in made.centre_lines()]
    assert len(points)
    assert np.array_equal(points.reshape(-1, 2, 2), np.concatenate(steps))


def test_a_frame_without_cracks_clears_the_drawing(tmp_path: Path) -> None:
    made = two_regions()
    nothing = {"regions": (), "crack_pixels": 0, "lines": CentreLines()}
    empty = replace(made, mask=np.zeros_like(made.mask), **nothing)  # type: ignore[arg-type]
    read = read_with_rosbags(recorded(tmp_path, empty))
    assert of_topic(read, "/edgecrack/findings")[0].detections == []
    [drawing] = of_topic(read, "/edgecrack/annotations")
    assert [len(lines.points) for lines in drawing.points] == [0, 0]


def test_position(tmp_path: Path) -> None:
    read = read_with_rosbags(recorded(tmp_path, two_regions()))
    [pose] = of_topic(read, "/edgecrack/pose")
    [fix] = of_topic(read, "/edgecrack/fix")
    [distance] = of_topic(read, "/edgecrack/odometry_distance")
    at, facing = pose.pose.position, pose.pose.orientation
    assert (at.x, at.y, at.z) == SOMEWHERE.xyz_m
    assert (facing.x, facing.y, facing.z, facing.w) == SOMEWHERE.quaternion_xyzw
    assert (fix.latitude, fix.longitude, fix.altitude) == (48.137, 11.575, 519.0)
    assert (fix.status.status, fix.position_covariance_type) == (0, 0)
    assert distance.data == 42.5


@pytest.mark.parametrize(
    ("position", "topics"),
    [
        (None, set()),
        (Position(CAPTURE_NS), set()),
        (Position(CAPTURE_NS, distance_m=1.0), {message_types.DISTANCE_TOPIC}),
        (Position(CAPTURE_NS, latitude_deg=1.0), set()),
        (Position(CAPTURE_NS, latitude_deg=1.0, longitude_deg=2.0), {message_types.FIX_TOPIC}),
        (Position(CAPTURE_NS, xyz_m=(0.0, 0.0, 0.0)), {message_types.POSE_TOPIC}),
    ],
)
def test_what_is_not_known_is_not_recorded(
    tmp_path: Path, position: Position | None, topics: set[str]
) -> None:
    read = read_with_rosbags(recorded(tmp_path, result(position=position)))
    of_position = {message_types.POSE_TOPIC, message_types.FIX_TOPIC, message_types.DISTANCE_TOPIC}
    assert {one.topic for one in read} & of_position == topics


def test_an_unknown_altitude_is_not_a_number(tmp_path: Path) -> None:
    position = Position(CAPTURE_NS, latitude_deg=1.0, longitude_deg=2.0)
    read = read_with_rosbags(recorded(tmp_path, result(position=position)))
    assert math.isnan(of_topic(read, message_types.FIX_TOPIC)[0].altitude)


def test_stats_and_events(tmp_path: Path) -> None:
    read = read_with_rosbags(recorded(tmp_path, *[result(index) for index in range(3)]))
    array = of_topic(read, "/edgecrack/stats")[0]
    [status] = array.status
    values = {pair.key: pair.value for pair in status.values}
    assert status.name == "edgecrack"
    assert status.hardware_id == "rtsp://***@robot/1"
    assert values["drops"] == "0"
    assert values["source_state"] == "connecting"
    assert values["recording_dropped"] == "0"
    assert values["recording_stale"] == "0"
    assert values["throttling"] == "unknown"
    log = of_topic(read, "/edgecrack/events")[0]
    assert (log.level, log.function) == (20, "recording.part")
    assert "run_0001.mcap" in log.msg
    assert log.stamp.nanosec == 123_456_794


def test_a_machine_that_throttles_is_a_warning_of_the_diagnostics() -> None:
    stats = StreamStats()
    stats.set_throttling(Throttling("throttled", 1, 12.0, 30))
    humble = get_typestore(Stores.ROS2_HUMBLE)
    said = messages.diagnostics(CAPTURE_NS, "camera:0", stats.snapshot(), 0, 0)
    array: Any = humble.deserialize_cdr(said, "diagnostic_msgs/msg/DiagnosticArray")
    [status] = array.status
    assert status.level == 1
    assert status.message.endswith("frames/s, the machine is throttled")
    values = {pair.key: pair.value for pair in status.values}
    assert (values["throttled_s"], values["throttled_fps"]) == ("12.0", "2.5")


@pytest.mark.parametrize(
    ("level", "constant"),
    [("detail", "DEBUG"), ("info", "INFO"), ("warning", "WARN"), ("error", "ERROR")],
)
def test_every_level_of_an_event_is_one_of_ros(level: Level, constant: str) -> None:
    humble = get_typestore(Stores.ROS2_HUMBLE)
    event = Event(CAPTURE_NS, level, "stream.x", "said")
    log: Any = humble.deserialize_cdr(messages.log(event), "rcl_interfaces/msg/Log")
    assert log.level == getattr(log, constant)


def test_no_level_of_an_event_is_forgotten() -> None:
    for level in get_args(Level):
        assert messages.log(Event(CAPTURE_NS, level, "stream.x", "said"))


def test_the_part_says_what_made_it(tmp_path: Path) -> None:
    path = recorded(tmp_path, result())
    with path.open("rb") as file:
        reader = make_reader(file)
        header = reader.get_header()
        [metadata] = reader.iter_metadata()
    assert header.profile == "ros2"
    assert header.library.startswith("edgecrack/")
    assert metadata.name == "edgecrack"
    assert metadata.metadata["source"] == "rtsp://***@robot/1"
    assert metadata.metadata["model"] == "bright"
    assert metadata.metadata["part"] == "1"


def test_log_time_is_capture_time_and_sequences_count(tmp_path: Path) -> None:
    path = recorded(tmp_path, *[result(index) for index in range(4)])
    with path.open("rb") as file:
        found = [
            (message.log_time, message.publish_time, message.sequence)
            for _, _, message in make_reader(file).iter_messages("/edgecrack/image")
        ]
    assert found == [(CAPTURE_NS + index, CAPTURE_NS + index, index + 1) for index in range(4)]


@pytest.mark.parametrize("time_ns", [2**31 * 10**9, 2**63, 2**64 + 5])
def test_times_beyond_what_ros_counts_become_the_latest(tmp_path: Path, time_ns: int) -> None:
    """As a camera with a wrong clock gives them."""
    made = two_regions()
    late = replace(made, frame=replace(made.frame, capture_time_ns=time_ns))
    read = read_with_rosbags(recorded(tmp_path, late))
    [image] = of_topic(read, message_types.IMAGE_TOPIC)
    assert stamp_ns(image.header) == 2**31 * 10**9 - 1
    assert {one.time_ns for one in read if one.topic == message_types.IMAGE_TOPIC} == {
        min(time_ns, 2**63 - 1)
    }


def test_times_before_1901_become_the_earliest() -> None:
    assert encode(message_types.TIME, -(2**70))[4:] == struct.pack("<iI", -(2**31), 0)


def test_ros_decodes_with_its_own_definitions(tmp_path: Path) -> None:
    """By the definitions of ROS 2, each message is what the file's own make it."""
    humble, iron = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS2_IRON)
    types = message_types.TOPICS
    checked = set()
    for one in read_with_rosbags(recorded(tmp_path, two_regions())):
        if types[one.topic] in humble.types:
            store = iron if one.topic == message_types.RANGE_TOPIC else humble  # it has a variance
            stock = store.deserialize_cdr(one.data, types[one.topic])
            assert plain(stock) == plain(one.message)
            assert store.serialize_cdr(stock, types[one.topic]).tobytes() == one.data
            checked.add(one.topic)
    assert checked == set(types) - {message_types.FINDINGS_TOPIC, message_types.ANNOTATIONS_TOPIC}


def test_the_mcap_project_decodes_the_same(tmp_path: Path) -> None:
    path = recorded(tmp_path, two_regions())
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        decoded = {
            channel.topic: plain(message)
            for _, channel, _, message in reader.iter_decoded_messages()
        }
    by_rosbags = {one.topic: plain(one.message) for one in read_with_rosbags(path)}
    assert decoded.keys() == by_rosbags.keys() == message_types.TOPICS.keys()
    assert decoded == by_rosbags


def test_a_range_and_widths_are_recorded(tmp_path: Path) -> None:
    read = read_with_rosbags(recorded(tmp_path, two_regions()))
    [range_] = of_topic(read, message_types.RANGE_TOPIC)
    assert (range_.range, range_.variance, stamp_ns(range_.header)) == (1.5, 0.0625, CAPTURE_NS)
    assert range_.min_range <= range_.range <= range_.max_range
    [widths] = [one for one in read if one.topic == message_types.WIDTHS_TOPIC]
    assert json.loads(widths.message.data) == MEASURED
    assert widths.time_ns == CAPTURE_NS


def test_a_crack_is_recorded_when_it_is_out_of_view(tmp_path: Path) -> None:
    read = read_with_rosbags(recorded(tmp_path, two_regions()))
    [crack] = [one for one in read if one.topic == message_types.CRACKS_TOPIC]
    assert json.loads(crack.message.data) == {**FOUND, "ended_ns": CAPTURE_NS}
    assert crack.time_ns == CAPTURE_NS


def test_text_of_any_kind_can_be_recorded() -> None:
    events = EventLog()
    event = events.emit("stream.x", "nul \0, lone \udcff, crack 裂縫")
    humble = get_typestore(Stores.ROS2_HUMBLE)
    log: Any = humble.deserialize_cdr(messages.log(event), "rcl_interfaces/msg/Log")
    assert log.msg == "nul ?, lone ?, crack 裂縫"


@pytest.mark.parametrize("make", [message_types.definition])
@pytest.mark.parametrize("name", sorted(set(message_types.TOPICS.values())))
def test_definitions_name_every_type_once(make: Callable[[str], str], name: str) -> None:
    text = make(name)
    names = [line for line in text.splitlines() if line.startswith("MSG: ")]
    assert len(names) == len(set(names))
    assert text.count("=" * 80) == len(names)


def plain(message: Any) -> Any:
    """A message of any reader as plain values, without its constants."""
    if isinstance(message, np.ndarray):
        return message.tolist()
    if isinstance(message, bytes | bytearray):
        return list(message)
    if isinstance(message, list):
        return [plain(one) for one in message]
    fields = getattr(message, "__dataclass_fields__", None) or getattr(message, "__slots__", None)
    if fields is None:
        return message
    return {
        name: plain(getattr(message, name))
        for name in fields
        if not name.isupper() and not name.startswith("_")
    }

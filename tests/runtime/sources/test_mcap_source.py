"""Recordings of other programs, replayed: frames, times, topics, and what is said of the rest."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2.enums import CompressionMode

from edgecrack.errors import MissingDependencyError, SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.sources.mcap_recording import McapSource, open_recording
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.fakes import BrightDetector, ListSink
from tests.runtime.sources import bags
from tests.runtime.sources.bags import PERIOD_NS, START_NS, images, jpeg_of, picture, png_of
from tests.waiting import PATIENCE_S

JPEG = "sensor_msgs/msg/CompressedImage"
RAW = "sensor_msgs/msg/Image"


def opened(path: Path, topic: str | None = None) -> McapSource:
    return open_recording(path, SourceOptions(topic=topic))


def frames_of(path: Path, topic: str | None = None) -> list[Frame]:
    with opened(path, topic) as source:
        return read_all(source)


def read_all(source: McapSource) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def decoded(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("compression", list(CompressionMode))
def test_a_bag_s_images_come_out_as_they_went_in(
    tmp_path: Path, compression: CompressionMode
) -> None:
    path = bags.write_bag(tmp_path, images(7), compression)
    with opened(path) as source:
        assert (source.live, source.frame_count, source.name) == (False, 7, str(path))
        assert source.frame_rate_hz == pytest.approx(25.0)
        assert source.topic == "/camera/image/compressed"
        assert not source.is_cut_short
        frames = read_all(source)
        assert source.read() is None
        assert source.corrupt_frames == 0
    assert [frame.index for frame in frames] == list(range(7))
    assert [frame.name for frame in frames] == [f"{index:06d}" for index in range(7)]
    assert [frame.media_time_ms for frame in frames] == [40.0 * index for index in range(7)]
    for index, frame in enumerate(frames):
        data = jpeg_of(picture(index))
        assert frame.jpeg == data
        assert np.array_equal(frame.image, decoded(data))
        assert frame.capture_time_ns == START_NS + index * PERIOD_NS
        assert not frame.live


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunk_size", [1, 20_000, 10**9])
@pytest.mark.parametrize("index_types", [IndexType.ALL, IndexType.NONE, IndexType.CHUNK])
@pytest.mark.parametrize("use_statistics", [True, False])
def test_every_layout_of_a_file_gives_the_same_frames(
    tmp_path: Path,
    compression: CompressionType,
    chunk_size: int,
    index_types: IndexType,
    use_statistics: bool,
) -> None:
    entries = [*images(5), *images(5, "/other")]
    path = bags.write_mcap(
        tmp_path / "run.mcap",
        entries,
        compression=compression,
        chunk_size=chunk_size,
        index_types=index_types,
        use_statistics=use_statistics,
    )
    with opened(path, "/other") as source:
        assert source.frame_count == 5
        assert [frame.jpeg for frame in read_all(source)] == [
            jpeg_of(picture(index)) for index in range(5)
        ]
        assert not source.is_cut_short


@pytest.mark.parametrize(
    "settings",
    [
        {"use_chunking": False},
        {"use_chunking": False, "use_statistics": False},
        {"use_chunking": False, "repeat_channels": False, "repeat_schemas": False},
        {"repeat_channels": False, "repeat_schemas": False},
        {"use_summary_offsets": False, "enable_crcs": False},
    ],
)
def test_files_without_chunks_or_summary_are_read(tmp_path: Path, settings: Any) -> None:
    path = bags.write_mcap(tmp_path / "run.mcap", images(4), **settings)
    with opened(path) as source:
        assert (source.frame_count, len(read_all(source))) == (4, 4)
        assert not source.is_cut_short


def test_without_a_stamp_the_time_of_recording_counts(tmp_path: Path) -> None:
    messages = [
        ("/a", START_NS + index * PERIOD_NS, JPEG, bags.compressed(jpeg_of(picture(index))))
        for index in range(3)
    ]
    frames = frames_of(bags.write_bag(tmp_path, messages))
    assert [frame.capture_time_ns for frame in frames] == [
        START_NS + index * PERIOD_NS for index in range(3)
    ]
    assert [frame.media_time_ms for frame in frames] == [0.0, 40.0, 80.0]


def test_raw_images_and_png_have_no_jpeg(tmp_path: Path) -> None:
    image = picture()
    rgb = np.ascontiguousarray(image[..., ::-1])
    messages = [
        ("/a", START_NS, RAW, bags.raw(rgb.tobytes(), (48, 64), "rgb8", 192)),
        ("/b", START_NS, JPEG, bags.compressed(png_of(image), 0, "bgr8; png compressed bgr8")),
        ("/c", START_NS, JPEG, bags.compressed(jpeg_of(image, progressive=1))),
    ]
    path = bags.write_bag(tmp_path, messages)
    (raw,), (png,), (progressive,) = (frames_of(path, topic) for topic in ("/a", "/b", "/c"))
    assert np.array_equal(raw.image, image)
    assert np.array_equal(png.image, image)
    assert np.array_equal(progressive.image, decoded(jpeg_of(image, progressive=1)))
    assert raw.jpeg is None
    assert png.jpeg is None
    assert progressive.jpeg is None  # not every decoder reads it


def test_of_an_own_recording_the_picture_is_taken_and_not_the_mask(tmp_path: Path) -> None:
    mask = bags.compressed(png_of(np.zeros((48, 64), np.uint8)), START_NS, "png")
    messages = [("/edgecrack/mask", START_NS, JPEG, mask), *images(2, "/edgecrack/image")]
    path = bags.write_mcap(tmp_path / "run_0001.mcap", messages)
    assert [frame.jpeg for frame in frames_of(path)] == [jpeg_of(picture(i)) for i in range(2)]
    assert len(frames_of(path, "/edgecrack/mask")) == 1


def test_a_robot_s_camera_is_taken_and_not_what_the_node_drew(tmp_path: Path) -> None:
    messages = [*images(2, "/edgecrack/overlay/compressed"), *images(3, "/camera")]
    assert len(frames_of(bags.write_bag(tmp_path, messages))) == 3


def test_several_topics_have_to_be_chosen_from(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path, [*images(2, "/right"), *images(2, "/left")])
    with pytest.raises(SourceError, match=r"several topics: /left, /right; .*`topic` /left"):
        opened(path)
    with pytest.raises(SourceError, match=r"no topic /up; give one of /left, /right"):
        opened(path, "/up")


def test_a_topic_of_another_type_is_named(tmp_path: Path) -> None:
    odometry = ("/odom", START_NS, "nav_msgs/msg/Odometry", bags.odometry((0, 0, 0)))
    path = bags.write_bag(tmp_path, [*images(1), odometry])
    with pytest.raises(SourceError, match=r"/odom in .* is nav_msgs/msg/Odometry, not images"):
        opened(path, "/odom")


@pytest.mark.parametrize(
    ("encoding", "schema_encoding", "kind", "said"),
    [
        ("protobuf", "protobuf", "foxglove.CompressedImage", r"CompressedImage in protobuf"),
        ("json", "jsonschema", "foxglove.RawImage", r"RawImage in json"),
        ("ros1", "ros1msg", "sensor_msgs/CompressedImage", r"CompressedImage in ros1"),
        ("cdr", "ros2msg", "foxglove_msgs/msg/CompressedVideo", r"only as .*CompressedVideo,"),
        ("cdr", "ros2msg", "sensor_msgs/msg/Imu", r"holds no images; its topics are /a"),
    ],
)
def test_foreign_encodings_are_named(
    tmp_path: Path, encoding: str, schema_encoding: str, kind: str, said: str
) -> None:
    path = tmp_path / "run.mcap"
    messages = [("/a", 1, kind, b"data")]
    data = bags.mcap_of(messages, encoding=encoding, schema_encoding=schema_encoding)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=said):
        opened(path)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (bags.raw(bytes(48 * 64 * 4), (48, 64), "32FC1", 256), "the encoding '32FC1'"),
        (bags.compressed(b"\0" * 50, 0, "h264"), "the format 'h264'"),
        (bags.compressed(png_of(picture()), 0, "16UC1; compressedDepth png"), "depth"),
    ],
)
def test_images_that_are_no_pictures_are_refused(tmp_path: Path, message: Any, said: str) -> None:
    path = bags.write_bag(tmp_path, [("/a", 1, message.__msgtype__, message)])
    with pytest.raises(SourceError, match=f"the image on /a in .* {said}.*; record one of JPEG"):
        opened(path)


def test_damaged_images_are_counted_and_left_out(tmp_path: Path) -> None:
    messages = images(6)
    for index, data in ((0, b""), (2, jpeg_of(picture(2))[:-200]), (4, b"noise" * 50)):
        topic, time_ns, kind, _ = messages[index]
        messages[index] = (topic, time_ns, kind, bags.compressed(data, time_ns))
    with opened(bags.write_bag(tmp_path, messages)) as source:
        frames = read_all(source)
        assert source.corrupt_frames == 3
        assert source.frame_count == 6
    assert [frame.jpeg for frame in frames] == [jpeg_of(picture(index)) for index in (1, 3, 5)]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert frames[0].media_time_ms == 0.0


def test_a_recording_of_nothing_but_damaged_images_is_refused(tmp_path: Path) -> None:
    broken = [("/a", index, JPEG, bags.compressed(b"noise" * 50)) for index in range(1, 4)]
    with pytest.raises(SourceError, match=r"no whole image on /a; 3 are damaged"):
        opened(bags.write_bag(tmp_path, broken))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x00\x00\x00\x20ftypmp42" * 9, "is not an MCAP recording"),
        (b"\x89MCAP0\r\n", "holds no images"),
    ],
)
def test_what_is_no_recording_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "run.mcap"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=said):
        opened(path)


def test_a_missing_file_is_an_error_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*gone\.mcap: No such file"):
        opened(tmp_path / "gone.mcap")


def test_without_the_extra_the_install_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bags.write_bag(tmp_path, images(1))
    for name in ("mcap", "mcap.records", "mcap.stream_reader"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Without("mcap"), *sys.meta_path])
    with pytest.raises(MissingDependencyError, match="run: pip install"):
        opened(path)


class _Without:
    """Finds that a package is not there."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_recording_runs_through_the_pipeline(tmp_path: Path) -> None:
    sink = ListSink()
    with opened(bags.write_bag(tmp_path, images(12))) as source:
        summary = run_pipeline(source, BrightDetector(), [sink], PipelineConfig())
    assert sink.indices == list(range(12))
    assert (summary.frames_read, summary.frames_expected, summary.truncated) == (12, 12, False)
    assert summary.end_reason == "end of source"
    assert [result.frame.capture_time_ns for result in sink.results] == [
        START_NS + index * PERIOD_NS for index in range(12)
    ]


def test_closing_while_another_thread_reads_ends_the_recording(tmp_path: Path) -> None:
    source = opened(bags.write_bag(tmp_path, images(40)))
    errors: list[BaseException] = []

    def read_on() -> None:
        try:
            read_all(source)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    source.close()
    source.close()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert not errors
    assert source.read() is None


def test_a_large_recording_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    import tracemalloc

    hw, count = (600, 800), 60  # 1.4 MB each
    pixels = np.zeros((*hw, 3), np.uint8).tobytes()
    messages = [
        ("/a", START_NS + index * PERIOD_NS, RAW, bags.raw(pixels, hw, "bgr8", 3 * hw[1]))
        for index in range(count)
    ]
    path = bags.write_mcap(tmp_path / "run.mcap", messages, chunk_size=2**20)
    assert path.stat().st_size > count * len(pixels)
    del messages
    tracemalloc.start()
    try:
        with opened(path) as source:
            while source.read() is not None:
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(pixels)


def test_a_cut_recording_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = bags.write_mcap(tmp_path / "run.mcap", images(9)).read_bytes()
    path = tmp_path / "run_0001.mcap.part"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with caplog.at_level(logging.WARNING, "edgecrack"), opened(path) as source:
        frames = read_all(source)
        assert source.is_cut_short
        assert source.frame_count == len(frames)
    assert 0 < len(frames) < 9
    assert len(caplog.records) == 1
    assert "has no end" in caplog.messages[0]
    assert f"edgecrack recover {path}" in caplog.messages[0]


@pytest.mark.parametrize("cut", [True, False])
def test_a_recording_that_can_be_recovered_is_refused_with_the_command(
    tmp_path: Path, cut: bool
) -> None:
    """Cut within its first chunk, and with every chunk damaged."""
    path = bags.write_mcap(tmp_path / "run.mcap", images(3))
    data = bytearray(path.read_bytes())
    for index in range(3):
        place = data.index(jpeg_of(picture(index)))
        data[place + 40] ^= 0xFF
    path.write_bytes(data[: data.index(b"JFIF") + 100] if cut else data)
    with pytest.raises(SourceError) as caught:
        opened(path)
    assert f"edgecrack recover {path}" in caught.value.remedy


def test_nothing_can_be_recovered_of_a_whole_recording(tmp_path: Path) -> None:
    broken = [("/a", index, JPEG, bags.compressed(b"noise" * 50)) for index in range(1, 4)]
    for entries in (broken, [("/a", 1, "nav_msgs/msg/Odometry", bags.odometry((0, 0, 0)))]):
        path = bags.write_mcap(tmp_path / "run.mcap", entries)
        with pytest.raises(SourceError, match=r"give (another one|a recording with)"):
            opened(path)

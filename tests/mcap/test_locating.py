"""Which files and folders are recordings, and what is said of those that are not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer

from edgecrack.errors import ConfigError, SourceError
from edgecrack.mcap.locating import recording_at
from edgecrack.runtime.position.open import open_positions
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.telemetry.events import EventLog
from tests.runtime.sources import bags
from tests.runtime.sources.bags import START_NS, images, picture, png_of


@pytest.mark.parametrize(
    "name",
    ["run.mcap", "RUN.MCAP", "run_0001.mcap.part", "a.mcap.zstd", "a.mcap.zst", "a.mcap.lz4"],
)
def test_a_recording_is_known_by_its_name(name: str) -> None:
    assert recording_at(Path("gone", name)) == Path("gone", name)


@pytest.mark.parametrize(
    "name", ["wall.mp4", "mcap", "run.mcap.png", "run.bag.jpg", "run.zstd", "camera:0", "x" * 5000]
)
def test_other_addresses_are_none(name: str) -> None:
    assert recording_at(Path(name)) is None


# --- folders ---


def test_a_bag_with_one_recording_is_read(tmp_path: Path) -> None:
    entries = [*images(2, "/left"), *images(3, "/right")]
    path = bags.write_bag(tmp_path, entries)
    assert {file.name for file in path.parent.iterdir()} == {"bag.mcap", "metadata.yaml"}
    with open_source(path.parent, SourceOptions(topic="/right")) as source:
        assert (source.name, source.frame_count) == (str(path), 3)


def test_positions_come_from_the_bag_that_is_read(tmp_path: Path) -> None:
    pose = ("/odom", START_NS, "nav_msgs/msg/Odometry", bags.odometry((1, 2, 3), time_ns=START_NS))
    folder = bags.write_bag(tmp_path, [*images(1), pose]).parent
    found = open_positions("recording", str(folder), EventLog()).locate(START_NS)
    assert found is not None
    assert found.xyz_m == (1, 2, 3)


def test_a_bag_with_several_recordings_names_them_in_their_order(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        (tmp_path / f"run_{number}.mcap").write_bytes(b"")
    (tmp_path / ".hidden.mcap").write_bytes(b"")
    (tmp_path / "folder.mcap").mkdir()
    for read in (open_source, recording_at):
        with pytest.raises(SourceError) as caught:
            read(tmp_path)
        assert caught.value.problem.endswith(
            "holds 3 recordings: run_1.mcap, run_9.mcap, run_10.mcap"
        )
        assert caught.value.remedy == f"give one of them, as {tmp_path}/run_1.mcap"


def test_of_many_recordings_the_first_are_named(tmp_path: Path) -> None:
    for number in range(1, 13):
        (tmp_path / f"run_{number}.mcap.zstd").write_bytes(b"")
    with pytest.raises(SourceError, match=r"holds 12 recordings: .*run_8\.mcap\.zstd and 4 more;"):
        open_source(tmp_path)


def test_a_folder_with_images_is_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of(picture()))
    (tmp_path / "run_1.mcap").write_bytes(b"")
    (tmp_path / "run_2.mcap").write_bytes(b"")
    with open_source(tmp_path) as source:
        assert source.frame_count == 1
    with pytest.raises(ConfigError, match="has no topics"):
        open_source(tmp_path, SourceOptions(topic="/camera"))


def test_a_folder_with_neither_is_said_to_hold_no_images(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information:\n")
    with pytest.raises(SourceError, match="holds no images"):
        open_source(tmp_path)


# --- kinds that are not read ---


def write_ros1(folder: Path) -> Path:
    path = folder / "run.bag"
    with Ros1Writer(path) as writer:
        kind = "std_msgs/msg/Header"
        connection = writer.add_connection("/a", kind, typestore=bags.STORE)
        writer.write(connection, 1, bags.STORE.serialize_ros1(bags.header(1), kind))
    return path


def write_sqlite(folder: Path) -> Path:
    with Writer(folder / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topic, time_ns, kind, message = images(1)[0]
        connection = writer.add_connection(topic, kind, typestore=bags.STORE)
        writer.write(connection, time_ns, bags.cdr_of(message))
    return folder / "bag" / "bag.db3"


def test_a_recording_of_ros_1_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    path = write_ros1(tmp_path)
    misnamed = tmp_path / "run.mcap"
    misnamed.write_bytes(path.read_bytes())
    for file in (path, misnamed):
        with pytest.raises(SourceError) as caught:
            open_source(file)
        assert caught.value.problem == f"{file} is a recording of ROS 1, which is not supported"
        assert f"rosbags-convert --src {file} --dst NEW_FOLDER" in caught.value.remedy


def test_a_recording_in_sqlite_is_refused_with_the_command_that_converts_it(
    tmp_path: Path,
) -> None:
    path = write_sqlite(tmp_path)
    misnamed = path.with_name("bag.mcap")
    for file, given in ((path, path), (path, path.parent), (misnamed, misnamed)):
        if given == misnamed:
            path.rename(misnamed)
        with pytest.raises(SourceError) as caught:
            open_source(given)
        problem = f"{file} is a ROS 2 recording in SQLite, which is not supported"
        assert caught.value.problem == problem
        assert "`ros2 bag convert` (storage_id: mcap)" in caught.value.remedy
        assert f"rosbags-convert --src {path.parent} --dst NEW_FOLDER" in caught.value.remedy
    with pytest.raises(SourceError, match="ROS 2 recording in SQLite"):
        open_positions("recording", str(misnamed.with_name("bag.db3")), EventLog())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("run.bag.active", "is a recording of ROS 1, which is not supported"),
        ("run.db3.zstd", "is a ROS 2 recording in SQLite, which is not supported"),
        ("run.mcap.gz", r"is packed; unpack it first: gunzip .*run\.mcap\.gz"),
        ("RUN.MCAP.XZ", r"is packed; unpack it first: unxz .*RUN\.MCAP\.XZ"),
    ],
)
def test_what_is_not_read_is_known_by_its_name(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(SourceError, match=said):
            open_source(path)

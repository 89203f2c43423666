"""The node under a real ROS 2: a camera, the node and a viewer in three processes.

Runs where rclpy is installed, which `.ci/run` sees to in an environment of its own; pytest there
has no other test of this project.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.scale.camera_file import CameraFile, write_camera

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed here; .ci/run does it")

REPOSITORY = Path(__file__).resolve().parents[2]
TOPIC = "/bridge/image_raw"
HW = (240, 320)
PATIENCE_S = 60.0
# Publishes the demo's frames, each stamped by its number, until it is killed.
CAMERA = """
import sys, time, rclpy
import cv2
from sensor_msgs.msg import CompressedImage, Image
from edgecrack import open_source

topic, kind = sys.argv[1:]
rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(CompressedImage if kind == "png" else Image, topic, 1)
with open_source("demo?frames=400&seed=3") as source:
    while (frame := source.read()) is not None:
        shown = frame.image[:240, :320]
        if kind == "png":
            message = CompressedImage()
            message.format, message.data = "png", cv2.imencode(".png", shown)[1].tobytes()
        else:
            message = Image()
            message.height, message.width = 240, 320
            message.encoding, message.step = kind, 960
            message.data = shown.tobytes()
        message.header.stamp.sec, message.header.frame_id = int(time.time()), f"{frame.index}"
        message.header.stamp.nanosec = frame.index
        publisher.publish(message)
        rclpy.spin_once(node, timeout_sec=0.1)
"""


class Viewer:
    """Subscribes to all that the node publishes."""

    def __init__(self) -> None:
        from sensor_msgs.msg import CompressedImage, Image
        from visualization_msgs.msg import ImageMarker

        self.node = rclpy.create_node("viewer")
        self.masks: list[Any] = []
        self.markers: list[Any] = []
        self.overlays: list[Any] = []
        self.widths: list[Any] = []
        self.cracks: list[Any] = []
        for kind, topic, messages in (
            (Image, "mask", self.masks),
            (ImageMarker, "markers", self.markers),
            (CompressedImage, "overlay/compressed", self.overlays),
        ):
            self.node.create_subscription(kind, f"/edgecrack/{topic}", messages.append, 10)

    def hear_widths(self) -> None:
        """Subscribe to what a node publishes that measures."""
        from std_msgs.msg import String

        self.node.create_subscription(String, "/edgecrack/widths", self.widths.append, 10)

    def hear_cracks(self) -> None:
        """Subscribe to the cracks that are out of view for good."""
        from std_msgs.msg import String

        self.node.create_subscription(String, "/edgecrack/cracks", self.cracks.append, 10)

    def wait_until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        ends_s = time.monotonic() + patience_s
        while not condition() and time.monotonic() < ends_s:
            rclpy.spin_once(self.node, timeout_sec=0.1)
        return condition()


@pytest.fixture
def environment() -> dict[str, str]:
    """On this machine alone, and in a domain that no other test has."""
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "ROS_DOMAIN_ID": str(os.getpid() % 100 + 1),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


@pytest.fixture
def viewer(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Viewer]:
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, environment[name])
    rclpy.init()
    try:
        yield Viewer()
    finally:
        rclpy.try_shutdown()


def node_command(**parameters: Any) -> list[str]:
    given = {"image_topic": TOPIC, "max_age_ms": 0.0, "threshold": 0.5, **parameters}
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    return [sys.executable, "-m", "edgecrack.ros.node", "--ros-args", *words]


@contextmanager
def running_node(
    environment: dict[str, str], ends_by: int = signal.SIGTERM, **parameters: Any
) -> Iterator[subprocess.Popen[str]]:
    """The node in a process; it has to end by the signal, and well."""
    with subprocess.Popen(
        node_command(**parameters), env=environment, stderr=subprocess.PIPE, text=True
    ) as node:
        try:
            yield node
            assert node.poll() is None, node.stderr and node.stderr.read()
            node.send_signal(ends_by)
            node.wait(PATIENCE_S)
        finally:
            node.kill()
    assert node.returncode == 0


@contextmanager
def camera(environment: dict[str, str], topic: str = TOPIC, kind: str = "bgr8") -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", CAMERA, topic, kind], env=environment) as process:
        try:
            yield
        finally:
            process.kill()


def test_a_camera_that_stops_and_comes_back(viewer: Viewer, environment: dict[str, str]) -> None:
    with running_node(environment) as node:
        with camera(environment):
            assert viewer.wait_until(lambda: len(viewer.masks) >= 3 and bool(viewer.overlays))
        check(viewer)
        viewer.wait_until(lambda: False, 2.0)
        seen = len(viewer.masks)
        assert not viewer.wait_until(lambda: len(viewer.masks) > seen, 2.0)
        assert node.poll() is None  # it waits for the camera
        with camera(environment):
            assert viewer.wait_until(lambda: len(viewer.masks) > seen)


def frame_of(message: Any) -> Any:
    """uint8 [240, 320, 3]: the camera's frame of which a message tells."""
    from edgecrack import open_source

    with open_source("demo?frames=400&seed=3") as source:
        frames = [source.read() for _ in range(int(message.header.frame_id) + 1)]
    assert frames[-1] is not None
    return np.ascontiguousarray(frames[-1].image[: HW[0], : HW[1]])


def pixels_of(mask: Any) -> Any:
    assert (mask.height, mask.width, mask.encoding) == (*HW, "mono8")
    return np.array(mask.data).reshape(HW)


def check(viewer: Viewer) -> None:
    """What was found is what is found without ROS, and carries the image's stamp."""
    from edgecrack import open_detector

    mask = viewer.masks[0]
    assert mask.header.stamp.nanosec == int(mask.header.frame_id)
    with open_detector(threshold=0.5) as detector:
        expected = detector.detect(frame_of(mask))
    np.testing.assert_array_equal(pixels_of(mask), expected.mask)
    marker = next(one for one in viewer.markers if one.header.frame_id == mask.header.frame_id)
    assert len(marker.points) == 8 * len(expected.regions)
    corners = {(point.x, point.y) for point in marker.points[:8]}
    left, top, right, bottom = expected.regions[0].xyxy
    assert corners == {(x, y) for x in (left, right) for y in (top, bottom)}
    shown = cv2.imdecode(np.frombuffer(bytes(viewer.overlays[0].data), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape[:2] == HW


def test_topics_types_and_quality_of_service(viewer: Viewer, environment: dict[str, str]) -> None:
    from rclpy.qos import ReliabilityPolicy

    with running_node(environment):
        assert viewer.wait_until(lambda: bool(viewer.node.get_subscriptions_info_by_topic(TOPIC)))
        names = dict(viewer.node.get_topic_names_and_types())
        (asked,) = viewer.node.get_subscriptions_info_by_topic(TOPIC)
    assert asked.topic_type == "sensor_msgs/msg/Image"
    assert asked.qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT
    ours = {name: kinds for name, kinds in names.items() if name.startswith("/edgecrack/")}
    assert ours == {
        "/edgecrack/mask": ["sensor_msgs/msg/Image"],
        "/edgecrack/overlay/compressed": ["sensor_msgs/msg/CompressedImage"],
        "/edgecrack/markers": ["visualization_msgs/msg/ImageMarker"],
        "/edgecrack/cracks": ["std_msgs/msg/String"],
    }


def test_compressed_images_of_another_topic(viewer: Viewer, environment: dict[str, str]) -> None:
    from edgecrack import open_detector

    topic = "/front/compressed"
    with (
        running_node(environment, image_topic=topic, compressed=True),
        camera(environment, topic, "png"),
    ):
        assert viewer.wait_until(lambda: bool(viewer.masks))
    with open_detector(threshold=0.5) as detector:
        expected = detector.detect(frame_of(viewer.masks[0]))
    np.testing.assert_array_equal(pixels_of(viewer.masks[0]), expected.mask)


def test_what_is_ignored_is_in_no_mask(
    viewer: Viewer, environment: dict[str, str], tmp_path: Path
) -> None:
    drawn = np.zeros(HW, np.uint8)
    drawn[:, 160:] = 255
    assert cv2.imwrite(str(tmp_path / "arm.png"), drawn)
    ignore = tmp_path / "arm.png"
    with running_node(environment, ignore=ignore, threshold=0.01), camera(environment):
        assert viewer.wait_until(lambda: any(any(mask.data) for mask in viewer.masks))
    assert not any(pixels_of(mask)[:, 160:].any() for mask in viewer.masks)


def test_each_crack_is_told_when_it_is_out_of_view(
    viewer: Viewer, environment: dict[str, str]
) -> None:
    viewer.hear_cracks()
    with running_node(environment), camera(environment):
        assert viewer.wait_until(lambda: len(viewer.cracks) >= 2)
    records = [json.loads(message.data) for message in viewer.cracks]
    assert len({record["id"] for record in records}) == len(records)
    assert all(record["closed"] and record["frames"] >= 1 for record in records)


def test_widths_in_millimetres_by_a_figure(viewer: Viewer, environment: dict[str, str]) -> None:
    viewer.hear_widths()
    with running_node(environment, mm_per_pixel="'0.12+-0.005'"), camera(environment):
        assert viewer.wait_until(lambda: len(viewer.widths) >= 2 and bool(viewer.masks))
    for message in viewer.widths:
        record = json.loads(message.data)
        assert record["scale"]["mm_per_px"] == 0.12
        assert record["capture_time_ns"] > 0
        for crack in record["cracks"]:
            assert abs(crack["length_mm"]["value_mm"] - 0.12 * crack["length_px"]) < 0.01


def test_the_range_finder_s_distance_counts(
    viewer: Viewer, environment: dict[str, str], tmp_path: Path
) -> None:
    from sensor_msgs.msg import Range

    path = tmp_path / "camera.yaml"
    matrix = np.array([[400.0, 0, 159.5], [0, 400.0, 119.5], [0, 0, 1]])
    write_camera(path, CameraFile(matrix, np.zeros(0), HW[::-1], "bench", 0.002))
    viewer.hear_widths()
    publisher = viewer.node.create_publisher(Range, "/laser", 10)

    def has_scale() -> bool:
        # The camera of this test stamps whole seconds and the number of the picture.
        message = Range(min_range=0.01, max_range=9.0, range=0.5)
        message.header.stamp.sec = int(time.time())
        publisher.publish(message)
        scales = [json.loads(one.data)["scale"] for one in viewer.widths]
        return any(scale["mm_per_px"] is not None for scale in scales)

    with (
        running_node(environment, camera_file=path, range_topic="/laser"),
        camera(environment),
    ):
        assert viewer.wait_until(has_scale)
    (scale, *_) = [
        scale
        for one in viewer.widths
        if (scale := json.loads(one.data)["scale"])["mm_per_px"] is not None
    ]
    assert scale["distance_m"] == 0.5
    assert abs(scale["mm_per_px"] - 1.25) < 0.01


def test_without_a_scale_nothing_is_measured(viewer: Viewer, environment: dict[str, str]) -> None:
    with running_node(environment), camera(environment):
        assert viewer.wait_until(lambda: len(viewer.masks) >= 3)
        names = [name for name, _ in viewer.node.get_topic_names_and_types()]
    assert "/edgecrack/mask" in names
    assert viewer.node.count_publishers("/edgecrack/widths") == 0


def test_images_that_cannot_be_read_are_said_in_the_log(
    viewer: Viewer, environment: dict[str, str]
) -> None:
    with running_node(environment) as node, camera(environment, kind="32FC1"):
        assert node.stderr is not None
        line = node.stderr.readline()
        assert "[WARN]" in line
        assert "an image has the encoding '32FC1'; it is left out" in line
    assert not viewer.masks


def test_an_error_while_it_runs_ends_the_node(environment: dict[str, str], tmp_path: Path) -> None:
    """The mask has another shape than every image."""
    assert cv2.imwrite(str(tmp_path / "square.png"), np.zeros((48, 48), np.uint8))
    command = node_command(ignore=tmp_path / "square.png")
    with camera(environment):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert "the shapes differ; draw one for that shape." in done.stderr


def test_control_c_is_no_error(viewer: Viewer, environment: dict[str, str]) -> None:
    with running_node(environment, ends_by=signal.SIGINT):
        assert viewer.wait_until(lambda: bool(viewer.node.get_subscriptions_info_by_topic(TOPIC)))


@pytest.mark.parametrize(
    ("parameters", "exit_code", "said"),
    [
        ({"model": "gone.onnx"}, 4, "gone.onnx"),
        ({"threshold": 1.5}, 2, "threshold is 1.5"),
        ({"min_area": -1}, 2, "min_area is -1"),
        ({"ignore": "gone.png"}, 2, "the ignore mask gone.png does not exist"),
        ({"max_age_ms": -5.0}, 2, "max_age_ms -5"),
    ],
)
def test_bad_parameters_are_a_sentence(
    environment: dict[str, str], parameters: dict[str, Any], exit_code: int, said: str
) -> None:
    done = subprocess.run(
        node_command(**parameters),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == exit_code
    assert said in done.stderr
    assert "Traceback" not in done.stderr

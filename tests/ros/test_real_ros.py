"""The node under a real ROS 2: a camera, the node and a viewer in three processes.

Runs where rclpy is installed, which `.ci/run` sees to in an environment of its own; pytest there
has no other test of this project.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed here; .ci/run does it")

REPOSITORY = Path(__file__).resolve().parents[2]
TOPIC = "/bridge/image_raw"
PATIENCE_S = 60.0
# Publishes the demo's frames, each stamped by its number; stops when its input ends.
CAMERA = """
import sys, time, rclpy
from sensor_msgs.msg import Image
from edgecrack import open_source

rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, sys.argv[1], 1)
with open_source("demo?frames=400&seed=3") as source:
    while (frame := source.read()) is not None:
        message = Image()
        message.header.stamp.sec, message.header.frame_id = int(time.time()), f"{frame.index}"
        message.header.stamp.nanosec = frame.index
        message.height, message.width = 240, 320
        message.encoding, message.step = "bgr8", 960
        message.data = frame.image[:240, :320].tobytes()
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
        for kind, topic, messages in (
            (Image, "mask", self.masks),
            (ImageMarker, "markers", self.markers),
            (CompressedImage, "overlay/compressed", self.overlays),
        ):
            self.node.create_subscription(kind, f"/edgecrack/{topic}", messages.append, 10)

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


def camera(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CAMERA, TOPIC], env=environment)


def test_a_camera_that_stops_and_comes_back(viewer: Viewer, environment: dict[str, str]) -> None:
    words = ["-m", "edgecrack.ros.node", "--ros-args", "-p", f"image_topic:={TOPIC}"]
    words += ["-p", "max_age_ms:=0.0", "-p", "threshold:=0.5"]
    with subprocess.Popen([sys.executable, *words], env=environment) as node:
        try:
            with camera(environment) as first:
                assert viewer.wait_until(lambda: len(viewer.masks) >= 3 and bool(viewer.overlays))
                first.kill()
            check(viewer)
            viewer.wait_until(lambda: False, 2.0)
            seen = len(viewer.masks)
            assert not viewer.wait_until(lambda: len(viewer.masks) > seen, 2.0)
            assert node.poll() is None  # it waits for the camera
            with camera(environment) as second:
                assert viewer.wait_until(lambda: len(viewer.masks) > seen)
                second.kill()
        finally:
            node.terminate()
    assert node.returncode == 0


def check(viewer: Viewer) -> None:
    """What was found is what is found without ROS, and carries the image's stamp."""
    from edgecrack import open_detector, open_source

    mask = viewer.masks[0]
    index = int(mask.header.frame_id)
    assert mask.header.stamp.nanosec == index
    assert (mask.height, mask.width, mask.encoding) == (240, 320, "mono8")
    with open_source("demo?frames=400&seed=3") as source:
        frames = [source.read() for _ in range(index + 1)]
    frame = frames[-1]
    assert frame is not None
    with open_detector(threshold=0.5) as detector:
        expected = detector.detect(np.ascontiguousarray(frame.image[:240, :320]))
    np.testing.assert_array_equal(np.array(mask.data).reshape(240, 320), expected.mask)
    marker = next(one for one in viewer.markers if one.header.frame_id == mask.header.frame_id)
    assert len(marker.points) == 8 * len(expected.regions)
    overlay = bytes(viewer.overlays[0].data)
    assert overlay[:2] == b"\xff\xd8"

"""The node's wiring, by a minimal stand-in for rclpy (`fake_rclpy.py`): no ROS 2 runs here."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.errors import DeviceError, MissingDependencyError
from edgecrack.measurement.regions import measure_cracks
from edgecrack.ros.inspection_worker import NewestImageWorker
from edgecrack.runtime.detector import open_detector
from edgecrack.runtime.sources.open import open_source
from tests.ros.fake_rclpy import QoSProfile, ReliabilityPolicy, Ros, install
from tests.ros.ros_messages import message_class, read_back
from tests.runtime.fakes import BrightDetector, picture, stream_threads
from tests.waiting import PATIENCE_S, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
TOPIC = "/camera/image_raw"


def image(index: int = 0, stamp_ns: int | None = None, pixels: Any = None) -> Any:
    """A picture with a bar whose length tells the index, stamped now."""
    shown = picture(index) if pixels is None else pixels
    message = message_class("sensor_msgs/msg/Image")()
    stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.header.frame_id = f"image {index}"
    message.height, message.width = shown.shape[:2]
    message.step = 3 * message.width
    message.encoding, message.data = "bgr8", array("B", shown.tobytes())
    return message


class ClosingDetector(BrightDetector):
    closed = False

    def close(self) -> None:
        self.closed = True


class Running:
    """The node's `main` in a thread, as `ros2 run` would have it in a process."""

    def __init__(self, ros: Ros, node: Any) -> None:
        self.ros, self.exit_code = ros, -1
        self._node = node
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: ros.spinning.is_set() or not self._thread.is_alive())

    def _run(self) -> None:
        self.exit_code = self._node.main()

    def published(self, topic: str) -> list[Any]:
        return self.ros.publishers[topic].messages

    def join(self) -> int:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.exit_code

    def stop(self) -> int:
        self.ros.shut_down()
        return self.join()


Start = Callable[..., Running]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> tuple[Ros, Any]:
    return install(monkeypatch)


@pytest.fixture
def start(world: tuple[Ros, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    ros, node = world
    running: list[Running] = []

    def begin(detector: ClosingDetector | None = None, **parameters: Any) -> Running:
        ros.parameters.update({"max_age_ms": 1e9, **parameters})
        if detector is not None:
            monkeypatch.setattr(node, "open_detector", lambda *_, **__: detector)
        running.append(Running(ros, node))
        return running[-1]

    yield begin
    for run in running:
        run.stop()
    assert "edgecrack-ros" not in stream_threads()


def test_topics_types_and_quality_of_service(start: Start) -> None:
    run = start(ClosingDetector())
    kinds = {name: publisher.kind.TYPE for name, publisher in run.ros.publishers.items()}
    assert kinds == {
        "~/mask": "sensor_msgs/msg/Image",
        "~/overlay/compressed": "sensor_msgs/msg/CompressedImage",
        "~/markers": "visualization_msgs/msg/ImageMarker",
        "~/findings": "vision_msgs/msg/Detection2DArray",
    }
    (subscription,) = run.ros.subscriptions.values()
    assert (subscription.topic, subscription.kind.TYPE) == (TOPIC, "sensor_msgs/msg/Image")
    assert isinstance(subscription.qos, QoSProfile)
    assert subscription.qos.depth == 1
    assert subscription.qos.reliability is ReliabilityPolicy.BEST_EFFORT


def test_an_image_gives_mask_and_findings_with_its_header(start: Start) -> None:
    run = start(ClosingDetector())
    sent = image(3)
    run.ros.deliver(TOPIC, sent)
    wait_until(lambda: bool(run.published("~/findings")))
    mask, found = read_back(run.published("~/mask")[0]), read_back(run.published("~/findings")[0])
    assert np.array_equal(mask.data.reshape(48, 64) > 0, picture(3)[..., 0] > 127)
    for received in (mask, found):
        assert received.header.frame_id == "image 3"
        assert received.header.stamp.nanosec == sent.header.stamp.nanosec
    assert found.detections[0].bbox.size_x == 14
    marker = read_back(run.published("~/markers")[0])
    assert (marker.type, len(marker.points)) == (2, 8)  # a list of lines: one box
    box = found.detections[0].bbox
    for name, centre, size in (
        ("x", box.center.position.x, box.size_x), ("y", box.center.position.y, box.size_y),
    ):  # fmt: skip
        values = {getattr(point, name) for point in marker.points}
        assert values == {centre - size / 2, centre + size / 2}
    assert not run.published("~/overlay/compressed")  # nobody looks at it


def test_the_overlay_is_drawn_for_who_looks_at_it(start: Start) -> None:
    run = start(ClosingDetector())
    run.ros.publishers["~/overlay/compressed"].viewers = 1
    run.ros.deliver(TOPIC, image(2))
    wait_until(lambda: bool(run.published("~/overlay/compressed")))
    received = read_back(run.published("~/overlay/compressed")[0])
    assert bytes(received.data[:2]) == b"\xff\xd8"
    assert received.header.frame_id == "image 2"


def test_compressed_images_of_another_topic(start: Start) -> None:
    import cv2

    run = start(ClosingDetector(), image_topic="/front/compressed", compressed=True)
    message = message_class("sensor_msgs/msg/CompressedImage")()
    message.format = "png"
    message.data = array("B", cv2.imencode(".png", picture(4))[1].tobytes())
    run.ros.deliver("/front/compressed", message)
    wait_until(lambda: bool(run.published("~/mask")))
    assert np.count_nonzero(run.published("~/mask")[0].data) == 6 * 16


def write_mask(path: Path, hw: tuple[int, int] = (48, 64)) -> Path:
    """White in the left half."""
    import cv2

    drawn = np.zeros(hw, np.uint8)
    drawn[:, : hw[1] // 2] = 255
    assert cv2.imwrite(str(path), drawn)
    return path


def test_what_is_ignored_is_in_no_mask_and_no_finding(start: Start, tmp_path: Path) -> None:
    run = start(ClosingDetector(), ignore=str(write_mask(tmp_path / "arm.png", (96, 128))))
    run.ros.publishers["~/overlay/compressed"].viewers = 1
    run.ros.deliver(TOPIC, image(15))
    wait_until(lambda: bool(run.published("~/overlay/compressed")))
    mask = np.array(run.published("~/mask")[0].data, np.uint8).reshape(48, 64)
    assert np.array_equal(mask > 0, (picture(15)[..., 0] > 127) & (np.arange(64) >= 32))
    (found,) = run.published("~/findings")[0].detections
    assert found.bbox.center.position.x - found.bbox.size_x / 2 == 32
    assert not run.ros.logs


def test_images_of_another_shape_are_inspected_whole_and_said_once(
    start: Start, tmp_path: Path
) -> None:
    run = start(ClosingDetector(), ignore=str(write_mask(tmp_path / "arm.png")))
    for index, hw in enumerate([(48, 64), (48, 48), (48, 48), (48, 64)]):
        run.ros.deliver(TOPIC, image(index, pixels=picture(15, hw)))
        wait_until(lambda count=index: len(run.published("~/mask")) > count)  # type: ignore[misc]
    pixels = [np.count_nonzero(message.data) for message in run.published("~/mask")]
    whole = 6 * 38
    assert pixels == [6 * 10, whole, whole, 6 * 10]
    misfit, fits = run.ros.logs
    assert "is for frames of 64x48 px and cannot be fitted to frame 000001 of 48x48 px" in misfit
    assert "fits again" in fits


def test_images_that_never_fit_end_the_node(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(ClosingDetector(), ignore=str(write_mask(tmp_path / "arm.png", (48, 48))))
    run.ros.deliver(TOPIC, image(0))
    assert run.join() == 2
    assert "the shapes differ; draw one for that shape." in capsys.readouterr().err


def test_the_bundled_model_finds_what_it_finds_without_ros(start: Start) -> None:
    with open_source("demo?frames=1&seed=3") as source:
        frame = source.read()
    assert frame is not None
    shown = np.ascontiguousarray(frame.image[:256, :320])
    run = start(threshold=0.4, min_area=20)
    run.ros.deliver(TOPIC, image(pixels=shown))
    wait_until(lambda: bool(run.published("~/mask")))
    with open_detector(threshold=0.4) as detector:
        expected = measure_cracks(detector.probability_of(shown), 0.4, 20)
    assert expected.crack_pixels > 0
    data = np.array(run.published("~/mask")[0].data, np.uint8)
    assert np.array_equal(data.reshape(256, 320), expected.mask)
    assert len(run.published("~/findings")[0].detections) == len(expected.regions)


def test_while_the_network_works_the_newest_image_replaces_those_before(start: Start) -> None:
    working, go_on = threading.Event(), threading.Event()

    def slow(number: int) -> None:
        working.set()
        assert go_on.wait(PATIENCE_S)

    run = start(ClosingDetector(slow), max_age_ms=0.0)
    ticks: list[int] = []
    run.ros.timers.append(lambda: ticks.append(1))
    run.ros.deliver(TOPIC, image(0))
    assert working.wait(PATIENCE_S)
    for index in range(1, 8):
        before = len(ticks)
        run.ros.deliver(TOPIC, image(index))
        wait_until(lambda before=before: len(ticks) > before + 1)  # type: ignore[misc]
    assert not run.published("~/mask")  # and the executor has run on all the while
    go_on.set()
    wait_until(lambda: len(run.published("~/mask")) == 2)
    run.stop()
    names = [message.header.frame_id for message in run.published("~/mask")]
    assert names == ["image 0", "image 7"]


def test_what_is_too_old_is_not_published_and_said_once(start: Start) -> None:
    now_ns = time.time_ns()
    run = start(ClosingDetector(), max_age_ms=500.0)
    run.ros.now_ns = lambda: now_ns
    for index in range(3):
        run.ros.deliver(TOPIC, image(index, now_ns - 2 * 10**9))
        wait_until(lambda: not run.ros.subscriptions[TOPIC].waiting)
    wait_until(lambda: bool(run.ros.logs))
    run.ros.deliver(TOPIC, image(9, now_ns))
    wait_until(lambda: bool(run.published("~/mask")))
    assert [message.header.frame_id for message in run.published("~/mask")] == ["image 9"]
    assert len(run.ros.logs) == 1
    assert "max_age_ms is 500" in run.ros.logs[0]


def test_a_result_that_ages_in_the_network_is_not_published(start: Start) -> None:
    now = [10**15]

    def take_a_second(number: int) -> None:
        now[0] += 10**9 if number == 0 else 0

    detector = ClosingDetector(take_a_second)
    run = start(detector, max_age_ms=500.0)
    run.ros.now_ns = lambda: now[0]
    run.ros.deliver(TOPIC, image(0, stamp_ns=now[0]))
    wait_until(lambda: bool(run.ros.logs))
    run.ros.deliver(TOPIC, image(1, stamp_ns=now[0]))
    wait_until(lambda: bool(run.published("~/mask")))
    assert [message.header.frame_id for message in run.published("~/mask")] == ["image 1"]


def test_without_a_stamp_age_counts_from_the_arrival(start: Start) -> None:
    run = start(ClosingDetector())
    run.ros.deliver(TOPIC, image(1, stamp_ns=0))
    wait_until(lambda: bool(run.published("~/mask")))


def test_images_that_cannot_be_read_are_left_out_and_said_once(start: Start) -> None:
    run = start(ClosingDetector())
    for _ in range(3):
        broken = image()
        broken.encoding = "32FC1"
        run.ros.deliver(TOPIC, broken)
        wait_until(lambda: not run.ros.subscriptions[TOPIC].waiting)
    wait_until(lambda: bool(run.ros.logs))
    run.ros.deliver(TOPIC, image(1))
    wait_until(lambda: bool(run.published("~/mask")))
    assert run.ros.logs == ["an image has the encoding '32FC1'; it is left out"]


def test_an_error_of_the_network_ends_the_node(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(number: int) -> None:
        raise DeviceError("the GPU is gone", "start again")

    detector = ClosingDetector(fail)
    run = start(detector)
    run.ros.deliver(TOPIC, image())
    assert run.join() == 10
    assert capsys.readouterr().err == "edgecrack: the GPU is gone; start again.\n"
    assert detector.closed
    assert run.ros.calls == ["init", "destroy_node", "try_shutdown"]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_shutting_down_is_no_error(start: Start, error: BaseException | None) -> None:
    detector = ClosingDetector()
    run = start(detector)
    run.ros.shut_down(error)
    assert run.join() == 0
    assert detector.closed
    assert run.ros.calls == ["init", "destroy_node", "try_shutdown"]


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
    start: Start,
    parameters: dict[str, Any],
    exit_code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = start(**parameters)
    assert run.join() == exit_code
    assert said in capsys.readouterr().err
    assert run.ros.calls == ["init", "try_shutdown"]


def test_a_closed_worker_leaves_no_thread() -> None:
    detector = ClosingDetector()
    worker = NewestImageWorker(
        detector,
        lambda message: message,
        lambda result, header: None,
        clock_ns=time.time_ns,
        warn=print,
        min_area_px=1,
        max_age_ms=None,
    )
    assert "edgecrack-ros" in stream_threads()
    worker.close()
    worker.close()
    assert "edgecrack-ros" not in stream_threads()
    assert (detector.closed, worker.replaced) == (True, 0)


def test_without_ros_it_is_a_sentence_and_an_exit_code() -> None:
    pytest.importorskip("edgecrack")
    if _has_rclpy():
        pytest.skip("rclpy is installed here")
    command = [sys.executable, "-m", "edgecrack.ros.node"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == MissingDependencyError.exit_code
    assert done.stdout == ""
    assert done.stderr.startswith("edgecrack: the ROS 2 node needs rclpy, which is not installed; ")
    assert done.stderr.count("\n") == 1


def test_without_ros_importing_it_is_our_error() -> None:
    if _has_rclpy():
        pytest.skip("rclpy is installed here")
    import importlib

    with pytest.raises(MissingDependencyError, match="rclpy"):
        importlib.import_module("edgecrack.ros.node")


def _has_rclpy() -> bool:
    import importlib.util

    return importlib.util.find_spec("rclpy") is not None


def test_the_node_is_thin_and_nothing_imports_it() -> None:
    package = REPOSITORY / "edgecrack"
    assert len((package / "ros" / "node.py").read_text().splitlines()) < 140
    for path in package.rglob("*.py"):
        if path.parent.name == "ros":
            continue
        for statement in ast.walk(ast.parse(path.read_text())):
            if isinstance(statement, ast.ImportFrom):
                assert not (statement.module or "").startswith("edgecrack.ros"), path
            elif isinstance(statement, ast.Import):
                assert not any(n.name.startswith("edgecrack.ros") for n in statement.names), path

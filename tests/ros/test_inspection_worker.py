"""The thread that inspects the newest image; the messages are stand-ins, and no ROS 2 is needed."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError, DeviceError, EdgecrackError
from edgecrack.measurement.regions import measure_cracks
from edgecrack.ros.conversions import image_to_bgr
from edgecrack.ros.inspection_worker import NewestImageWorker
from edgecrack.runtime.detector import open_detector
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask, read_ignore_mask
from edgecrack.runtime.sources.open import open_source
from tests.ros.ros_messages import message_class
from tests.runtime.fakes import BrightDetector, picture, stream_threads
from tests.waiting import PATIENCE_S, wait_until


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


class Working:
    """A worker, what it publishes and what it warns of."""

    def __init__(
        self,
        detector: Any = None,
        now_ns: Callable[[], int] = time.time_ns,
        max_age_ms: float | None = None,
        ignore: IgnoreMask | None = None,
        min_area_px: int = 4,
    ) -> None:
        self.results: list[FrameResult] = []
        self.names: list[str] = []
        self.warnings: list[str] = []
        self.detector = detector or ClosingDetector()
        self.worker = NewestImageWorker(
            self.detector,
            image_to_bgr,
            self._publish,
            clock_ns=now_ns,
            warn=self.warnings.append,
            min_area_px=min_area_px,
            max_age_ms=max_age_ms,
            ignore=ignore,
        )

    def _publish(self, result: FrameResult, header: Any) -> None:
        self.results.append(result)
        self.names.append(header.frame_id)

    def put(self, message: Any) -> None:
        """Give it a message."""
        self.worker.put(message)

    def inspect(self, message: Any) -> FrameResult:
        """Give it a message and wait for the result."""
        count = len(self.results)
        self.worker.put(message)
        wait_until(lambda: len(self.results) > count)
        return self.results[-1]


Start = Callable[..., Working]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Working] = []

    def begin(*values: Any, **more: Any) -> Working:
        running.append(Working(*values, **more))
        return running[-1]

    yield begin
    for one in running:
        one.worker.close()
    assert "edgecrack-ros" not in stream_threads()


def test_an_image_gives_a_result_with_its_header(start: Start) -> None:
    working = start()
    result = working.inspect(image(3))
    assert np.array_equal(result.mask > 0, picture(3)[..., 0] > 127)
    assert working.names == ["image 3"]
    assert result.frame.time_source == "sender"


def test_the_bundled_model_finds_what_it_finds_without_ros(start: Start) -> None:
    with open_source("demo?frames=1&seed=3") as source:
        frame = source.read()
    assert frame is not None
    shown = np.ascontiguousarray(frame.image[:256, :320])
    result = start(open_detector(threshold=0.4), min_area_px=20).inspect(image(pixels=shown))
    with open_detector(threshold=0.4) as detector:
        expected = measure_cracks(detector.probability_of(shown), 0.4, 20)
    assert expected.crack_pixels > 0
    assert np.array_equal(result.mask, expected.mask)
    assert result.regions == expected.regions


def left_half(path: Path, hw: tuple[int, int] = (48, 64)) -> IgnoreMask:
    drawn = np.zeros(hw, np.uint8)
    drawn[:, : hw[1] // 2] = 255
    assert cv2.imwrite(str(path), drawn)
    return read_ignore_mask(path)


def test_what_is_ignored_is_in_no_mask_and_no_finding(start: Start, tmp_path: Path) -> None:
    working = start(ignore=left_half(tmp_path / "arm.png", (96, 128)))
    result = working.inspect(image(15))
    expected = (picture(15)[..., 0] > 127) & (np.arange(64) >= 32)
    assert np.array_equal(result.mask > 0, expected)
    (found,) = result.regions
    assert found.xyxy[0] == 32
    assert result.inspected_ratio == 0.5
    assert not working.warnings


def test_images_of_another_shape_are_inspected_whole_and_said_once(
    start: Start, tmp_path: Path
) -> None:
    working = start(ignore=left_half(tmp_path / "arm.png"))
    sizes = [(48, 64), (48, 48), (48, 48), (48, 64)]
    results = [
        working.inspect(image(index, pixels=picture(15, hw))) for index, hw in enumerate(sizes)
    ]
    whole = 6 * 38
    assert [result.crack_pixels for result in results] == [6 * 10, whole, whole, 6 * 10]
    misfit, fits = working.warnings
    assert "is for frames of 64x48 px and cannot be fitted to frame 000001 of 48x48 px" in misfit
    assert "fits again" in fits


def test_while_the_network_works_the_newest_image_replaces_those_before(start: Start) -> None:
    at_work, go_on = threading.Event(), threading.Event()

    def slow(number: int) -> None:
        at_work.set()
        assert go_on.wait(PATIENCE_S)

    working = start(ClosingDetector(slow))
    working.put(image(0))
    assert at_work.wait(PATIENCE_S)
    for index in range(1, 8):
        working.put(image(index))  # returns at once: who calls is never kept waiting
    assert not working.results
    go_on.set()
    wait_until(lambda: len(working.results) == 2)
    working.worker.close()
    assert working.names == ["image 0", "image 7"]
    assert working.worker.replaced == 6


def test_what_is_too_old_is_not_published_and_said_once(start: Start) -> None:
    now_ns = time.time_ns()
    asked: list[int] = []  # of the clock: when an image arrives, and when it is taken
    inferred: list[int] = []

    def clock_ns() -> int:
        asked.append(now_ns)
        return now_ns

    working = start(ClosingDetector(inferred.append), now_ns=clock_ns, max_age_ms=500.0)
    for index in range(3):
        working.put(image(index, now_ns - 2 * 10**9))
        wait_until(lambda count=2 * (index + 1): len(asked) == count)  # type: ignore[misc]
    working.inspect(image(9, now_ns))
    assert working.names == ["image 9"]
    assert len(working.warnings) == 1
    assert "max_age_ms is 500" in working.warnings[0]
    assert inferred == [0]  # the network was not kept busy by what is too old


def test_a_result_that_ages_in_the_network_is_not_published(start: Start) -> None:
    now = [10**15]

    def take_a_second(number: int) -> None:
        now[0] += 10**9 if number == 0 else 0

    working = start(ClosingDetector(take_a_second), now_ns=lambda: now[0], max_age_ms=500.0)
    working.put(image(0, stamp_ns=now[0]))
    wait_until(lambda: bool(working.warnings))
    working.inspect(image(1, stamp_ns=now[0]))
    assert working.names == ["image 1"]


def test_without_a_stamp_age_counts_from_the_arrival(start: Start) -> None:
    result = start(max_age_ms=60_000.0).inspect(image(1, stamp_ns=0))
    assert result.frame.time_source == "arrival"


def test_images_that_cannot_be_read_are_left_out_and_said_once(start: Start) -> None:
    taken: list[int] = []

    def clock_ns() -> int:
        taken.append(0)
        return time.time_ns()

    working = start(now_ns=clock_ns, max_age_ms=60_000.0)
    for index in range(3):
        broken = image()
        broken.encoding = "32FC1"
        working.put(broken)
        wait_until(lambda count=2 * (index + 1): len(taken) == count)  # type: ignore[misc]
    working.inspect(image(1))
    assert working.names == ["image 1"]
    assert working.warnings == ["an image has the encoding '32FC1'; it is left out"]


def test_an_error_of_the_network_reaches_who_gives_images(start: Start) -> None:
    def fail(number: int) -> None:
        raise DeviceError("the GPU is gone", "start again")

    working = start(ClosingDetector(fail))
    working.put(image())
    wait_until(lambda: working.detector.closed)
    with pytest.raises(DeviceError, match="the GPU is gone"):
        working.worker.check()
    with pytest.raises(DeviceError, match="the GPU is gone"):
        working.worker.put(image())


def test_an_ignore_mask_that_never_fits_is_an_error(start: Start, tmp_path: Path) -> None:
    working = start(ignore=left_half(tmp_path / "arm.png", (48, 48)))
    working.put(image(0))
    wait_until(lambda: working.detector.closed)
    with pytest.raises(EdgecrackError, match="draw one for that shape"):
        working.worker.check()


@pytest.mark.parametrize("values", [{"min_area_px": -1}, {"max_age_ms": -5.0}])
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    detector = ClosingDetector()
    with pytest.raises(ConfigError, match="give 0 or more"):
        Working(detector, **values)
    assert detector.closed


def test_a_closed_worker_leaves_no_thread() -> None:
    working = Working()
    assert "edgecrack-ros" in stream_threads()
    working.worker.close()
    working.worker.close()
    assert "edgecrack-ros" not in stream_threads()
    assert (working.detector.closed, working.worker.replaced) == (True, 0)

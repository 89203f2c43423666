"""Widths and tracked cracks for a ROS 2 node, without importing ROS."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edgecrack.errors import ConfigError
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.measuring.frame_scale import FrameScale
from edgecrack.runtime.measuring.measuring_thread import MeasuringThread
from edgecrack.runtime.measuring.stream_scale import RecordedCamera, StreamScale, stream_scale
from edgecrack.runtime.measuring.width_record import width_record
from edgecrack.runtime.position.interpolate import PositionTrack
from edgecrack.runtime.tracking.crack_tracker import CrackTracker
from edgecrack.runtime.tracking.finding_book import FindingBook
from edgecrack.runtime.tracking.findings import Finding

WIDTH_PARAMETERS: dict[str, Any] = {
    "widths": False,  # measure cracks; a scale turns it on, too
    "mm_per_pixel": "",  # such as 0.12+-0.005
    "camera_file": "",  # or a calibrated camera
    "distance_m": "",  # from that camera to the wall, such as 1.5+-0.02
    "range_topic": "",  # or the topic of a range finder beside it
    "tilt_deg": "",  # of the view against the wall's perpendicular
    "tilt_towards_deg": -1.0,  # where the wall recedes; below 0: unknown
}


class WidthMeasuring:
    """Measures results and publishes a line of `widths.jsonl` for each.

    Args:
        publish: called with each record as JSON, in the measuring thread; None measures nothing.
        scale: gives millimetres; None measures in pixels.
        clock_ns: now, on the clock of the stamps.

    Raises:
        ConfigError: the camera is to come from a recording.
    """

    def __init__(
        self,
        publish: Callable[[str], object] | None,
        scale: StreamScale | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        camera = None if scale is None else scale.camera
        if isinstance(camera, RecordedCamera):
            raise ConfigError("the camera is to come from a recording", "give its file")
        self._scale = None if scale is None else FrameScale(scale, camera)
        self._publish, self._clock_ns = publish, clock_ns
        self._track = PositionTrack()
        self._newest_frame_ns = 0
        self._thread = MeasuringThread(self._measure)

    def put(self, result: FrameResult) -> None:
        """Queue a result; it replaces one that waits."""
        if self._publish is not None:
            self._newest_frame_ns = max(self._newest_frame_ns, result.frame.stamp_ns)
            self._thread.put(result)

    def take_range(self, message: Any) -> None:
        """Take a Range message; one without a valid range is ignored."""
        found, least, most = message.range, message.min_range, message.max_range
        if not math.isfinite(found) or not (least <= found <= most or not least < most):
            return
        variance = getattr(message, "variance", 0.0)  # since ROS 2 Iron
        stamp = message.header.stamp
        now_ns = self._clock_ns()
        time_ns = stamp.sec * 10**9 + stamp.nanosec or now_ns
        # Where a robot's clocks differ, the camera's counts; 0 is a simulation's clock before its
        # first message.
        latest_ns = max(now_ns, self._newest_frame_ns) if now_ns else None
        deviation_m = math.sqrt(variance) if variance > 0 else None
        try:
            self._track.add(time_ns, range_m=found, range_deviation_m=deviation_m, now_ns=latest_ns)
        except ValueError:
            return  # a range at which a camera sees nothing, or a time in the future

    def check(self) -> None:
        """Raise the error that ended the thread, if there was one."""
        self._thread.check()

    def close(self) -> None:
        """Finish the current result."""
        self._thread.finish()

    def _measure(self, result: FrameResult) -> None:
        position = self._track.locate(result.frame.stamp_ns)
        record = width_record(replace(result, position=position), self._scale)
        if self._publish is not None:
            self._publish(json.dumps(record, allow_nan=False))


def open_widths(
    node: Any, given: Mapping[str, Any], string_type: Any, range_type: Any
) -> WidthMeasuring:
    """Measuring according to a node's parameters; publishes the records on `~/widths`.

    Args:
        node: of rclpy.
        given: its parameters, by the names in `WIDTH_PARAMETERS`.
        string_type: std_msgs.msg.String.
        range_type: sensor_msgs.msg.Range.

    Returns:
        An object that measures nothing if the parameters do not ask for it.

    Raises:
        ConfigError: they contradict each other, or a value is invalid.
    """
    names = ("mm_per_pixel", "camera_file", "distance_m", "tilt_deg")
    towards = given["tilt_towards_deg"]
    scale = stream_scale(
        **{name: given[name] or None for name in names},
        tilt_towards_deg=None if towards < 0 else towards,
    )
    if scale is not None and scale.needs_range and not given["range_topic"]:
        raise ConfigError("a camera alone gives no scale", "give `distance_m` or `range_topic`")
    if scale is None and not given["widths"]:
        return WidthMeasuring(None)
    publisher = node.create_publisher(string_type, "~/widths", 1)
    measuring = WidthMeasuring(
        lambda record: publisher.publish(string_type(data=record)),
        scale,
        lambda: int(node.get_clock().now().nanoseconds),
    )
    if given["range_topic"]:
        node.create_subscription(range_type, given["range_topic"], measuring.take_range, 50)
    return measuring


def open_cracks(node: Any, string_type: Any) -> CrackTracker:
    """A tracker that publishes each crack once on `~/cracks`, when it has left the view for good.

    Args:
        node: of rclpy.
        string_type: std_msgs.msg.String.
    """
    publisher = node.create_publisher(string_type, "~/cracks", 10)

    def publish(finding: Finding) -> None:
        # A signal ends ROS before the node: cracks still in view cannot be published then.
        if node.context.ok():
            text = json.dumps(finding.to_dict(), allow_nan=False)
            try:
                publisher.publish(string_type(data=text))
            except Exception:
                if node.context.ok():
                    raise

    return CrackTracker(FindingBook(publish))

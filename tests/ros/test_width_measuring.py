"""What a node measures, without ROS: records as text, and ranges out of messages."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecrack.errors import ConfigError
from edgecrack.ros.width_measuring import WIDTH_PARAMETERS, open_widths
from tests.runtime.measuring.cameras import FOCAL_PX, camera_path, wall


class Node:
    """Remembers what was opened, as a node of rclpy opens it."""

    def __init__(self, now_ns: int = 0) -> None:
        self.said: list[str] = []
        self.topics: dict[str, Any] = {}
        self._now_ns = now_ns

    def create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
        self.topics[topic] = kind
        return SimpleNamespace(publish=lambda message: self.said.append(message.data))

    def create_subscription(self, kind: Any, topic: str, callback: Any, depth: int) -> None:
        self.topics[topic] = callback

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=self._now_ns))


def opened(node: Node, **given: Any) -> Any:
    return open_widths(node, {**WIDTH_PARAMETERS, **given}, SimpleNamespace, object)


def range_message(range_m: float, time_ns: int, **more: float) -> Any:
    stamp = SimpleNamespace(sec=time_ns // 10**9, nanosec=time_ns % 10**9)
    limits = {"min_range": 0.01, "max_range": 9.0, **more}
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), range=range_m, **limits)


def test_without_being_asked_a_node_measures_nothing() -> None:
    node = Node()
    measuring = opened(node)
    measuring.put(wall(live=True))
    measuring.check()
    measuring.close()
    assert (node.said, node.topics) == ([], {})


@pytest.mark.parametrize(
    ("given", "mm_per_px"), [({"widths": True}, None), ({"mm_per_pixel": "0.1+-0.002"}, 0.1)]
)
def test_widths_are_published_as_a_line_of_the_file(
    given: dict[str, Any], mm_per_px: float | None
) -> None:
    node = Node()
    measuring = opened(node, **given)
    measuring.put(wall(live=True))
    measuring.close()
    (record,) = map(json.loads, node.said)
    assert len(record["cracks"]) == 1
    scale = record["scale"]
    assert (None if scale is None else scale["mm_per_px"]) == mm_per_px


def test_ranges_are_taken_by_their_stamps(tmp_path: Path) -> None:
    node = Node()
    path = str(camera_path(tmp_path))
    measuring = opened(node, camera_file=path, range_topic="/laser")
    result = wall(live=True)
    for range_m in (math.inf, math.nan, 0.001, 10.0):
        node.topics["/laser"](range_message(range_m, result.frame.stamp_ns))
    node.topics["/laser"](range_message(0.05, result.frame.stamp_ns, variance=0.000001))
    measuring.put(result)
    measuring.close()
    (record,) = map(json.loads, node.said)
    assert record["scale"]["mm_per_px"] == pytest.approx(50 / FOCAL_PX, rel=0.003)
    assert record["scale"]["spread_95_mm_per_px"] > 0.04 * 50 / FOCAL_PX


def test_one_range_in_five_from_the_future_blinds_no_frame(tmp_path: Path) -> None:
    result = wall(live=True)
    frame_ns = result.frame.stamp_ns
    node = Node(now_ns=frame_ns)
    measuring = opened(node, camera_file=str(camera_path(tmp_path)), range_topic="/laser")
    for index in range(20):
        ahead_ns = 10**15 if index % 5 == 0 else (index - 20) * 10**7
        node.topics["/laser"](range_message(0.05, frame_ns + ahead_ns, variance=0.000001))
    measuring.put(result)
    measuring.close()
    (record,) = map(json.loads, node.said)
    assert record["scale"]["mm_per_px"] == pytest.approx(50 / FOCAL_PX, rel=0.003)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mm_per_pixel": "wide"}, "`mm_per_pixel` is 'wide'"),
        ({"camera_file": "FILE"}, "give `distance_m` or `range_topic`"),
        ({"camera_file": "recording", "distance_m": "1"}, "to come from a recording; give its"),
    ],
)
def test_parameters_that_give_no_scale_are_refused(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    if given.get("camera_file") == "FILE":
        given = {"camera_file": str(camera_path(tmp_path))}
    with pytest.raises(ConfigError, match=said):
        opened(Node(), **given)


def test_an_error_in_the_thread_is_raised_by_the_next_check() -> None:
    node = Node()
    measuring = opened(node, widths=True)
    node.said = None  # type: ignore[assignment]
    measuring.put(wall(live=True))
    measuring.close()
    with pytest.raises(AttributeError):
        measuring.check()

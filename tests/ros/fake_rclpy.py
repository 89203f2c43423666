"""A minimal stand-in for rclpy: it shows how the node is wired, not that ROS 2 runs it.

Nothing of the middleware is here: no discovery, no serialization, no quality of service but the
depth of a subscription. Callbacks run one after another in the thread that spins, as rclpy's
default executor runs them; an exception in one leaves `spin`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.ros.ros_messages import message_class

SENSOR = ("Image", "CompressedImage")
VISION = ("Detection2D", "Detection2DArray", "ObjectHypothesisWithPose")


class ExternalShutdownException(Exception):  # noqa: N818 - rclpy's own name
    """The context was shut down by a signal."""


class ReliabilityPolicy(Enum):
    RELIABLE = 1
    BEST_EFFORT = 2


class QoSProfile:
    def __init__(
        self, *, depth: int, reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE
    ) -> None:
        self.depth, self.reliability = depth, reliability


class Publisher:
    def __init__(self, kind: Any, topic: str, qos: Any) -> None:
        self.kind, self.topic, self.qos = kind, topic, qos
        self.messages: list[Any] = []
        self.viewers = 0

    def publish(self, message: Any) -> None:
        assert isinstance(message, self.kind)
        self.messages.append(message)

    def get_subscription_count(self) -> int:
        return self.viewers


class Subscription:
    def __init__(self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any) -> None:
        self.kind, self.topic, self.callback, self.qos = kind, topic, callback, qos
        depth = qos if isinstance(qos, int) else qos.depth
        self.waiting: deque[Any] = deque(maxlen=depth)


class Ros:
    """The world around a node, for a test to play in."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.declared: dict[str, Any] = {}
        self.publishers: dict[str, Publisher] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.timers: list[Callable[[], None]] = []
        self.logs: list[str] = []
        self.calls: list[str] = []
        self.now_ns: Callable[[], int] = time.time_ns
        self.down: BaseException | None = None
        self.spinning = threading.Event()

    def deliver(self, topic: str, message: Any) -> None:
        """A message arrives; a full queue loses its oldest."""
        subscription = self.subscriptions[topic]
        assert isinstance(message, subscription.kind)
        subscription.waiting.append(message)

    def shut_down(self, error: BaseException | None = None) -> None:
        self.down = error or ExternalShutdownException()

    def spin(self) -> None:
        self.spinning.set()
        while self.down is None:
            for subscription in self.subscriptions.values():
                if subscription.waiting:
                    subscription.callback(subscription.waiting.popleft())
            for timer in self.timers:
                timer()
            time.sleep(0.002)
        raise self.down

    def modules(self) -> dict[str, ModuleType]:
        """The modules that the node imports."""
        ros = self

        class Node:
            def __init__(self, name: str) -> None:
                assert "init" in ros.calls
                self.name = name

            def declare_parameter(self, name: str, default: Any) -> Any:
                ros.declared[name] = default
                value = ros.parameters.get(name, default)
                assert type(value) is type(default)  # as rclpy has it since Galactic
                return SimpleNamespace(value=value)

            def create_publisher(self, kind: Any, topic: str, qos: Any) -> Publisher:
                return ros.publishers.setdefault(topic, Publisher(kind, topic, qos))

            def create_subscription(
                self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any
            ) -> None:
                ros.subscriptions[topic] = Subscription(kind, topic, callback, qos)

            def create_timer(self, period_s: float, callback: Callable[[], None]) -> None:
                assert period_s > 0
                ros.timers.append(callback)

            def get_clock(self) -> Any:
                return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=ros.now_ns()))

            def get_logger(self) -> Any:
                return SimpleNamespace(warning=ros.logs.append)

            def destroy_node(self) -> None:
                ros.calls.append("destroy_node")

        return {
            "rclpy": _module(
                "rclpy",
                init=lambda: ros.calls.append("init"),
                spin=lambda node: ros.spin(),
                try_shutdown=lambda: ros.calls.append("try_shutdown"),
            ),
            "rclpy.executors": _module(
                "rclpy.executors", ExternalShutdownException=ExternalShutdownException
            ),
            "rclpy.node": _module("rclpy.node", Node=Node),
            "rclpy.qos": _module(
                "rclpy.qos", QoSProfile=QoSProfile, ReliabilityPolicy=ReliabilityPolicy
            ),
            "sensor_msgs": _module("sensor_msgs"),
            "sensor_msgs.msg": _module(
                "sensor_msgs.msg",
                **{name: message_class(f"sensor_msgs/msg/{name}") for name in SENSOR},
            ),
            "geometry_msgs": _module("geometry_msgs"),
            "geometry_msgs.msg": _module(
                "geometry_msgs.msg", Point=message_class("geometry_msgs/msg/Point")
            ),
            "visualization_msgs": _module("visualization_msgs"),
            "visualization_msgs.msg": _module(
                "visualization_msgs.msg",
                ImageMarker=message_class("visualization_msgs/msg/ImageMarker"),
            ),
            "vision_msgs": _module("vision_msgs"),
            "vision_msgs.msg": _module(
                "vision_msgs.msg",
                **{name: message_class(f"vision_msgs/msg/{name}") for name in VISION},
            ),
        }


def install(monkeypatch: pytest.MonkeyPatch) -> tuple[Ros, Any]:
    """Put the stand-in where rclpy would be; gives its world and the node's module."""
    import importlib
    import sys

    ros = Ros()
    for name, module in ros.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules.pop("edgecrack.ros.node", None)
    node = importlib.import_module("edgecrack.ros.node")
    # Whoever imports it next has to find his own world, or none.
    del sys.modules["edgecrack.ros.node"]
    return ros, node


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(members)
    return module

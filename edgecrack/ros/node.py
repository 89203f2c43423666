"""A ROS 2 node: images in; mask, overlay and findings out.

    python3 -m edgecrack.ros.node --ros-args -p image_topic:=/camera/image_raw

Needs a ROS 2 installation; findings are also published as vision_msgs where that is installed. The
network runs in a thread, on the newest image only, so that results stay fresh however slow it is.
Everything that can be tested without ROS is in the other modules; nothing imports this module.
"""

from __future__ import annotations

import sys
from typing import Any

from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import EdgecrackError, MissingDependencyError
from edgecrack.ros.conversions import (
    DetectionTypes,
    compressed_image_to_bgr,
    findings_to_detections,
    findings_to_marker,
    image_to_bgr,
    mask_to_image,
    overlay_to_compressed,
)
from edgecrack.ros.inspection_worker import open_worker
from edgecrack.ros.width_measuring import WIDTH_PARAMETERS, open_cracks, open_widths
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.outputs.overlay import draw_overlay

try:
    import rclpy
    from geometry_msgs.msg import Point
    from rclpy.executors import ExternalShutdownException
    from rclpy.node import Node
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import CompressedImage, Image, Range
    from std_msgs.msg import String
    from visualization_msgs.msg import ImageMarker
except ModuleNotFoundError as error:
    missing = MissingDependencyError(
        f"the ROS 2 node needs {error.name}, which is not installed",
        f"run: apt install ros-$ROS_DISTRO-{(error.name or '').replace('_', '-')}, and source "
        "ROS 2's setup.bash before python3 -m edgecrack.ros.node",
    )
    if __name__ != "__main__":
        raise missing from error
    print(f"edgecrack: {missing}", file=sys.stderr)
    sys.exit(missing.exit_code)

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ModuleNotFoundError:
    VISION = None
else:
    VISION = DetectionTypes(Detection2DArray, Detection2D, ObjectHypothesisWithPose)

PARAMETERS: dict[str, Any] = {
    "image_topic": "/camera/image_raw",
    "compressed": False,  # the topic has CompressedImage
    "model": "",  # empty for the installed one, or the bundled one
    "threshold": 0.0,  # 0 for the model's own
    "scales": "",  # empty for the model's own
    "ignore": "",  # file of the parts that are not inspected
    "min_area": MIN_AREA_PX,
    "max_age_ms": 1000.0,  # results older than this are not published; 0 publishes all
    **WIDTH_PARAMETERS,
}


class CrackNode(Node):  # type: ignore[misc]
    """Finds cracks in the images of a topic; its parameters are `PARAMETERS`.

    Raises:
        EdgecrackError: the model cannot be used, or a parameter is out of range.
    """

    def __init__(self) -> None:
        super().__init__("edgecrack")
        given = {name: self.declare_parameter(name, PARAMETERS[name]).value for name in PARAMETERS}
        kind = CompressedImage if given["compressed"] else Image
        self._mask = self.create_publisher(Image, "~/mask", 1)
        self._overlay = self.create_publisher(CompressedImage, "~/overlay/compressed", 1)
        self._markers = self.create_publisher(ImageMarker, "~/markers", 1)
        self._findings = VISION and self.create_publisher(VISION.array, "~/findings", 1)
        self.widths = open_widths(self, given, String, Range)
        self.cracks = open_cracks(self, String)
        self.worker = open_worker(
            given,
            compressed_image_to_bgr if given["compressed"] else image_to_bgr,
            self._publish,
            clock_ns=lambda: int(self.get_clock().now().nanoseconds),
            warn=self.get_logger().warning,
        )
        # At most one image waits and none is sent again: a late one is worth less than the next.
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(kind, given["image_topic"], self.worker.put, newest)
        for thread in (self.worker, self.widths):
            self.create_timer(0.5, thread.check)  # an error in the thread ends the node

    def _publish(self, result: FrameResult, header: Any) -> None:
        self._mask.publish(mask_to_image(result.mask, header, Image))
        self._markers.publish(findings_to_marker(result, header, ImageMarker, Point))
        if VISION is not None and self._findings is not None:
            self._findings.publish(findings_to_detections(result, header, VISION))
        if self._overlay.get_subscription_count():
            picture = draw_overlay(result)
            self._overlay.publish(overlay_to_compressed(picture, header, CompressedImage))
        self.widths.put(result)
        self.cracks.write(result)


def main() -> int:
    """Run the node until it is shut down; the exit code."""
    rclpy.init()
    node = None
    try:
        node = CrackNode()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except EdgecrackError as error:
        print(f"edgecrack: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        if node is not None:
            node.worker.close()
            node.widths.close()
            node.cracks.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

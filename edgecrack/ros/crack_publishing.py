"""Each crack of a ROS 2 node's images once, as a line of `findings.jsonl`.

Knows a node by its members alone; must not import ROS.
"""

from __future__ import annotations

import json
from typing import Any

from edgecrack.runtime.tracking.crack_tracker import CrackTracker
from edgecrack.runtime.tracking.finding_book import FindingBook
from edgecrack.runtime.tracking.findings import Finding


def open_cracks(node: Any, string_type: Any) -> CrackTracker:
    """A tracker whose cracks go to `~/cracks` when they are out of view for good.

    Args:
        node: of rclpy.
        string_type: std_msgs.msg.String.
    """
    publisher = node.create_publisher(string_type, "~/cracks", 10)

    def publish(finding: Finding) -> None:
        # A signal ends ROS before the node: what is still in view then has nobody to hear of it.
        if node.context.ok():
            text = json.dumps(finding.to_dict(), allow_nan=False)
            try:
                publisher.publish(string_type(data=text))
            except Exception:
                if node.context.ok():
                    raise

    return CrackTracker(FindingBook(publish))

"""Converts between ROS 2 messages and arrays.

Only the messages' fields are used, and their classes are passed in, so this needs no ROS 2
installation.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecrack.images.encodings import JPEG_QUALITY, encode
from edgecrack.measurement.regions import Region
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.sources.ros_images import compressed_to_bgr, pixels_to_bgr

CLASS_ID = "crack"
# As visualization_msgs numbers them.
_LINE_LIST, _ADD = 2, 0


class DetectionTypes(NamedTuple):
    """The classes of `vision_msgs.msg` (4.0 or later, since ROS 2 Humble) that are used.

    Attributes:
        array: Detection2DArray.
        detection: Detection2D.
        hypothesis: ObjectHypothesisWithPose.
    """

    array: Any
    detection: Any
    hypothesis: Any


def image_to_bgr(message: Any) -> NDArray[np.uint8]:
    """The picture in a `sensor_msgs/Image`; its rows may be padded.

    Returns:
        uint8 [H, W, 3] BGR, a copy.

    Raises:
        UnsupportedEncodingError: the encoding is not supported.
        DamagedImageError: its size, step and data do not match.
    """
    return pixels_to_bgr(
        message.data,
        (message.height, message.width),
        message.encoding,
        message.step,
        bool(message.is_bigendian),
    )


def compressed_image_to_bgr(message: Any) -> NDArray[np.uint8]:
    """The picture in a `sensor_msgs/CompressedImage`; JPEG or PNG.

    Returns:
        uint8 [H, W, 3] BGR.

    Raises:
        UnsupportedEncodingError: of a format that is not read.
        DamagedImageError: the data are damaged or cut short.
    """
    return compressed_to_bgr(message.data, message.format)


def mask_to_image(mask: NDArray[np.uint8], header: Any, image_type: Any) -> Any:
    """A mask as `sensor_msgs/Image` in mono8.

    Args:
        mask: uint8 [H, W], 255 on crack.
        header: of the image in which the cracks were found.
        image_type: the class `sensor_msgs.msg.Image`.
    """
    height, width = mask.shape
    message = image_type()
    message.header = header
    message.height, message.width = height, width
    message.encoding, message.is_bigendian, message.step = "mono8", 0, width
    message.data = _bytes(mask.tobytes())
    return message


def overlay_to_compressed(image: NDArray[np.uint8], header: Any, compressed_type: Any) -> Any:
    """A picture as `sensor_msgs/CompressedImage` in JPEG.

    Args:
        image: uint8 [H, W, 3] BGR.
        header: of the image that it shows.
        compressed_type: the class `sensor_msgs.msg.CompressedImage`.

    Raises:
        OutputError: it cannot be encoded.
    """
    import cv2

    message = compressed_type()
    message.header, message.format = header, "jpeg"
    message.data = _bytes(encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]))
    return message


def findings_to_detections(result: FrameResult, header: Any, types: DetectionTypes) -> Any:
    """The crack regions of a frame as `vision_msgs/Detection2DArray`, largest first.

    Each has the class "crack"; its score is the mean probability of its crack pixels, 0 to 1;
    the centre of its box is in pixels, where the centre of the first pixel is (0.5, 0.5).

    Args:
        result: the frame's result.
        header: of the image.
        types: the classes of the messages.
    """
    message = types.array()
    message.header = header
    message.detections = [
        _detection(number, region, result, header, types)
        for number, region in enumerate(result.regions)
    ]
    return message


def findings_to_marker(result: FrameResult, header: Any, marker_type: Any, point_type: Any) -> Any:
    """The boxes of a frame's crack regions as one `visualization_msgs/ImageMarker` of lines.

    Viewers draw it over the image; where there is no crack, it has no points, which clears it.

    Args:
        result: the frame's result.
        header: of the image.
        marker_type: the class `visualization_msgs.msg.ImageMarker`.
        point_type: the class `geometry_msgs.msg.Point`.
    """
    marker = marker_type()
    marker.header, marker.ns = header, CLASS_ID
    marker.type, marker.action = _LINE_LIST, _ADD
    marker.scale = 2.0
    colour = marker.outline_color
    colour.r, colour.g, colour.b, colour.a = 1.0, 0.67, 0.0, 1.0
    points = []
    for region in result.regions:
        left, top, right, bottom = map(float, region.xyxy)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        for begin, end in zip(corners, [*corners[1:], corners[0]], strict=True):
            for x, y in (begin, end):
                point = point_type()
                point.x, point.y = x, y
                points.append(point)
    marker.points = points
    return marker


def _detection(
    number: int, region: Region, result: FrameResult, header: Any, types: DetectionTypes
) -> Any:
    left, top, right, bottom = region.xyxy
    detection = types.detection()
    detection.header, detection.id = header, str(number)
    detection.bbox.center.position.x = (left + right) / 2
    detection.bbox.center.position.y = (top + bottom) / 2
    detection.bbox.center.theta = 0.0
    detection.bbox.size_x, detection.bbox.size_y = float(right - left), float(bottom - top)
    hypothesis = types.hypothesis()
    hypothesis.hypothesis.class_id = CLASS_ID
    hypothesis.hypothesis.score = _score(region, result)
    detection.results = [hypothesis]
    return detection


def _score(region: Region, result: FrameResult) -> float:
    left, top, right, bottom = region.xyxy
    crack = result.mask[top:bottom, left:right] != 0
    # Another region may reach into the box; that its pixels count, too, changes the mean little.
    return float(result.probability[top:bottom, left:right][crack].mean() / 255)


def _bytes(data: bytes) -> array[int]:
    """As rclpy keeps `uint8[]`: anything else it would check and copy byte by byte."""
    return array("B", data)

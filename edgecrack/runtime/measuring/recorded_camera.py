"""The camera of a recording, from its `sensor_msgs/msg/CameraInfo` messages.

All are read before the run, since a camera that was zoomed meanwhile has no single calibration.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from edgecrack.errors import SourceError
from edgecrack.mcap.cdr import CameraInfoMessage, MalformedMessageError, read_camera_info
from edgecrack.mcap.message_types import CAMERA_INFO
from edgecrack.mcap.reader import McapFile
from edgecrack.mcap.topics import channels_of, choose_image_topic
from edgecrack.scale.camera_file import CameraFile

_MODELS = ("plumb_bob", "rational_polynomial")
_COEFFICIENTS = (0, 4, 5, 8, 12, 14)
_REMEDY = "give the camera's own file with `camera_file`"


def recorded_camera(
    path: Path, topic: str | None = None, image_topic: str | None = None
) -> CameraFile:
    """The camera of a recording's images.

    Args:
        path: the recording.
        topic: of CameraInfo; None for the one beside the images (`/front/camera_info` beside
            `/front/image_raw`), or the only one.
        image_topic: of the images that are replayed; None as in `open_recording`. Where its last
            part begins with `image_rect`, the lens's distortion is already removed.

    Raises:
        SourceError: there is no such topic, or several to choose from, or the camera is not
            calibrated, is cropped, or changed during the recording.
        MissingDependencyError: the extra "record" is not installed.
    """
    file = McapFile(path)
    try:
        images, _ = choose_image_topic(file, image_topic)
        chosen = _choose(file, topic, images)
        channels = {each.id for each in channels_of(file, (CAMERA_INFO,))[chosen]}
        found: CameraInfoMessage | None = None
        for message in file.messages(channels):
            try:
                info = read_camera_info(message.data)._replace(stamp_ns=0)
            except MalformedMessageError:
                continue
            if found is not None and not _same(info, found):
                raise SourceError(
                    f"the camera on {chosen} in {path} was zoomed or adjusted while it was "
                    "recorded",
                    "give `mm_per_pixel`, or replay a part in which it stays",
                )
            found = info
    finally:
        file.close()
    if found is None:
        raise SourceError(f"{path} holds no whole message on {chosen}", _REMEDY)
    is_rectified = images.rpartition("/")[2].startswith("image_rect") or "/image_rect" in images
    return _camera(found, f"{chosen} in {path}", is_rectified)


def _choose(file: McapFile, topic: str | None, image_topic: str) -> str:
    known = list(channels_of(file, (CAMERA_INFO,)))
    if topic is not None and topic not in known:
        held = f"choose of {', '.join(known)}" if known else _REMEDY
        raise SourceError(f"{file.path} has no CameraInfo on {topic}", held)
    if topic is not None:
        return topic
    if not known:
        raise SourceError(f"{file.path} holds no sensor_msgs/msg/CameraInfo", _REMEDY)
    # As image_transport and the drivers name them; compressed images lie a level deeper.
    parents = {image_topic.rsplit("/", depth)[0] + "/camera_info" for depth in (1, 2)}
    beside = [name for name in known if name in parents]
    found = beside or known
    if len(found) > 1:
        raise SourceError(
            f"{file.path} holds CameraInfo on {', '.join(found)}",
            f"choose one with `camera_file` recording:{found[0]}",
        )
    return found[0]


def _same(one: CameraInfoMessage, other: CameraInfoMessage) -> bool:
    if one._replace(matrix=(), distortion=(), projection=()) != other._replace(
        matrix=(), distortion=(), projection=()
    ):
        return False
    first, second = (
        np.array([*each.matrix, *each.distortion, *each.projection]) for each in (one, other)
    )
    # NaN is not equal to itself.
    return len(first) == len(second) and np.allclose(first, second, equal_nan=True)


def _camera(info: CameraInfoMessage, where: str, is_rectified: bool) -> CameraFile:
    numbers = (*info.matrix, *info.distortion, *info.projection)
    if not all(map(math.isfinite, numbers)) or info.matrix[0] <= 0 or info.matrix[4] <= 0:
        raise SourceError(f"the camera on {where} is not calibrated", _REMEDY)
    if not 8 <= info.width <= 100_000 or not 8 <= info.height <= 100_000:
        raise SourceError(f"the camera on {where} is {info.width}x{info.height} pixels", _REMEDY)
    left, top, columns, rows = info.region
    whole = (0, 0, info.width, info.height)
    if (columns or rows) and (left, top, columns, rows) != whole:
        raise SourceError(
            f"the camera on {where} was cropped to {columns}x{rows} pixels",
            "record its whole picture, or give `mm_per_pixel`",
        )
    model = info.distortion_model or "plumb_bob"
    distorts = any(info.distortion) and not is_rectified
    if distorts and (model not in _MODELS or len(info.distortion) not in _COEFFICIENTS):
        raise SourceError(
            f"the camera on {where} has the distortion model {model!r} with "
            f"{len(info.distortion)} coefficients",
            f"calibrate it with {' or '.join(_MODELS)}",
        )
    matrix = np.array(info.matrix).reshape(3, 3)
    if is_rectified and info.projection[0] > 0 and info.projection[5] > 0:
        matrix = np.array(info.projection).reshape(3, 4)[:, :3].copy()
    lens = np.array(info.distortion if distorts else (), np.float64)
    return CameraFile(matrix, lens, (info.width, info.height), where)

"""Chooses the topics of a recording that are read, and explains why none can be."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from edgecrack.errors import SourceError
from edgecrack.mcap.message_types import COMPRESSED_IMAGE, IMAGE, IMAGE_TOPIC
from edgecrack.mcap.reader import McapFile

if TYPE_CHECKING:
    from mcap.records import Channel

OWN_PREFIX = "/edgecrack/"
_IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
# ros2idl describes the same bytes in another language.
_SCHEMA_ENCODINGS = ("ros2msg", "ros2idl")


def channels_of(file: McapFile, type_names: Collection[str]) -> dict[str, list[Channel]]:
    """The channels whose messages are of these ROS 2 types, by topic, topics in order."""
    found: dict[str, list[Channel]] = {}
    for channel in sorted(file.channels.values(), key=lambda item: item.topic):
        name, language = file.type_of(channel)
        is_ros2 = channel.message_encoding == "cdr" and language in _SCHEMA_ENCODINGS
        if is_ros2 and name in type_names:
            found.setdefault(channel.topic, []).append(channel)
    return found


def choose_image_topic(file: McapFile, wanted: str | None) -> tuple[str, list[Channel]]:
    """The image topic to replay, and its channels.

    Args:
        file: the recording.
        wanted: a topic; None takes /edgecrack/image where there is one, otherwise the only image
            topic that edgecrack did not write.

    Raises:
        SourceError: there are several, or none.
    """
    topics = channels_of(file, _IMAGE_TYPES)
    if wanted is not None:
        if wanted not in topics:
            raise _not_an_image_topic(file, wanted, list(topics))
        return wanted, topics[wanted]
    if IMAGE_TOPIC in topics:
        return IMAGE_TOPIC, topics[IMAGE_TOPIC]
    foreign = [topic for topic in topics if not topic.startswith(OWN_PREFIX)] or list(topics)
    if len(foreign) == 1:
        return foreign[0], topics[foreign[0]]
    if foreign:
        raise SourceError(
            f"{file.path} holds images on several topics: {', '.join(foreign)}",
            f"choose one with `topic` {foreign[0]}",
        )
    raise _no_images(file)


def _not_an_image_topic(file: McapFile, wanted: str, others: list[str]) -> SourceError:
    remedy = f"give `topic` {others[0]}" if len(others) == 1 else f"give one of {', '.join(others)}"
    if not others:
        return _no_images(file)
    for channel in file.channels.values():
        if channel.topic == wanted:
            kind = _described(file, channel)
            return SourceError(f"{wanted} in {file.path} is {kind}, not images", remedy)
    return SourceError(f"{file.path} has no topic {wanted}", remedy)


def recovery_remedy(file: McapFile) -> str | None:
    """How to repair a file that is not whole; None for a whole one."""
    if not (file.is_cut_short or file.lost_messages):
        return None
    return f"recover what is left of it with: edgecrack recover {file.path}"


def _no_images(file: McapFile) -> SourceError:
    for channel in file.channels.values():
        name = file.type_of(channel)[0].lower()
        if any(word in name for word in ("image", "video", "ffmpeg")):
            return SourceError(
                f"{file.path} holds images on {channel.topic} only as "
                f"{_described(file, channel)}, which is not supported",
                "record sensor_msgs/msg/CompressedImage or Image with `ros2 bag record -s mcap`",
            )
    topics = sorted({channel.topic for channel in file.channels.values()})
    held = f"; its topics are {', '.join(topics[:8])}" if topics else ""
    return SourceError(
        f"{file.path} holds no images{held}",
        recovery_remedy(file) or "give a recording with sensor_msgs/msg/CompressedImage or Image",
    )


def _described(file: McapFile, channel: Channel) -> str:
    """Type of a channel's messages, as `foxglove.CompressedImage in protobuf`."""
    name = file.type_of(channel)[0] or "of no known type"
    if channel.message_encoding == "cdr":
        return name
    return f"{name} in {channel.message_encoding or 'no known encoding'}"

"""What every recording of edgecrack begins with, and the checksums that tell of damage in it.

The format has checksums for chunks, for the index, and for a whole file, at its end; a part whose
recorder was killed has no end. So the metadata of a recording holds two more: of the header and of
the metadata itself, and of the schemas and channels, which are known besides.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from edgecrack.mcap import message_schemas
from edgecrack.mcap.library import Channel, Header, Metadata, Schema, encoded
from edgecrack.mcap.parts.part_names import LIBRARY

METADATA = "edgecrack"
# What is left of the metadata where it differs from its checksum; nobody takes a threshold from it.
DAMAGED_METADATA = "edgecrack_damaged"

_OF_METADATA, _OF_DEFINITIONS = "crc32", "definitions_crc32"

CHANNEL_IDS = {topic: number for number, topic in enumerate(message_schemas.TOPICS, start=1)}
_SCHEMA_IDS = {
    name: number
    for number, name in enumerate(dict.fromkeys(message_schemas.TOPICS.values()), start=1)
}


def definitions() -> list[Schema | Channel]:
    """The schemas and channels of a recording, in the order in which they stand in it."""
    schemas = [
        Schema(
            id=number,
            name=name,
            encoding="ros2msg",
            data=message_schemas.definition(name).encode(),
        )
        for name, number in _SCHEMA_IDS.items()
    ]
    channels = [
        Channel(
            id=number,
            topic=topic,
            message_encoding="cdr",
            metadata={},
            schema_id=_SCHEMA_IDS[message_schemas.TOPICS[topic]],
        )
        for topic, number in CHANNEL_IDS.items()
    ]
    return [*schemas, *channels]


def definitions_checksum(records: list[Schema | Channel]) -> str:
    """The checksum of schemas and channels, in this order."""
    return f"{zlib.crc32(b''.join(map(encoded, records))):08x}"


def sealed(header: Header, about: Mapping[str, str]) -> Metadata:
    """The metadata of a recording, with its checksums."""
    content = {**about, _OF_DEFINITIONS: definitions_checksum(definitions())}
    return Metadata(METADATA, {**content, _OF_METADATA: _checksum(header, content)})


def is_ours(header: Header) -> bool:
    """Whether edgecrack wrote the file, or a file that this one was made of."""
    return header.library.startswith(f"{LIBRARY}/")


def sealed_definitions(metadata: Metadata) -> str | None:
    """The checksum of the definitions that should be in the file; None in one of before."""
    return metadata.metadata.get(_OF_DEFINITIONS)


def fits_seal(header: Header, metadata: Metadata) -> bool | None:
    """Whether header and metadata are as they were written; None in a recording of before."""
    content = dict(metadata.metadata)
    told = content.pop(_OF_METADATA, None)
    return None if told is None else told == _checksum(header, content)


def _checksum(header: Header, content: Mapping[str, str]) -> str:
    return f"{zlib.crc32(encoded(header) + encoded(Metadata(METADATA, dict(content)))):08x}"

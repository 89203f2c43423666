"""The MCAP library's records, or an error that says how to install it.

Every other module of a recording imports them from here.
"""

from __future__ import annotations

from edgecrack.extras import require

lz4 = require("lz4.frame", extra="record", purpose="a recording")
require("zstandard", extra="record", purpose="a recording")
require("mcap.records", extra="record", purpose="a recording")

from mcap.data_stream import ReadDataStream, RecordBuilder  # noqa: E402
from mcap.exceptions import McapError  # noqa: E402
from mcap.opcode import Opcode  # noqa: E402
from mcap.records import (  # noqa: E402
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

__all__ = [
    "Attachment",
    "AttachmentIndex",
    "Channel",
    "ChunkIndex",
    "DataEnd",
    "Footer",
    "Header",
    "McapError",
    "McapRecord",
    "MessageIndex",
    "Metadata",
    "MetadataIndex",
    "Opcode",
    "ReadDataStream",
    "RecordBuilder",
    "Schema",
    "Statistics",
    "SummaryOffset",
    "encoded",
    "lz4",
]


def encoded(record: McapRecord) -> bytes:
    """A record as it stands in a file: opcode, length, content."""
    builder = RecordBuilder()
    record.write(builder)
    data: bytes = builder.end()  # type: ignore[no-untyped-call]
    return data

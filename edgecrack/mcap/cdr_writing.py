"""ROS 2's wire format, as far as a recording needs it: plain CDR, little-endian.

Source: OMG CORBA 3.3, part 2, 9.3, as ROS 2's default middleware writes it: a value of n bytes
begins at a multiple of n, counted from behind the four bytes that name the encoding.
"""

from __future__ import annotations

import struct

_ENCAPSULATION = b"\x00\x01\x00\x00"
_FIRST = len(_ENCAPSULATION)
# What int32 seconds and the nanoseconds beside them can hold: until January 2038.
_EARLIEST_NS, _LATEST_NS = -(2**31) * 10**9, 2**31 * 10**9 - 1


class CdrWriter:
    """Bytes of one message, field by field in the order of its definition."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray(_ENCAPSULATION)

    def uint8(self, value: int) -> None:
        """A uint8, byte or bool; of an int8 its two's complement."""
        self._data.append(value & 0xFF)

    def uint16(self, value: int) -> None:
        """A uint16."""
        self._align(2)
        self._data += struct.pack("<H", value)

    def uint32(self, value: int) -> None:
        """A uint32, or the length of a sequence."""
        self._align(4)
        self._data += struct.pack("<I", value)

    def int32(self, value: int) -> None:
        """An int32."""
        self._align(4)
        self._data += struct.pack("<i", value)

    def float64(self, *values: float) -> None:
        """Successive float64, also the elements of an array of them."""
        self._align(8)
        self._data += struct.pack(f"<{len(values)}d", *values)

    def float32(self, *values: float) -> None:
        """Successive float32."""
        self._align(4)
        self._data += struct.pack(f"<{len(values)}f", *values)

    def string(self, text: str) -> None:
        """A string; what is no character becomes "?", and a NUL, which would end it, too."""
        data = text.replace("\0", "?").encode("utf-8", "replace")
        self.uint32(len(data) + 1)
        self._data += data
        self._data.append(0)

    def octets(self, data: bytes) -> None:
        """A sequence of uint8."""
        self.uint32(len(data))
        self._data += data

    def float64_bytes(self, data: bytes) -> None:
        """Elements of float64, little-endian, as an array has them; nothing where none are."""
        if data:
            self._align(8)
            self._data += data

    def time(self, time_ns: int) -> None:
        """A builtin_interfaces/Time; the nearest one that there is."""
        held_ns = min(max(time_ns, _EARLIEST_NS), _LATEST_NS)
        seconds, nanoseconds = divmod(held_ns, 10**9)
        self.int32(seconds)
        self.uint32(nanoseconds)

    def header(self, time_ns: int, frame_id: str) -> None:
        """A std_msgs/Header."""
        self.time(time_ns)
        self.string(frame_id)

    def finish(self) -> bytes:
        """The message."""
        return bytes(self._data)

    def _align(self, size: int) -> None:
        self._data += bytes((_FIRST - len(self._data)) % size)

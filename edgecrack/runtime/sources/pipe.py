"""A pipe from a child process, kept short so that no old pictures wait in it."""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
from contextlib import suppress

_READ_BYTES = 1 << 20
_SMALLEST_BYTES = 4096
_LARGEST_BYTES = 1 << 20


class Pipe:
    """Both ends of a pipe; the child inherits the one to write to.

    Attributes:
        write_end: its descriptor.
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._capacity = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes that have arrived and wait."""
        count = array.array("i", [0])
        fcntl.ioctl(self._read_end, termios.FIONREAD, count)
        return count[0]

    def read(self, timeout_s: float) -> bytes | None:
        """What has arrived; empty when the child has ended, None after `timeout_s` without."""
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        if timeout_s <= 0 or not poll.poll(timeout_s * 1000):
            return None
        return os.read(self._read_end, _READ_BYTES)

    def hold_at_most(self, size_bytes: int) -> None:
        """Let no more than about `size_bytes` wait; one page at least."""
        capacity = min(_LARGEST_BYTES, max(_SMALLEST_BYTES, 1 << (size_bytes.bit_length() - 1)))
        if capacity == self._capacity or not hasattr(fcntl, "F_SETPIPE_SZ"):
            return
        # A user may not have large pipes without end, and a full pipe cannot shrink.
        with suppress(OSError):
            fcntl.fcntl(self._read_end, fcntl.F_SETPIPE_SZ, capacity)
            self._capacity = capacity

    def close_write_end(self) -> None:
        """Let the child be the only one that holds it, so that its end is seen."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Close both ends; not while another thread reads."""
        self.close_write_end()
        if self._read_end >= 0:
            os.close(self._read_end)
            self._read_end = -1

"""Notifies systemd that the service is ready, alive or stopping.

The protocol is one datagram per message (sd_notify(3)); outside systemd nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

_LOG = logging.getLogger("edgecrack")

# The queue has room for a few messages; while systemd is busy, the first and the last one wait.
_PATIENCE_S = 2.0
_RETRY_S = 0.01


class SystemdNotifier:
    """Sends notifications to the service manager.

    Args:
        environment: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID as systemd sets them.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._interval_s = _watchdog_interval_s(environment)
        self._next_ping_s = clock()
        self._socket: socket.socket | None = None
        self._is_ready = False

    def ready(self) -> None:
        """Notify that the service runs, once. Waits up to 2 s for room in the queue."""
        if not self._is_ready:
            self._is_ready = True
            self._send_for_certain("READY=1")

    def alive(self) -> None:
        """Ping the watchdog at half its period; call often while working.

        If the queue is full, the next call sends the ping.
        """
        if self._interval_s is None:
            return
        now_s = self._clock()
        if now_s >= self._next_ping_s and self._send("WATCHDOG=1"):
            self._next_ping_s = now_s + self._interval_s

    def status(self, text: str) -> None:
        """Set the text in `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Notify that the service ends. Waits up to 2 s for room in the queue."""
        self._send_for_certain("STOPPING=1")

    def close(self) -> None:
        """Close the socket; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send_for_certain(self, message: str) -> None:
        for _ in range(round(_PATIENCE_S / _RETRY_S)):
            if self._send(message):
                return
            time.sleep(_RETRY_S)
        _LOG.warning("systemd did not take %r within %g s", message, _PATIENCE_S)

    def _send(self, message: str) -> bool:
        """Send without waiting; False if the queue is full, so that a retry may help."""
        if not self._address:
            return True
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)  # a full queue must not hold up a frame
            # An address that begins with @ is in the abstract namespace.
            target = (
                self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
            )
            self._socket.sendto(message.encode(), target)
        except BlockingIOError:
            return False
        except OSError as error:
            _LOG.debug("systemd does not take %r: %s", message, error)
        return True


def _watchdog_interval_s(environment: Mapping[str, str]) -> float | None:
    """Half the watchdog's period; None if systemd watches nothing or another process."""
    period, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not period.isdecimal() or int(period) == 0:
        return None
    if process and process != str(os.getpid()):
        return None
    return int(period) / 2e6

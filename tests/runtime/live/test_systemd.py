"""What systemd is told, read from a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecrack.runtime.live.systemd import SystemdNotifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd has it, and the address that it gives a service."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@edgecrack-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        listener.settimeout(5)
        yield listener, address


def test_ready_once_then_status_and_stopping(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.ready()
    notifier.status("12 frames\n | 5/s")
    notifier.stopping()
    notifier.close()
    assert [listener.recv(200).decode() for _ in range(3)] == [
        "READY=1",
        "STATUS=12 frames | 5/s",
        "STOPPING=1",
    ]


def test_the_watchdog_is_pinged_at_half_its_period(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    now_s = [100.0]
    environment = {
        "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": "10000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    notifier = SystemdNotifier(environment, clock=lambda: now_s[0])
    for _ in range(121):  # 12 s, ten times a second
        notifier.alive()
        now_s[0] += 0.1
    notifier.stopping()
    notifier.close()
    assert [listener.recv(200) for _ in range(4)] == [b"WATCHDOG=1"] * 3 + [b"STOPPING=1"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "@edgecrack-nobody", "WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "many", "NOTIFY_SOCKET": ""},
    ],
)
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    notifier = SystemdNotifier(environment)
    notifier.ready()
    notifier.alive()
    notifier.status("x")
    notifier.stopping()
    notifier.close()


def test_a_watchdog_for_another_process_is_not_pinged(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = SystemdNotifier(
        {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    )
    notifier.alive()
    notifier.stopping()
    notifier.close()
    assert listener.recv(200) == b"STOPPING=1"

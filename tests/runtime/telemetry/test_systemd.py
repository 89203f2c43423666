"""What systemd is told, read from a real datagram socket."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edgecrack.runtime.telemetry import systemd
from edgecrack.runtime.telemetry.systemd import SystemdNotifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd has it, and the address that it gives a service."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@edgecrack-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        listener.settimeout(60)
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


def fill(notifier: SystemdNotifier) -> None:
    """More than any queue takes; what does not fit is lost, as it may be."""
    for number in range(1000):
        notifier.status(str(number))


@pytest.mark.parametrize(
    ("tell", "last"),
    [(SystemdNotifier.ready, b"READY=1"), (SystemdNotifier.stopping, b"STOPPING=1")],
)
def test_start_and_end_wait_for_a_busy_systemd(
    manager: tuple[socket.socket, str], tell: Callable[[SystemdNotifier], None], last: bytes
) -> None:
    listener, address = manager
    heard: list[bytes] = []

    def read() -> None:
        while not heard or heard[-1] != last:
            heard.append(listener.recv(200))

    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    fill(notifier)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(systemd, "_PATIENCE_S", 60.0)
        reader = threading.Thread(target=read)
        reader.start()
        tell(notifier)
        reader.join(60)
    notifier.close()
    assert heard[0] == b"STATUS=0"
    assert heard[-1] == last


def test_a_systemd_that_never_reads_is_told_of_in_the_log(
    manager: tuple[socket.socket, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(systemd, "_PATIENCE_S", 0.03)
    notifier = SystemdNotifier({"NOTIFY_SOCKET": manager[1]})
    fill(notifier)
    notifier.stopping()
    notifier.close()
    assert "systemd did not take 'STOPPING=1' within 0.03 s" in caplog.text


def test_a_ping_that_found_no_place_comes_with_the_next_call(
    manager: tuple[socket.socket, str],
) -> None:
    listener, address = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000"}
    notifier = SystemdNotifier(environment, clock=lambda: 100.0)
    fill(notifier)
    notifier.alive()
    assert listener.recv(200) == b"STATUS=0"
    notifier.alive()
    notifier.alive()
    notifier.close()
    listener.setblocking(False)
    heard: list[bytes] = []
    with suppress(BlockingIOError):
        while True:
            heard.append(listener.recv(200))
    assert heard.count(b"WATCHDOG=1") == 1
    assert heard[-1] == b"WATCHDOG=1"


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
    assert not list(Path("/nowhere").glob("*"))


def test_a_watchdog_for_another_process_is_not_pinged(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = SystemdNotifier(
        {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    )
    notifier.alive()
    notifier.stopping()
    notifier.close()
    assert listener.recv(200) == b"STOPPING=1"

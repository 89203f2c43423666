from __future__ import annotations

import pytest

from edgecrack.terminal.redaction import redact


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("rtsp://admin@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("RTSP://a:p@ss/w?rd@cam/live", "RTSP://***@cam/live"),
        (
            "http://cam/mjpg?user=bob&password=hunter2&x=1",
            "http://cam/mjpg?user=***&password=***&x=1",
        ),
        ("http://cam/s?token=abc#t", "http://cam/s?token=***#t"),
        ("rtsp://cam/user=admin_password=hunter2_channel=1", "rtsp://cam/user=***"),
        ("http://cam/video", "http://cam/video"),
        ("walls/user=x@y.mp4", "walls/user=x@y.mp4"),
        ("camera:0", "camera:0"),
    ],
)
def test_credentials_never_show(uri: str, shown: str) -> None:
    assert redact(uri) == shown
    assert "hunter2" not in redact(uri)

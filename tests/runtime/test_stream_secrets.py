"""A camera's password: in no command line, log, event, summary or recording."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecrack.commands.stream import source_address
from edgecrack.errors import ConfigError
from tests.runtime.sources.test_gstreamer import processes_that_show
from tests.runtime.sources.test_mjpeg import endless, serving

SECRET = "hunter2-of-the-camera"


@pytest.mark.parametrize("way", ["variable", "file", "variable with a file", "option"])
def test_a_password_of_a_camera_stays_out_of_sight(way: str, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "address"
    with serving(endless) as plain:
        address = plain.replace("//", f"//operator:{SECRET}@") + f"?pwd={SECRET}"
        file.write_text(address + "\n")
        given = {
            "variable": ([], {"EDGECRACK_SOURCE": address}),
            "file": (["--source-file", str(file)], {}),
            "variable with a file": ([], {"EDGECRACK_SOURCE_FILE": str(file)}),
            "option": (["--source", address], {}),
        }[way]
        words = [sys.executable, "-m", "edgecrack", "stream", *given[0], "--out", str(out)]
        words += ["--record", str(tmp_path / "run.mcap"), "--max-frames", "2"]
        words += ["--log-format", "json", "--record-reserve", "0B"]
        said, shown = b"", set()
        with subprocess.Popen(
            words, env={**os.environ, **given[1]}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said += line
                shown |= set(processes_that_show(SECRET))
        assert process.returncode == 0, said.decode()
    file.unlink()
    assert SECRET.encode() not in said
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".mcap" for path in written)
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []
    # Only who gives it on the command line shows it, and is told.
    assert (shown != set()) == (way == "option")
    assert (b"everybody on this machine can read" in said) == (way == "option")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "not a single line with an address"),
        (b"rtsp://a\nrtsp://b\n", "not a single line with an address"),
        (b"x" * 20_000, "not a single line with an address"),
        (b"\xff\xfe", "it is not text"),
    ],
)
def test_a_file_without_an_address_is_refused(
    content: bytes | None, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "address"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        source_address(None, None, path)


def test_an_option_counts_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "address"
    path.write_text("rtsp://camera/file\n")
    monkeypatch.setenv("EDGECRACK_SOURCE", " rtsp://camera/variable ")
    assert source_address(None, None) == "rtsp://camera/variable"
    assert source_address(None, 2) == "camera:2"
    assert source_address("demo", None) == "demo"
    assert source_address(None, None, path) == "rtsp://camera/file"
    monkeypatch.setenv("EDGECRACK_SOURCE_FILE", str(path))
    assert source_address(None, None) == "rtsp://camera/file"
    with pytest.raises(ConfigError, match="both --camera and --source-file are given"):
        source_address(None, 0, path)

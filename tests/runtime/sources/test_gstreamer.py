"""Real pipelines in real processes: pictures, sizes, ends, failures, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from edgecrack.errors import ConfigError, MissingDependencyError, SourceError
from edgecrack.runtime.sources import gstreamer
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.child import failure, without_passwords
from edgecrack.runtime.sources.gstreamer import PipelineSource
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.fakes import stream_threads
from tests.waiting import PATIENCE_S, wait_until

PROGRAM = shutil.which("gst-launch-1.0")
needs_gstreamer = pytest.mark.skipif(
    PROGRAM is None, reason="no gst-launch-1.0 (Debian: gstreamer1.0-tools, see .ci/run)"
)
# A busy machine takes its time to start a program.
PATIENCE_MS = int(1000 * PATIENCE_S)
PATIENT = SourceOptions(timeout_ms=PATIENCE_MS)
LIVE = "gst://videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120"
TWO_SIZES = (
    "gst://concat name=both videotestsrc num-buffers=6 ! video/x-raw,width=64,height=32 ! both. "
    "videotestsrc num-buffers=30 ! video/x-raw,width=129,height=65 ! both. "
    "both. ! identity sync=true"
)


def ids_below(owner: int) -> list[int]:
    """The living children of a process that are pipelines."""
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if is_alive(int(folder.name)) == owner and b"gst-launch" in command_of(folder)
    ]


def is_alive(process_id: int) -> int:
    """Number of its owner, or 0 where it has ended, also where nobody has taken note of that."""
    try:
        state, owner = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state in "ZX" else int(owner)


def command_of(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def children() -> list[int]:
    return ids_below(os.getpid())


def read_to_end(source: Source) -> tuple[list[tuple[int, int]], SourceError]:
    sizes: list[tuple[int, int]] = []
    while True:
        try:
            taken = source.read()
        except SourceError as error:
            return sizes, error
        assert taken is not None
        sizes.append(taken.hw)


@needs_gstreamer
def test_a_pipeline_is_a_live_source_and_leaves_nothing_behind() -> None:
    with open_source(f"{LIVE},framerate=50/1", PATIENT) as source:
        assert (source.live, source.frame_count, source.frame_rate_hz) == (True, None, 50)
        assert source.name.startswith("gst://videotestsrc is-live=true")
        frames = [source.read() for _ in range(8)]
        assert len(children()) == 1
    taken = [one for one in frames if one is not None]
    assert [one.index for one in taken] == list(range(8))
    assert [one.name for one in taken][:2] == ["000000", "000001"]
    assert all(one.live and one.image.shape == (120, 160, 3) for one in taken)
    times = [one.monotonic_ns for one in taken]
    assert times == sorted(times)
    assert children() == []
    assert stream_threads() == []
    source.close()
    with pytest.raises(SourceError, match="closed"):
        source.read()


@needs_gstreamer
@pytest.mark.parametrize("was_read", [False, True])
def test_a_read_long_after_close_says_so(was_read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(LIVE, PATIENT)
    if was_read:
        source.read()
    source.close()
    monkeypatch.setattr(gstreamer, "STALE_AFTER_S", 0.0)
    with pytest.raises(SourceError, match="was closed"):
        source.read()


@needs_gstreamer
def test_a_pipeline_that_no_process_can_be_given_is_refused() -> None:
    with pytest.raises(SourceError, match="null byte"):
        PipelineSource(["videotestsrc", "name=a\0b"], "gst://x")
    assert stream_threads() == []


@needs_gstreamer
@pytest.mark.parametrize(("colour", "bgr"), [("red", (0, 0, 255)), ("blue", (255, 0, 0))])
def test_colours_come_through(colour: str, bgr: tuple[int, int, int]) -> None:
    caps = "video/x-raw,format=YUY2,width=1280,height=720,colorimetry=bt709"
    with open_source(
        f"gst://videotestsrc is-live=true pattern={colour} ! {caps}", PATIENT
    ) as source:
        taken = source.read()
    assert taken is not None
    assert taken.image[360, 640].tolist() == pytest.approx(bgr, abs=6)


@needs_gstreamer
def test_size_and_rate_are_asked_of_the_pipeline() -> None:
    options = SourceOptions(width=200, height=100, frame_rate_hz=12.5, timeout_ms=PATIENCE_MS)
    with open_source("gst://videotestsrc is-live=true", options) as source:
        taken = source.read()
        assert source.frame_rate_hz == 12.5
    assert taken is not None
    assert taken.hw == (100, 200)
    with pytest.raises(SourceError, match="stopped"):
        open_source("gst://videotestsrc ! video/x-raw,width=300,height=100", options)
    with pytest.raises(ConfigError, match="pixel format"):
        open_source(LIVE, SourceOptions(pixel_format="MJPG"))


@needs_gstreamer
def test_another_size_in_the_middle_and_the_end() -> None:
    with open_source(TWO_SIZES, PATIENT) as source:
        sizes, error = read_to_end(source)
    assert sizes[0] == (32, 64)
    assert sizes[-1] == (65, 129)
    assert sorted(sizes) == sizes
    assert "stopped" in error.problem
    assert "end is reached" in error.problem
    assert children() == []


@needs_gstreamer
def test_a_reader_who_pauses_gets_a_picture_from_after_the_pause(tmp_path: Path) -> None:
    # The ball's place tells the running time; here the time is told by counting.
    pipeline = "gst://videotestsrc is-live=true pattern=snow ! video/x-raw,width=640,height=480"
    with open_source(f"{pipeline},framerate=20/1", PATIENT) as source:
        before = [source.read() for _ in range(3)][-1]
        threading.Event().wait(1.0)
        resumed_ns = time.monotonic_ns()
        after = source.read()
        again = source.read()
    assert before is not None
    assert after is not None
    assert again is not None
    assert after.monotonic_ns >= resumed_ns
    assert (after.index, again.index) == (3, 4)


@needs_gstreamer
@pytest.mark.parametrize(
    ("address", "problem", "remedy"),
    [
        ("gst://nosuchelement ! videoconvert", "nosuchelement", "apt-cache search"),
        ("gst://v4l2src device=/dev/video93", "/dev/video93", "raw video"),
        ("gst://filesrc location=/no/file ! decodebin", "/no/file", "raw video"),
        ("gst://videotestsrc ! fakesink", "could not link", "without a sink"),
        ("gst://audiotestsrc", "could not link", "raw video"),
        ("gst://videotestsrc foo=1", "foo", "raw video"),
        ("gst://videotestsrc ! (", "stopped", "raw video"),
        ("gst://--help", "stopped", "raw video"),
        ("gst://videotestsrc name='", "quotation", "gst://v4l2src"),
        ("gst://", "no pipeline", "gst://v4l2src"),
        ("gst:// ! appsink", "no pipeline", "gst://v4l2src"),
        ("csi://", "csi:// is not a CSI camera", "csi://0"),
        ("csi://left", "csi://left is not a CSI camera", "csi://0"),
        ("gst://rtspsrc location=rtsp://bob:hunter2@127.0.0.1:1/x user-pw=hunter2", "rtsp", "gst"),
    ],
)
def test_a_wrong_pipeline_is_refused_with_a_reason(
    address: str, problem: str, remedy: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(address, PATIENT)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert "hunter2" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert children() == []
    assert stream_threads() == []


@needs_gstreamer
@pytest.mark.skipif(
    PROGRAM is not None and shutil.which("nvargus-daemon") is not None, reason="this is a Jetson"
)
def test_a_csi_camera_needs_a_jetson() -> None:
    with pytest.raises(SourceError, match="only a Jetson has"):
        open_source("csi://0")


@needs_gstreamer
def test_a_pipeline_written_for_opencv_works_too() -> None:
    with open_source(f"{LIVE} ! videoconvert ! appsink drop=true", PATIENT) as source:
        assert source.read() is not None
        assert "appsink" not in source.name


@needs_gstreamer
def test_a_pipeline_that_delivers_nothing_is_an_error_within_the_timeout() -> None:
    with pytest.raises(SourceError, match=r"nothing arrived for 0\.4 s"):
        open_source("gst://videotestsrc ! valve drop=true", SourceOptions(timeout_ms=400))
    assert children() == []


@needs_gstreamer
def test_a_pipeline_that_falls_silent_is_an_error_and_can_be_opened_again() -> None:
    for _ in range(2):
        with open_source(LIVE, PATIENT) as source:
            source.read()
            assert isinstance(source, PipelineSource)
            source._timeout_s = 0.4
            (child,) = children()
            os.killpg(child, signal.SIGSTOP)
            _, error = read_to_end(source)
            assert "nothing arrived" in error.problem
        assert children() == []
        assert stream_threads() == []


@needs_gstreamer
def test_a_pipeline_that_is_killed_says_so() -> None:
    with open_source(LIVE, PATIENT) as source:
        source.read()
        (child,) = children()
        os.killpg(child, signal.SIGKILL)
        _, error = read_to_end(source)
    assert "SIGKILL" in error.problem


@needs_gstreamer
def test_close_ends_a_read_in_another_thread() -> None:
    source = open_source("gst://videotestsrc is-live=true ! video/x-raw,framerate=1/5", PATIENT)
    source.read()
    caught: list[BaseException] = []

    def read() -> None:
        try:
            source.read()
        except SourceError as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    source.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert "closed" in str(caught)
    assert children() == []


_OWNER = """
import sys
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources import child
from edgecrack.runtime.sources.options import SourceOptions
if sys.argv[2] == "without setpriv":
    child._ending_with_us = list
source = open_source(sys.argv[1], SourceOptions(timeout_ms=600_000))
source.read()
print("reading", flush=True)
sys.stdin.read()
"""


@needs_gstreamer
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends the child with its owner")
@pytest.mark.parametrize("how", ["writing", "silent", "without setpriv"])
def test_the_pipeline_ends_when_its_owner_is_killed(how: str) -> None:
    """Also one that never writes again, which no broken pipe would tell."""
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, LIVE, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner:
        assert owner.stdout.readline() == "reading\n"
        (child,) = ids_below(owner.pid)
        if how == "silent":
            os.killpg(child, signal.SIGSTOP)
        owner.kill()
        owner.wait(PATIENCE_S)
    wait_until(lambda: not is_alive(child), "the end of the pipeline")


_STAND_IN = """#!{python}
import json, os, sys
with open({log!r}, "w") as file:
    json.dump(sys.argv[1:], file)
place = sys.argv.index("queue")
size = "video/x-raw,format=I420,width=1920,height=1080,framerate=30/1"
print("GST_ARGUS: Creating output stream", flush=True)
os.execv({real!r}, [{real!r}, "-q", "videotestsrc", "is-live=true", "!", size, "!",
                    *sys.argv[place:]])
"""


@needs_gstreamer
def test_a_csi_camera_is_asked_for_as_the_jetson_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, program = tmp_path / "asked.json", tmp_path / "gst-launch-1.0"
    program.write_text(_STAND_IN.format(python=sys.executable, log=str(log), real=PROGRAM))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with open_source("csi://1", PATIENT) as source:
        taken = source.read()
        assert (source.live, source.name) == (True, "csi://1")
    assert taken is not None
    assert taken.hw == (1080, 1920)
    asked = log.read_text()
    for word in ("nvarguscamerasrc", "sensor-id=1", "nvvidconv", "width=1920,height=1080"):
        assert word in asked
    assert "video/x-raw(memory:NVMM),format=NV12" in asked
    assert "framerate=30/1" in asked
    options = SourceOptions(width=1280, height=720, frame_rate_hz=59.94, timeout_ms=PATIENCE_MS)
    with open_source("csi://0", options):
        pass
    assert "sensor-id=0" in log.read_text()
    assert "width=1280,height=720,framerate=60000/1001" in log.read_text()


def test_without_gstreamer_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError) as caught:
        open_source("gst://videotestsrc")
    assert "gst-launch-1.0" in caught.value.problem
    assert "apt-get install gstreamer1.0-tools" in caught.value.remedy


@pytest.mark.parametrize(
    ("lines", "status", "expected"),
    [
        ([], 0, "end is reached"),
        ([], 3, "exit code 3"),
        ([], -11, "SIGSEGV"),
        ([], None, "nothing more"),
        (["Error generated. No cameras available"], 0, "No cameras available"),
        (['WARNING: erroneous pipeline: no element "rtpgstpay"'], 1, "needs GStreamer's element"),
    ],
)
def test_the_end_of_a_pipeline_is_told_in_a_sentence(
    lines: list[str], status: int | None, expected: str
) -> None:
    assert expected in failure("gst://x", lines, status).problem


def test_passwords_of_a_pipeline_are_hidden() -> None:
    shown = without_passwords(
        ["rtspsrc", "location=rtsp://bob:hunt@er2@host/x", "user-pw=hunter2", "width=3", "!"]
    )
    assert shown == "rtspsrc location=rtsp://***@host/x user-pw=*** width=3 !"
    spaced = without_passwords(
        ["rtspsrc", "user-pw", "=", "hunter2", "location=rtsp://h/x?pas=hunter2"]
    )
    assert "hunter2" not in spaced
    assert without_passwords(["videotestsrc", "pattern=ball", "!"]) == "videotestsrc pattern=ball !"


SECRET = "hunter2"


def processes_that_show(text: str) -> list[str]:
    shown = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if text.encode() in (folder / "cmdline").read_bytes():
                shown.append(folder.name)
    return shown


@needs_gstreamer
def test_a_password_in_a_pipeline_stands_in_no_command_line() -> None:
    pipeline = f"{LIVE} ! identity name=password={SECRET}"
    with open_source(pipeline, PATIENT) as source:
        frames = [source.read() for _ in range(3)]
        shown = processes_that_show(SECRET)
        keepers = stream_threads()
    assert shown == []
    assert SECRET not in source.name
    assert [frame.hw for frame in frames if frame] == [(120, 160)] * 3
    assert keepers
    wait_until(lambda: not stream_threads())


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "problem"),
    [
        ("nosuchelement password=PW", "nosuchelement"),
        ("videotestsrc password=PW", "no property"),
        ("filesrc location=/no/PW name=password=PW ! decodebin", "No such file"),
        ("videotestsrc num-buffers=1 name=pw=PW ! fakesink", "could not link"),
        ("rtspsrc location=rtsp://bob:PW@127.0.0.1:1/x ! decodebin", "rtsp"),
    ],
)
def test_a_wrong_pipeline_with_a_password_is_refused_with_a_reason_and_without_it(
    pipeline: str, problem: str
) -> None:
    with pytest.raises((SourceError, MissingDependencyError)) as caught:
        open_source(f"gst://{pipeline.replace('PW', SECRET)}", PATIENT)
    assert problem in str(caught.value)
    assert SECRET not in str(caught.value).replace(f"/no/{SECRET}", "")
